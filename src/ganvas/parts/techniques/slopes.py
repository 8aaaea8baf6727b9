"""Bounds of the critic's slope: clipped weights, penalties on its gradient, and spectral norm."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ganvas.ground.registry import Count, Positive, settings
from ganvas.parts.nets.layers import MinibatchLayer
from ganvas.parts.techniques.base import TECHNIQUES, Adversary, Pair, Seen, Technique, layer_norms

BOUNDS = "both bound the critic's slope"
ALONE = "do not go together, as the slope is that of each image by itself and not of its batch"


@TECHNIQUES.register
@settings
class Clip(Technique):
    """Every weight of the critic is cut to [-bound, bound] after its move (Arjovsky et al. 2017, algorithm 1)."""

    bound: Positive = 0.01
    clashes: ClassVar[dict[str, str]] = {**dict.fromkeys(("gradient-penalty", "r1", "r2", "spectral-norm"), BOUNDS)}

    @torch.no_grad()
    def moved(self, model: Pair, player: str) -> None:
        """The critic's."""
        if player == "discriminator":
            for weight in model.discriminator.parameters():
                weight.clamp_(-self.bound, self.bound)

    def vitals(self, model: Adversary) -> dict[str, float]:
        """{"clipped_share"}: of the critic's weights that are at the bound."""
        weights = torch.cat([weight.detach().flatten() for weight in model.discriminator.parameters()])
        return {"clipped_share": float((weights.abs() >= 0.999 * self.bound).float().mean())}


@TECHNIQUES.register
@settings
class GradientPenalty(Technique):
    """weight * E (|| grad D(x) || - 1)^2 at points between real and fake (Gulrajani et al. 2017, equation 3).

    One norm and one place between for each *sample*. Batch norm in the critic, which would make its gradient one of
    the batch, becomes layer norm (the same, section 4).

    Attributes:
        weight: of the penalty.
        every: lazy regularisation (Karras et al. 2020, appendix B): at each how manieth move, as many times as heavy.
    """

    weight: Positive = 10.0
    every: Count = 1
    clashes: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("r1", "r2"), "pull the critic's slope to 1 and to 0"),
        "minibatch-discrimination": ALONE,
    }

    def build(self, model: Pair) -> None:
        """Layer norm for batch norm."""
        layer_norms(model)

    def term(self, player: str, seen: Seen) -> Tensor | None:
        """The discriminator's."""
        if player != "discriminator":
            return None
        shape = (len(seen.real), *[1] * (seen.real.dim() - 1))
        alpha = seen.draw.uniform("between", shape, seen.real.device)
        between = torch.lerp(seen.real.detach(), seen.fake.detach(), alpha)
        slopes = input_gradient(seen.model.logits, between).flatten(1).norm(dim=1)
        penalty: Tensor = ((slopes - 1) ** 2).mean()
        return self.weight * penalty


@TECHNIQUES.register
@settings
class R1(Technique):
    """weight / 2 * E || grad D(x) ||^2 at real images (Mescheder et al. 2018, equation 9).

    Attributes:
        weight: of the penalty.
        every: lazy regularisation (Karras et al. 2020, appendix B): at each how manieth move, as many times as heavy.
    """

    weight: Positive = 10.0
    every: Count = 1
    clashes: ClassVar[dict[str, str]] = {"minibatch-discrimination": ALONE}

    def build(self, model: Pair) -> None:
        """Layer norm for batch norm, as with the gradient penalty."""
        layer_norms(model)

    def points(self, seen: Seen) -> Tensor:
        """Where the slope is drawn to 0."""
        return seen.real

    def term(self, player: str, seen: Seen) -> Tensor | None:
        """The discriminator's."""
        if player != "discriminator":
            return None
        gradient = input_gradient(seen.model.logits, self.points(seen))
        penalty: Tensor = gradient.flatten(1).square().sum(1).mean()
        return self.weight / 2 * penalty


@TECHNIQUES.register
@settings
class R2(R1):
    """The same at fakes: weight / 2 * E || grad D(G(z)) ||^2 (Mescheder et al. 2018, equation 10).

    Huang et al. 2024 take both, with the relativistic loss.
    """

    def points(self, seen: Seen) -> Tensor:
        """Where the slope is drawn to 0."""
        return seen.fake


@TECHNIQUES.register
@settings
class SpectralNorm(Technique):
    """Every weight of the discriminator over its largest singular value (Miyato et al. 2018).

    Attributes:
        iterations: of the power method, at each use.
    """

    iterations: Count = 1
    order = 1

    def build(self, model: Pair) -> None:
        """Parametrise the discriminator's linear layers and convolutions."""
        for module in list(model.discriminator.modules()):
            if isinstance(module, nn.Linear | nn.Conv2d | MinibatchLayer):
                parametrizations.spectral_norm(module, n_power_iterations=self.iterations)


def input_gradient(function: Any, x: Tensor) -> Tensor:
    """The gradient of the sum of function(x) by x (N, ...), itself differentiable; float32."""
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    return gradient.float()
