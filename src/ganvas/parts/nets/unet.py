"""U-net (Ronneberger et al. 2015) of residual blocks: an image in, an image out, of any size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.parts.nets.residual import Block, convolution

SIZES = 3  # of the maps: a half, a quarter and an eighth of the image


class UNet(nn.Module):
    """Maps of an image, halved and doubled again, where those of each size go past all smaller ones.

    The image's own size is left to the first and the last step, which put 2 x 2 pixels into channels and take them out
    again: convolutions there would cost more than all others.
    """

    def __init__(self, channels: int, filters: int, blocks: int) -> None:
        """`channels` of the image; `filters` of the largest maps, the next have twice as many; `blocks` at each."""
        super().__init__()
        widths = [filters << place for place in range(SIZES)]

        def several(width: int) -> nn.Module:
            return nn.Sequential(*(Block(width) for _ in range(blocks)))

        self.first = convolution(4 * channels, filters, 3)
        self.inwards = nn.ModuleList(map(several, widths))
        self.widen = nn.ModuleList(convolution(width, 2 * width, 1) for width in widths[:-1])
        self.narrow = nn.ModuleList(convolution(2 * width, width, 1) for width in widths[:-1])
        self.outwards = nn.ModuleList(map(several, widths[:-1]))
        self.last = convolution(filters, 4 * channels, 3, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        height, width = x.shape[2:]
        y = self.first(F.pixel_unshuffle(F.pad(x, (0, width % 2, 0, height % 2), "replicate"), 2))
        past = []
        for blocks, widen in zip(self.inwards, self.widen, strict=False):
            past.append(blocks(y))
            y = widen(F.avg_pool2d(past[-1], 2, ceil_mode=True))
        y = self.inwards[-1](y)
        for blocks, narrow, maps in zip(*map(reversed, (self.outwards, self.narrow)), reversed(past), strict=True):
            # Twice the size and cut, where a side was rounded up: a part of an image is as in the whole.
            up = F.interpolate(narrow(y), scale_factor=2.0, mode="bilinear", align_corners=False)
            y = blocks(maps + up[:, :, : maps.shape[2], : maps.shape[3]])
        shuffled: Tensor = F.pixel_shuffle(self.last(F.leaky_relu(y, 0.2)), 2)
        return shuffled[:, :, :height, :width]
