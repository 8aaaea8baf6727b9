"""P(z): what a latent variable is drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganvas.errors import UserError
from ganvas.randomness import Draw
from ganvas.registry import Positive, Registry, settings

PRIORS = Registry("prior")

if TYPE_CHECKING:
    Prior = Any
else:
    Prior = PRIORS.field


@PRIORS.register
@settings
class Normal:
    """N(0, I)."""

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        return draw.normal("prior", shape, device)

    def icdf(self, p: Tensor) -> Tensor:
        """The value below which lies the share `p` of (0, 1), in each dimension; of the same shape as p."""
        z: Tensor = torch.special.ndtri(_shares(p))
        return z


@PRIORS.register
@settings
class Uniform:
    """U(-bound, bound) in every dimension."""

    bound: Positive = 1.0

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        return (2 * draw.uniform("prior", shape, device) - 1) * self.bound

    def icdf(self, p: Tensor) -> Tensor:
        """The value below which lies the share `p` of (0, 1), in each dimension; of the same shape as p."""
        return (2 * _shares(p) - 1) * self.bound


def _shares(p: Tensor) -> Tensor:
    if not ((p > 0) & (p < 1)).all():
        raise UserError(f"shares from {p.min():g} to {p.max():g}: an inverse CDF takes those between 0 and 1.")
    return p
