"""Residual nets of convolutions for images of any size: no batch norm, no transposed convolutions."""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count, settings
from ganvas.parts.nets.convolution import Conv2d
from ganvas.parts.nets.layers import Resize
from ganvas.parts.nets.registry import NETS, BaseNet

SMALLEST = 4  # the side below which maps are not halved
Size = tuple[int, int]


def sizes(height: int, width: int) -> list[Size]:
    """Height and width of the maps from the image inwards, each half of the last, rounded up, down to 4 ... 7."""
    found = [(height, width)]
    while min(found[-1]) >= 2 * SMALLEST:
        found.append((-(-found[-1][0] // 2), -(-found[-1][1] // 2)))
    return found


class Block(nn.Module):
    """x + conv(act(conv(act(x)))); the last convolution starts near 0, so that the block is near the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv2d(channels, channels, 3, padding=1)
        self.last = Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, 0.2)
        nn.init.normal_(self.last.weight, 0, 0.1 / math.sqrt(9 * channels))
        nn.init.zeros_(self.first.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        output: Tensor = x + self.last(F.leaky_relu(self.first(F.leaky_relu(x, 0.2)), 0.2))
        return output


@NETS.register
@settings
class Residual(BaseNet):
    """Residual blocks between halvings by average and doublings by interpolation, which leave no checker pattern.

    Sides that do not halve evenly are rounded up on the way in and met exactly on the way out.

    Attributes:
        filters: of the maps of side 32 and more; those of 16 have twice, of 8 and less four times as many.
        blocks: at each size below the image's own.
    """

    filters: Count = 64
    blocks: Count = 1
    optimizer = "muon"

    def _channels(self, size: Size) -> int:
        side = max(size)
        return self.filters * (1 if side > 16 else 2 if side > 8 else 4)

    def _blocks(self, size: Size) -> list[nn.Module]:
        return [Block(self._channels(size)) for _ in range(self.blocks)]

    def encoder(self, shape: tuple[int, ...], out: int) -> nn.Sequential:
        """(N, C, H, W) -> (N, out)."""
        image, *inner = _inner(shape)
        # The image is halved by the first convolution: blocks at its own size would cost more than all others.
        layers: list[nn.Module] = [convolution(shape[0], self._channels(inner[0]), 4, stride=2, grown=image)]
        for place, size in enumerate(inner):
            if place:
                layers.append(Resize(size))
                if (a := self._channels(inner[place - 1])) != (b := self._channels(size)):
                    layers.append(convolution(a, b, 1))
            layers += self._blocks(size)
        channels = self._channels(inner[-1])
        return nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Flatten(), linear(channels * math.prod(inner[-1]), out))

    def decoder(self, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """(N, latent) -> (N, C, H, W), with no activation at the end."""
        *inner, image = reversed(_inner(shape))
        channels = self._channels(inner[0])
        layers: list[nn.Module] = [
            linear(latent, channels * math.prod(inner[0])),
            nn.Unflatten(1, (channels, *inner[0])),
        ]
        for place, size in enumerate(inner):
            if place:
                if (a := self._channels(inner[place - 1])) != (b := self._channels(size)):
                    layers.append(convolution(a, b, 1))
                layers.append(Resize(size))
            layers += self._blocks(size)
        channels, last = self._channels(inner[-1]), max(16, self.filters // 2)
        layers += [nn.LeakyReLU(0.2), convolution(channels, last, 3), Resize(image), nn.LeakyReLU(0.2)]
        return nn.Sequential(*layers, convolution(last, shape[0], 3, gain=0.3))


def _inner(shape: tuple[int, ...]) -> list[Size]:
    """`sizes` of images (C, H, W).

    Raises:
        UserError: no images, or too small ones.
    """
    if len(shape) != 3:
        raise UserError(f"the residual net needs images, the data is rows of shape {shape}: take --net mlp.")
    found = sizes(*shape[1:])
    if len(found) < 2:
        raise UserError(f"the residual net takes images from 8 x 8 on, these are {shape[1]} x {shape[2]}: --net mlp.")
    return found


def convolution(
    a: int, b: int, kernel: Literal[1, 3, 4], *, stride: int = 1, gain: float = 1.0, grown: Size | None = None
) -> nn.Module:
    """A convolution that keeps the size of what it sees, times `gain`; an odd side of `grown` is padded by one more."""
    layer = Conv2d(a, b, kernel, stride, padding=(kernel - 1) // 2)
    nn.init.normal_(layer.weight, 0, gain / math.sqrt(a * kernel * kernel))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    odd = [side % 2 for side in grown or (0, 0)]
    return nn.Sequential(nn.ReplicationPad2d((0, odd[1], 0, odd[0])), layer) if any(odd) else layer


def linear(a: int, b: int) -> nn.Module:
    """A linear layer whose output is about as large as its input."""
    layer = nn.Linear(a, b)
    nn.init.normal_(layer.weight, 0, 1 / math.sqrt(a))
    nn.init.zeros_(layer.bias)
    return layer
