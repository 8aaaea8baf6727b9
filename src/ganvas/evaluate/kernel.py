"""The kernel distance between two sets of features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ganvas.errors import UserError
from ganvas.evaluate import checks
from ganvas.evaluate.checks import Array, Floats
from ganvas.evaluate.distances import few
from ganvas.evaluate.screening import TILE, spans

LINES = 128  # rows of a tile in float64 at a time: they stay in the cache


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
    own, other, (across, back) = _sums(real)[0], _sums(fake)[0], _sums(real, fake)
    of_real, of_fake = own / (n - 1) - across / m, other / (m - 1) - back / n
    error = 2 * math.sqrt(of_real.var(ddof=1) / n + of_fake.var(ddof=1) / m)
    return float(of_real.mean() + of_fake.mean()), error


def _sums(x: Array, y: Array | None = None) -> tuple[Floats, Floats]:
    """sum_j k(x_i, y_j), (N,), and sum_i k(x_i, y_j), (M,); without y over pairs of different rows of x, once each.

    Where there is much to compute, the products of rows less their mean are float32; what the mean adds to them, the
    cubes and their sums are float64: what that loses is below a thousandth of the distance's standard error.
    """
    symmetric, y = y is None, x if y is None else y
    d, dtype = x.shape[1], np.float64 if few(x, y) else np.float32
    centre = y.mean(0, dtype=np.float64)
    left = _centred(x, centre, dtype)
    right = left if symmetric else _centred(y, centre, dtype)
    # x.y / d + 1 = (x - c).(y - c) / d + (x - c).c / d + y.c / d + 1
    of_left = torch.from_numpy(left @ centre / d)
    of_right = torch.from_numpy(right @ centre / d) + (centre @ centre / d + 1)
    sums = torch.zeros(len(x), dtype=torch.float64)
    others = sums if symmetric else torch.zeros(len(y), dtype=torch.float64)
    for rows in spans(len(x), TILE):
        for columns in spans(len(y), TILE, rows.start if symmetric else 0):
            products = torch.from_numpy(left[rows] @ right[columns].T)  # on some processors far faster than torch's
            for part in spans(len(products), LINES):
                here = slice(rows.start + part.start, rows.start + part.stop)
                kernel = products[part].double().div_(d).add_(of_left[here, None]).add_(of_right[columns])
                kernel = (kernel * kernel).mul_(kernel)
                if symmetric and rows == columns:
                    kernel.diagonal(part.start).zero_()
                else:
                    others[columns] += kernel.sum(0)
                sums[here] += kernel.sum(1)
    return sums.numpy(), others.numpy()


def _centred(rows: Array, centre: Floats, dtype: type) -> Array:
    found: Array = np.empty(rows.shape, dtype)
    for part in spans(len(rows), TILE):
        found[part] = rows[part] - centre
    return found
