"""What the measures take, checked before they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas.ground import arguments
from ganvas.ground.errors import UserError

Array = NDArray[Any]
Floats = NDArray[np.float64]


def array(values: Any, what: str = "labels") -> Array:
    """Numbers of any origin, from any device, as a NumPy array.

    Raises:
        UserError: no numbers, or parts that differ in shape.
    """
    try:
        found: Array = arguments.array(values)
    except ValueError as error:
        raise UserError(f"{what}: {error}.") from error
    return found


def finite(values: Any, what: str) -> Array:
    """Real numbers with at least one row, as an array; whole numbers as float64.

    Raises:
        UserError: another type, nothing in it, NaN or infinite values.
    """
    found = array(values, what)
    if found.ndim == 0 or not found.size:
        raise UserError(f"{what}: shape {found.shape} holds nothing; at least one row is needed.")
    found = found if found.dtype.kind == "f" else found.astype(np.float64)
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found.reshape(len(found), -1)).all(1))[0])
        raise UserError(f"{what}: row {row} holds NaN or infinite values.")
    return found


def features(**sets: Any) -> list[Array]:
    """Sets of features (N, d), by what each is called in messages; the same d in all of them.

    Raises:
        UserError: another shape, NaN, or sets of different d.
    """
    checked = [finite(values, what) for what, values in sets.items()]
    for what, values in zip(sets, checked, strict=True):
        if values.ndim != 2:
            raise UserError(f"{what}: shape {values.shape}; features are (N, d): take .reshape(len(x), -1).")
    widths = {what: values.shape[1] for what, values in zip(sets, checked, strict=True)}
    if len(set(widths.values())) > 1:
        raise UserError(f"features of different size: {widths}; compute them all with the same function.")
    return checked


def within(values: Any, what: str, peak: float = 1.0) -> Array:
    """Numbers from 0 to `peak`, as float64.

    Raises:
        UserError: others.
    """
    checked = finite(values, what)
    low, high = float(checked.min()), float(checked.max())
    if low < 0 or high > peak:
        raise UserError(f"{what}: values from {low:g} to {high:g}; they must lie in [0, {peak:g}].")
    return checked.astype(np.float64, copy=False)


def images(values: Any, shape: tuple[int, ...]) -> Tensor:
    """Rows (N, *shape) as float32: images in [0, 1], uint8 divided by 255; or points.

    Raises:
        UserError: another shape, another range, NaN.
    """
    try:
        rows: Tensor = arguments.tensor(values)
    except ValueError as error:
        raise UserError(f"images: {error}.") from error
    rows = rows.float() / 255 if rows.dtype == torch.uint8 else rows.float()
    if tuple(rows.shape[1:]) != tuple(shape):
        raise UserError(f"images of shape {tuple(rows.shape)}: (N, {', '.join(map(str, shape))}) is needed.")
    if not bool(torch.isfinite(rows).all()):
        raise UserError("the images hold NaN or infinite values.")
    if len(shape) == 3 and rows.numel() and (rows.min() < 0 or rows.max() > 1):
        raise UserError(
            f"image values from {rows.min():.3g} to {rows.max():.3g}: floats must be in [0, 1] (or uint8 in 0 ... 255)."
        )
    return rows
