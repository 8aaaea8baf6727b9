"""From an encoded image or an array to 8-bit rows of one size: pure functions."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]
WHITE = "transparency laid on white"


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """`image` scaled (Lanczos) so that it covers `size` = (height, width), then centre-cropped to it."""
    from PIL.Image import Resampling

    (height, width), (w, h) = size, image.size
    if (w, h) == (width, height):
        return image
    scale = min(w / width, h / height)  # source pixels per target pixel
    left, top = max(0.0, (w - width * scale) / 2), max(0.0, (h - height * scale) / 2)
    return image.resize((width, height), Resampling.LANCZOS, box=(left, top, w - left, h - top))


def fitting(size: tuple[int, int]) -> str:
    """What `fit` does, in words."""
    return f"each image scaled (Lanczos) so that it covers {size[0]} x {size[1]}, then centre-cropped"


def decode(data: bytes, size: tuple[int, int] | None = None, channels: int | None = None) -> Pixels:
    """The image file `data` as (H, W, C) bytes: upright, 8 bit, grey (C = 1) or colour (C = 3), the first frame.

    Args:
        data: a file of any format that Pillow reads.
        size: (height, width) to fit to; None leaves it.
        channels: 1 or 3; None takes 1 for a grey file, 3 for one in colour.

    Raises:
        Exception: what Pillow raises for a file that it cannot read; ValueError for samples of unknown range, and
            for a decompression bomb.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data)) as image:
        w, h = image.size
        if Image.MAX_IMAGE_PIXELS is not None and w * h > Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"refused as a decompression bomb: {w} x {h} pixels")
        if size is not None:  # a JPEG is decoded at 1/2, 1/4 or 1/8 where twice the pixels needed are left
            scale = 2 * max(size) / min(w, h)
            image.draft(None, (max(1, int(w * scale)), max(1, int(h * scale))))
        ImageOps.exif_transpose(image, in_place=True)
        flat = _eight_bit(image)
    if channels is not None:
        flat = flat.convert("L" if channels == 1 else "RGB")
    if size is not None:
        flat = fit(flat, size)
    pixels: Pixels = np.asarray(flat)
    return pixels.reshape(*pixels.shape[:2], -1)


def convert(rows: Pixels, size: tuple[int, int] | None, channels: int | None) -> Pixels:
    """Rows (N, H, W, C) with the number of channels changed, then each row fitted to `size`."""
    from PIL import Image

    if channels == 3 and rows.shape[3] == 1:
        rows = np.repeat(rows, 3, axis=3)
    if size in (None, rows.shape[1:3]) and channels in (None, rows.shape[3]):
        return rows
    out = []
    for row in rows:
        image = Image.fromarray(row[:, :, 0] if row.shape[2] == 1 else row)
        image = image.convert("L") if channels == 1 else image
        out.append(np.asarray(image if size is None else fit(image, size)))
    pixels: Pixels = np.stack(out)
    return pixels.reshape(*pixels.shape[:3], -1)


def quantise(values: NDArray[Any]) -> Pixels:
    """Samples of any accepted type as bytes: bool, uint8, uint16 (0 to 65535), float (0 to 1)."""
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if values.dtype.kind == "f":
        return np.rint(values.astype(np.float32) * 255).astype(np.uint8)
    return values.astype(np.uint8, copy=False)


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image in mode L or RGB."""
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):  # Pillow's own conversion clips these
        values = np.asarray(image)
        top = 1 if image.mode == "F" else 65535
        if not (values.min() >= 0 and values.max() <= top):
            raise ValueError(f"samples from {values.min()} to {values.max()}, expected 0 to {top}")
        return Image.fromarray(quantise(values if image.mode == "F" else values.astype(np.uint16)))
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode in ("P", "PA"):
        red, green, blue = np.reshape(image.getpalette("RGB") or [], (-1, 3)).T
        grey = bool((red == green).all() and (green == blue).all())
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if grey else "RGB")
