"""`load`: any source as a `Dataset`, its splits mapped from the cache, or streamed from their files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ganvas.data import amat, arrays, folder, imagefiles, look, pixels, python, ranges, shards, sources, store, streamed
from ganvas.data.imagefiles import Files
from ganvas.ground.arguments import Rule, Source, checked, shown, take
from ganvas.ground.errors import UserError, unknown
from ganvas.ground.registry import Count

Array = NDArray[Any]
Given = Callable[[], dict[str, Array] | tuple[dict[str, Array], tuple[str, ...] | None]]
LIMIT_SEED = 20060728
BINARISE_SEED = 20080620
LARGEST = 4096
Side = Annotated[int, Field(ge=1, le=LARGEST)]
Size = int | tuple[int, int]
_BINARISED = "each level drawn once as black or white with that probability"


@dataclass(frozen=True, repr=False)
class Split:
    """One part of a data set.

    Attributes:
        images: uint8 or uint16 (N, H, W, C), a memory map: 0 is black, and 255 or 65535 white; or rows of numbers,
            float32 (N, d), in the source's units; or streamed images, which are taken as those of an array.
        labels: int64 (N,), indices into the data set's classes, -1 where the class is not known; (N, A) where it has A
            attributes; None without labels.
        names: of the source's files, (N,) text, a memory map; None where rows come from no files.
        order: int64 (N,), each row's place in the source; None where it isn't known.
    """

    images: Array | streamed.Images
    labels: NDArray[np.int64] | None
    names: Array | None = None
    order: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labelled(self) -> NDArray[np.int64]:
        """The rows whose labels are known, each of several: int64, in their order; none without labels."""
        if self.labels is None:
            return np.arange(0)
        return np.flatnonzero((self.labels if self.labels.ndim == 1 else self.labels.min(1)) >= 0)

    def of(self, rows: NDArray[np.int64]) -> Split:
        """These rows' images, in memory, and their labels."""
        return Split(self.images[rows], None if self.labels is None else self.labels[rows])

    def __repr__(self) -> str:
        labels = "" if self.labels is None else ", labelled"
        return f"<Split of {len(self):,}: {self.images.dtype} {self.images.shape[1:]}{labels}>"


