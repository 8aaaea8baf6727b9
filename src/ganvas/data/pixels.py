"""From an encoded image or an array to rows of 8 or 16 bits of one size: pure functions."""

from __future__ import annotations

import io
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganvas.data import medical, ranges, tiff, unpacking
from ganvas.ground.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[Any]
WHITE = "transparency laid on white"
EMPTY = "it holds no images"
JPEG = ("JPEG", "MPO")
JPEG_MAGIC = b"\xff\xd8\xff"
MAGIC = {JPEG_MAGIC: "JPEG", b"\x89PNG\r\n\x1a\n": "PNG"}
KINDS = {1: "grey", 3: "colour", 4: "colour with transparency"}
_PHOTOMETRIC, _BITS, _ORIENTATION = 262, 258, 0x0112


@dataclass(frozen=True, slots=True)
class Page:
    """What an image of a file is, before it is fitted.

    Attributes:
        size: (height, width), upright.
        colour: whether it is no grey.
        mode: as Pillow calls it.
        wide: "" for samples of 8 bits, "i" for wider whole numbers, "f" for floats, "w" where a window is stated.
        low: its smallest sample, if it is wide.
        high: its largest; of a file that states a window, both are the window's.
        left_out: empty slices of the file, at the first page of it.
        number: its place in the file, from 0.
    """

    size: tuple[int, int]
    colour: bool
    mode: str
    wide: str = ""
    low: float = 0.0
    high: float = 255.0
    left_out: int = 0
    number: int = 0


@dataclass(frozen=True)
class Form:
    """What every image becomes: `size` (None: it is), `channels`, and the scale of the samples."""

    size: tuple[int, int] | None
    channels: int
    scale: ranges.Scale


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """`image` scaled (Lanczos) so that it covers `size` = (height, width), then centre-cropped to it."""
    from PIL.Image import Resampling

    if image.size == size[::-1]:
        return image
    return image.resize(size[::-1], Resampling.LANCZOS, box=_box(image, size))


