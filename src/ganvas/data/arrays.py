"""Arrays, `.npy` and `.npz` files, and labels of any source, checked before anything is trained on them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.data import pixels, store
from ganvas.errors import UserError

Array = NDArray[Any]
Labels = str | Path | Array
SPLITS = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
_KINDS = {"x": "images", "image": "images", "images": "images", "data": "images", "arr": "images", "0": "images",
          "y": "labels", "label": "labels", "labels": "labels"}  # fmt: skip


def build(writer: store.Writer, arrays: Mapping[str, Array], labels: Array | None, what: str) -> str:
    """Writes arrays into the cache as (N, H, W, C) bytes, or as (N, 2) float32 points.

    Args:
        writer: the entry to be.
        arrays: "images" (split at random), or "train/images", "test/images" and so on; and the same with "labels".
        labels: labels for "images" that came apart from them.
        what: the source's name, for messages.

    Raises:
        UserError: a shape, type, range or number of labels that is not accepted.
    """
    if labels is not None:
        if "images" not in arrays or "labels" in arrays:
            raise UserError(f"{what} has its own splits or labels {sorted(arrays)}; leave the separate labels out.")
        arrays = {**arrays, "labels": labels}
    parts = {key.removesuffix("images"): value for key, value in arrays.items() if key.endswith("images")}
    shapes = {name: _check(value, f"{what} {name.strip('/')}".strip()) for name, value in parts.items()}
    if len(set(shapes.values())) > 1:
        raise UserError(f"{what}: the splits differ in shape or layout: {shapes}.")
    found: list[Array] = []
    for name, images in parts.items():
        given = arrays.get(f"{name}labels")
        if given is not None:
            found.append(_check_labels(given, len(images), f"{what} {name}labels"))
        for rows in _rows(images, next(iter(shapes.values()))):
            writer.append(rows)
    if found and len(found) < len(parts):
        raise UserError(f"{what} has labels for some splits only: {sorted(arrays)}.")
    codes, classes = encode(np.concatenate(found)) if found else (None, None)
    content = store.digest(*(part for key in sorted(arrays) for part in (key, arrays[key])))
    if list(parts) == [""]:
        splits = store.random_splits(writer.count, what)
    else:
        counts = {name.strip("/"): len(images) for name, images in parts.items()}
        splits = given_splits(np.repeat(list(counts), list(counts.values())), what)
    points = next(iter(parts.values())).ndim == 2
    how = "points as given; 32-bit float" if points else "size as given; 8 bit"
    return writer.finish(content, how, splits, codes, classes=classes, attributes=None, report=[], unreadable=[])


def read(path: Path) -> dict[str, Array]:
    """What `build` takes, from a `.npy` (mapped, not read) or a `.npz` (read) file; pickled objects are refused."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"images": loaded}
        with loaded:
            named = {key: loaded[key] for key in loaded.files}
    except Exception as error:  # np.load raises zipfile, zlib, tokenize and other errors on damaged files
        raise UserError(f"{path} cannot be read as a NumPy file without pickled objects: {error}.") from error
    arrays: dict[str, Array] = {}
    for key, value in named.items():
        tokens = key.lower().replace("-", "_").split("_")
        split = next((SPLITS[token] for token in tokens if token in SPLITS), None)
        default = "images" if split or len(named) == 1 else ""
        kind = next((_KINDS[token] for token in tokens if token in _KINDS), default)
        slot = f"{split}/{kind}" if split else kind
        if not kind or slot in arrays:
            known = "images and labels, or train_images, train_labels, test_images, test_labels, ... (x and y also do)"
            raise UserError(f"{path}: cannot tell what {key!r} of {sorted(named)} is; name the arrays {known}.")
        arrays[slot] = value
    found = [slot for slot in arrays if slot.endswith("images")]
    if not found or ("images" in found and len(found) > 1):
        raise UserError(f"{path} holds {sorted(named)}: either one array of images or one for each split is needed.")
    return arrays


def given_splits(split_of: Array, what: str) -> dict[str, NDArray[np.int64]]:
    """Splits that the source states, by a name for each row; a missing validation split is a tenth of train's.

    Raises:
        UserError: no train or no test rows, or too few train rows to take validation rows from.
    """
    counts = Counter(split_of.tolist())
    if not counts["train"] or not counts["test"]:
        raise UserError(f"{what}: the splits are {dict(counts)}; both train and test are needed, or no splits at all.")
    rows = {name: np.flatnonzero(split_of == name) for name in ("train", "validation", "test")}
    if not len(rows["validation"]):
        n = len(rows["train"])
        if n < 2:
            raise UserError(f"{what}: train has {n} image; at least 2 are needed, as one is taken to validate.")
        order = np.random.default_rng([store.ORDER_SEED, n]).permutation(n)
        tenth = max(1, round(n / 10))
        rows["train"], rows["validation"] = rows["train"][order[tenth:]], rows["train"][order[:tenth]]
    return rows


def encode(values: Array) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels (N,) as indices into the sorted names of the classes, and these names."""
    names, codes = np.unique(values, return_inverse=True)
    return codes.astype(np.int64), tuple(str(name) for name in names.tolist())


def labels_of(labels: Labels, files: Sequence[str], what: str) -> Array:
    """A value for each of `files`, from a CSV file (file,label), or as many numbers in the files' sorted order."""
    return _check_labels(label_values(labels, files, what), len(files), "labels")


