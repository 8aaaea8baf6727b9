"""Denoiser: x + noise -> x, by an autoencoder whose maps go past the code (Mao et al. 2016).

The maps carry the details that a code can't hold. So an image is not made from its code alone, and this family has the
one verb.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ganvas.errors import UserError
from ganvas.models.autoencoder import Corruption, Restorer
from ganvas.models.base import MODELS
from ganvas.nets.registry import Net
from ganvas.nets.residual import Residual
from ganvas.registry import Count, settings


@MODELS.register
@settings
class Denoiser(Corruption):
    """Settings of a denoiser: those of its noise, and

    Attributes:
        latent_dim: size of the code.
        net: of the encoder and the decoder, of convolutions.
    """

    latent_dim: Count = 128
    net: Net = Residual()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.net.dense:
            raise UserError("skip connections are of convolutions: take the net residual or dcgan.")


class DenoiserModel(Restorer):
    """What is added to x + noise to give x."""

    Config = Denoiser

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        self.encoder = config.net.encoder(shape, config.latent_dim)
        self.decoder = config.net.decoder(config.latent_dim, shape)

    def players(self) -> dict[str, torch.nn.Module]:
        """One: the model itself."""
        return {"denoiser": self}

    def restored(self, x: Tensor) -> Tensor:
        """x + decoder(encoder(x)); the encoder's last map of a shape is added to the decoder's first one of it."""
        maps: dict[torch.Size, Tensor] = {}  # by (C, H, W)
        y = x
        for layer in self.encoder:
            y = layer(y)
            if y.dim() == 4:
                maps[y.shape[1:]] = y
        for layer in self.decoder:
            y = layer(y)
            y = y + maps.pop(y.shape[1:], 0)
        return x + y.float()
