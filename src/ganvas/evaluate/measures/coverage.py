"""How much of the real data the samples cover, and how many of them lie where real data lies.

Two sets of 50,000 x 2,048 features: seconds and memory are in benchmarks/table.md. Precision
and recall take three products of all rows, density and coverage two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ganvas.evaluate.measures import checks
from ganvas.evaluate.measures.checks import Array, Floats
from ganvas.evaluate.measures.distances import inside, nearest
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count

TIE = 1e-9  # squared distances that differ by less, relatively, are equal


@checked
def precision_recall(real: Any, fake: Any, k: Count = 3) -> dict[str, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, https://arxiv.org/abs/1904.06991).

    Around each row lies a ball that reaches to its k-th nearest neighbour in its own set, itself not counted.

    Args:
        real: features (N, d) of real images.
        fake: features (M, d) of samples; the paper takes M = N = 50,000.
        k: 3 as in the paper.

    Returns:
        "precision": the share of the samples that lie in a ball of a real image. "recall": the share of the real
        images that lie in a ball of a sample.

    Raises:
        UserError: NaN, different d, k rows or fewer, real features that do not vary.
    """
    real, fake = _checked(real, fake, k)
    real_radii, fake_radii = _radii(real, k, "real"), _radii(fake, k)
    realistic, covered = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    balls = inside(real, fake, real_radii * (1 + TIE), fake_radii * (1 + TIE))
    for rows, columns, (of_real, of_fake) in balls:
        realistic[columns] |= of_real.any(0)
        covered[rows] |= of_fake.any(1)
    return {"precision": float(realistic.mean()), "recall": float(covered.mean())}


@checked
def density_coverage(real: Any, fake: Any, k: Count = 5) -> dict[str, float]:
    """Density and coverage (Naeem et al. 2020, https://arxiv.org/abs/2002.09797).

    The balls are the real images' alone, so that one odd sample can't cover what is far from it. A ball is open, as in
    the authors' code: of two equal sets density and coverage are exactly 1.

    Args:
        real: features (N, d) of real images.
        fake: features (M, d) of samples.
        k: 5 as in the paper.

    Returns:
        "density": how many balls of real images a sample lies in, divided by k; expected 1 for the data itself, and
        more is possible. "coverage": the share of the real images with a sample in their ball; for the data itself
        expected 1 - (N - 1) ... (N - k) / ((2 N - 1) ... (2 N - k)) where M = N: 0.97 with k = 5.

    Raises:
        UserError: NaN, different d, k rows or fewer, real features that do not vary.
    """
    real, fake = _checked(real, fake, k)
    radii = _radii(real, k, "real")
    count, covered = 0, np.zeros(len(real), bool)
    for rows, _, (hits,) in inside(real, fake, np.nextafter(radii * (1 - TIE), -np.inf)):
        count += int(hits.sum())
        covered[rows] |= hits.any(1)
    return {"density": count / (k * len(fake)), "coverage": float(covered.mean())}


def _checked(real: Any, fake: Any, k: int) -> tuple[Array, Array]:
    real, fake = checks.features(real=real, fake=fake)
    for what, rows in (("real", real), ("fake", fake)):
        if len(rows) <= k:
            raise UserError(f"{what}: {len(rows)} rows have no {k}-th nearest neighbour; give more than {k}.")
    return real, fake


def _radii(rows: Array, k: int, what: str = "") -> Floats:
    """Squared distances (N,) to the k-th nearest other row; refused where all are 0, if it has a name."""
    radii = nearest(rows, k=k)[0][:, -1]
    if what and not radii.any():
        raise UserError(f"{what}: each row has {k} equal ones, so every ball is a point; the features do not vary.")
    return radii
