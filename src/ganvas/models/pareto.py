"""How heavy the tail of importance weights is: the diagnostic of Pareto smoothed importance sampling.

Vehtari, Simpson, Gelman, Yao & Gabry 2024, "Pareto smoothed importance sampling", JMLR 25. The largest weights look
like draws from a generalised Pareto distribution, P(y) = 1/s (1 + k y / s)^(-1/k - 1), which has moments below 1/k:
its shape k says whether the mean of the weights can be had from so many draws. The weights stay as they are: smoothed
ones would be biased.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST = 5  # weights that a tail is fitted to, at least
HIGHEST = 0.7
ALIKE = 1e-3  # of the largest weight: tails that span less are of float32's rounding of log P(x), or harmless


def tail_length(draws: int) -> int:
    """How many of so many weights are their tail: min(S / 5, 3 sqrt S) (section 3.2)."""
    return math.ceil(min(draws / 5, 3 * math.sqrt(draws)))


def threshold(draws: int) -> float:
    """The k-hat above which a mean of so many weights, and its error, are not to be trusted.

    min(1 - 1 / log10 S, 0.7): section 3.2.4.
    """
    return min(1 - 1 / math.log10(draws), HIGHEST) if draws > 1 else -math.inf


def khat(largest: Tensor, draws: int) -> Tensor:
    """The estimated shape k of the tail of importance weights.

    Args:
        largest: the logarithms of the `tail_length` + 1 largest of the weights, (N, M + 1), in any order.
        draws: how many weights there are in all.

    Returns:
        float64 (N,). -inf where the largest weights are all alike; inf where nothing can be told: of a tail of fewer
        than 5 weights, or of weights that are not finite.
    """
    log_weights = largest.double().sort(1).values
    if log_weights.shape[1] <= LEAST:
        return torch.full_like(log_weights[:, 0], math.inf)
    top = log_weights[:, -1:]
    weights = (log_weights - top).exp()  # k is the same in any unit
    excess = weights[:, 1:] - weights[:, :1]
    found = torch.where(excess[:, -1] > ALIKE, shape_of(excess), -math.inf)
    return torch.where(top[:, 0].isfinite() & ~found.isnan(), found, math.inf)


def shape_of(excess: Tensor) -> Tensor:
    """k of a generalised Pareto distribution that begins at 0, from draws (N, M) in rising order: (N,).

    The estimate of Zhang & Stephens 2009, "A new and efficient estimation method for the generalized Pareto
    distribution": theta = -k / s has a profile likelihood, over which its posterior mean is taken under a prior that
    the data themselves scale. To that come ten draws' worth of k = 1/2 (Vehtari et al. 2024, appendix C).
    """
    n = excess.shape[1]
    grid = 30 + math.isqrt(n)
    quartile = excess[:, math.floor(n / 4 + 0.5) - 1, None].clamp(min=1e-300)
    top = excess[:, -1:].clamp(min=1e-300)
    place = torch.arange(1, grid + 1, dtype=excess.dtype, device=excess.device) - 0.5
    theta = 1 / top + (1 - (grid / place).sqrt()) / (3 * quartile)  # (N, grid), each below 1 / top

    def shape(theta: Tensor) -> Tensor:
        return torch.log1p(-theta[..., None] * excess[:, None]).mean(-1)

    k = shape(theta)
    profile = n * ((-theta / k).log() - k - 1)
    theta = (profile.softmax(1) * theta).sum(1, keepdim=True)
    return (n * shape(theta)[:, 0] + 10 * 0.5) / (n + 10)
