"""The four fixes of Salimans et al. 2016, and virtual batch norm of the same paper."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.ground.errors import UserError
from ganvas.ground.processes import mean_over_processes
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Count, Fraction, Positive, settings
from ganvas.parts.losses import PROBABILISTIC
from ganvas.parts.nets.layers import BatchNorm, MinibatchLayer, VirtualNorm, WithReference
from ganvas.parts.techniques.base import TECHNIQUES, Pair, Seen, Technique, replace_modules


@TECHNIQUES.register
@settings
class FeatureMatching(Technique):
    """weight * || E f(x) - E f(G(z)) ||^2 in G's cost, f the discriminator's last hidden layer (section 3.1).

    The norm is of the difference of *batch means*.
    """

    weight: Positive = 1.0

    def term(self, player: str, seen: Seen) -> Tensor | None:
        """The generator's."""
        if player != "generator":
            return None
        return self.weight * feature_distance(seen.real_features, seen.fake_features)


def feature_distance(real: Tensor, fake: Tensor) -> Tensor:
    """|| mean of real (N, d) - mean of fake (M, d) ||^2; of several processes, the means are over the global batch."""
    return (mean_over_processes(real.float().mean(0) - fake.float().mean(0)) ** 2).sum()


@TECHNIQUES.register
@settings
class MinibatchDiscrimination(Technique):
    """The discriminator sees how near an example is to the others of its batch (section 3.2).

    Attributes:
        kernels: B, the numbers that are added to f(x).
        dims: C, of each kernel.
    """

    kernels: Count = 100
    dims: Count = 5

    def build(self, model: Pair) -> None:
        """Put the layer before the discriminator's head."""
        head = model.discriminator.head
        layer = MinibatchLayer(head.in_features, self.kernels, self.dims)
        wider = nn.Linear(head.in_features + self.kernels, head.out_features)
        with torch.no_grad():
            wider.weight[:, : head.in_features].copy_(head.weight)
            wider.bias.copy_(head.bias)
        model.discriminator.head = nn.Sequential(layer, wider)


@TECHNIQUES.register
@settings
class HistoricalAveraging(Technique):
    """weight * || theta - (1/t) sum_i theta_i ||^2 in each player's cost (section 3.3)."""

    weight: Positive = 0.1
    order = 2
    of_gans = True

    def build(self, model: Pair) -> None:
        """Keep the mean of each player's past weights, and how many they are."""
        model.history = nn.ModuleDict({name: _Mean(player) for name, player in model.players().items()})

    def term(self, player: str, seen: Seen) -> Tensor:
        """Each player's."""
        model: Any = seen.model
        weights = model.players()[player].parameters()
        return self.weight * distance_to_history(weights, model.history[player].buffers())

    def moved(self, model: Pair, player: str) -> None:
        """Take the new weights into the mean."""
        model.history[player].add(model.players()[player])


def distance_to_history(weights: Iterable[Tensor], means: Iterable[Tensor]) -> Tensor:
    """|| theta - mean of its past values ||^2 over all the weights."""
    return torch.stack([((w - m) ** 2).sum() for w, m in zip(weights, means, strict=False)]).sum()


class _Mean(nn.Module):
    """The mean of a module's weights over its past, as buffers in the order of the weights, the count last."""

    count: Tensor

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for i, weight in enumerate(module.parameters()):
            self.register_buffer(str(i), weight.detach().clone())
        self.register_buffer("count", torch.ones(()))

    @torch.no_grad()
    def add(self, module: nn.Module) -> None:
        self.count += 1
        for mean, weight in zip(self.buffers(), module.parameters(), strict=False):
            mean += (weight - mean) / self.count


@TECHNIQUES.register
@settings
class LabelSmoothing(Technique):
    """The discriminator's target for real images is under 1 (section 3.4); one-sided unless `fake` is above 0.

    Against target t the cross-entropy of a real image is the one against 1, and (1 - t) * logit.
    """

    real: Fraction = 0.9
    fake: Fraction = 0.0

    def build(self, model: Pair) -> None:
        """Refused where D gives no probability."""
        if model.config.loss not in PROBABILISTIC:
            raise UserError(
                f"label smoothing changes the target of a probability, and under the {model.config.loss} loss the "
                f"discriminator gives none: leave it away, or take the loss {' or '.join(PROBABILISTIC)}."
            )

    def term(self, player: str, seen: Seen) -> Tensor | None:
        """The discriminator's."""
        if player != "discriminator":
            return None
        return (1 - self.real) * seen.real_logits.mean() - self.fake * seen.fake_logits.mean()


@TECHNIQUES.register
@settings
class VirtualBatchNorm(Technique):
    """Batch norm of the generator by a fixed reference batch and the example itself (section 3.5)."""

    size: Count = 64
    of_gans = True

    def build(self, model: Pair) -> None:
        """Replace the generator's batch norms; the reference is drawn with the first weights."""
        net = model.generator.net
        if not replace_modules(net, BatchNorm, lambda norm: VirtualNorm(norm, self.size)):
            raise UserError(
                "virtual batch norm replaces the generator's batch norm, and this one has none: leave it away, or take "
                "another generator."
            )
        key = int(torch.randint(2**31, ()))
        z = model.joined(model.prior.sample(Draw(key), (self.size, model.latent_dim)))
        model.generator.net = WithReference(net, z)
