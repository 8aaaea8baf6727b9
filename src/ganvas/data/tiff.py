"""Grey TIFFs of samples that Pillow does not open, or reads as others (needs the extra 'tiff')."""

from __future__ import annotations

import io
import logging
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.data import unpacking
from ganvas.data.medical import Frame, kept

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SAMPLE_FORMAT, _SIGNED = 339, 2


def is_odd(data: bytes) -> bool:
    """Whether it is a TIFF that Pillow does not open: of float64, or of signed numbers whose zero is white, and others;
    or one of signed bytes, which it takes for unsigned ones."""
    from PIL import Image, UnidentifiedImageError

    if data[:4] not in _MAGIC:
        return False
    try:
        with Image.open(io.BytesIO(data)) as image:
            signed = getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, (1,))
            return image.mode == "L" and tuple(signed) == (_SIGNED,)
    except UnidentifiedImageError:
        return True


def frames(data: bytes) -> list[Frame]:
    """The pages of a TIFF, dark to light.

    Raises:
        ValueError: the package is missing, or a page is no grey image.
    """
    try:
        tifffile = import_module("tifffile")
    except ImportError as error:
        raise ValueError("a TIFF of samples that need the extra: pip install 'ganvas[tiff]'") from error
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it says of damage is said once, by the refusal
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found: list[Frame] = []
        if not file.pages:
            raise ValueError("a TIFF without pages")
        unpacking.check(len(data), sum(page.nbytes for page in file.pages))
        for number, page in enumerate(file.pages):
            values = np.squeeze(page.asarray())
            if values.ndim != 2 or values.dtype.kind not in "iuf":
                raise ValueError(f"a TIFF whose page {number} is {values.dtype} {values.shape}: grey is needed")
            found.append(kept(number, turned(values) if page.photometric == 0 else values))
    return found


def turned(values: NDArray[Any]) -> NDArray[Any]:
    """Samples whose smallest is white, the other way round: of up to 16 bits in their type's range, of floats in 0 to 1
    if they are within it, else with the other sign: of 32 bits float32 would lose the last digits."""
    if values.dtype.kind in "iu" and values.itemsize <= 2:
        ends = np.iinfo(values.dtype)
        return int(ends.max) + int(ends.min) - values.astype(np.int64)
    within = values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1
    return (1 if within else 0) - values.astype(np.float64)
