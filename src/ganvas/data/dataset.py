"""`load`: any source as a `Dataset`, its splits mapped from the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganvas.data import amat, arrays, folder, pixels, sources, store
from ganvas.errors import UserError, unknown

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
Given = Callable[[], dict[str, Array]]
BINARISE_SEED = 20080620
LARGEST = 4096
_BINARISED = "each level drawn once as black or white with that probability"


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
        images: uint8 (N, H, W, C), 0 to 255, a memory map; points are float32 (N, 2).
        labels: int64 (N,), indices into the data set's classes; (N, A) where it has A attributes; None without labels.
    """

    images: Array
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """Images or points that are ready to train on.

    Attributes:
        name: the registered name, the folder's or file's stem, or "array".
        source: what `load` takes to give the same again: the name, the absolute path, or "array:..." (in the cache).
        splits: "train", "validation", "test".
        shape: (C, H, W), or (2,) for points.
        classes: the names of the label values.
        attributes: the names of the label columns.
        fingerprint: SHA-256, in hex, of content and preparation.
        report: what was left out or ignored, a line each.
        preparation: how the images were made, in a sentence.
    """

    name: str
    source: str
    splits: dict[str, Split]
    shape: tuple[int, ...]
    classes: tuple[str, ...] | None
    attributes: tuple[str, ...] | None
    fingerprint: str
    report: tuple[str, ...]
    preparation: str


def load(
    source: str | Path | Array | torch.Tensor,
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    binarise: bool = False,
    labels: arrays.Labels | None = None,
    strict: bool = False,
    progress: bool = True,
) -> Dataset:
    """Prepares a data set in the cache, unless it is there, and maps it.

    Args:
        source: a registered name; a folder or zip of images (`train` and `test` subfolders are the splits, other
            subfolders the classes); a `.npy`, `.npz` or `.amat` file, or a folder of `.amat` files, one a split; an
            array or tensor (N, H, W), (N, H, W, C) or (N, C, H, W) of uint8, uint16, or floats from 0 to 1; float
            points (N, 2).
        size: side, or (height, width): each image is scaled to cover this, then centre-cropped. None leaves it.
        channels: 1 or 3. None leaves the images as they are.
        binarise: each pixel is drawn once: 255 with the probability level / 255, else 0. The draw is always the same.
        labels: for a folder or zip a CSV file of lines file,label; for these and arrays N numbers, as array or `.npy`.
        strict: stop at a file that cannot be read, instead of leaving it out and reporting it.
        progress: show progress on stderr, if that is a terminal.

    Raises:
        UserError: an unknown source, or one that cannot be prepared as asked; says why, and the remedy.
    """
    wanted = _size(size)
    if channels not in (None, 1, 3):
        raise UserError(f"channels is {channels!r}; 1 (grey) or 3 (colour) are possible.")
    remarks: list[str] = []
    if not isinstance(source, str | Path):
        name = "array"
        given = _numpy(source)
        entry = _from_arrays("array", lambda: {"images": given}, labels, store.digest(given))
        source = f"array:{entry.key[:16]}"
    elif isinstance(source, str) and (source in sources.names() or source.startswith("array:")):
        if labels is not None:
            raise UserError(f"{source!r} has its own labels; leave the separate labels out.")
        name = source.split(":")[0]
        entry = _again(source) if name == "array" else sources.build_entry(source, progress)
    else:
        path = Path(source).expanduser().absolute()
        name, source = path.name if path.is_dir() else path.stem, str(path)
        suffix = path.suffix.lower()
        if not path.exists():
            error = unknown("data set", path.name, sources.names())
            raise UserError(f"{error} A path to a folder, zip, .npy or .npz also does, but there is no {source!r}.")
        if path.is_dir() and (tables := sorted(path.glob("*.amat"))):
            entry = _from_files(str(path), tables, amat.read, labels)
        elif path.is_dir() or suffix == ".zip":
            entry, remarks = folder.build_entry(path, wanted, channels, labels, strict, progress)
        elif suffix in (".npy", ".npz"):
            entry = _from_files(str(path), [path], lambda paths: arrays.read(paths[0]), labels)
        elif suffix == ".amat":
            entry = _from_files(str(path), [path], amat.read, labels)
        else:
            raise UserError(f"{source!r} is neither a folder nor a .zip, .npy, .npz or .amat file.")
    return _dataset(name, source, _derived(entry, name, wanted, channels, binarise, progress), remarks)


def describe(dataset: Dataset) -> list[tuple[str, str]]:
    """The (field, value) pairs that `ganvas data show` prints."""
    splits = dataset.splits
    stored = sum(part.images.nbytes + (0 if part.labels is None else part.labels.nbytes) for part in splits.values())
    kind = "points in the plane" if len(dataset.shape) == 1 else "channels x height x width"
    lines = [
        ("name", dataset.name),
        ("source", dataset.source),
        ("splits", ", ".join(f"{name} {len(part):,}" for name, part in splits.items())),
        ("shape", f"{' x '.join(map(str, dataset.shape))} ({kind})"),
        *_label_lines(dataset),
        ("preparation", dataset.preparation),
        ("fingerprint", dataset.fingerprint),
        ("size on disk", f"{stored / 1e6:,.1f} MB"),
    ]
    return lines + [("report", line) for line in dataset.report]


