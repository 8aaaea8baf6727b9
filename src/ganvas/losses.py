"""Losses as pure functions. Sums over an image's values, means over the batch; log-probabilities in nats."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.registry import Registry


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, I)) in nats: (N, d) -> (N,). Kingma & Welling 2013, appendix B."""
    return 0.5 * (mean * mean + log_variance.exp() - 1 - log_variance).sum(-1)


def normal_log_prob(z: Tensor, mean: Tensor | float = 0.0, log_variance: Tensor | float = 0.0) -> Tensor:
    """log N(z; mean, variance) in nats: (..., d) -> (...,)."""
    log_variance = torch.as_tensor(log_variance, dtype=z.dtype, device=z.device)
    return -0.5 * ((z - mean) ** 2 * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi)).sum(-1)


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """|| x - y ||^2 of each image: (N, ...) -> (N,)."""
    return ((x - y) ** 2).flatten(1).sum(-1)


class GanLoss(NamedTuple):
    """One side of the game each, from logits (N,) to a scalar to be minimised.

    Attributes:
        discriminator: of the logits of real images and of fake ones.
        generator: of the logits of fake images.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


GAN_LOSSES = Registry("GAN loss")


def _bce(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))], with D = sigmoid(logit)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


# Goodfellow et al. 2014, equation 1: the generator descends E[log(1 - D(G(z)))], which saturates when D wins.
GAN_LOSSES["minimax"] = GanLoss(_bce, lambda fake: -F.softplus(fake).mean())
# The same, section 3: the generator ascends E[log D(G(z))].
GAN_LOSSES["non-saturating"] = GanLoss(_bce, lambda fake: F.softplus(-fake).mean())
