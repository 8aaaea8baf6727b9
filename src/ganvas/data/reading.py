"""Images of any origin as a model takes them: one reader for arrays, tensors, pictures, paths and lists of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas.data import folder, ranges
from ganvas.errors import UserError

Array = NDArray[Any]


def read_rows(x: Any, shape: tuple[int, ...], range: ranges.Range | None = None) -> Tensor:
    """Anything as the rows of a model of this shape.

    Args:
        x: images (N, C, H, W), (N, H, W, C) or (N, H, W), one of them, or rows (N, d), as array or tensor of any
            numbers; a PIL image; the path of an image file or of a folder of them; or a list of any of these.
        shape: (C, H, W), or (d,) for rows of numbers.
        range: what becomes 0 and 1, in the units of x. None: uint8 is 0 to 255, uint16 0 to 65535 and floats 0 to 1, as
            a data set would be whose range these are. Files and pictures are fitted to the shape.

    Returns:
        float32 (N, *shape), images in [0, 1]; on the device of x.

    Raises:
        UserError: another shape, another range, NaN, or no images at all.
    """
    span = ranges.checked(range)
    if isinstance(x, str | Path):
        return _files([Path(x)], shape, span)
    if hasattr(x, "getexif") and hasattr(x, "mode"):
        return _pictures([x], shape, span)
    if isinstance(x, list | tuple):
        if not x:
            raise UserError("there are no images: the list is empty.")
        if all(isinstance(part, str | Path) for part in x):
            return _files([Path(part) for part in x], shape, span)
        if all(hasattr(part, "getexif") and hasattr(part, "mode") for part in x):
            return _pictures(x, shape, span)
        if any(isinstance(part, Tensor) or np.ndim(part) >= len(shape) for part in x):
            return torch.cat([read_rows(part, shape, range) for part in x])
    values = x.detach() if isinstance(x, Tensor) else _tensor(x)
    rows = _arranged(values, shape)
    return _scaled(rows, span, len(shape) == 3)


def _tensor(x: Any) -> Tensor:
    values = np.asarray(x)
    if values.dtype.kind not in "biuf":
        raise UserError(f"images of {values.dtype} values ({type(x).__name__}); numbers are needed.")
    values = np.array(values, values.dtype.newbyteorder("="), order="C")  # torch has one byte order
    return torch.from_numpy(values)


def _arranged(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(N, *shape), whichever side the channels are on; a single one gets N = 1."""
    given = tuple(values.shape)
    if len(shape) == 1:
        rows = values[None] if values.dim() == 1 else values
        if tuple(rows.shape[1:]) == shape:
            return rows
        raise UserError(f"rows of shape {given}: this model takes (N, {shape[0]}).")
    channels, height, width = shape
    for whole in (given, (1, *given)):
        first, last = whole[1:] == shape, whole[1:] == (height, width, channels)
        if first or last:
            rows = values.reshape(whole)
            return rows if first else rows.movedim(-1, 1)
        if channels == 1 and whole[1:] == (height, width):
            return values.reshape(whole[0], 1, height, width)
    takes = f"(N, {', '.join(map(str, shape))})"
    raise UserError(f"images of shape {given}: this model takes {takes}, or (N, {height}, {width}, {channels}).")


def _scaled(rows: Tensor, span: ranges.Range | None, images: bool) -> Tensor:
    tops = {torch.uint8: 255, torch.uint16: 65535}
    top = tops.get(rows.dtype, 1)
    if rows.dtype == torch.uint16:  # few of torch's operations know it
        rows = rows.view(torch.int16).int().bitwise_and(65535)
    whole = not rows.is_floating_point() and rows.dtype != torch.bool
    x = rows.float()
    if x.numel() and not bool(torch.isfinite(x).all()):
        raise UserError("the images hold NaN or infinite values.")
    if not images:
        return x
    if span:
        return ((x - span[0]) / (span[1] - span[0])).clamp(0, 1)
    if whole and top == 1 and x.numel() and x.min() >= 0 and 1 < x.max() <= 255:
        top = 255  # bytes in a wider type
    x = x / top
    low, high = (float(x.min()), float(x.max())) if x.numel() else (0.0, 1.0)
    if low < -ranges.ROUNDING or high > 1 + ranges.ROUNDING:
        raise UserError(
            f"image values from {low:.7g} to {high:.7g}: floats must be in [0, 1] (or uint8 in 0 ... 255, or uint16)."
        )
    return x.clamp(0, 1)


def _files(paths: list[Path], shape: tuple[int, ...], span: ranges.Range | None) -> Tensor:
    from ganvas.data.loader import to_tensor

    _image_shape(shape)
    return to_tensor(folder.read(paths, (shape[1], shape[2]), shape[0], span)[1])


def _pictures(pictures: Any, shape: tuple[int, ...], span: ranges.Range | None) -> Tensor:
    from ganvas.data.loader import to_tensor

    _image_shape(shape)
    return to_tensor(folder.read_files(folder.pictures(pictures), (shape[1], shape[2]), shape[0], span))


def _image_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[0] not in (1, 3, 4):
        raise UserError(f"image files can't be read for a model of shape {shape}: give it an array of (N, *shape).")
