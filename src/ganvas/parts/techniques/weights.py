"""An average of the generator's weights, and weights of the discriminator that stay as they are."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count, Fraction, settings
from ganvas.parts.techniques.base import TECHNIQUES, Pair, Technique


@TECHNIQUES.register
@settings
class EMA(Technique):
    """Samples come from an exponential moving average of the generator's weights (Yazici et al. 2019)."""

    decay: Fraction = 0.999
    order = 2
    of_gans = True

    def build(self, model: Pair) -> None:
        """The average starts at the first weights."""
        model.average = MovingAverage(model.generator.net)

    def moved(self, model: Pair, player: str) -> None:
        """Take the generator's new weights in."""
        if player == "generator":
            model.average.add(model.generator.net, self.decay)


class MovingAverage(nn.Module):
    """A net with the moving average of another's weights, and that one's buffers."""

    moves: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).requires_grad_(False)
        self.register_buffer("moves", torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, ...)."""
        output: Tensor = self.net(z)
        return output

    @torch.no_grad()
    def add(self, net: nn.Module, decay: float) -> None:
        """The first weights go out sooner: the decay is at most (1 + t) / (10 + t)."""
        self.moves += 1
        share = 1 - ((1 + self.moves) / (10 + self.moves)).clamp(max=decay)
        for mean, weight in zip(self.net.parameters(), net.parameters(), strict=True):
            mean.lerp_(weight, share)
        for kept, buffer in zip(self.net.buffers(), net.buffers(), strict=True):
            kept.copy_(buffer)


@TECHNIQUES.register
@settings
class Freeze(Technique):
    """The discriminator's lower layers keep the weights that they begin with (Mo et al. 2020), those of `--init`.

    What they have learned of many images holds for the few of a new kind too, by which they would only be overfitted.

    Attributes:
        layers: that are kept, from the image on, with the norms between them.
    """

    layers: Count = 1
    of_init = True

    def build(self, model: Pair) -> None:
        """What does not learn is no parameter, and has the same name in a file."""
        seen = 0
        modules = list(model.discriminator.modules())
        there = sum(_weighs(module) for module in modules)
        if self.layers >= there:
            raise UserError(f"freeze is {self.layers}: this discriminator has {there} layers, and one has to learn.")
        for module in modules:
            seen += _weighs(module)
            if seen > self.layers:
                return
            for name, weight in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, weight.detach())


def _weighs(module: nn.Module) -> bool:
    """Whether it is a layer of weights, and no norm or group of layers."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() > 1