def _label_lines(dataset: Dataset) -> list[tuple[str, str]]:
    given = [part.labels for part in dataset.splits.values() if part.labels is not None]
    if not given:
        return [("labels", "none")]
    labels = np.concatenate(given)
    if dataset.attributes:
        from ganvas.data.avatars import VALUES

        columns = zip(dataset.attributes, labels.T, strict=True)
        return [(f"attribute {name}", _counts(VALUES.get(name), column)) for name, column in columns]
    return [("classes", _counts(dataset.classes, labels))]


def _counts(names: tuple[str, ...] | None, labels: Array) -> str:
    counts = np.bincount(labels, minlength=len(names or ())).tolist()
    if len(counts) > 40:
        return f"{len(counts):,}, with {min(counts):,} to {max(counts):,} each"
    return ", ".join(f"{name} {count:,}" for name, count in zip(names or range(len(counts)), counts, strict=True))


def _size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) and 1 <= side <= LARGEST for side in pair):
        raise UserError(f"size is {size!r}; give a side or (height, width), each from 1 to {LARGEST}.")
    return pair


def _numpy(values: Any) -> Array:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values  # NumPy has no bfloat16
    array = np.asarray(values)
    if array.dtype == object:
        raise UserError(f"{type(values).__name__} is no array of numbers, nor a name or path.")
    return array


def _from_arrays(what: str, read: Given, labels: arrays.Labels | None, manifest: str) -> store.Entry:
    values = None if labels is None else arrays.label_values(labels, None, what)
    content = [] if values is None else [values]
    return store.entry(
        store.digest("arrays", manifest, *content), lambda writer: arrays.build(writer, read(), values, what)
    )


def _from_files(
    what: str, paths: list[Path], read: Callable[[list[Path]], dict[str, Array]], labels: arrays.Labels | None
) -> store.Entry:
    manifest = "; ".join(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths)
    return _from_arrays(what, lambda: read(paths), labels, manifest)


def _again(source: str) -> store.Entry:
    entry = store.find(source.removeprefix("array:"))
    if entry is None:
        raise UserError(
            f"{source!r} is not in the cache {str(store.root())!r}: it was made from an array in memory. Give that "
            f"array again, or save it with numpy.save and give the file."
        )
    return entry


def _derived(
    entry: store.Entry, name: str, size: tuple[int, int] | None, channels: int | None, binarise: bool, progress: bool
) -> store.Entry:
    """The entry whose rows are those of `entry` with what is still to be changed."""
    splits = entry.splits()
    shape = splits["train"][0].shape[1:]
    if len(shape) == 1:
        if size or channels or binarise:
            raise UserError(f"{name!r} is points, not images: leave out size, channels and binarise.")
        return entry
    size = None if size == shape[:2] else size
    channels = None if channels == shape[2] else channels
    steps = [pixels.fitting(size)] if size else []
    steps += [{1: "made grey", 3: "grey repeated as colour"}[channels]] if channels else []
    steps += [_BINARISED] if binarise else []
    if not steps:
        return entry

    def build(writer: store.Writer) -> str:
        total = sum(len(images) for images, _ in splits.values())
        for rows in store.tracked(_chunks(), -(-total // store.CHUNK), f"preparing {name}", progress):
            writer.append(rows)
        bounds = {split: np.arange(*limits) for split, limits in entry.meta["splits"].items()}
        labels = [labels for _, labels in splits.values() if labels is not None]
        meta = {key: entry.meta[key] for key in ("classes", "attributes", "report", "unreadable")}
        how = "; then ".join([entry.preparation, *steps])
        return writer.finish(entry.key, how, bounds, np.concatenate(labels) if labels else None, **meta)

    def _chunks() -> Any:
        for place, (images, _) in enumerate(splits.values()):
            random = np.random.default_rng([BINARISE_SEED, place])
            for start in range(0, len(images), store.CHUNK):
                rows = pixels.convert(np.asarray(images[start : start + store.CHUNK]), size, channels)
                if binarise:
                    rows = (random.random(rows.shape, np.float32) * 255 < rows).astype(np.uint8) * np.uint8(255)
                yield rows

    return store.entry(store.digest("derived", entry.key, *steps), build)


def _dataset(name: str, source: str, entry: store.Entry, remarks: list[str]) -> Dataset:
    splits = {split: Split(images, labels) for split, (images, labels) in entry.splits().items()}
    shape = splits["train"].images.shape[1:]
    classes, attributes = entry.meta["classes"], entry.meta["attributes"]
    return Dataset(
        name=name,
        source=source,
        splits=splits,
        shape=(shape[2], *shape[:2]) if len(shape) == 3 else shape,
        classes=None if classes is None else tuple(classes),
        attributes=None if attributes is None else tuple(attributes),
        fingerprint=entry.key,
        report=(*entry.meta["report"], *remarks),
        preparation=entry.preparation,
    )
