"""Fully connected nets, for images and points."""

from __future__ import annotations

import itertools
import math
from typing import Literal

from torch import nn

from ganvas.nets.layers import BatchNorm
from ganvas.nets.registry import NETS
from ganvas.registry import Count, settings

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "leaky-relu": nn.LeakyReLU}


@NETS.register
@settings
class MLP:
    """Linear layers with an activation between them.

    Attributes:
        hidden: units of the encoder's hidden layers, from the image inwards; the decoder mirrors them.
        activation: between the layers.
        norm: batch norm before each activation, or none.
    """

    hidden: tuple[Count, ...] = (500, 500)
    activation: Literal["relu", "tanh", "leaky-relu"] = "relu"
    norm: Literal["none", "batch"] = "none"

    def _layers(self, sizes: list[int]) -> list[nn.Module]:
        *hidden, last = itertools.pairwise(sizes)
        layers: list[nn.Module] = []
        for n, m in hidden:
            norm = [BatchNorm(m)] if self.norm == "batch" else []
            layers += [nn.Linear(n, m), *norm, ACTIVATIONS[self.activation]()]
        return [*layers, nn.Linear(*last)]

    def encoder(self, shape: tuple[int, ...], out: int) -> nn.Module:
        """(N, *shape) -> (N, out)."""
        return nn.Sequential(nn.Flatten(), *self._layers([math.prod(shape), *self.hidden, out]))

    def decoder(self, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """(N, latent) -> (N, *shape), with no activation at the end."""
        return nn.Sequential(*self._layers([latent, *reversed(self.hidden), math.prod(shape)]), nn.Unflatten(1, shape))