@dataclass(frozen=True, repr=False)
class Dataset:
    """Images or rows of numbers that are ready to train on.

    Attributes:
        name: the registered name, the folder's or file's stem, or "array".
        source: what `load` takes to give the same again: the name, the absolute path, or "array:..." (in the cache).
        splits: "train", "validation", "test".
        shape: (C, H, W), or (d,) for rows of numbers.
        classes: the names of the label values.
        attributes: the names of the label columns.
        fingerprint: SHA-256, in hex, of content and preparation.
        report: what was chosen, left out or ignored, a line each.
        preparation: how the images were made, in a sentence.
        range: what became 0 and 1, in the source's units: (0, 255) of plain bytes; None for rows of numbers.
        levels: distinct equidistant levels that the source can have; None for floats.
        columns: the names of the numbers in a row.
        how: what `load` was asked for, so that a `Dataset` that it is given is the same again.
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
    range: tuple[float, float] | None = None
    levels: int | None = None
    columns: tuple[str, ...] | None = None
    how: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {len(part):,}" for name, part in self.splits.items())
        return f"<Dataset {self.name}: {' x '.join(map(str, self.shape))}; {parts}>"


def _sized(size: Any) -> Size:
    try:
        pair = size if isinstance(size, list | tuple | np.ndarray) else (size, size)
        sides: tuple[int, int] = take(tuple[Side, Side], pair)
    except ValueError as error:
        said = f"size is {shown(size)}; give a side or (height, width), each from 1 to {LARGEST}."
        raise UserError(said) from error
    return sides if pair is size else sides[0]


@checked
def load(
    source: Source,
    *,
    size: Annotated[Size, Rule("a side, or height and width", _sized)] | None = None,
    channels: int | None = None,
    binarise: bool = False,
    labels: arrays.Labels | None = None,
    range: ranges.Asked = None,
    limit: Count | None = None,
    stream: bool | None = None,
    strict: bool = False,
    progress: bool = True,
) -> Dataset:
    """Prepares a data set in the cache, unless it is there, and maps it; or streams image files.

    Args:
        source: a registered name; a folder or zip of images (`train` and `test` subfolders are the splits, other
            subfolders the classes), or an image file, DICOM and NIfTI too; WebDataset's shards: a `.tar`, a folder of
            them, or "set-{000..127}.tar"; a `.parquet` of encoded images, or a folder of them; a `.npy`, `.npz` or
            `.amat` file, or a folder of `.amat` files, one a split; a `.csv` or `.tsv` of numbers with a header; an
            array or tensor (N, H, W), (N, H, W, C) or (N, C, H, W) of any numbers, or rows of numbers (N, d); (X, y),
            a dict of splits, a list of pictures or paths, a torch or Hugging Face data set, a DataLoader, a data
            frame; or a `Dataset`.
        size: side, or (height, width): each image is scaled to cover this, then centre-cropped. None leaves it, or
            chooses one for files of different sizes.
        channels: 1, 3, or 4 (with transparency). None leaves the images as they are; a folder with any colour is 3.
        binarise: each pixel is drawn once: 255 with the probability level / 255, else 0. The draw is always the same.
        labels: for a folder or zip a CSV file of lines file,label; for these and arrays N numbers, as array or `.npy`.
        range: what is black and what is white, in the source's units. None chooses from the data, and reports it.
        limit: rows of train, at most, and the same share of the other splits; evenly over the classes, by a fixed seed.
        stream: decode the images of files when they are asked for, each time, and keep none. None does so only where
            the cache has no room for them, and reports it. The same rows as from the cache, but dark images of 8 bits
            are not stretched; the fingerprint is of names, sizes and times, and not of the content.
        strict: stop at a file that cannot be read, instead of leaving it out and reporting it.
        progress: show progress on stderr, if that is a terminal.

    Raises:
        UserError: an unknown source, or one that cannot be prepared as asked; says why, and the remedy.
    """
    how: dict[str, Any] = {"size": size, "channels": channels, "labels": labels, "range": range, "limit": limit}
    how["stream"] = stream
    if isinstance(source, Dataset):
        how = {name: source.how.get(name) if value is None else value for name, value in how.items()}
        binarise = binarise or source.how.get("binarise", False)
        return load(source.source, **how, binarise=binarise, strict=strict, progress=progress)
    wanted = (size, size) if isinstance(size, int) else size
    asked = range
    if channels not in (None, 1, 3, 4):
        raise UserError(f"channels is {channels!r}; 1 (grey), 3 (colour) or 4 (with transparency) are possible.")
    remarks: list[str] = []

    def from_files(files: Files, what: str = "", stream: bool | None = stream) -> store.Prepared:
        if labels is not None and files.labels is not None:
            raise UserError(f"{what or source} has its own labels; leave the separate labels out.")
        return folder.from_files(files, what or str(source), wanted, channels, labels, strict, progress, asked, stream)

    entry: store.Prepared
    if not isinstance(source, str | Path):
        name = "array"
        found = python.read(source)
        if isinstance(found, Files):
            entry = from_files(found, "the list", stream=False)  # which is known by its entry alone
        else:
            given, columns = found
            arrays.require_room(given.values(), "the array")  # before all of it is read
            digests = store.digest(*(part for key in sorted(given) for part in (key, given[key])), repr(columns))
            entry = _from_arrays("array", lambda: (given, columns), labels, digests, asked)
        source = f"array:{entry.key[:16]}"
        how |= {"labels": None, "range": None}  # which that entry has now
    elif isinstance(source, str) and (source in sources.names() or source.startswith("array:")):
        if labels is not None:
            raise UserError(f"{source!r} has its own labels; leave the separate labels out.")
        if asked and not source.startswith("array:"):  # an entry of the cache was made in its range
            raise UserError(f"{source!r} has its own range; leave out --range {asked[0]:g} {asked[1]:g}.")
        name = source.split(":")[0]
        entry = _again(source) if name == "array" else sources.build_entry(source, progress)
    else:
        path = Path(source).expanduser().absolute()
        name, source = path.name if path.is_dir() else path.stem, str(path)
        suffix = path.suffix.lower()
        if not path.exists() and (tars := shards.find(source)):  # a pattern
            path, name = tars[0], tars[0].stem
        if not path.exists():
            error = unknown("data set", path.name, sources.names())
            raise UserError(f"{error} A path to a folder, zip, .npy or .npz also does, but there is no {source!r}.")
        if path.is_dir() and (tables := sorted(path.glob("*.amat"))):
            entry = _from_files(str(path), tables, amat.read, labels, asked)
        elif (files := look.packed(source)) is not None:
            entry = from_files(files)
        elif path.is_dir() or suffix == ".zip":
            entry, remarks = folder.build_entry(path, wanted, channels, labels, strict, progress, asked, stream)
        elif suffix in (".npy", ".npz"):
            entry = _from_files(str(path), [path], lambda paths: arrays.read(paths[0]), labels, asked)
        elif suffix == ".amat":
            entry = _from_files(str(path), [path], amat.read, labels, asked)
        elif suffix in (".csv", ".tsv"):
            entry = _from_files(str(path), [path], lambda paths: arrays.read_table(paths[0]), labels, asked)
        elif imagefiles.is_image(path):
            entry = from_files(imagefiles.one(path))
        else:
            known = "a folder, nor a .zip, .tar, .parquet, .npy, .npz, .amat, .csv or .tsv file, nor an image"
            raise UserError(f"{source!r} is neither {known}.")
    streams = isinstance(entry, streamed.Entry)
    if stream and not streams:
        raise UserError(
            f"{name!r} can't be streamed, which takes image files: a folder, zip, .tar or .parquet. Leave --stream out."
        )
    entry = _derived(entry, name, wanted, channels, binarise, limit, progress)
    return replace(prepared(name, source, entry, remarks), how=how | {"binarise": binarise, "stream": streams})


@checked
def describe(dataset: Dataset) -> list[tuple[str, str]]:
    """The (field, value) pairs that `ganvas data show` prints."""
    splits = dataset.splits
    streams = any(isinstance(part.images, streamed.Images) for part in splits.values())
    stored = sum(part.images.nbytes + (0 if part.labels is None else part.labels.nbytes) for part in splits.values())
    kind = "channels x height x width" if len(dataset.shape) == 3 else "numbers a row"
    kind = "points in the plane" if dataset.shape == (2,) else kind
    lines = [
        ("name", dataset.name),
        ("source", dataset.source),
        ("splits", ", ".join(f"{name} {len(part):,}" for name, part in splits.items())),
        ("shape", f"{' x '.join(map(str, dataset.shape))} ({kind})"),
        *_range_lines(dataset),
        *_label_lines(dataset),
        ("preparation", dataset.preparation),
        ("fingerprint", dataset.fingerprint),
        *([] if streams else [("duplicates", _duplicates(dataset))]),
        ("size on disk", f"{stored / 1e6:,.1f} MB" + " decoded, of which none is kept: streamed" * streams),
    ]
    return lines + [("report", line) for line in dataset.report]


def _duplicates(dataset: Dataset) -> str:
    seen: Counter[bytes] = Counter()
    for part in dataset.splits.values():
        for row in part.images:
            seen[hashlib.blake2b(row.tobytes(), digest_size=16).digest()] += 1
    again = sum(seen.values()) - len(seen)
    return f"{again:,} rows are copies of others, to the last bit" if again else "none"


def _range_lines(dataset: Dataset) -> list[tuple[str, str]]:
    if dataset.range is None:
        return [("columns", ", ".join(dataset.columns))] if dataset.columns else []
    low, high = dataset.range
    levels = "" if dataset.levels is None else f", {dataset.levels:,} levels"
    return [("range", f"{low:.7g} is black, {high:.7g} is white{levels}")]


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
    counts = np.bincount(labels[labels >= 0], minlength=len(names or ())).tolist()
    if unknown := int((labels < 0).sum()):
        names, counts = (*(names or map(str, range(len(counts)))), "not known"), [*counts, unknown]
    if len(counts) > 40:
        return f"{len(counts):,}, with {min(counts):,} to {max(counts):,} each"
    return ", ".join(f"{name} {count:,}" for name, count in zip(names or range(len(counts)), counts, strict=True))


def _from_arrays(
    what: str, read: Given, labels: arrays.Labels | None, manifest: str, asked: ranges.Range | None
) -> store.Entry:
    values = None if labels is None else arrays.label_values(labels, None, what)
    content = [] if values is None else [values]

    def build(writer: store.Writer) -> str:
        found = read()
        given, columns = found if isinstance(found, tuple) else (found, None)
        return arrays.build(writer, given, values, what, asked, columns)

    return store.entry(store.digest("arrays", manifest, repr(asked), *content), build)


def _from_files(
    what: str,
    paths: list[Path],
    read: Callable[[list[Path]], dict[str, Array] | tuple[dict[str, Array], tuple[str, ...] | None]],
    labels: arrays.Labels | None,
    asked: ranges.Range | None,
) -> store.Entry:
    manifest = "; ".join(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths)
    return _from_arrays(what, lambda: read(paths), labels, manifest, asked)


def _again(source: str) -> store.Entry:
    entry = store.find(source.removeprefix("array:"))
    if entry is None:
        raise UserError(
            f"{source!r} is not in the cache {str(store.root())!r}: it was made from an array in memory. Give that "
            f"array again, or save it with numpy.save and give the file."
        )
    return entry


def _derived(
    entry: store.Prepared,
    name: str,
    size: tuple[int, int] | None,
    channels: int | None,
    binarise: bool,
    limit: int | None,
    progress: bool,
) -> store.Prepared:
    """The entry whose rows are those of `entry` with what is still to be changed."""
    splits = entry.splits()
    shape = splits["train"][0].shape[1:]
    if len(shape) == 1 and (size or channels or binarise):
        kind = "points" if shape == (2,) else "rows of numbers"
        raise UserError(f"{name!r} is {kind}, not images: leave out size, channels and binarise.")
    size = None if size == shape[:2] else size
    channels = None if len(shape) == 3 and channels == shape[2] else channels
    limit = None if limit is not None and limit >= len(splits["train"][0]) else limit
    steps = [f"at most {limit:,} rows to train on"] if limit else []
    steps += [pixels.fitting(size)] if size else []
    steps += [{1: "made grey", 3: "made colour", 4: "given transparency"}[channels]] if channels else []
    if channels == 3 and shape[2] == 1:
        steps[-1] = "grey repeated as colour"
    steps += [_BINARISED] if binarise else []
    if not steps:
        return entry
    how = "; then ".join([entry.preparation, *steps])
    share = limit / len(splits["train"][0]) if limit else 1.0
    kept = {split: _share(labels, len(images), share, place) for place, (split, (images, labels)) in
            enumerate(splits.items())}  # fmt: skip
    if isinstance(entry, streamed.Entry):
        if binarise:
            raise UserError(
                f"--binarise keeps the pixels that it draws, and {name!r} is streamed: leave --binarise or --stream "
                f"out, or make room in the cache, {str(store.root())!r}."
            )
        return entry.part(kept, how)

    def build(writer: store.Writer) -> str:
        total = sum(map(len, kept.values()))
        for rows in store.tracked(_chunks(), -(-total // store.CHUNK), f"preparing {name}", progress):
            writer.append(rows)
        ends = np.cumsum([len(rows) for rows in kept.values()]).tolist()
        bounds = {split: np.arange(start, end) for split, start, end in zip(kept, [0, *ends], ends, strict=False)}
        labels = [labels[kept[split]] for split, (_, labels) in splits.items() if labels is not None]
        names, order = (_gathered(entry, kind, kept) for kind in ("names", "order"))
        own = ("classes", "attributes", "report", "unreadable", "range", "levels", "columns")
        meta = {key: entry.meta[key] for key in own}
        found = np.concatenate(labels) if labels else None
        return writer.finish(entry.key, how, bounds, found, names=names, order=order, **meta)

    def _chunks() -> Any:
        for place, (split, (images, _)) in enumerate(splits.items()):
            random = np.random.default_rng([BINARISE_SEED, place])
            for start in range(0, len(kept[split]), store.CHUNK):
                rows = np.asarray(images[kept[split][start : start + store.CHUNK]])
                rows = pixels.convert(rows, size, channels) if len(shape) == 3 else rows
                if binarise:
                    top = np.iinfo(rows.dtype).max
                    rows = (random.random(rows.shape, np.float32) * top < rows).astype(np.uint8) * np.uint8(255)
                yield rows

    return store.entry(store.digest("derived", entry.key, *steps), build)


def _share(labels: Array | None, n: int, share: float, place: int) -> NDArray[np.int64]:
    """A share of n rows, at least one, in their order: drawn by a fixed seed, evenly over the classes."""
    if share >= 1:
        return np.arange(n)
    drawn = np.random.default_rng([LIMIT_SEED, place]).permutation(n)
    count = max(1, round(n * share))
    if labels is not None and labels.ndim == 1:  # by place within its class, as a share of the class
        sizes, seen = Counter(labels.tolist()), Counter[int]()
        places = []
        for row in drawn.tolist():
            label = int(labels[row])
            places.append((seen[label] + 0.5) / sizes[label])
            seen[label] += 1
        drawn = drawn[np.argsort(places, kind="stable")]
    return np.sort(drawn[:count])


def _gathered(entry: store.Prepared, kind: str, kept: dict[str, NDArray[np.int64]]) -> Array | None:
    parts = [(entry.extra(kind, split), rows) for split, rows in kept.items()]
    found = [part[rows] for part, rows in parts if part is not None]
    return np.concatenate(found) if found else None


def prepared(name: str, source: str, entry: store.Prepared, remarks: Sequence[str] = ()) -> Dataset:
    """The data set of an entry of the cache, or of one that is streamed."""
    splits = {
        split: Split(images, labels, entry.extra("names", split), entry.extra("order", split))
        for split, (images, labels) in entry.splits().items()
    }
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
        range=None if entry.meta["range"] is None else tuple(entry.meta["range"]),
        levels=entry.meta["levels"],
        columns=None if entry.meta["columns"] is None else tuple(entry.meta["columns"]),
    )