def _box(image: Image.Image, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """What is left of an image when it is cropped to the shape of `size`: left, top, right, bottom."""
    (height, width), (w, h) = size, image.size
    scale = min(w / width, h / height)  # source pixels per target pixel
    left, top = max(0.0, (w - width * scale) / 2), max(0.0, (h - height * scale) / 2)
    return left, top, w - left, h - top


def _fit_quickly(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """`fit` of bytes, (H, W) or (H, W, C), by PyTorch along the sides that aren't cropped: a third of Pillow's time.

    Its weights have 16 bits, Pillow's 32: that makes 2 levels at most, and more only where the first of both directions
    overshoots black or white and is cut there, which Pillow does in the order that is cheaper.
    """
    import torch
    from PIL import Image

    (height, width), (w, h), rows = size, image.size, np.array(image)
    tall, wide = w * height < h * width, w * height > h * width  # its top and bottom are cropped, or its sides
    scaled = (h if tall else height, w if wide else width)
    planes = torch.from_numpy(rows.reshape(h, w, -1)).permute(2, 0, 1)[None]
    planes = torch.nn.functional.interpolate(planes, scaled, mode="lanczos", antialias=True)
    rows = planes[0].permute(1, 2, 0).contiguous().numpy().reshape(*scaled, *rows.shape[2:])
    if scaled == size:
        return rows
    left, top, right, bottom = _box(image, size)
    box = (left, 0, right, height) if wide else (0, top, width, bottom)
    return np.asarray(Image.fromarray(rows).resize((width, height), Image.Resampling.LANCZOS, box=box))


@cache
def _has_lanczos() -> bool:
    """Whether this PyTorch has Lanczos' filter: 2.13 has, 2.9 hasn't."""
    import torch

    return hasattr(torch.ops.aten, "_upsample_lanczos2d_aa")


def made(data: bytes, form: Form) -> bytes:
    """What tells an image of this file from what earlier releases made of it, in that form: nothing, if they agree."""
    fitted = form.size is not None and data.startswith(JPEG_MAGIC) and _has_lanczos()
    return b"JPEG fitted by PyTorch" if fitted else b""


def fitting(size: tuple[int, int]) -> str:
    """What `fit` does, in words."""
    return f"each image scaled (Lanczos) so that it covers {size[0]} x {size[1]}, then centre-cropped"


def survey(data: bytes, most: int | None = None) -> list[Page]:
    """The images of a file, from its header: one, or every page of a TIFF. Wide samples are read, for their range.

    Args:
        data: a file of any format that Pillow reads.
        most: images that are looked at; None: all.

    Raises:
        Exception: what Pillow raises for a file that it cannot read; ValueError for a bomb, or samples that are NaN.
    """
    if frames := _frames(data):
        return _survey_frames(*frames)[:most]
    with _opened(data) as image:
        return _survey_pages(image, data, most)


def look(data: bytes, form: Form) -> tuple[list[Page], Pixels | str | None]:
    """`survey`, and in the same reading the image of a file that holds one of 8 bits; or why that can't be decoded.

    Args:
        data: a file of any format that Pillow reads.
        form: what it becomes.

    Raises:
        Exception: as `survey`.
    """
    if _frames(data):
        return survey(data), None
    with _opened(data) as image:
        pages = _survey_pages(image, data)
        if len(pages) > 1 or pages[0].wide:
            return pages, None
        try:
            return pages, _decode(image, data, form.size, form.channels, form.scale)
        except Exception as error:  # Pillow raises whatever its parsers run into
            return pages, reason(error)


def upright(image: Image.Image) -> tuple[int, int]:
    """Height and width of a picture as it is looked at: from 5 on, its orientation in EXIF says that it lies."""
    width, height = image.size
    return (width, height) if image.getexif().get(_ORIENTATION, 1) >= 5 else (height, width)


def _survey_pages(image: Image.Image, data: bytes, most: int | None = None) -> list[Page]:
    found, unpacked = [], 0
    for number in range(_pages(image) if most is None else most):
        image.seek(number)
        unpacked += image.size[0] * image.size[1] * len(image.getbands()) * (4 if _is_wide(image) else 1)
        unpacking.check(len(data), unpacked)
        h, w = upright(image)
        if _is_wide(image):
            values = _wide(image)
            kind = "f" if image.mode == "F" else "i"
            low, high = float(values.min()), float(values.max())
            found.append(Page((h, w), False, image.mode, kind, low, high, number=number))
        else:
            found.append(Page((h, w), not _is_grey(image, data), image.mode, number=number))
    if not found:
        raise ValueError(EMPTY)
    return found


def _frames(data: bytes) -> tuple[list[medical.Frame], int] | None:
    """The images of a file that is none of Pillow's, and how many empty ones it has besides; None: it is Pillow's."""
    if medical.is_medical(data):
        return medical.frames(data)
    return (tiff.frames(data), 0) if tiff.is_odd(data) else None


def _survey_frames(frames: list[medical.Frame], empty: int) -> list[Page]:
    found = []
    for frame in frames:
        values, size = frame.values, frame.values.shape[:2]
        if values.dtype == np.uint8 and frame.window is None:
            found.append(Page(size, values.ndim == 3, "RGB" if values.ndim == 3 else "L", number=frame.number))
            continue
        low, high = frame.window or (float(values.min()), float(values.max()))
        kind = "w" if frame.window else "i" if (values == np.rint(values)).all() else "f"
        found.append(Page(size, False, "F", kind, low, high, number=frame.number))
    found[0] = replace(found[0], left_out=empty)
    return found


def decode_all(data: bytes, form: Form, only: Container[int] | None = None) -> dict[int, Pixels]:
    """Images of a file, by their number there: the pages of a TIFF, slices of a volume, else one; as `decode`.

    Args:
        data: a file.
        form: what they become.
        only: the numbers of those that are wanted; None: all.
    """
    whole = (form.size, form.channels)
    if frames := _frames(data):
        wanted = [frame for frame in frames[0] if only is None or frame.number in only]
        return {frame.number: _framed(frame.values, *whole, form.scale) for frame in wanted}
    with _opened(data) as image:
        pages = [page for page in range(_pages(image)) if only is None or page in only]
    if not pages:
        raise ValueError(EMPTY)
    return {page: decode(data, *whole, page, form.scale) for page in pages}


def reason(error: Exception) -> str:
    """Why a file cannot be read, in words, by what Pillow raised."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):  # whose message is the address of a buffer
        return "not an image, or its header is damaged"
    found = " ".join(str(error).split()) or type(error).__name__
    bomb = isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning)
    return f"refused as a decompression bomb: {found}" if bomb else found


def _framed(values: Pixels, size: tuple[int, int] | None, channels: int | None, scale: ranges.Scale) -> Pixels:
    from PIL import Image

    if scale == ranges.Scale() and values.dtype != np.uint8:
        raise ValueError(f"samples of {values.dtype} in the range of bytes, which is not theirs")
    if values.dtype == np.uint8 and (scale.bits == 8 or values.ndim == 3):
        return _plain(Image.fromarray(np.ascontiguousarray(values)), size, channels, scale)
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return _channels(scale(np.asarray(image if size is None else fit(image, size))[..., None]), channels or 1)


def scale_of(pages: list[Page], what: str, asked: ranges.Range | None = None) -> ranges.Scale:
    """One scale for the wide images among `pages`, or the plain one of bytes."""
    wide = [page for page in pages if page.wide]
    if not wide:
        return ranges.Scale() if asked is None else ranges.integers(0, 255, what, asked, bytes_=True)
    low, high = min(page.low for page in wide), max(page.high for page in wide)
    if all(page.wide == "i" for page in wide):
        return ranges.depth(low, high, what, asked)
    if asked is None and any(page.wide == "w" for page in wide):
        return ranges.window(low, high)
    return ranges.floats(low, high, what, asked)


def decode(
    data: bytes,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    page: int = 0,
    scale: ranges.Scale | None = None,
) -> Pixels:
    """An image of the file `data` as (H, W, C), upright: uint8, or uint16 where `scale` has 16 bits.

    Args:
        data: a file of any format that Pillow reads.
        size: (height, width) to fit to; None leaves it.
        channels: 1, 3, or 4 (with transparency, else it is laid on white); None takes 1 for grey, 3 for colour.
        page: which image of the file.
        scale: of wide samples, and the bits of the result; None: what fits this image.

    Raises:
        Exception: what Pillow raises for a file that it cannot read; ValueError for a decompression bomb.
    """
    scale = scale or scale_of(survey(data)[page : page + 1], "the image")
    if frames := _frames(data):
        return _framed(frames[0][page].values, size, channels, scale)
    with _opened(data) as image:
        image.seek(page)
        return _decode(image, data, size, channels, scale)


def _decode(
    image: Image.Image, data: bytes, size: tuple[int, int] | None, channels: int | None, scale: ranges.Scale
) -> Pixels:
    """The page at which an opened image is."""
    from PIL import Image, ImageOps

    wide, jpeg = _is_wide(image), image.format in JPEG
    if wide and scale == ranges.Scale():  # of bytes: these samples would be black, or white
        raise ValueError(f"samples of mode {image.mode} in the range of bytes, which is not theirs")
    if size is not None:  # a JPEG is decoded at 1/2, 1/4 or 1/8 where twice the pixels needed are left
        least = 2 * max(size) / min(image.size)
        image.draft(None, (max(1, int(image.size[0] * least)), max(1, int(image.size[1] * least))))
    if wide:
        turned = ImageOps.exif_transpose(Image.fromarray(_wide(image).astype(np.float32)))
        values = np.asarray(turned if size is None else fit(turned, size))[..., None]
        rows = scale(values)
        return _channels(rows, channels or 1)
    grey = _is_grey(image, data)
    ImageOps.exif_transpose(image, in_place=True)
    flat = _in_mode(image, "RGBA") if channels == 4 else _flat(image, grey)
    return _plain(flat, size, channels, scale, jpeg)


def _plain(
    flat: Image.Image, size: tuple[int, int] | None, channels: int | None, scale: ranges.Scale, jpeg: bool = False
) -> Pixels:
    """An image of 8 bits as (H, W, C)."""
    if mode := {1: "L", 3: "RGB", 4: "RGBA"}.get(channels or 0):
        flat = _in_mode(flat, mode)
    if size is None or flat.size == size[::-1]:
        pixels: Pixels = np.asarray(flat)
    else:
        pixels = _fit_quickly(flat, size) if jpeg and _has_lanczos() else np.asarray(fit(flat, size))
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if scale.bits == 16:  # beside wide images, or in a range that was asked for
        return pixels.astype(np.uint16) * np.uint16(257)
    return pixels


def convert(rows: Pixels, size: tuple[int, int] | None, channels: int | None) -> Pixels:
    """Rows (N, H, W, C), uint8 or uint16, with the number of channels changed, then each row fitted to `size`.

    Raises:
        UserError: from or to a number of channels that has no colours.
    """
    from PIL import Image

    if channels is not None:
        rows = _channels(rows, channels)
    if size in (None, rows.shape[1:3]):
        return rows
    assert size is not None
    plain = rows.dtype == np.uint8 and rows.shape[3] in (1, 3)
    if plain:
        made = [np.asarray(fit(Image.fromarray(row[:, :, 0] if row.shape[2] == 1 else row), size)) for row in rows]
        return np.stack(made).reshape(len(rows), *size, -1)
    out: Pixels = np.empty((len(rows), *size, rows.shape[3]), rows.dtype)
    top = np.iinfo(rows.dtype).max
    for at, row in enumerate(rows):  # Pillow's own resize of 16 bits is wrong in one byte order
        for channel in range(row.shape[2]):
            image = Image.fromarray(np.ascontiguousarray(row[:, :, channel], np.float32))
            out[at, :, :, channel] = np.rint(np.asarray(fit(image, size)).clip(0, top))
    return out


def to_bytes(rows: Pixels) -> NDArray[np.uint8]:
    """Rows of a split, uint8 or uint16, as bytes to be looked at."""
    if rows.dtype == np.uint16:
        return ((rows.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return rows.astype(np.uint8, copy=False)


def _channels(rows: Pixels, channels: int) -> Pixels:
    """Rows (..., C) with another number of channels."""
    now = rows.shape[-1]
    if now == channels:
        return rows
    if now not in (1, 3, 4):
        raise UserError(
            f"images of {now} channels can't be given {channels}: give images of 1, 3 or 4, or leave --channels out."
        )
    top = np.iinfo(rows.dtype).max
    if now == 1 and channels in (3, 4):
        rows = np.repeat(rows, 3, axis=-1)
    if channels == 4:
        return np.concatenate([rows, np.full_like(rows[..., :1], top)], -1)
    if now == 4:  # laid on white
        alpha = rows[..., 3:].astype(np.float64) / top
        rows = np.rint(rows[..., :3] * alpha + top * (1 - alpha)).astype(rows.dtype)
    if channels == 1:  # Pillow's weights, rounded as it rounds
        weights = np.array([19595, 38470, 7471], np.uint64)
        rows = ((rows.astype(np.uint64) @ weights + 0x8000) >> np.uint64(16)).astype(rows.dtype)[..., None]
    return rows


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    from PIL import Image

    # Asked for none, Pillow tries its fifty formats in turn, some by parsing: for a small JPEG as long as its decoding.
    formats = next(([kind] for magic, kind in MAGIC.items() if data.startswith(magic)), None)
    with Image.open(io.BytesIO(data), formats=formats) as image:
        w, h = image.size
        if Image.MAX_IMAGE_PIXELS is not None and w * h > Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"refused as a decompression bomb: {w} x {h} pixels")
        yield image


def _pages(image: Image.Image) -> int:
    return getattr(image, "n_frames", 1) if image.format == "TIFF" else 1


def _is_wide(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _wide(image: Image.Image) -> NDArray[Any]:
    """The samples (H, W) as float64 numbers, dark to light, a transparent level laid on white."""
    values: NDArray[Any] = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("samples that are not numbers (NaN or infinity)")
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow turns 8 bits over, not these
        bits = tags.get(_BITS, (16,))[0]
        values = 2.0**bits - 1 - values if image.mode.startswith("I;16") else tiff.turned(values)
    level = image.info.get("transparency")
    if isinstance(level, int):
        values = np.where(values == level, 65535, values)
    return values


def _is_grey(image: Image.Image, data: bytes) -> bool:
    if image.mode in ("P", "PA"):
        red, green, blue = np.reshape(image.getpalette("RGB") or [], (-1, 3)).T
        return bool((red == green).all() and (green == blue).all())
    # Pillow opens a PNG of 16-bit grey with alpha as RGBA: depth and colour type stand at these bytes
    return image.mode in ("1", "L", "LA", "La") or (image.format == "PNG" and data[24:26] == b"\x10\x04")


def _flat(image: Image.Image, grey: bool) -> Image.Image:
    """The image in mode L or RGB."""
    from PIL import Image

    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return _in_mode(image, "L" if grey else "RGB")


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # which copies
