"""What a Python program holds as data: arrays, pairs, splits, lists, data sets of other libraries, data frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.data import arrays, imagefiles, store
from ganvas.data.arrays import LABELS, SPLITS
from ganvas.data.imagefiles import Files
from ganvas.ground.arguments import tensor
from ganvas.ground.errors import UserError

Array = NDArray[Any]
Found = tuple[dict[str, Array], tuple[str, ...] | None]  # what `arrays.build` takes, and the names of columns


def read(source: Any) -> Found | Files:
    """What `arrays.build` takes, with the names of columns; or image files, which may be in memory.

    Args:
        source: an array or tensor; (X, y); {"train": X, "test": (X, y), ...}; a list of PIL images, arrays or paths; a
            torch `Dataset` or `DataLoader`; a Hugging Face `Dataset` or `DatasetDict`; a pandas `DataFrame`. Libraries
            are known by what their objects offer; none is imported.

    Raises:
        UserError: none of these, or one that holds nothing.
    """
    if isinstance(source, Mapping):
        return _splits(source)
    if hasattr(source, "to_numpy") and hasattr(source, "columns"):
        return _frame(source)
    if hasattr(source, "batch_sampler") and hasattr(source, "dataset"):  # a DataLoader, whose order is not the data's
        return read(source.dataset)
    if hasattr(source, "toarray"):
        raise UserError(f"a {type(source).__name__} is sparse: give its .toarray().")
    pair = isinstance(source, tuple) and len(source) == 2
    if pair and len(_shape(source[0])) > 1 and len(_shape(source[1])) in (1, 2):
        return {"images": _array(source[0]), "labels": _labels(source[1])}, None
    if hasattr(source, "tensors") and not hasattr(source, "detach"):
        return read(tuple(source.tensors)) if len(source.tensors) == 2 else read(source.tensors[0])
    if isinstance(source, list | tuple):
        return _list(source)
    if hasattr(source, "__getitem__") and hasattr(source, "__len__") and not hasattr(source, "__array__"):
        return _map(source)
    return {"images": _array(source)}, None


def _splits(source: Mapping[Any, Any]) -> Found:
    found: dict[str, Array] = {}
    names: set[tuple[str, ...] | None] = set()
    for key, value in source.items():
        split = SPLITS.get(str(key).lower())
        if split is None:
            raise UserError(f"split {key!r} of {sorted(map(str, source))}; name them train, validation and test.")
        part = read(value)
        if isinstance(part, Files):
            part = _stacked(part)
        found |= {f"{split}/{kind}": rows for kind, rows in part[0].items()}
        names.add(part[1])
    if not found:
        raise UserError("the dict of splits is empty: give at least train and test.")
    return found, names.pop() if len(names) == 1 else None


def _stacked(files: Files) -> Found:
    """Images in memory that are of one size, as an array of their own numbers: the range is chosen over all splits."""
    rows = [_samples(files.read(name)) for name in files.names]
    if len(shapes := {row.shape for row in rows}) > 1:
        raise UserError(f"images of {sorted(shapes)} in a dict of splits: give a folder, or images of one size.")
    return {"images": np.stack(rows), **({} if files.labels is None else {"labels": files.labels})}, None


def _samples(data: bytes) -> Array:
    """The first image of a file, (H, W, C), bytes or 16 bits as they are stored.

    Raises:
        UserError: samples of another range.
    """
    from ganvas.data import pixels, ranges

    page = pixels.survey(data, 1)[0]
    if page.wide and not (page.wide == "i" and page.low >= 0 and page.high <= 65535):
        raise UserError(
            f"an image of samples from {page.low:.7g} to {page.high:.7g} in a dict of splits: give arrays, or a folder."
        )
    return pixels.decode(data, scale=ranges.Scale(0, 65535, 65536, 16, "as stored") if page.wide else None)


def _frame(frame: Any) -> Found:
    for name in frame.columns:
        column = frame[name].to_numpy()
        if column.dtype.kind not in "biuf":
            raise UserError(f"column {str(name)!r} of the data frame is {column.dtype}, no numbers: leave it out.")
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise UserError(f"column {str(name)!r} of the data frame is empty in row {row}: leave the row or it out.")
    with np.errstate(over="ignore"):  # what is too large is told as infinite
        values = frame.to_numpy().astype(np.float32)
    return {"images": values}, tuple(map(str, frame.columns))


def _list(parts: Sequence[Any]) -> Found | Files:
    if not len(parts):
        raise UserError("the list is empty: give images, or the paths of their files.")
    if all(isinstance(part, str | Path) for part in parts):
        return imagefiles.listed([Path(part).expanduser().absolute() for part in parts])
    if all(_is_picture(part) for part in parts):
        return imagefiles.pictures(parts)
    shapes = {_shape(part) for part in parts}
    if len(shapes) > 1:
        raise UserError(f"a list of {len(parts):,} arrays of shapes {sorted(shapes)[:3]}: all must have one.")
    return {"images": np.stack([_array(part) for part in parts])}, None


def _map(source: Any) -> Found | Files:
    """A map-style data set: of images, of (image, label), or of dicts with an image and perhaps a label."""
    if not len(source):
        raise UserError(f"{type(source).__name__} is empty: it has no images.")
    rows = [_row(source, i) for i in range(len(source))]
    labels: Any = None
    if isinstance(rows[0], Mapping):
        image, label = _columns(source, rows[0])
        if bare := next((i for i, row in enumerate(rows) if not {image, label or image} <= row.keys()), None):
            raise UserError(f"row {bare} of {type(source).__name__} has no {image!r}, or no {label!r}: leave it out.")
        labels = _named(source, label, [row[label] for row in rows]) if label else None
        rows = [row[image] for row in rows]
    elif isinstance(rows[0], list | tuple) and len(rows[0]) == 2:
        rows, labels = [row[0] for row in rows], [row[1] for row in rows]
    found = _list(rows)
    if labels is None:
        return found
    values = _labels(labels)
    if isinstance(found, Files):
        return dataclasses.replace(found, labels=values, manifest=store.digest(found.manifest, values))
    return {**found[0], "labels": values}, None


def _labels(values: Any) -> Array:
    values = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    if isinstance(values, list):
        values = np.array([part.tolist() if hasattr(part, "detach") else part for part in values], object)
    return arrays.whole(values, "the labels")


def _named(source: Any, label: str, codes: list[Any]) -> Any:
    """The names of the classes that a Hugging Face data set states, in place of their numbers; "" of a blank.

    A blank is None there, -1, or NaN in a column of floats, which `with_format("numpy")` makes of one with None
    (datasets 4.4.1).
    """
    names = getattr((getattr(source, "features", None) or {}).get(label), "names", None)
    if not names:
        return codes
    known = _labels(codes)
    blank = (known == -1) | (known == arrays.UNKNOWN)
    if len(wrong := np.flatnonzero(~blank & ((known < 0) | (known >= len(names))))):
        row = int(wrong[0])
        raise UserError(f"row {row} of the data set has {label} {codes[row]}, no class: leave it or its split out.")
    return np.where(blank, "", np.array(names)[np.where(blank, 0, known)])


def _row(source: Any, i: int) -> Any:
    try:
        return source[i]
    except Exception as error:  # the data set's own
        raise UserError(f"row {i} of {type(source).__name__} can't be had: {type(error).__name__}: {error}.") from error


def _shape(value: Any) -> tuple[int, ...]:
    """Of an array, or of parts of one shape; else ()."""
    try:
        return tuple(np.shape(value))
    except Exception:  # of a sparse tensor torch's, of other objects their own
        return ()


def _columns(source: Any, row: Mapping[str, Any]) -> tuple[str, str | None]:
    """The names of the column of images, and of that of labels."""
    image = next((name for name, value in row.items() if _is_picture(value)), None)
    image = image or next((name for name, value in row.items() if np.ndim(value) >= 2), None)
    if image is None:
        raise UserError(f"{type(source).__name__} has columns {sorted(row)}, and none holds images.")
    return image, next((name for name in LABELS if name in row), None)


def _is_picture(value: Any) -> bool:
    return hasattr(value, "getexif") and hasattr(value, "mode")


def _array(values: Any) -> Array:
    try:
        if hasattr(values, "detach"):
            values = tensor(values).cpu()
            values = values.float() if values.is_floating_point() else values  # NumPy has no bfloat16
        found = np.asarray(values)
    except Exception as error:  # NumPy's own words speak of inhomogeneous shapes; an object's __array__ raises anything
        said = str(error) if hasattr(values, "detach") else "its parts differ in shape"
        raise UserError(f"{type(values).__name__} is no array: {said}.") from error
    if found.dtype == object and len(shapes := sorted({_shape(part) for part in found.flat})) > 1:
        raise UserError(f"an array of {found.size:,} parts of shapes {shapes[:3]}: all must have one, channels too.")
    if found.dtype == object or not found.ndim:
        raise UserError(f"{type(values).__name__} is no array of numbers, nor a name or path.")
    return found
