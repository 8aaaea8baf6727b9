"""Fully connected nets, for images and points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import nn

from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count, Fraction, Positive, settings
from ganvas.parts.nets.layers import BatchNorm, Maxout, Perceptron
from ganvas.parts.nets.registry import NETS, BaseNet

PIECES = 5
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "leaky-relu": nn.LeakyReLU,
    "maxout": partial(Maxout, PIECES),
    "gated": nn.GLU,
}
WIDTHS = {"maxout": PIECES, "gated": 2}  # linear outputs that a unit is made of


@NETS.register
@settings
class MLP(BaseNet):
    """Linear layers with an activation between them.

    Attributes:
        hidden: units of the encoder's hidden layers, from the image inwards; the decoder mirrors them.
        activation: between the layers; a maxout unit is the largest of 5 linear pieces (Goodfellow et al. 2013), a
            gated one a linear output times the sigmoid of another (Dauphin et al. 2017).
        norm: batch norm before each activation, or none.
        dropout: share of the encoder's hidden units that training drops.
        input_dropout: share of the encoder's inputs.
        init: weights from U(-init, init) and biases 0, instead of torch's own.
        glorot: weights from U with a variance of 2 / (inputs + outputs) and biases 0 (Glorot & Bengio 2010).
        he: weights before an activation from U with a variance of 2 / inputs, which rectifiers keep the size of what
            they pass on by, and biases 0 (He et al. 2015).
    """

    hidden: tuple[Count, ...] = (500, 500)
    activation: Literal["relu", "tanh", "leaky-relu", "maxout", "gated"] = "relu"
    norm: Literal["none", "batch"] = "none"
    dropout: Fraction = 0.0
    input_dropout: Fraction = 0.0
    init: Positive | None = None
    glorot: bool = False
    he: bool = False
    dense = True

    def __post_init__(self) -> None:
        if bool(self.init) + self.glorot + self.he > 1:
            raise UserError("a net's first weights are from U(-init, init), Glorot's or He's: ask for one of them.")

    def _layers(self, sizes: list[int], dropout: float = 0.0) -> list[nn.Module]:
        *hidden, last = itertools.pairwise(sizes)
        layers: list[nn.Module] = []
        for n, m in hidden:
            units = m * WIDTHS.get(self.activation, 1)
            norm = [BatchNorm(units)] if self.norm == "batch" else []
            layers += [nn.Linear(n, units), *norm, ACTIVATIONS[self.activation](), *_dropout(dropout)]
        layers.append(nn.Linear(*last))
        for layer in layers[:-1] if self.he else layers if self.init or self.glorot else []:
            if isinstance(layer, nn.Linear):
                inputs = layer.in_features
                bound = self.init or math.sqrt(6 / (inputs if self.he else inputs + layer.out_features))
                nn.init.uniform_(layer.weight, -bound, bound)
                nn.init.zeros_(layer.bias)
        return layers

    def encoder(self, shape: tuple[int, ...], out: int) -> nn.Sequential:
        """(N, *shape) -> (N, out)."""
        layers = self._layers([math.prod(shape), *self.hidden, out], self.dropout)
        return Perceptron(nn.Flatten(), *_dropout(self.input_dropout), *layers)

    def decoder(self, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """(N, latent) -> (N, *shape), with no activation at the end."""
        return Perceptron(*self._layers([latent, *reversed(self.hidden), math.prod(shape)]), nn.Unflatten(1, shape))


def _dropout(share: float) -> list[nn.Module]:
    return [nn.Dropout(share)] if share else []
