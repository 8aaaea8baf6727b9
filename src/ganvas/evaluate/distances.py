"""Euclidean distances between the rows of two arrays, a block at a time.

Everything is float64: in float32 a product loses the small distances within a tight cluster, which is what a collapsed
generator makes. Float64 is half as fast.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ganvas.evaluate.checks import Array

PAIRS = 2**24  # distances in memory at a time: 128 MiB
ROUNDING = 1e-13  # of |x|^2 + |y|^2: less is a distance of 0

Floats = NDArray[np.float64]


def blocks(x: Array, y: Array) -> Iterator[tuple[slice, Floats]]:
    """Squared distances (n, M) of some rows of x (N, d) to all of y (M, d), with the slice of x that they belong to.

    Computed as |x|^2 + |y|^2 - 2 x.y, with the mean of y taken off before, so that a common offset costs no digits.
    """
    centre = y.mean(0, dtype=np.float64)
    y = y - centre
    y_norms = np.einsum("ij,ij->i", y, y)
    size = max(1, PAIRS // max(y.shape))
    for start in range(0, len(x), size):
        part = x[start : start + size] - centre
        norms = np.einsum("ij,ij->i", part, part)[:, None] + y_norms
        squared = part @ y.T
        squared *= -2
        squared += norms
        norms *= ROUNDING
        squared[squared < norms] = 0
        yield slice(start, start + len(part)), squared


def nearest(x: Array, y: Array | None = None, k: int = 1) -> tuple[Floats, NDArray[np.int64]]:
    """The k rows of y (M, d) nearest to each row of x (N, d), nearest first; without y: of x, but not the row itself.

    Returns:
        Squared distances (N, k), and their places in y (N, k).
    """
    distances, places = np.empty((len(x), k)), np.empty((len(x), k), np.int64)
    for rows, squared in blocks(x, x if y is None else y):
        if y is None:
            squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        found = squared.argmin(1)[:, None] if k == 1 else np.argpartition(squared, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(squared, found, axis=1)
        order = values.argsort(axis=1, kind="stable")
        distances[rows] = np.take_along_axis(values, order, axis=1)
        places[rows] = np.take_along_axis(found, order, axis=1)
    return distances, places
