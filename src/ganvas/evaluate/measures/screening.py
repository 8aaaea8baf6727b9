"""Fast bounds of the distances between the rows of two arrays, which leave few of them to be computed.

Rows are centred, scaled to length 1 at most, and rounded: to bfloat16 where the processor multiplies that in hardware,
else to float32. What a row x loses is known, |x - xh|, and by the triangle inequality |x - y| differs from |xh - yh| by
no more than both rows have lost. |xh - yh|^2 is one product of rows that have their squared length in further columns.
It has two errors, whatever the order of its sums: their rounding, in proportion to |xh|^2 + |yh|^2, and that of the
result, in proportion to it. Bfloat16 has only 8 bits for the result; so a constant near the distances that matter is
taken off within the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganvas.evaluate.measures.checks import Array, Floats
from ganvas.ground.devices import has_fast_bfloat16

TILE = 2048  # rows of either side in a product
CHUNK = 512  # rows in float64 at a time
PARTS = 3  # of a squared length: 24 bits in bfloat16
ROUNDOFF = 2.0**-24  # of a sum in float32
TINY = 1e-30  # covers what is too small for float32
CAST = 1e-6  # of a bound, for its rounding to float32
ROUNDING = 1e-13  # of |x|^2 + |y|^2: less is a distance of 0


def spans(stop: int, size: int, start: int = 0) -> Iterator[slice]:
    """start to stop, in slices of some size."""
    return (slice(place, min(place + size, stop)) for place in range(start, stop, size))


@dataclass(frozen=True)
class Side:
    """Rows x (N, d), centred and scaled.

    Attributes:
        rounded: rows xh, PARTS columns that sum to |xh|^2, PARTS + 1 columns of 1.
        squares: |x|^2 (N,).
        lost: |x - xh| (N,).
    """

    rounded: Tensor
    squares: Floats
    lost: Floats


class Screen:
    """Bounds for x (N, d) and y (M, d), or for x and itself.

    Attributes:
        rows: x and y.
        unit: of squared distances, where they are said to be in units.
    """

    def __init__(self, x: Array, y: Array | None = None) -> None:
        fast = has_fast_bfloat16(torch.device("cpu")) and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        self.dtype, self.result = (torch.bfloat16, 2.0**-8) if fast else (torch.float32, ROUNDOFF)
        self.rows, self.symmetric, self.d = (x, x if y is None else y), y is None, x.shape[1]
        self.sums = 1.05 * ROUNDOFF * 2 * (self.d + 16)
        self.centre = (x if y is None else y).mean(0, dtype=np.float64)
        longest = max(_longest(rows, self.centre) for rows in ([x] if y is None else [x, y]))
        self.scale = 2.0 ** np.ceil(np.log2(longest)) if longest else 1.0
        self.unit = self.scale**2
        self.x = self._side(x)
        self.y = self.x if y is None else self._side(y)

    def _side(self, rows: Array) -> Side:
        n, d = rows.shape
        rounded = torch.ones(n, d + 2 * PARTS + 1, dtype=self.dtype)
        squares, lost = np.empty(n), np.empty(n)
        for part in spans(n, CHUNK):
            exact = torch.from_numpy((rows[part] - self.centre) / self.scale)
            rounded[part, :d] = exact
            near = rounded[part, :d].double()
            squares[part] = (exact**2).sum(1)
            lost[part] = (exact - near).square_().sum(1).sqrt()
            rest = near.square_().sum(1)
            for column in range(d, d + PARTS):
                rounded[part, column] = rest
                rest -= rounded[part, column].double()
        return Side(rounded, squares, lost)

    def product(self, rows: slice, columns: slice, shift: float = 0.0) -> Tensor:
        """|xh - yh|^2 - shift, in units, with its rounding; shift is one that bfloat16 holds."""
        left = self.x.rounded[rows].clone()
        left[:, : self.d] *= -2
        left[:, self.d : -1] = left[:, self.d : -1].roll(PARTS, 1)
        left[:, -1] = -shift
        right = self.y.rounded[columns].T
        if self.dtype == torch.float32:
            return torch.from_numpy(left.numpy() @ right.numpy())  # on some processors far faster than torch
        return (left @ right).float()

    def tiles(self, shift: float) -> Iterator[tuple[slice, slice, Tensor]]:
        """Products of some rows of x and of y; of x and itself, only those on and above the diagonal."""
        for rows in spans(len(self.x.lost), TILE):
            for columns in spans(len(self.y.lost), TILE, rows.start if self.symmetric else 0):
                yield rows, columns, self.product(rows, columns, shift)

    def margins(self, part: slice, shift: float, of_y: bool = False) -> Margins:
        """Of some rows of x against all of y, as (n, 1); or of some of y against all of x, as (1, n)."""
        here, there = (self.y, self.x) if of_y else (self.x, self.y)
        shape = (1, -1) if of_y else (-1, 1)
        lost = here.lost[part] + there.lost.max()
        sums = self.sums * (here.squares[part] + there.squares.max() + shift) + TINY
        return Margins(lost.reshape(shape), sums.reshape(shape), self.result, shift)

    def shift(self, squared: float) -> float:
        """A squared distance in units, as the product can hold it."""
        return float(torch.tensor(squared / self.unit, dtype=self.dtype))

    def squared(self, i: Array, j: Array) -> Floats:
        """Squared distances of pairs x_i, y_j (n,), not in units."""
        found = np.empty(len(i))
        for part in spans(len(i), CHUNK):
            apart = torch.from_numpy(self.rows[0][i[part]]).double() - torch.from_numpy(self.rows[1][j[part]])
            found[part] = apart.square_().sum(1)
        return np.where(found < self.zero(i, j), 0, found)

    def zero(self, i: Array, j: Array) -> Floats:
        """Below this the squared distance of x_i and y_j is 0, as it would be by float64 products; not in units."""
        floor: Floats = ROUNDING * self.unit * (self.x.squares[i] + self.y.squares[j])
        return floor


@dataclass(frozen=True)
class Margins:
    """What squared distances, in units, and products say of each other, for n rows of one side.

    Attributes:
        lost: by a row and by any of the other side.
        sums: the error of the product's sums.
        result: the error of a product's result, in proportion to it.
        shift: what the products lack.
    """

    lost: Floats
    sums: Floats
    result: float
    shift: float

    def maybe(self, squared: Floats) -> Tensor:
        """The largest product of a squared distance of at most this."""
        product = (np.sqrt(squared) + self.lost) ** 2 + self.sums - self.shift
        return _float32(product + np.abs(product) * (self.result / (1 - self.result) + CAST))

    def surely(self, squared: Floats) -> Tensor:
        """A product up to which every squared distance is at most this."""
        root = np.sqrt(squared) - self.lost
        product = root**2 - self.sums - self.shift
        product -= np.abs(product) * (self.result / (1 - self.result) + CAST)
        return _float32(np.where(root > 0, product, -np.inf))

    def above(self, product: Floats) -> Floats:
        """The largest squared distance with a product of at most this."""
        near = product + self.shift + self.sums + self.result * np.abs(product)
        return (np.sqrt(np.maximum(near, 0)) + self.lost) ** 2


def _float32(values: Floats) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _longest(rows: Array, centre: Floats) -> float:
    return float(np.sqrt(max(((rows[part] - centre) ** 2).sum(1).max() for part in spans(len(rows), CHUNK))))
