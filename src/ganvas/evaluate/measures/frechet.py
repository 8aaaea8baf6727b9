"""The Frechet distance between two sets of features."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ganvas.evaluate.measures import checks
from ganvas.evaluate.measures.checks import Array, Floats
from ganvas.ground.errors import UserError


def frechet_distance(real: Any, fake: Any) -> float:
    """The Frechet distance between the normal distributions with the means and covariances of two sets of features.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Dowson and Landau 1982). Only over the Inception network's features is
    it what papers call FID (Heusel et al. 2017): say which features it was.

    With the centred features / sqrt(N - 1) = Q R, S = R^T R and tr (S1 S2)^(1/2) is the sum of the singular values of
    R1 R2^T: so no covariance is squared and no square root taken of one that is singular.

    Args:
        real: features (N, d).
        fake: features (M, d); the estimate is biased upwards, the more the fewer rows, so compare equal numbers only.

    Raises:
        UserError: NaN, different d, fewer than 2 rows.

    Warns:
        UserWarning: d rows or fewer, whose covariance is singular.
    """
    real, fake = checks.features(real=real, fake=fake)
    for what, rows in (("real", real), ("fake", fake)):
        if len(rows) < 2:
            raise UserError(f"{what}: 1 row has no covariance; give more than {rows.shape[1]}, better 10,000.")
        if len(rows) <= rows.shape[1]:
            warnings.warn(
                f"{what}: the covariance of {len(rows)} rows of {rows.shape[1]} features is singular, and the distance "
                f"far too large: it takes more than {rows.shape[1]}, better 10,000.",
                stacklevel=2,
            )
    (mean, root), (other_mean, other_root) = _moments(real), _moments(fake)
    overlap = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
    squares = ((mean - other_mean) ** 2).sum() + (root**2).sum() + (other_root**2).sum()
    return max(0.0, float(squares - 2 * overlap))


def _moments(rows: Array) -> tuple[Floats, Floats]:
    """The mean (d,), and R with R^T R = the covariance (d, d)."""
    mean = rows.mean(0, dtype=np.float64)
    return mean, np.linalg.qr(rows - mean, mode="r") / np.sqrt(len(rows) - 1)
