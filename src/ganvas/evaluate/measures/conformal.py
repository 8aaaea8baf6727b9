"""A threshold without labels: split conformal prediction (Vovk et al. 2005; of strange images: Bates et al. 2023).

Scores of normal images that taught the score nothing, the calibration, say how high a normal image comes. An image's
p-value is the share of these, itself among them, that are as strange as it. Of a normal image it is at most alpha with
a probability of at most alpha, whatever the score.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from ganvas.evaluate.measures.checks import Array, Floats
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count

Rate = Annotated[float, Field(gt=0, lt=1)]
BISECTIONS = 60


@checked
def p_values(scores: Array, calibration: Array) -> Floats:
    """(1 + how many of n calibration scores are at least as high) / (n + 1), of each score: (N,); ties count as higher.

    Args:
        scores: (N,), higher is stranger.
        calibration: (n,), of normal images.
    """
    below = np.searchsorted(np.sort(calibration), scores, side="left")
    return np.asarray((1 + len(calibration) - below) / (len(calibration) + 1))


@checked
def needed(false_alarms: Rate) -> int:
    """The fewest calibration images with which there can be an alarm at that rate: 1 / (n + 1) is at most it."""
    n = max(1, math.ceil(1 / false_alarms) - 2)
    while 1 / (n + 1) > false_alarms:
        n += 1
    return n


@checked
def rank(n: Count, false_alarms: Rate) -> int:
    """k: an image alarms that is above the k-th highest of n calibration scores, which is that k / (n + 1) is at most
    the rate.

    Raises:
        UserError: too few images for the rate.
    """
    k = math.floor(false_alarms * (n + 1))
    k += (k + 1) / (n + 1) <= false_alarms  # where the product was rounded down
    if k < 1:
        raise UserError(
            f"{n:,} normal images are too few for a false-alarm rate of {false_alarms:g}: it takes "
            f"{needed(false_alarms):,}. Give more of them with --normal, or a higher --false-alarms."
        )
    return k


@checked
def rate_interval(n: Count, false_alarms: Rate, level: Rate = 0.95) -> tuple[float, float]:
    """From where to where the true false-alarm rate lies, given the calibration that was drawn.

    Of scores without ties it is one less the distribution function at an order statistic, which has the distribution
    Beta(k, n + 1 - k); ties make it smaller.

    Args:
        n: calibration images.
        false_alarms: that is asked for.
        level: with which probability.
    """
    k, tail = rank(n, false_alarms), (1 - level) / 2
    return _beta_quantile(k, n, tail), _beta_quantile(k, n, 1 - tail)


def _beta_quantile(k: int, n: int, share: float) -> float:
    """Of Beta(k, n + 1 - k), whose distribution function at p is the chance of k successes or more in n at p."""
    i = torch.arange(k, n + 1, dtype=torch.float64)
    ways = math.lgamma(n + 1) - torch.lgamma(i + 1) - torch.lgamma(n - i + 1)
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        p = (low + high) / 2
        reached = float((ways + i * math.log(p) + (n - i) * math.log1p(-p)).logsumexp(0).exp())
        low, high = (p, high) if reached < share else (low, p)
    return (low + high) / 2
