"""The kernel distance between two sets of features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ganvas.errors import UserError
from ganvas.evaluate import checks
from ganvas.evaluate.checks import Array, Floats
from ganvas.evaluate.distances import PAIRS


def kernel_distance(real: Any, fake: Any) -> tuple[float, float]:
    """The squared maximum mean discrepancy of two sets of features, under k(x, y) = (x.y / d + 1)^3, and its error.

    E k(x, x') + E k(y, y') - 2 E k(x, y) over all pairs of different rows (Gretton et al. 2012, equation 3). Without
    bias, so it may be below 0, and its mean does not depend on the number of rows. Over the Inception network's
    features it is what papers call KID (Binkowski et al. 2018), which average it over subsets of 1,000.

    Args:
        real: features (N, d).
        fake: features (M, d).

    Returns:
        The squared distance, and its standard error by each row's influence (van der Vaart 1998, section 12.1); where
        the distributions are equal that is too small.

    Raises:
        UserError: NaN, different d, fewer than 2 rows.
    """
    real, fake = checks.features(real=real, fake=fake)
    for what, rows in (("real", real), ("fake", fake)):
        if len(rows) < 2:
            raise UserError(f"{what}: 1 row has no pair; give more, better 10,000.")
    n, m = len(real), len(fake)
    (own, _), (other, _), (across, back) = _sums(real, real), _sums(fake, fake), _sums(real, fake)
    own -= _kernel((real.astype(np.float64) ** 2).sum(1), real.shape[1])
    other -= _kernel((fake.astype(np.float64) ** 2).sum(1), fake.shape[1])
    of_real, of_fake = own / (n - 1) - across / m, other / (m - 1) - back / n
    error = 2 * math.sqrt(of_real.var(ddof=1) / n + of_fake.var(ddof=1) / m)
    return float(of_real.mean() + of_fake.mean()), error


def _kernel(products: Floats, d: int) -> Floats:
    """In place; numpy's ** 3 is a call of pow for each number."""
    products /= d
    products += 1
    cubed: Floats = products * products
    cubed *= products
    return cubed


def _sums(x: Array, y: Array) -> tuple[Floats, Floats]:
    """sum_j k(x_i, y_j), (N,), and sum_i k(x_i, y_j), (M,), a block at a time."""
    of_x, of_y, size = np.empty(len(x)), np.zeros(len(y)), max(1, PAIRS // max(y.shape))
    y = y.astype(np.float64, copy=False)
    for start in range(0, len(x), size):
        part = x[start : start + size].astype(np.float64, copy=False)
        values = _kernel(part @ y.T, y.shape[1])
        of_x[start : start + size] = values.sum(1)
        of_y += values.sum(0)
    return of_x, of_y
