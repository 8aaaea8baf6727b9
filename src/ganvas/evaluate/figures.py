"""What a metric yields, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ganvas.evaluate.measures.checks import Array
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import order

Z = 1.96  # standard errors in half a 95 % interval
REPEATS, MOST = 16, 2000


class NotApplicableError(UserError):
    """A metric asked of a model or of data that can't have it."""


@dataclass(frozen=True)
class Figure:
    """A number with its error, and what it is a number of.

    Attributes:
        name: as it is printed.
        value: finite.
        error: its standard error; None where there is none to be had.
        n: on how many images, samples or codes.
        unit: of the value and the error.
        better: which way is better, or the value that is best; "" where none is.
        protocol: what another figure of this name must share to be compared with this one.
        note: a warning for its reader.
        of_data: what as many training images have in the samples' place; None where that says nothing.
        each: of each image, (n,), where the value is their mean: two models on the same images are compared by it.

    Raises:
        UserError: a value or an error that is not finite.
    """

    name: str
    value: float
    error: float | None
    n: int
    unit: str = ""
    better: Literal["lower", "higher", ""] | float = ""
    protocol: str = ""
    note: str = ""
    of_data: float | None = None
    each: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and math.isfinite(self.error or 0.0)):
            raise UserError(f"{self.name} is {self.value} with the error {self.error}: no number to go by.")

    @property
    def interval(self) -> tuple[float, float] | None:
        """From where to where it lies with 95 %, by the normal approximation."""
        return None if self.error is None else (self.value - Z * self.error, self.value + Z * self.error)


def mean(name: str, each: Any, **facts: Any) -> Figure:
    """The figure that is the mean of one number an image, (n,)."""
    each = np.asarray(each, np.float64)
    error = float(each.std(ddof=1) / math.sqrt(len(each))) if len(each) > 1 else None
    return Figure(name, float(each.mean()), error, len(each), each=each, **facts)


def share(name: str, value: float, n: int, **facts: Any) -> Figure:
    """The figure that is a share of n independent trials; its error by Agresti and Coull, so never 0."""
    middle = (value * n + 2) / (n + 4)
    return Figure(name, value, math.sqrt(middle * (1 - middle) / (n + 4)), n, **facts)


def subset_errors(
    statistic: Callable[..., Mapping[str, float]], *sets: Array, seed: int = 0, repeats: int = REPEATS, most: int = MOST
) -> dict[str, float]:
    """Standard errors of statistics of whole sets, from their spread over random subsets.

    The same share f of each set, at most half, is drawn without return `repeats` times; the variance over the subsets
    times f / (1 - f) is that of the whole (the delete-d jackknife, Shao & Wu 1989). A bootstrap would draw a row twice,
    which is a distance of 0 to its neighbour, and a covariance that is too small.

    Args:
        statistic: of as many sets as there are, with its values by name.
        sets: rows (N, ...), at least 4 each.
        seed: of the subsets.
        repeats: how many.
        most: rows of a subset at most.
    """
    part = min(0.5, most / max(len(rows) for rows in sets))
    found = []
    for repeat in range(repeats):
        places = [order(seed, "subset", repeat, which, n=len(rows)) for which, rows in enumerate(sets)]
        chosen = [
            rows[np.sort(place[: max(2, round(part * len(rows)))])] for rows, place in zip(sets, places, strict=True)
        ]
        found.append(statistic(*chosen))
    spread = math.sqrt(part / (1 - part))
    return {name: spread * float(np.std([row[name] for row in found], ddof=1)) for name in found[0]}
