"""`.amat`: tables in text, an image a line, as Larochelle publishes his variants of MNIST."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from ganvas.data.arrays import SPLITS, Array, whole
from ganvas.ground.errors import UserError


def read(paths: Sequence[Path]) -> dict[str, Array]:
    """What `arrays.build` takes: square grey images (N, S, S, 1), and labels where the lines have a number more.

    Args:
        paths: one table; or one for each split, with train, valid or test in its name.

    Raises:
        UserError: a table that is none, or is not of squares; names that do not tell the split.
    """
    if len(paths) == 1:
        return _file(paths[0])
    found: dict[str, Array] = {}
    for path in paths:
        words = path.stem.lower().replace("-", "_").split("_")
        split = next((SPLITS[word] for word in words if word in SPLITS), None)
        if split is None or f"{split}/images" in found:
            names = [path.name for path in paths]
            raise UserError(f"{path}: which split it is cannot be told of {names}; name them train, valid, test.amat.")
        found |= {f"{split}/{kind}": rows for kind, rows in _file(path).items()}
    return found


def table(lines: IO[bytes], what: str) -> dict[str, Array]:
    """{"images": float32 (N, S, S, 1)}, and "labels" int64 (N,) if there are any, of one table.

    Raises:
        UserError: it is none, or not of squares.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are no lines, which is said below
            rows = np.loadtxt(lines, np.float32, ndmin=2)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{what} is no table of numbers: {error}.") from error
    n, columns = rows.shape
    side = math.isqrt(columns)
    if not n or columns - side**2 not in (0, 1):
        raise UserError(
            f"{what} has {n} lines of {columns} numbers: a square image a line is needed, or one and a label."
        )
    images = {"images": rows[:, : side**2].reshape(n, side, side, 1)}
    return images if columns == side**2 else {**images, "labels": whole(rows[:, -1], what)}


def _file(path: Path) -> dict[str, Array]:
    with path.open("rb") as lines:
        return table(lines, str(path))
