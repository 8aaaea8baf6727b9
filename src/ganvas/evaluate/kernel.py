"""The kernel distance between two sets of features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.errors import UserError
from ganvas.evaluate import checks
from ganvas.evaluate.checks import Array, Floats
from ganvas.evaluate.distances import few
from ganvas.evaluate.screening import spans

LINES, TILE = 1024, 2048  # rows of x and of y in a product


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
    dtype = np.float64 if few(real, fake) else np.float32
    centre = real.mean(0, dtype=np.float64)
    x, y = _factor(real, centre, dtype), _factor(fake, centre, dtype)
    (own, _), (other, _), (across, back) = _sums(x), _sums(y), _sums(x, y)
    of_real, of_fake = own / (n - 1) - across / m, other / (m - 1) - back / n
    error = 2 * math.sqrt(of_real.var(ddof=1) / n + of_fake.var(ddof=1) / m)
    return float(of_real.mean() + of_fake.mean()), error


@dataclass(frozen=True)
class _Factor:
    """Features x (N, d), such that k(x, y) is the cube of a product of rows and a sum of shifts.

    x.y / d + 1 = (x - c).(y - c) / d + (x - c / 2).c / d + (y - c / 2).c / d + 1: with the mean c taken out, the same
    for both sets, what float32 loses is a thousandth of the distance's standard error or less.

    Attributes:
        rows: (x - c) / sqrt(d), (N, d).
        shifts: (x - c / 2).c / d + 1 / 2, (N,).
    """

    rows: Array
    shifts: Tensor


def _factor(x: Array, centre: Floats, dtype: type) -> _Factor:
    d = x.shape[1]
    rows: Array = np.empty(x.shape, dtype)
    shifts: Array = np.empty(len(x), dtype)
    for part in spans(len(x), TILE):
        rows[part] = (x[part] - centre) / math.sqrt(d)
        shifts[part] = (x[part] - centre / 2) @ centre / d + 0.5
    return _Factor(rows, torch.from_numpy(shifts))


def _sums(x: _Factor, y: _Factor | None = None) -> tuple[Floats, Floats]:
    """sum_j k(x_i, y_j), (N,), and sum_i k(x_i, y_j), (M,); without y over pairs of different rows of x, once each."""
    symmetric, y = y is None, y or x
    sums = torch.zeros(len(x.rows), dtype=torch.float64)
    others = sums if symmetric else torch.zeros(len(y.rows), dtype=torch.float64)
    for rows in spans(len(sums), LINES):
        for columns in (rows, *spans(len(sums), TILE, rows.stop)) if symmetric else spans(len(others), TILE):
            near = torch.from_numpy(x.rows[rows] @ y.rows[columns].T)  # on some processors far faster than torch's
            near += x.shifts[rows, None]
            near += y.shifts[columns]
            kernel = (near * near).mul_(near)
            if symmetric and columns == rows:
                kernel.fill_diagonal_(0)
            else:
                others[columns] += kernel.sum(0)
            sums[rows] += kernel.sum(1)
    return sums.numpy(), others.numpy()
