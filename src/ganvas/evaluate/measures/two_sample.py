"""Whether a classifier can tell samples from data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ganvas.evaluate.measures import checks
from ganvas.evaluate.measures.distances import nearest
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import order
from ganvas.ground.registry import Seed

FEWEST = 20


@checked
def two_sample_test(real: Any, fake: Any, seed: Seed = 0) -> dict[str, float]:
    """The classifier two-sample test by nearest neighbours (Lopez-Paz & Oquab 2017, https://arxiv.org/abs/1610.06545).

    As many of each are taken; one half of each trains a k-nearest-neighbours classifier, k = floor(sqrt(rows that it
    has)), the smaller odd number where that is even; the other half is asked.

    Args:
        real: features (N, d).
        fake: features (M, d).
        seed: of the halves.

    Returns:
        "accuracy": on the other half; 0.5 where nothing tells them apart, 1 where everything does. "n": how many that
        is. "p_value": the probability of at least this accuracy if both are of one distribution, normal approximation.

    Raises:
        UserError: NaN, different d, fewer than 20 of either.
    """
    real, fake = checks.features(real=real, fake=fake)
    n = min(len(real), len(fake))
    if n < FEWEST:
        raise UserError(f"{n} rows are too few for a two-sample test; give at least {FEWEST} of each.")
    half = n // 2
    train, test = [], []
    for what, rows in (("real", real), ("fake", fake)):
        places = order(seed, f"two-sample {what}", n=len(rows))[: 2 * half]
        train.append(rows[places[:half]])
        test.append(rows[places[half:]])
    k = math.isqrt(2 * half)
    k -= 1 - k % 2
    _, places = nearest(np.concatenate(test), np.concatenate(train), k)
    says_fake = (places >= half).mean(1) > 0.5
    accuracy = float((says_fake == (np.arange(2 * half) >= half)).mean())
    score = (accuracy - 0.5) / math.sqrt(0.25 / (2 * half))
    return {"accuracy": accuracy, "n": 2 * half, "p_value": 0.5 * math.erfc(score / math.sqrt(2))}
