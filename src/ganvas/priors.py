"""P(z): what a latent variable is drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

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


@PRIORS.register
@settings
class Uniform:
    """U(-bound, bound) in every dimension."""

    bound: Positive = 1.0

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        return (2 * draw.uniform("prior", shape, device) - 1) * self.bound
