"""How well a score tells strange images from normal ones where labels say which they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ganvas.evaluate.figures import Z
from ganvas.evaluate.measures.checks import Array, finite
from ganvas.ground.arguments import checked


class AUROC(NamedTuple):
    """The area under the ROC curve, and its 95 % interval.

    Attributes:
        value: the chance that a strange image has a higher score than a normal one, ties counted half: 0.5 is chance.
        low: the interval's lower end.
        high: its upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@checked
def auroc(strange: Array, normal: Array) -> AUROC:
    """The area, with the interval of DeLong et al. 1988.

    Where all strange images are above all normal ones, or below, the spread says nothing. Then the interval ends where
    that would have a chance of 2.5 %: m pairs without an image in common are all in order with the chance area^m.

    Args:
        strange: scores (M,), higher is stranger.
        normal: scores (N,).

    Raises:
        UserError: no scores, or NaN.
    """
    strange, normal = (finite(part, name).ravel() for part, name in ((strange, "strange"), (normal, "normal")))
    of_strange, of_normal = _below(strange, normal), 1 - _below(normal, strange)
    value, fewest = float(of_strange.mean()), min(len(strange), len(normal))
    if fewest == 1:
        return AUROC(value, 0.0, 1.0)
    if value in (0, 1):
        edge = 0.025 ** (1 / fewest)
        return AUROC(value, *((edge, 1.0) if value else (0.0, 1 - edge)))
    half = Z * float(of_strange.var(ddof=1) / len(strange) + of_normal.var(ddof=1) / len(normal)) ** 0.5
    return AUROC(value, max(0.0, value - half), min(1.0, value + half))


def _below(scores: Array, others: Array) -> Array:
    """The share of the others that is below each score, ties counted half."""
    others = np.sort(others)
    both = np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")
    return both / (2 * len(others))