def label_values(labels: Labels, files: Sequence[str] | None, what: str) -> Array:
    """The labels as an array: as given, or from a file (the CSV form needs the names of the `files`)."""
    if isinstance(labels, np.ndarray):
        return labels
    path = Path(labels).expanduser()
    if not path.is_file():
        raise UserError(f"the label file {str(path)!r} does not exist.")
    if path.suffix.lower() == ".npy":
        return read(path)["images"]
    if files is None or path.suffix.lower() not in (".csv", ".txt"):
        raise UserError(f"labels {str(path)!r}: give a .npy of whole numbers, or for a folder a .csv (file,label).")
    return _from_csv(path, files, what)


def _from_csv(path: Path, files: Sequence[str], what: str) -> Array:
    ends = Counter(name.rsplit("/", 1)[-1] for name in files)
    known = {name: name for name in files} | {end: name for name in files if ends[end := name.rsplit("/", 1)[-1]] == 1}
    found: dict[str, str] = {}
    with path.open(newline="", encoding="utf-8-sig") as lines:
        for number, row in enumerate(csv.reader(lines), 1):
            if not row or (number == 1 and row[0].strip().lower() in ("file", "filename", "image", "name", "path")):
                continue
            if len(row) != 2:
                raise UserError(f"{path} line {number}: {row} has {len(row)} columns; each line is file,label.")
            file, label = (cell.strip() for cell in row)
            if file not in known:
                raise UserError(f"{path} line {number} names {file!r}, which is not in {what}; remove the line.")
            if known[file] in found:
                raise UserError(f"{path} line {number} names {file!r} a second time; remove one of the lines.")
            found[known[file]] = label
    if missing := [name for name in files if name not in found]:
        raise UserError(f"{path} has no label for {len(missing)} of {len(files)} images, the first is {missing[0]!r}.")
    values = [found[name] for name in files]
    try:
        return np.array([int(value) for value in values])
    except ValueError:
        return np.array(values)


def _check_labels(labels: Array, n: int, what: str) -> Array:
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (n,):
        raise UserError(f"{what} have shape {labels.shape}, but there are {n} images: give one label an image, ({n},).")
    if labels.dtype.kind not in "biuU":
        raise UserError(f"{what} are {labels.dtype}; give whole numbers or names, for example labels.astype(int).")
    return labels.astype(np.int64) if labels.dtype.kind in "bu" else labels


def _check(images: Array, what: str) -> tuple[int, ...] | str:
    """The rows' shape (H, W, C), or "points"; refuses what cannot be images."""
    shape, kind = images.shape, images.dtype.kind
    if not (images.dtype in (bool, np.uint8, np.uint16) or kind == "f"):
        raise UserError(f"{what}: {images.dtype} values; convert to uint8 (0 to 255), uint16 or float (0 to 1).")
    if 0 in shape:
        raise UserError(f"{what}: shape {shape} holds nothing.")
    if kind == "f":
        _check_range(images, what)
    if len(shape) == 2 and shape[1] == 2 and kind == "f":
        return "points"
    if len(shape) == 2:
        raise UserError(f"{what}: shape {shape} is rows of numbers; reshape to (N, height, width).")
    if len(shape) == 3 and (shape[2] in (1, 3) or shape[0] in (1, 3)):
        raise UserError(f"{what}: shape {shape} could be one image or many; reshape to (N, height, width, channels).")
    if len(shape) == 3:
        return (*shape[1:], 1)
    if len(shape) == 4:
        first, last = shape[1] in (1, 3), shape[3] in (1, 3)
        if first and last:
            raise UserError(f"{what}: shape {shape} has its channels first or last; which cannot be told.")
        if first or last:
            return (*shape[2:], shape[1]) if first else shape[1:]
    raise UserError(f"{what}: shape {shape}; accepted are (N, H, W), (N, C, H, W) and (N, H, W, C), C = 1 or 3.")


def _check_range(images: Array, what: str) -> None:
    low, high = np.inf, -np.inf
    for start in range(0, len(images), store.CHUNK):
        chunk = images[start : start + store.CHUNK]
        if not np.isfinite(chunk).all():
            row = start + int(np.flatnonzero(~np.isfinite(chunk.reshape(len(chunk), -1)).all(axis=1))[0])
            raise UserError(f"{what}: image {row} has values that are not numbers (NaN or infinity); remove it.")
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    if images.ndim > 2 and not (low >= 0 and high <= 1):
        remedy = "(x + 1) / 2" if low >= -1 and high <= 1 else "x / 255" if low >= 0 and high <= 255 else "rescaling"
        raise UserError(f"{what}: float values from {low:g} to {high:g}, expected 0 to 1: try {remedy}.")


def _rows(images: Array, shape: tuple[int, ...] | str) -> Iterator[Array]:
    for start in range(0, len(images), store.CHUNK):
        chunk = images[start : start + store.CHUNK]
        if shape == "points":
            yield chunk.astype(np.float32)
        elif chunk.ndim == 3:
            yield pixels.quantise(chunk)[..., None]
        else:
            last = chunk.shape[1:] == shape
            yield pixels.quantise(chunk if last else chunk.transpose(0, 2, 3, 1))
