"""Priors that are not learned."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Positive, settings
from ganvas.parts.losses import kl_by_dimension, normal_log_prob
from ganvas.parts.priors.base import PRIORS, FixedPrior


@PRIORS.register
@settings
class Normal(FixedPrior):
    """N(0, I)."""

    closed_form = True

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        return draw.normal("prior", shape, device)

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,)."""
        return normal_log_prob(z)

    def kl_by_dimension(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """KL(N(mean, exp(log_variance)) || N(0, 1)) of each dimension, nats, (N, d)."""
        return kl_by_dimension(mean, log_variance)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """d numbers, as they are."""
        return d, lambda noise: noise

    def typical(self, z: Tensor) -> Tensor:
        """At a distance from 0 within sqrt(d) +- 1.4, as 95 in 100 draws are: the length's deviation is near 0.7."""
        d, length = z.shape[-1], z.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        low, high = max(0.0, math.sqrt(d) - 1.4), math.sqrt(d) + 1.4
        moved: Tensor = z * (length.clamp(low, high) / length)
        return moved

    def moments(self, d: int, plane: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """0 and 1."""
        return _alike(1.0, d, plane)

    def icdf(self, p: Tensor) -> Tensor:
        """The value below which lies the share `p` of (0, 1), in each dimension; of the same shape as p."""
        z: Tensor = torch.special.ndtri(_shares(p))
        return z

    def truncated(self, bound: float) -> TruncatedNormal:
        """Within +- bound in every dimension."""
        return TruncatedNormal(bound=bound)


@PRIORS.register
@settings
class TruncatedNormal(FixedPrior):
    """N(0, 1) given that it is within +- bound, in every dimension by itself (Brock et al. 2019, section 3.1)."""

    bound: Positive = 2.0

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        return self._at(draw.uniform("prior", shape, device))

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,); minus infinity outside."""
        inside = (z.abs() <= self.bound).all(-1)
        return torch.where(inside, normal_log_prob(z) - z.shape[-1] * math.log(self._mass), -math.inf).to(z.dtype)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """d numbers, each by itself."""
        return d, lambda noise: self._at((torch.erf(noise / math.sqrt(2)) + 1) / 2)

    def typical(self, z: Tensor) -> Tensor:
        """Within the bounds."""
        return z.clamp(-self.bound, self.bound)

    def moments(self, d: int, plane: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """0 and sqrt(1 - 2 b phi(b) / P(-b < z < b)), phi the density of N(0, 1)."""
        b = self.bound
        density = math.exp(-b * b / 2) / math.sqrt(2 * math.pi)
        return _alike(math.sqrt(1 - 2 * b * density / self._mass), d, plane)

    def icdf(self, p: Tensor) -> Tensor:
        """The value below which lies the share `p` of (0, 1), in each dimension; of the same shape as p."""
        return self._at(_shares(p))

    @property
    def _mass(self) -> float:
        """Of N(0, 1) within the bounds."""
        return math.erf(self.bound / math.sqrt(2))

    def _at(self, p: Tensor) -> Tensor:
        """The value below which lies the share p of [0, 1]; in float64, where tails are not rounded away."""
        z: Tensor = torch.special.ndtri((1 - self._mass) / 2 + p.double() * self._mass)
        return z.clamp(-self.bound, self.bound).to(p.dtype)


@PRIORS.register
@settings
class Uniform(FixedPrior):
    """U(-bound, bound) in every dimension."""

    bound: Positive = 1.0

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        return (2 * draw.uniform("prior", shape, device) - 1) * self.bound

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,); minus infinity outside."""
        inside = (z.abs() <= self.bound).all(-1)
        return torch.where(inside, -z.shape[-1] * math.log(2 * self.bound), -math.inf).to(z.dtype)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """d numbers, each by itself."""
        return d, lambda noise: self.bound * torch.erf(noise / math.sqrt(2))

    def typical(self, z: Tensor) -> Tensor:
        """Within the bounds."""
        return z.clamp(-self.bound, self.bound)

    def moments(self, d: int, plane: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """0 and bound / sqrt 3."""
        return _alike(self.bound / math.sqrt(3), d, plane)

    def icdf(self, p: Tensor) -> Tensor:
        """The value below which lies the share `p` of (0, 1), in each dimension; of the same shape as p."""
        return (2 * _shares(p) - 1) * self.bound


@PRIORS.register
@settings
class Bimodal(FixedPrior):
    """Equally often N(-1, std^2) and N(1, std^2) in each of d dimensions, by itself: 2^d clusters of z.

    A generator is continuous, so from a connected P(z) some samples fall between the modes of the data; from clusters
    none need to (Gurumurthy et al. 2017, DeLiGAN, where the means are learned; Khayatkhoei et al. 2018).

    Attributes:
        std: of a cluster.
    """

    std: Positive = 0.2

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        sides = (draw.uniform("side", shape, device) < 0.5).float()
        return 2 * sides - 1 + self.std * draw.normal("prior", shape, device)

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,)."""
        sides = torch.stack([-0.5 * ((z - mean) / self.std) ** 2 for mean in (-1, 1)])
        return (sides.logsumexp(0) - math.log(2 * self.std * math.sqrt(2 * math.pi))).sum(-1)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """2 d numbers: the signs of half of them are the sides."""
        return 2 * d, lambda noise: torch.where(noise[:, :d] < 0, -1.0, 1.0) + self.std * noise[:, d:]


def _alike(deviation: float, d: int, plane: Tensor | None) -> tuple[Tensor, Tensor]:
    """The moments of dimensions of mean 0 and one deviation, which don't depend on each other."""
    along = torch.ones(d, dtype=torch.float64) if plane is None else plane.double().norm(dim=1)
    return torch.zeros_like(along), deviation * along


def _shares(p: Tensor) -> Tensor:
    if not ((p > 0) & (p < 1)).all():
        raise UserError(f"shares from {p.min():g} to {p.max():g}: an inverse CDF takes those between 0 and 1.")
    return p
