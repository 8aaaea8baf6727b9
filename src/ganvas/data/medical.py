"""DICOM and NIfTI files as images: slices and frames in the units that the file states (needs the extra 'medical')."""

from __future__ import annotations

import gzip
import io
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.data import unpacking
from ganvas.ground.errors import UserError

Array = NDArray[Any]
SUFFIXES = (".dcm", ".dicom", ".ima", ".nii", ".nii.gz")
_SIZES = {348: "Nifti1Image", 540: "Nifti2Image"}  # of the header, which a NIfTI file begins with


@dataclass(frozen=True)
class Frame:
    """A slice or frame.

    Attributes:
        number: its place in the file, from 0.
        read: gives the values, (H, W) in the file's units, dark to light; or colour, uint8 (H, W, 3).
        window: what the file would show as black and white, in these units; None: it does not say.
    """

    number: int
    read: Callable[[], Array]
    window: tuple[float, float] | None = None

    @property
    def values(self) -> Array:
        """Read anew each time: of a volume, one slice is in memory."""
        return self.read()


def is_medical(data: bytes) -> bool:
    """Whether a file's bytes are DICOM, or NIfTI, which may be compressed."""
    return is_dicom(data) or _nifti(data) is not None


def is_dicom(data: bytes) -> bool:
    """Whether a file begins as DICOM does."""
    return data[128:132] == b"DICM"


def frames(data: bytes) -> tuple[list[Frame], int]:
    """The frames of a DICOM file; or the slices of a NIfTI volume along its last axis (of more axes than three, along
    all from the third on), without those that are of one value throughout, and how many these are. A volume's first
    axis runs to the right, its second upwards.

    Raises:
        UserError: the package is missing.
        ValueError: a DICOM without pixels, a volume of fewer than two axes, one of too many bytes, or all empty.
    """
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # what can't be read is said once, by the refusal
    if is_dicom(data):
        return list(_dicom(data)), 0
    image = getattr(_needed("nibabel"), _nifti(data) or "Nifti1Image").from_bytes(_unpacked(data))
    if len(image.shape) < 2:
        raise ValueError(f"a NIfTI volume of shape {image.shape}: it takes two axes at least")
    kept = []
    for number in range(count := math.prod(image.shape[2:])):
        read = partial(_slice, image, number)
        values = read()
        if values.dtype.kind not in "biuf":
            raise ValueError(f"a NIfTI volume of {values.dtype}: numbers are needed, and no colour")
        if not np.isfinite(values).all():
            raise ValueError("samples that are not numbers (NaN or infinity)")
        if (values != values.flat[0]).any():
            kept.append(Frame(number, read))
    if not kept:
        raise ValueError(f"all {count} slices are empty: each is of one value")
    return kept, count - len(kept)


def _slice(image: Any, number: int) -> Array:
    place = np.unravel_index(number, image.shape[2:], order="F")
    # What is taken of it is scaled by scl_slope and scl_inter.
    return np.rot90(np.asanyarray(image.dataobj[(slice(None), slice(None), *map(int, place))]))


def _dicom(data: bytes) -> Iterator[Frame]:
    pydicom = _needed("pydicom")
    pixels = import_module("pydicom.pixels")
    found = pydicom.dcmread(io.BytesIO(data))
    if "PixelData" not in found and "FloatPixelData" not in found and "DoubleFloatPixelData" not in found:
        raise ValueError(f"a DICOM without pixels (modality {found.get('Modality', 'not said')})")
    sizes = (found.get(name) or 1 for name in ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated"))
    unpacking.check(len(data), math.prod(map(int, sizes)) // 8)
    stored = found.pixel_array  # colour as RGB
    kind = found.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        stored = pixels.apply_color_lut(stored, found)
    if colour := int(found.get("SamplesPerPixel", 1)) > 1 or kind == "PALETTE COLOR":
        stored = stored if stored.dtype == np.uint8 else (stored >> (8 * stored.itemsize - 8)).astype(np.uint8)
    whole = stored.reshape(-1, *stored.shape[-3 if colour else -2 :])
    if colour:
        yield from (kept(i, frame) for i, frame in enumerate(whole))
        return
    values = pixels.apply_rescale(whole, found)
    window = _window(found)
    if kind == "MONOCHROME1":  # its lowest value is white
        if window is None:
            bits, signed = found.BitsStored, found.PixelRepresentation
            ends = np.array([-(1 << (bits - 1)) if signed else 0, (1 << (bits - signed)) - 1])
            window_of_all = pixels.apply_rescale(ends, found)
        values = sum(map(float, window or window_of_all)) - values
    if not np.isfinite(values).all():
        raise ValueError("samples that are not numbers (NaN or infinity)")
    yield from (kept(i, frame, window) for i, frame in enumerate(values))


def kept(number: int, values: Array, window: tuple[float, float] | None = None) -> Frame:
    """A frame that is in memory."""
    return Frame(number, lambda: values, window)


def _window(found: Any) -> tuple[float, float] | None:
    """The first window's ends, in the units after rescaling (DICOM PS3.3 C.11.2.1.2)."""
    center, width = (found.get(f"Window{part}") for part in ("Center", "Width"))
    if center in (None, "") or width in (None, ""):
        return None
    center, width = (float(np.atleast_1d(np.asarray(value, float))[0]) for value in (center, width))
    if found.get("VOILUTFunction", "LINEAR") == "LINEAR":
        center, width = center - 0.5, width - 1
    return (center - width / 2, center + width / 2) if width > 0 else None


def _nifti(data: bytes) -> str | None:
    """The name of nibabel's class for a file's bytes; None: they are no NIfTI in one file."""
    try:
        head = gzip.GzipFile(fileobj=io.BytesIO(data)).read(352) if data[:2] == b"\x1f\x8b" else data[:352]
    except (OSError, EOFError):
        return None
    sizes = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    kind = next((name for size, name in _SIZES.items() if size in sizes), None)
    return kind if kind and head[344 if kind == "Nifti1Image" else 4 :][:3] in (b"n+1", b"n+2") else None


def _unpacked(data: bytes) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    raw = gzip.GzipFile(fileobj=io.BytesIO(data)).read(unpacking.allowed(len(data)) + 1)
    unpacking.check(len(data), len(raw))
    return raw


def _needed(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        kind = {"pydicom": "DICOM", "nibabel": "NIfTI"}[package]
        raise UserError(f"{kind} files need the extra: pip install 'ganvas[medical]'.") from error
