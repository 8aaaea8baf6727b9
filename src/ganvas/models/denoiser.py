"""Denoiser: x + noise -> x, by an autoencoder whose maps go past its middle (Mao et al. 2016; Zhang et al. 2017).

They carry the details that a code can't hold. So there is no code, and this family has the one verb.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Shared
from ganvas.ground.registry import Count, settings
from ganvas.models.autoencoder import Corruption, Restorer
from ganvas.models.base import MODELS, Imitator
from ganvas.parts.nets.unet import UNet

TILE = 512  # pixels, a side of what is restored at a time
SMALLEST = 8  # side of an image


@MODELS.register
@settings
class Denoiser(Corruption):
    """Settings of a denoiser: those of its noise, and

    Attributes:
        filters: of its largest maps, of half the image's side; those of a quarter have twice as many, and so on.
        blocks: residual blocks at each size, on the way in and on the way out.
    """

    filters: Count = 48
    blocks: Count = 1


class DenoiserModel(Restorer, Imitator):
    """x + noise + net(x + noise): the net learns the noise, with its sign turned.

    It is of convolutions alone, so that it restores images of any size, (N, C, height, width); `shape` is that of the
    images that it was trained on.
    """

    Config = Denoiser
    any_size = True

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        if len(shape) != 3 or min(shape[1:]) < SMALLEST:
            size = " x ".join(map(str, shape[1:])) if len(shape) == 3 else f"rows of {shape[0]} numbers"
            raise UserError(
                f"a denoiser takes images from 8 x 8 on, these are {size}: take the recipe denoising-autoencoder."
            )
        self.net = UNet(shape[0], config.filters, config.blocks)

    def players(self) -> dict[str, torch.nn.Module]:
        """One: the model itself."""
        return {"denoiser": self}

    def restored(self, x: Tensor) -> Tensor:
        """x + net(x)."""
        noise: Tensor = self.net(2 * x - 1).float()
        return x + noise

    def imitated(self, images: Tensor) -> Tensor:
        """The image with the model's noise on it, restored: of a clean one it would give back any image as it is."""
        return self.denoised(self.corrupt(images, Shared(0)))

    def rows(self, images: Any) -> Tensor:
        """As of every model; but arrays, tensors, pictures and files of one image keep their size."""
        from ganvas.data.reading import own_size, read_rows

        shape = (self.shape[0], *own_size(images, self.shape))
        if min(shape[1:]) < SMALLEST:
            raise UserError(f"images of {shape[1]} x {shape[2]}: a denoiser takes them from 8 x 8 on.")
        return read_rows(images, shape, known=self.range).to(self.device)

    def denoised(self, images: Tensor) -> Tensor:
        """`denoise` of images as they are; large ones in tiles, with all around them that what is restored depends on.

        The sides of tiles and margins are even at each halving.
        """
        height, width = images.shape[2:]
        margin = 24 + 40 * self.config.blocks
        if max(height, width) <= TILE + margin:
            return super().denoised(images)
        whole = torch.empty_like(images)
        for top, left in itertools.product(range(0, height, TILE), range(0, width, TILE)):
            y, x = max(0, top - margin), max(0, left - margin)
            part = super().denoised(images[:, :, y : top + TILE + margin, x : left + TILE + margin])
            whole[:, :, top : top + TILE, left : left + TILE] = part[:, :, top - y :, left - x :][:, :, :TILE, :TILE]
        return whole
