"""Which pixels of an image are missing: a mask from a name, an image file, or an array."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganvas.ground.arguments import tensor
from ganvas.ground.errors import UserError, unknown
from ganvas.ground.randomness import Draw

# Rows y and columns x of pixels, from 0 to 1 -> which are missing.
MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "left": lambda y, x: x < 0.5,
    "right": lambda y, x: x > 0.5,
    "top": lambda y, x: y < 0.5,
    "bottom": lambda y, x: y > 0.5,
    "centre": lambda y, x: (y - 0.5).abs().maximum((x - 0.5).abs()) < 0.25,
}
NAMES = (*MASKS, "noise", "box X Y W H")


def read_mask(mask: Any, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Which pixels are missing, bool (H, W), or of rows of numbers (d,).

    Args:
        mask: "left", "right", "top" or "bottom", a half; "centre", a quarter of the image; "noise", each pixel with
            probability 1/2; "box X Y W H", from the left and from the top; an image file of the images' size, in which
            white is missing; or an array of the images' size, in which True or 1 is.
        shape: of an image, (C, H, W); or (d,).
        seed: of "noise".

    Raises:
        UserError: none of these, another size, or a mask that leaves nothing to fill in or nothing to go by.
    """
    size = tuple(shape[-2:]) if len(shape) == 3 else tuple(shape)
    text = os.fspath(mask) if isinstance(mask, str | os.PathLike) else ""
    missing = _named(text, size, seed) if text else _array(mask)
    what = f"the mask {text}" if text else "the mask"
    if tuple(missing.shape) != size:
        given, needed = (" x ".join(map(str, sides)) for sides in (missing.shape, size))
        raise UserError(f"{what} is of {given} (height x width), and the images of {needed}: scale it to that size.")
    if not bool(missing.any()):
        raise UserError(f"{what} has no missing pixel: paint white what is to be filled in.")
    if bool(missing.all()):
        raise UserError(f"{what} has no visible pixel: paint black what is to be kept, or take `ganvas sample`.")
    return missing


def _named(text: str, size: tuple[int, ...], seed: int) -> Tensor:
    name, *numbers = text.split()
    if name == "noise" and not numbers:
        return Draw(seed).uniform("mask", size) < 0.5
    if name in (*MASKS, "box") and len(size) != 2:
        raise UserError(
            f"the mask {text} is of images, and these are rows of {size[0]} numbers: take noise, or an array."
        )
    if name in MASKS and not numbers:
        y, x = ((torch.arange(side) + 0.5) / side for side in size)
        return MASKS[name](y[:, None], x[None]).expand(size)
    if name == "box":
        return _box(text, numbers, size)
    if not Path(text).is_file():
        raise UserError(f"{unknown('mask', text, NAMES)} A black-and-white image file also does.")
    try:
        with Image.open(text) as picture:
            return torch.from_numpy(np.array(picture.convert("L"))) >= 128
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"the mask {text} can't be read: {error}.") from error


def _box(text: str, numbers: list[str], size: tuple[int, ...]) -> Tensor:
    if len(numbers) != 4 or not all(number.isdecimal() for number in numbers):
        raise UserError(f"the mask {text!r}: a box takes four whole numbers, X Y W H, as in box 4 4 10 10.")
    left, top, width, height = map(int, numbers)
    if left + width > size[1] or top + height > size[0]:
        raise UserError(f"the mask {text!r} goes beyond the images, which are {size[1]} wide and {size[0]} high.")
    missing = torch.zeros(size, dtype=torch.bool)
    missing[top : top + height, left : left + width] = True
    return missing


def _array(mask: Any) -> Tensor:
    try:
        values: Tensor = tensor(mask)
    except ValueError as error:
        raise UserError(f"the mask: {error}.") from error
    if not bool(((values == 0) | (values == 1)).all()):
        raise UserError("the mask holds other values than 0 and 1: 1 is missing, 0 is visible.")
    return values.cpu() != 0
