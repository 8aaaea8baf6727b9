"""Whether samples are copies of training images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.evaluate.measures import checks
from ganvas.evaluate.measures.checks import Array, Floats
from ganvas.evaluate.measures.distances import nearest
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import order
from ganvas.ground.registry import Count

CLOSE = 0.01  # the share of held-out images that count as close to the training set
ENOUGH = 20  # samples and held-out images that a cell needs


@checked
def memorising(samples: Any, train: Any, held_out: Any, cells: Count = 10) -> dict[str, float]:
    """Compare how near samples and held-out data come to the training set.

    The rank statistic z of Meehan et al. 2020 (https://arxiv.org/abs/2004.05675) says whether samples are nearer to
    their nearest training image than held-out images are: N(0, 1) where they are alike, far below 0 for copies, far
    above where samples miss the data. A model can copy in one place and miss in another, so c_t is the mean of z over
    the cells of the training set (k-means), each weighted by its share of the held-out data; cells with fewer than 20
    samples or 20 held-out images are left out.

    Args:
        samples: features or flat pixels (N, d).
        train: of the training images (T, d).
        held_out: of real images that were not trained on (M, d).
        cells: of the partition; 1 makes c_t equal to z.

    Returns:
        "close": the share of samples nearer to the training set than all but the nearest 1 % of held-out images; 0.01
        is expected of data. "copies": the share of samples equal to a training image. "z", "c_t" (NaN if no cell has
        enough rows).

    Raises:
        UserError: NaN, different d, fewer than 20 samples or held-out rows, more cells than training rows.
    """
    samples, train, held_out = checks.features(samples=samples, train=train, held_out=held_out)
    for what, rows in (("samples", samples), ("held_out", held_out)):
        if len(rows) < ENOUGH:
            raise UserError(f"{what}: {len(rows)} rows are too few for a rank test; give at least {ENOUGH}.")
    if not 1 <= cells <= len(train):
        raise UserError(f"cells is {cells}; 1 to {len(train)}, the training rows, are possible.")
    near, other = nearest(samples, train)[0][:, 0], nearest(held_out, train)[0][:, 0]
    centres = _k_means(train, cells)
    cell_of, other_cell = nearest(samples, centres)[1][:, 0], nearest(held_out, centres)[1][:, 0]
    scores, weights = [], []
    for cell in range(cells):
        mine, theirs = near[cell_of == cell], other[other_cell == cell]
        if min(len(mine), len(theirs)) >= ENOUGH:
            scores.append(rank_score(mine, theirs))
            weights.append(len(theirs))
    return {
        "close": float((near < np.quantile(other, CLOSE)).mean()),
        "copies": float((near == 0).mean()),
        "z": rank_score(near, other),
        "c_t": float(np.average(scores, weights=weights)) if scores else float("nan"),
    }


def rank_score(x: Array, y: Array) -> float:
    """The Mann-Whitney statistic of x (n,) over y (m,) as a z-score: below 0 where x tends to be smaller.

    U counts the pairs with x > y, and half of those with x = y; its variance is corrected for ties. 0 if all are equal.
    """
    n, m = len(x), len(y)
    _, inverse, counts = np.unique(np.concatenate([x, y]), return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[inverse]
    u = ranks[:n].sum() - n * (n + 1) / 2
    total = n + m
    ties = (counts.astype(np.float64) ** 3 - counts).sum() / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - ties)
    return float((u - n * m / 2) / np.sqrt(variance)) if variance > 0 else 0.0


def _k_means(rows: Array, cells: int, steps: int = 20) -> Floats:
    """Centres (cells, d) after Lloyd's algorithm from rows drawn without return; an empty cell keeps its centre."""
    centres = rows[np.sort(order(0, "cells", n=len(rows))[:cells])].astype(np.float64)
    places: NDArray[np.int64] = np.full(len(rows), -1)
    for _ in range(steps):
        before, places = places, nearest(rows, centres)[1][:, 0]
        if np.array_equal(before, places):
            break
        for cell in np.unique(places):
            centres[cell] = rows[places == cell].mean(0, dtype=np.float64)
    return centres
