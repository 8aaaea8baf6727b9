"""Arrays, `.npy` and `.npz` files, and labels of any source, checked before anything is trained on them."""

from __future__ import annotations

import csv
import json
import re
import warnings
import zipfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ganvas.data import ranges, store, unpacking
from ganvas.ground.errors import UserError

Array = NDArray[Any]
Labels = str | Path | Array
SPLITS = {
    "train": "train", "training": "train",
    "val": "validation", "dev": "validation", "development": "validation",
    "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
# names of a column or key that holds labels
LABELS = ("label", "labels", "class", "cls", "target", "category", "fine_label", "coarse_label")
UNKNOWN = np.iinfo(np.int64).min  # a blank among whole numbers; among names it is ""
_DIGITS = re.compile(r"\s*[+-]?\d{1,30}\s*").fullmatch
_KINDS = {"x": "images", "image": "images", "images": "images", "data": "images", "arr": "images", "0": "images",
          "y": "labels", "label": "labels", "labels": "labels"}  # fmt: skip


def build(
    writer: store.Writer,
    arrays: Mapping[str, Array],
    labels: Array | None,
    what: str,
    asked: ranges.Range | None = None,
    columns: Sequence[str] | None = None,
) -> str:
    """Writes arrays into the cache as (N, H, W, C) of 8 or 16 bits, or rows of numbers (N, d) as float32.

    Args:
        writer: the entry to be.
        arrays: "images" (split at random), or "train/images", "test/images" and so on; and the same with "labels".
        labels: labels for "images" that came apart from them.
        what: the source's name, for messages.
        asked: what is black and what is white; None chooses from the data.
        columns: the names of the numbers in a row.

    Raises:
        UserError: a shape, type, range or number of labels that is not accepted.
    """
    if labels is not None:
        if "images" not in arrays or "labels" in arrays:
            raise UserError(f"{what} has its own splits or labels {sorted(arrays)}; leave the separate labels out.")
        arrays = {**arrays, "labels": labels}
    parts = {key.removesuffix("images"): value for key, value in arrays.items() if key.endswith("images")}
    layouts = {name: _layout(value, f"{what} {name.strip('/')}".strip()) for name, value in parts.items()}
    if len({(layout.shape, layout.axes) for layout in layouts.values()}) > 1:
        shapes = {name.strip("/"): value.shape for name, value in parts.items()}
        raise UserError(f"{what}: the splits differ in shape or layout: {shapes}.")
    layout = next(iter(layouts.values()))
    found: list[Array] = []
    for name, images in parts.items():
        given = arrays.get(f"{name}labels")
        if given is not None:
            found.append(_check_labels(given, len(images), f"{what} {name}labels"))
    if found and len(found) < len(parts):
        raise UserError(f"{what} has labels for some splits only: {sorted(arrays)}.")
    scale: ranges.Scale | None = None
    if len(layout.shape) == 3:
        dtype = np.result_type(*(value.dtype for value in parts.values()))
        scale = ranges.choose(lambda: (c for value in parts.values() for c in chunks(value)), dtype, what, asked)
    elif asked:
        raise UserError(f"{what} is rows of numbers, which have no black and white: leave out --range.")
    else:
        low, high = ranges.extent((c for value in parts.values() for c in chunks(value)), what)
        if max(-low, high) > (top := float(np.finfo(np.float32).max)):
            raise UserError(f"{what}: values from {low:.7g} to {high:.7g}: numbers of up to {top:.2g} are kept.")
    require_room(parts.values(), what, scale.bits // 8 if scale else 4)
    for images in parts.values():
        for chunk in chunks(images):
            writer.append(_row(chunk, layout, scale))
    codes, classes, said = encode(_joined(found) if found else None)
    content = store.digest(*(part for key in sorted(arrays) for part in (key, arrays[key])))
    if list(parts) == [""]:
        splits = store.random_splits(writer.count, what)
    else:
        counts = {name.strip("/"): len(images) for name, images in parts.items()}
        splits = given_splits(np.repeat(list(counts), list(counts.values())), what)
    report = [layout.said] if layout.said else []
    report += [scale.chosen] if scale and scale.chosen else []
    report += said
    plain = "points" if layout.shape == (2,) else "rows of numbers"
    how = f"size as given; {bits(scale)}" if scale else f"{plain} as given; 32-bit float"
    meta = {"classes": classes, "attributes": None, "report": report, "unreadable": [], **facts(scale)}
    meta["columns"] = None if columns is None else list(columns)
    return writer.finish(content, how, splits, codes, **meta)


def _joined(parts: list[Array]) -> Array:
    """The labels of all splits; where those of one are names, all are."""
    if any(part.dtype.kind == "U" for part in parts):
        parts = [part if part.dtype.kind == "U" else np.where(part == UNKNOWN, "", part.astype(str)) for part in parts]
    return np.concatenate(parts)


def require_room(values: Iterable[Array], what: str, size: int = 1) -> None:
    """Whether the cache has room for arrays with `size` bytes a number.

    Raises:
        UserError: it has not.
    """
    try:
        store.check_room(size * sum(prod(value.shape) for value in values))
    except store.NoRoomError as full:
        where = f"in the cache, {str(store.root())!r}"
        raise UserError(f"{what} takes {full} {where}: make room, or set GANVAS_CACHE to a folder elsewhere.") from full


def bits(scale: ranges.Scale) -> str:
    """The depth of the rows, and the range if it is not that of bytes, in words."""
    plain = (scale.low, scale.high) == (0, 255)
    return f"{scale.bits} bit" + ("" if plain else f", {scale.low:.9g} to {scale.high:.9g} is black to white")


def facts(scale: ranges.Scale | None) -> dict[str, Any]:
    """What an entry of the cache keeps of a scale: range, levels and columns."""
    if scale is None:
        return {"range": None, "levels": None, "columns": None}
    return {"range": [scale.low, scale.high], "levels": scale.levels, "columns": None}


def read(path: Path) -> dict[str, Array]:
    """What `build` takes, from a `.npy` or `.npz` file, read as rows are asked for; pickled objects are refused."""
    if zipfile.is_zipfile(path):
        named: dict[str, Any] = dict(unpacking.members(path))
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that Python 2 wrote it
                return {"images": npy.open_memmap(path, mode="r")}
        except Exception as error:  # tokenize and other errors of damaged files
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


def splits_of(paths: Sequence[Path]) -> list[str]:
    """ "train/" and so on for each path, by words of its name; "" for all, where not both train and test are there."""
    found = []
    for path in paths:
        words = path.stem.lower().replace("_", "-").split("-")
        found.append(next((SPLITS[word] for word in words if word in SPLITS), ""))
    whole = {"train", "test"} <= set(found) and "" not in found
    return [f"{split}/" if whole else "" for split in found]


def encode(values: Array | None) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None, list[str]]:
    """Labels (N,) as indices into the sorted names of the classes, -1 where one is not known; these names; and what is
    to be said of the unknown. Of labels that are all unknown there are neither.

    Not known is what `whole` calls blank. So is -1, as in scikit-learn, unless there is but one class beside it.
    """
    if values is None:
        return None, None, []
    names, codes = np.unique(values, return_inverse=True)
    blank = int(names[0] in ("", UNKNOWN))
    blank += len(names) - blank > 2 and names[blank] == -1
    if len(names) == blank:
        return None, None, [f"no labels: all {len(values):,} are blank"]
    found = np.maximum(codes.astype(np.int64) - blank, -1)
    unknown = int((found < 0).sum())
    said = [f"{unknown:,} of {len(found):,} images have no label"] if unknown else []
    return found, tuple(str(name) for name in names[blank:].tolist()), said


def labels_of(labels: Labels, files: Sequence[str], what: str) -> Array:
    """A value for each of `files`, from a CSV file (file,label), or as many numbers in the files' sorted order."""
    return _check_labels(label_values(labels, files, what), len(files), f"{what}: labels")


def label_values(labels: Labels, files: Sequence[str] | None, what: str) -> Array:
    """The labels as an array: as given, or from a file (the CSV form needs the names of the `files`)."""
    if isinstance(labels, np.ndarray):
        return whole(labels, f"{what}: labels")
    path = Path(labels).expanduser()
    if not path.is_file():
        raise UserError(f"the label file {str(path)!r} does not exist.")
    if path.suffix.lower() == ".npy":
        return whole(read(path)["images"], str(path))
    if files is None and path.suffix.lower() == ".csv":
        return _column(path)
    if files is None or path.suffix.lower() not in (".csv", ".txt"):
        raise UserError(f"labels {str(path)!r}: give a .npy of whole numbers, or for a folder a .csv (file,label).")
    return _from_csv(path, files, what)


def read_table(path: Path) -> tuple[dict[str, Array], tuple[str, ...]]:
    """What `build` takes, float32 rows, and the names of the columns, of a `.csv` or `.tsv` with a header.

    Raises:
        UserError: no header or rows; a cell that is no number, by its column and row.
    """
    with _lines(path) as lines:
        table = csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        names = tuple(name.strip() for name in next(table, ()))
        if not names or all(_number(name) is not None for name in names):
            raise UserError(f"{path} has no header: let its first line name the columns.")
        rows = array("f")
        for number, row in enumerate(table, 2):
            if not row:
                continue
            if len(row) != len(names):
                raise UserError(
                    f"{path} line {number} has {len(row)} cells, and the header names {len(names)} columns."
                )
            values = [_number(cell) for cell in row]
            if None in values:
                at = values.index(None)
                what = f"is {row[at]!r}, no number" if row[at].strip() else "is empty"
                raise UserError(f"{path} line {number}: column {names[at]!r} {what}; leave the column or the row out.")
            rows.extend(value or 0.0 for value in values)
    if not rows:
        raise UserError(f"{path} has a header and no rows.")
    return {"images": np.frombuffer(rows, np.float32).reshape(-1, len(names))}, names


@contextmanager
def _lines(path: Path) -> Iterator[IO[str]]:
    """A text file's lines.

    Raises:
        UserError: it is no text, or its cells are none.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            yield lines
    except UserError:
        raise
    except (OSError, ValueError, csv.Error) as error:  # bytes that are no UTF-8; NUL; a cell of 128 kB
        raise UserError(f"{path} cannot be read as text in UTF-8: {error}.") from error


def _number(cell: str, finite: bool = True) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) or not finite else None


def metadata(path: Path, files: Sequence[str]) -> tuple[Array | None, str | None]:
    """The labels of `files` in a `metadata.csv` or `.jsonl` with file_name, and their column; None if there is none.

    Raises:
        UserError: a file without its line.
    """
    with _lines(path) as lines:
        try:
            csv_rows = path.suffix == ".csv"
            rows = list(csv.DictReader(lines)) if csv_rows else [json.loads(line) for line in lines if line.strip()]
        except ValueError as error:
            raise UserError(f"{path} is no JSON line by line: {error}.") from error
    if odd := next((row for row in rows if not isinstance(row, dict)), None):
        raise UserError(f"{path}: {odd!r} is no line of names and values.")
    column = next((name for name in LABELS if rows and name in rows[0]), None)
    if column is None or "file_name" not in rows[0]:
        return None, None
    found = {str(row.get("file_name")): row.get(column) for row in rows}
    if missing := next((name for name in files if name not in found), None):
        remedy = f"add its line, with a blank {column} if it is not known, or remove the file {path.name}"
        raise UserError(f"{path} has no line for {missing!r}: {remedy}.")
    given = (found[name] for name in files)
    return whole(["" if value is None else str(value) for value in given], str(path)), column


def _column(path: Path) -> Array:
    """The labels of an array's rows: the last cell of each line, after a header if its cell is "label".

    An empty line between others is a label that is not known.
    """
    with _lines(path) as lines:
        rows = list(csv.reader(lines))
    while rows and not rows[-1]:
        rows.pop()
    cells = [row[-1].strip() if row else "" for row in rows]
    cells = cells[1:] if cells and cells[0].lower() in ("label", "labels", "class", "target", "y") else cells
    return whole(cells, str(path))


def _from_csv(path: Path, files: Sequence[str], what: str) -> Array:
    ends = Counter(name.rsplit("/", 1)[-1] for name in files)
    known = {name: name for name in files} | {end: name for name in files if ends[end := name.rsplit("/", 1)[-1]] == 1}
    found: dict[str, str] = {}
    with _lines(path) as lines:
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
        raise UserError(
            f"{path} has no line for {len(missing)} of {len(files)} images, the first is {missing[0]!r}: add it, with "
            "a blank label if it is not known."
        )
    return whole([found[name] for name in files], str(path))


def whole(labels: Any, what: str) -> Array:
    """Labels (N,) as int64, however their whole numbers are written; or the names that they are.

    A blank, None or NaN is a label that is not known: `UNKNOWN`, or "" among names.

    Raises:
        UserError: a fraction, or a number of more than 64 bits, by its row.
    """
    found = np.asarray(labels)
    found = found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found
    if found.dtype.kind not in "biufUO":
        raise UserError(f"{what} are {found.dtype}; give whole numbers or names.")
    if found.ndim != 1 or found.dtype.kind in "bi":
        return found if found.ndim != 1 else found.astype(np.int64)
    values = [None if _blank(value) else value for value in found.tolist()]
    if any(isinstance(value, str) and _number(value, finite=False) is None for value in values):
        return np.array(["" if value is None else str(value).strip() for value in values], str)
    kept = [UNKNOWN if value is None else _whole(value) for value in values]
    if None in kept:
        row = kept.index(None)
        remedy = "give whole numbers or names (numbers of up to 64 bits), or leave it blank"
        raise UserError(f"{what}: the label of row {row} is {values[row]!r}; {remedy}.")
    return np.array(kept, np.int64)


def _blank(value: Any) -> bool:
    """Whether a cell says nothing, as pandas and CSV files of others write it."""
    return value is None or str(value).strip().lower() in ("", "nan", "<na>")


def _whole(value: Any) -> int | None:
    """A whole number of 64 bits, or text that says one; None: it is none."""
    try:
        number = float(value)
        found = (
            int(number) if isinstance(value, float) or (isinstance(value, str) and not _DIGITS(value)) else int(value)
        )
    except (TypeError, ValueError, OverflowError):  # no number; NaN; infinite
        return None
    return found if number == float(found) and -(2**63) <= found < 2**63 else None


def _check_labels(labels: Array, n: int, what: str) -> Array:
    found = whole(labels, what)
    if found.shape != (n,):
        raise UserError(f"{what} have shape {found.shape}, but there are {n} images: give one label an image, ({n},).")
    return found


@dataclass(frozen=True)
class _Layout:
    """How an array holds its rows: their `shape`, (H, W, C) or (d,), and the `axes` that bring C last."""

    shape: tuple[int, ...]
    axes: tuple[int, ...] | None = None
    said: str = ""


def _layout(images: Array, what: str) -> _Layout:
    """The layout of an array; refuses what can be neither images nor rows of numbers."""
    shape = images.shape
    if images.dtype.kind not in "biuf":
        raise UserError(f"{what}: {images.dtype} values; numbers are needed.")
    if 0 in shape:
        raise UserError(f"{what}: shape {shape} holds nothing.")
    if len(shape) == 2:
        return _Layout(shape[1:])
    if len(shape) == 3 and (shape[2] in (1, 3) or shape[0] in (1, 3)):
        raise UserError(f"{what}: shape {shape} could be one image or many; reshape to (N, height, width, channels).")
    if len(shape) == 3:
        return _Layout((*shape[1:], 1))
    if len(shape) != 4:
        raise UserError(f"{what}: shape {shape}; accepted are (N, H, W), (N, C, H, W), (N, H, W, C) and (N, d).")
    first, last = shape[1], shape[3]
    if first == last:
        raise UserError(f"{what}: shape {shape} has its channels first or last; which cannot be told.")
    channels, place = min((first, "first"), (last, "last"))
    usual = {1, 3, 4} & {first, last} == {channels}
    said = "" if usual else f"shape {shape}: {channels} channels, which come {place}, were taken from the smaller side"
    return _Layout(shape[1:], None, said) if place == "last" else _Layout((*shape[2:], first), (0, 2, 3, 1), said)


def chunks(values: Array) -> Iterator[Array]:
    """Rows of an array, or of one that is read as they are asked for, some at a time."""
    step = store.step(values)
    for start in range(0, len(values), step):
        yield values[start : start + step]


def _row(chunk: Array, layout: _Layout, scale: ranges.Scale | None) -> Array:
    if scale is None:
        return chunk.astype(np.float32)
    chunk = scale(chunk)
    return chunk.reshape(len(chunk), *layout.shape) if layout.axes is None else chunk.transpose(layout.axes)
