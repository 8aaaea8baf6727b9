"""Images of any origin as a model takes them: one reader for arrays, tensors, pictures, paths and lists of these."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.data import folder, imagefiles, pixels, ranges
from ganvas.data.loader import to_tensor
from ganvas.ground.arguments import tensor
from ganvas.ground.errors import UserError


def read_rows(
    x: Any, shape: tuple[int, ...], range: ranges.Range | None = None, known: ranges.Range | None = None
) -> Tensor:
    """Anything as the rows of a model of this shape.

    Args:
        x: images (N, C, H, W), (N, H, W, C) or (N, H, W), one of them, or rows (N, d), as array or tensor of any
            numbers; a PIL image; the path of an image file or of a folder of them, or the bytes of a file, whose first
            image is taken; or a list of any of these.
        shape: (C, H, W), or (d,) for rows of numbers.
        range: what becomes 0 and 1, in the units of x. None: what `ranges.read_in` says of `known`. Files and pictures
            are fitted to the shape.
        known: what was black and white in a model's training; None: uint8 is 0 to 255, uint16 0 to 65535 and floats 0
            to 1.

    Returns:
        float32 (N, *shape), images in [0, 1]; on the device of x.

    Raises:
        UserError: another shape, another range, NaN, or no images at all.
    """
    span = ranges.checked(range)
    if isinstance(x, bytes):
        _image_shape(shape)
        return to_tensor(folder.read_first(x, (shape[1], shape[2]), shape[0], span, known))
    if isinstance(x, str | Path) or _is_picture(x):
        x = [x]
    if isinstance(x, list | tuple):
        if not x:
            raise UserError("there are no images: the list is empty.")
        if all(isinstance(part, str | Path) for part in x):
            _image_shape(shape)
            return to_tensor(folder.read([*map(Path, x)], (shape[1], shape[2]), shape[0], span, known)[1])
        if all(map(_is_picture, x)):
            _image_shape(shape)
            return to_tensor(folder.read_files(imagefiles.pictures(x), (shape[1], shape[2]), shape[0], span, known))
        if any(isinstance(part, Tensor) or (len(shape) > 1 and np.ndim(part) >= len(shape)) for part in x):
            return torch.cat([read_rows(part, shape, range, known) for part in x])
    try:
        rows = _arranged(tensor(x), shape)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"images: {error}.") from error
    return _scaled(rows, span, known, len(shape) == 3)


def own_size(images: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of images as one has them; those of `shape` (C, H, W) where it is files or a list of several."""
    if isinstance(images, str | Path) and Path(images).is_file():
        with contextlib.suppress(Exception):  # what reads it says what is wrong with it
            return pixels.survey(Path(images).read_bytes(), 1)[0].size
    if _is_picture(images):
        return pixels.upright(images)
    found = tuple(getattr(images, "shape", ()))
    if len(found) < 2:
        return shape[1], shape[2]
    last = len(found) > 2 and found[-1] == shape[0] and found[-3] != shape[0]
    return found[-3:-1] if last else found[-2:]


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


def _scaled(rows: Tensor, span: ranges.Range | None, known: ranges.Range | None, images: bool) -> Tensor:
    kind = {torch.uint8: "u1", torch.uint16: "u2"}.get(rows.dtype, "f" if rows.is_floating_point() else "i")
    known = None if rows.dtype == torch.bool else known
    if rows.dtype == torch.uint16:  # few of torch's operations know it
        rows = rows.view(torch.int16).int().bitwise_and(65535)
    x = rows if rows.is_floating_point() else rows.float()
    if x.numel() and not bool(torch.isfinite(x).all()):
        bad = (~torch.isfinite(x)).nonzero()[0].tolist()
        named = f"image {bad[0]} holds" if images else f"row {bad[0]}, column {bad[1]}, holds"
        raise UserError(f"{named} NaN or infinite values: leave it out, or fill it in.")
    if not images or not x.numel():
        return x.float()
    if span is None:
        span = ranges.told(float(x.min()), float(x.max()), kind, known)
    return ((x - span[0]) / (span[1] - span[0])).clamp(0, 1).float()


def _is_picture(x: Any) -> bool:
    return hasattr(x, "getexif") and hasattr(x, "mode")


def _image_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[0] not in (1, 3, 4):
        raise UserError(f"image files can't be read for a model of shape {shape}: give it an array of (N, *shape).")
