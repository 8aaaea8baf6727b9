"""Denoiser: x + noise -> x, by an autoencoder whose maps go past its middle (Mao et al. 2016; Zhang et al. 2017).

They carry the details that a code can't hold. So there is no code, and this family has the one verb.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganvas.errors import UserError
from ganvas.models.autoencoder import Corruption, Restorer
from ganvas.models.base import MODELS
from ganvas.nets.unet import UNet
from ganvas.registry import Count, settings


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


class DenoiserModel(Restorer):
    """x + noise + net(x + noise): the net learns the noise, with its sign turned."""

    Config = Denoiser

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        if len(shape) != 3 or min(shape[1:]) < 8:
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
