"""The kernel distance between two sets of features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.evaluate.measures import checks
from ganvas.evaluate.measures.checks import Array, Floats
from ganvas.evaluate.measures.distances import few
from ganvas.evaluate.measures.screening import spans
from ganvas.ground.devices import has_fast_bfloat16
from ganvas.ground.errors import UserError

LINES, TILE = 1024, 2048  # rows of x and of y in a product
PAD = 32  # columns beside the features: two are used, the rest keep rows aligned
OUTLIER = 4  # times the root mean square length
ULP = 2.0**-7  # of bfloat16, in proportion to a number, at most


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
    centre = real.mean(0, dtype=np.float64)
    x, y = (_Factor(rows, centre, np.float64 if few(real, fake) else np.float32) for rows in (real, fake))
    if not few(real, fake) and _may_round(x, y):
        for side in (x, y):
            side.round()
    (own, _), (other, _), (across, back) = _sums(x), _sums(y), _sums(x, y)
    of_real, of_fake = own / (n - 1) - across / m, other / (m - 1) - back / n
    error = 2 * math.sqrt(of_real.var(ddof=1) / n + of_fake.var(ddof=1) / m)
    return float(of_real.mean() + of_fake.mean()), error


class _Factor:
    """Features x (N, d), such that k(x, y) is the cube of p = a product of rows, and a sum of shifts s and t.

    x.y / d + 1 = (x - c).(y - c) / d + (x - c / 2).c / d + (y - c / 2).c / d + 1, with the same c, the mean, for both
    sets. Of the cube, 3 p (s + t)^2 + (s + t)^3 has sums that take no product of all pairs: exact, they are most of it.
    For p^3 + 3 p^2 (s + t) a fast product will do, if what it loses is random and so goes from the sums. In bfloat16
    that is seen to, or many equal rows would all be off in the same direction: rows are rounded up or down by chance,
    and to a product, which is rounded too, normal noise is added that is known, and taken off again (dither; Schuchman
    1964, Gray and Stockham 1993).

    Attributes:
        rows: (x - c) / sqrt(d), (N, d), float64 or float32.
        shifts: (x - c / 2).c / d + 1 / 2, (N,).
        rounded: rows, a column of noise, one of 1, then 0, (N, d + PAD); None where the rows themselves are multiplied.
        noise: (N, 1).
        lengths: of rows, (N,).
    """

    def __init__(self, x: Array, centre: Floats, dtype: type) -> None:
        n, d = x.shape
        self.rows: Array = np.empty(x.shape, dtype)
        self.shifts: Floats = np.empty(n)
        self.rounded: Tensor | None = None
        for part in spans(n, TILE):
            self.rows[part] = (x[part] - centre) / math.sqrt(d)
            self.shifts[part] = (x[part] - centre / 2) @ centre / d + 0.5
        self.lengths: Array = np.linalg.norm(self.rows, axis=1)

    def round(self) -> None:
        """To bfloat16."""
        random, (n, d) = torch.Generator().manual_seed(0), self.rows.shape
        self.rounded = torch.zeros(n, d + PAD, dtype=torch.bfloat16)
        noise = torch.randn(n, generator=random) * torch.from_numpy(self.lengths * (self.lengths.max() * ULP / 2))
        self.rounded[:, d], self.rounded[:, d + 1] = noise, 1
        self.noise = self.rounded[:, d : d + 1].float()
        for part in spans(n, TILE):
            bits = torch.from_numpy(self.rows[part]).view(torch.int32)
            bits = bits + torch.randint(2**16, bits.shape, generator=random, dtype=torch.int32)
            self.rounded[part, :d] = bits.bitwise_and_(-(2**16)).view(torch.float32)


def _may_round(x: _Factor, y: _Factor) -> bool:
    """Whether bfloat16 is fast here, and no row so long that the distance is its own: what it loses would not go."""
    fast = has_fast_bfloat16(torch.device("cpu")) and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    lengths = np.concatenate([x.lengths, y.lengths])
    return fast and bool(lengths.max() <= OUTLIER * math.sqrt((lengths**2).mean()))


def _product(x: _Factor, rows: slice, y: _Factor, columns: slice) -> Tensor:
    if x.rounded is None or y.rounded is None:
        return torch.from_numpy(x.rows[rows] @ y.rows[columns].T)  # on some processors far faster than torch's
    d, left = x.rows.shape[1], x.rounded[rows].clone()
    left[:, d : d + 2] = left[:, d : d + 2].flip(1)
    near = (left @ y.rounded[columns].T).float()
    near -= x.noise[rows]
    return near.sub_(y.noise[columns, 0])


def _sums(x: _Factor, y: _Factor | None = None) -> tuple[Floats, Floats]:
    """sum_j k(x_i, y_j), (N,), and sum_i k(x_i, y_j), (M,); without y over pairs of different rows of x, once each."""
    symmetric, y = y is None, y or x
    sums = torch.from_numpy(_linear(x, y, symmetric))
    others = sums if symmetric else torch.from_numpy(_linear(y, x))
    shifts, of_y = (3 * torch.from_numpy(side.shifts.astype(side.rows.dtype)) for side in (x, y))
    for rows in spans(len(sums), LINES):
        for columns in (rows, *spans(len(sums), TILE, rows.stop)) if symmetric else spans(len(others), TILE):
            near = _product(x, rows, y, columns)
            kernel = near + shifts[rows, None]
            kernel += of_y[columns]
            kernel *= near.square_()
            if symmetric and columns == rows:
                kernel.fill_diagonal_(0)
            else:
                others[columns] += kernel.sum(0)
            sums[rows] += kernel.sum(1)
    return sums.numpy(), others.numpy()


def _linear(x: _Factor, y: _Factor, apart: bool = False) -> Floats:
    """sum_j 3 p (s + t_j)^2 + (s + t_j)^3 for each row of x, (N,); with `apart` but for the row itself."""
    s, t = x.shifts, y.shifts
    powers = np.stack([np.ones_like(t), t, t**2])
    one, first, second = np.sum([powers[:, part] @ y.rows[part].astype(np.float64) for part in spans(len(t), TILE)], 0)
    found: Floats = len(t) * s**3 + 3 * s**2 * t.sum() + 3 * s * (t**2).sum() + (t**3).sum()
    for part in spans(len(s), TILE):
        rows = x.rows[part].astype(np.float64)
        found[part] += 3 * (s[part] ** 2 * (rows @ one) + 2 * s[part] * (rows @ first) + rows @ second)
        if apart:
            found[part] -= 3 * (rows**2).sum(1) * (2 * s[part]) ** 2 + (2 * s[part]) ** 3
    return found
