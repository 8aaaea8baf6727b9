"""A folder or zip of images, decoded in parallel into the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ganvas.data import arrays, imagefiles, pixels, ranges, store
from ganvas.data.imagefiles import Files
from ganvas.errors import UserError

LARGEST = 64  # side that is chosen for images of different sizes, at most, and for large ones
LARGE = 128  # the longer side above which images are made smaller, unless a size is given
APART = "images of one file are all in one split"

# The file's digest, and its images' pixels by their number in it, or why there are none.
Decoded = tuple[bytes, dict[int, pixels.Pixels] | str]
Pages = list[pixels.Page]
T = TypeVar("T")


@dataclass(frozen=True)
class Form:
    """What every image becomes: `size` (None: it is), `channels`, and the scale of the samples."""

    size: tuple[int, int] | None
    channels: int
    scale: ranges.Scale


def build_entry(
    path: Path,
    size: tuple[int, int] | None,
    channels: int | None,
    labels: arrays.Labels | None,
    strict: bool,
    progress: bool,
    asked: ranges.Range | None = None,
) -> tuple[store.Entry, list[str]]:
    """The cache's entry for the folder or zip at `path`, decoded now unless done before; and remarks on the path.

    Raises:
        UserError: no images, labels that do not match, a range that holds no data; with `strict` also the first file
            that cannot be read.
    """
    files = imagefiles.in_place(path)
    if not files.names:
        kinds = _kinds(files.ignored)
        raise UserError(f"{path} holds no images: {sum(files.ignored.values())} other files{kinds and f' ({kinds})'}.")
    remarks = []
    if labels is None and path.is_dir() and (table := _metadata(path)):
        labels, column = arrays.metadata(table, files.names)
        remarks = [f"labels are the column {column!r} of {table.name}"] if column else []
    entry = from_files(files, str(path), size, channels, labels, strict, progress, asked)
    kinds = _kinds(files.ignored)
    return entry, remarks + ([f"files that are not images were ignored: {kinds}"] if kinds else [])


def _metadata(path: Path) -> Path | None:
    names = ("metadata.csv", "metadata.jsonl")
    return next((path / name for name in names if (path / name).is_file()), None)


def from_files(
    files: Files,
    what: str,
    size: tuple[int, int] | None,
    channels: int | None,
    labels: arrays.Labels | None,
    strict: bool,
    progress: bool,
    asked: ranges.Range | None,
) -> store.Entry:
    """The cache's entry for image files wherever they are, which may have labels of their own; as `build_entry`."""
    values = None if labels is None else arrays.labels_of(labels, files.names, what)
    given = "" if values is None else store.digest(values if values.dtype.kind != "U" else "\n".join(values.tolist()))
    manifest = store.digest("folder", what, files.manifest, repr((size, channels, asked)), given)
    entry = store.entry(
        manifest, lambda writer: _build(writer, files, what, size, channels, values, strict, progress, asked)
    )
    if strict and entry.meta["unreadable"]:
        raise _strict(*entry.meta["unreadable"][0])
    return entry


def read(
    paths: Sequence[Path],
    size: tuple[int, int],
    channels: int,
    asked: ranges.Range | None = None,
    known: ranges.Range | None = None,
) -> tuple[list[Path], pixels.Pixels]:
    """The image files at `paths`, and those in folders there, decoded into memory.

    Args:
        paths: files, or folders.
        size: (height, width) that each is fitted to.
        channels: 1, 3 or 4.
        asked: the range of the samples; None chooses.
        known: what was black and white in the training of the model that they are for, see `ranges.read_in`; None
            chooses as for a data set of these files.

    Returns:
        A PNG's name for each, relative to the folder that it was found in, and the pixels (N, H, W, C).

    Raises:
        UserError: a path with no images, a file that cannot be read, or two of one name.
    """
    places: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"there is no {str(path)!r}; give image files, or folders of them.")
        names = imagefiles.in_place(path).names if path.is_dir() else (path.name,)
        if not names:
            raise UserError(f"{path} holds no images: no file in it ends as Pillow's images do.")
        for name in names:
            place = path / name if path.is_dir() else path
            if (other := places.setdefault(Path(name).with_suffix(".png"), place)) != place:
                raise UserError(f"{str(other)!r} and {str(place)!r} have one name: rename one, or give them apart.")
    files = Files(tuple(map(str, places.values())), "", {}, lambda name: Path(name).read_bytes())
    shown: list[Path] = []
    rows: list[pixels.Pixels] = []
    for label, found in zip(places, _read(files, size, channels, asked, known), strict=True):
        rows += found
        several = len(found) > 1
        shown += [label.with_stem(f"{label.stem}-{i}") if several else label for i in range(len(found))]
    return shown, np.stack(rows)


def read_files(
    files: Files,
    size: tuple[int, int],
    channels: int,
    asked: ranges.Range | None = None,
    known: ranges.Range | None = None,
) -> pixels.Pixels:
    """The images of `files` in memory, (N, H, W, C); as `read`."""
    return np.stack([row for found in _read(files, size, channels, asked, known) for row in found])


def _read(
    files: Files, size: tuple[int, int], channels: int, asked: ranges.Range | None, known: ranges.Range | None
) -> Iterator[list[pixels.Pixels]]:
    with closing(surveyed(files)) as seen:
        pages = [page for _, found in seen if not isinstance(found, str) for page in found]
    scale, finish = _reader(pages, asked, known)
    with closing(_decoded(files, Form(size, channels, scale))) as decoded:
        for name, (_, found) in zip(files.names, decoded, strict=True):
            if isinstance(found, str):
                raise UserError(f"{name!r} cannot be read: {found}.")
            yield [finish(row) for row in found.values()]


def read_first(
    data: bytes, size: tuple[int, int], channels: int, asked: ranges.Range | None, known: ranges.Range | None
) -> pixels.Pixels:
    """The first image of a file in memory, (1, H, W, C); as `read`.

    Raises:
        UserError: it cannot be read.
    """
    try:
        scale, finish = _reader(pixels.survey(data, 1), asked, known)
        return finish(pixels.decode(data, size, channels, 0, scale))[None]
    except UserError:
        raise
    except Exception as error:  # Pillow raises whatever its parsers run into
        raise UserError(f"this image can't be read: {error}.") from error


def _reader(
    pages: Pages, asked: ranges.Range | None, known: ranges.Range | None
) -> tuple[ranges.Scale, Callable[[pixels.Pixels], pixels.Pixels]]:
    """The scale that these images are decoded by, and what makes rows of what is decoded."""
    if not (wide := [page for page in pages if page.wide]):  # bytes as they are, and their range after that

        def finish(row: pixels.Pixels) -> pixels.Pixels:
            return ranges.Scale(*(asked or ranges.told(int(row.min()), int(row.max()), "u1", known)))(row)

        return ranges.Scale(), finish
    low, high = min(page.low for page in wide), max(page.high for page in wide)
    kinds = {page.wide for page in wide}
    kind = "f" if "f" in kinds else "u2" if kinds == {"i"} and low >= 0 and high <= 65535 else "i"
    span = ranges.read_in(low, high, kind, known) if known and not asked else None
    if known and not asked and span is None and known[1] - known[0] > 255:
        span = known  # of an instrument, whose next file may well go beyond it
    scale = ranges.Scale(*span, None, 16) if span else pixels.scale_of(pages, "the images", asked)
    return scale, lambda row: row


def _build(
    writer: store.Writer,
    files: Files,
    what: str,
    size: tuple[int, int] | None,
    channels: int | None,
    labels: NDArray[Any] | None,
    strict: bool,
    progress: bool,
    asked: ranges.Range | None,
) -> str:
    n = len(files.names)
    if labels is None and files.labels is not None:
        labels = arrays.labels_of(files.labels, files.names, what)
    with closing(surveyed(files)) as seen:
        tracked = store.tracked(seen, n, f"looking at {what}", progress)
        pages = [found for _, found in tracked if not isinstance(found, str)]
    flat = [page for found in pages for page in found]
    form, chosen = _form(flat, what, size, channels, asked)
    content = hashlib.sha256()
    kept: list[int] = []
    names: list[str] = []
    unreadable: list[tuple[str, str]] = []
    shape: tuple[int, ...] = ()
    top = 0
    with closing(_decoded(files, form)) as decoded:
        for index, (sha, found) in enumerate(store.tracked(decoded, n, f"decoding {what}", progress)):
            name = files.names[index]
            content.update(store.digest(name, sha).encode())
            if isinstance(found, str):
                unreadable.append((name, found))
                if strict:
                    raise _strict(name, found)
                continue
            kept += [index] * len(found)
            names += [f"{name}#{i}" if len(found) > 1 else name for i in found]
            for row in found.values():
                shape, top = row.shape, max(top, int(row.max()))
                writer.append(row[None])
    if not kept:
        why = ": ".join(unreadable[0])
        raise UserError(f"{what}: none of the {n:,} images can be read; the first: {why}.")
    scale, table = form.scale, None
    if not _any_wide(flat):
        scale = dataclasses.replace(pixels.scale_of(flat, what, asked), bits=8)
        if asked is None and ranges.dark(top):
            scale = ranges.Scale(0, top, top + 1, 8, f"values from 0 to {top} of 255, stretched to black and white")
        table = None if scale == ranges.Scale() else scale(np.arange(256))
    chosen += [scale.chosen] if scale.chosen else []
    several = len(kept) - len(set(kept))
    if several:
        named = "every page, frame and slice (along a volume's last axis) is an image"
        chosen.append(f"{named}: {len(kept):,} of {len(set(kept)):,} files")
    if empty := sum(page.left_out for page in flat):
        chosen.append(f"{empty:,} empty slices, each of one value, were left out")

    refused = "; ".join(f"{name} was left out: {reason}" for name, reason in unreadable[:3])
    folders, remarks = None, list[str]()
    if files.alone:
        nothing = np.arange(0)
        splits = {"train": nothing, "validation": nothing, "test": np.arange(len(kept))}
    else:
        splits, folders, remarks = _layout(names, what, refused and f"{refused}.", np.array(kept))
    values = folders if labels is None else labels[kept]
    codes, classes = (None, None) if values is None else arrays.encode(values)
    if codes is not None and classes is not None:
        content.update(store.digest(codes, *classes).encode())
    fitted = f"size as it is, {shape[0]} x {shape[1]}" if form.size is None else pixels.fitting(form.size)
    fitted += f"; {APART}" * (APART in remarks)  # other splits are another entry
    laid = pixels.WHITE if shape[2] < 4 else "transparency kept"
    how = f"{fitted}; {pixels.KINDS[shape[2]]}; {laid}; {arrays.bits(scale)}"
    report = _report(unreadable, n) + chosen + remarks
    meta: dict[str, Any] = {"classes": classes, "attributes": None, "report": report, "unreadable": unreadable}
    meta |= arrays.facts(scale)
    return writer.finish(content.hexdigest(), how, splits, codes, names=np.array(names), table=table, **meta)


def _form(
    pages: Pages, what: str, size: tuple[int, int] | None, channels: int | None, asked: ranges.Range | None
) -> tuple[Form, list[str]]:
    """What these images become, and a line on each choice that was made for them."""
    chosen = []
    sizes = Counter(page.size for page in pages)
    if size is None and len(sizes) > 1:
        side = round(float(np.median([min(page.size) for page in pages])))
        side = side if side < 32 else min(LARGEST, 32 * round(side / 32))
        size = (side, side)
        smallest, largest = min(sizes, key=np.prod), max(sizes, key=np.prod)
        chosen.append(
            f"{len(sizes):,} sizes from {smallest[0]} x {smallest[1]} to {largest[0]} x {largest[1]} (height x width): "
            f"--size {side} was chosen"
        )
    elif size is None and max(there := next(iter(sizes), (0, 0))) > LARGE:
        size = (round(there[0] * LARGEST / min(there)), round(there[1] * LARGEST / min(there)))
        chosen.append(f"{there[0]} x {there[1]} is large: --size {size[0]} {size[1]} was chosen")
    colours = sum(page.colour for page in pages)
    if channels is None:
        channels = 3 if colours else 1
        if 0 < colours < len(pages):
            chosen.append(f"{len(pages) - colours:,} grey images among {colours:,} in colour became red = green = blue")
    scale = pixels.scale_of(pages, what, asked)
    if 0 < sum(bool(page.wide) for page in pages) < len(pages):
        chosen.append("images of 8 bits beside wider ones: 0 to 255 of these is black to white")
    if not _any_wide(pages):  # bytes are read as they are, and stretched when they are laid out
        return Form(size, channels, ranges.Scale()), chosen
    return Form(size, channels, scale), chosen


def _any_wide(pages: Pages) -> bool:
    return any(page.wide for page in pages)


def _kinds(ignored: dict[str, int]) -> str:
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(ignored.items()))


def surveyed(files: Files) -> Generator[tuple[bytes, Pages | str], None, None]:
    """Each file's digest, and its images or why it has none, in order; to be closed."""
    return _in_threads(files, pixels.survey)


def _decoded(files: Files, form: Form) -> Generator[Decoded, None, None]:
    def decode(data: bytes) -> dict[int, pixels.Pixels]:
        return pixels.decode_all(data, form.size, form.channels, form.scale)

    return _in_threads(files, decode)


def _in_threads(files: Files, ask: Callable[[bytes], T]) -> Generator[tuple[bytes, T | str], None, None]:
    """Asks in threads (Pillow lets go of the interpreter's lock), in order, a few files ahead of the reader."""
    from PIL import Image, UnidentifiedImageError

    def decode(name: str) -> tuple[bytes, T | str]:
        data = b""
        result: T | str
        try:
            data = files.read(name)
            result = ask(data)
        except UserError:  # a package is missing
            raise
        except Exception as error:  # Pillow's decoders raise SyntaxError, struct.error, IndexError and others
            result = str(error) or type(error).__name__
            if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
                result = f"refused as a decompression bomb: {result}"
            elif isinstance(error, UnidentifiedImageError):  # whose message is the address of a buffer
                result = "not an image, or its header is damaged"
        return hashlib.sha256(data).digest(), result

    workers = max(1, min(32, os.cpu_count() or 1))
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # odd metadata is no reason to leave an image out, or to write over the bar
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        ahead: deque[Future[tuple[bytes, T | str]]] = deque()
        try:
            for name in files.names:
                ahead.append(pool.submit(decode, name))
                if len(ahead) > 4 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _layout(
    names: Sequence[str], what: str, why: str, file_of: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.int64]], NDArray[Any] | None, list[str]]:
    """What the folders say: the splits, the class of each file (or None), and remarks for the report."""
    parts = [name.split("/") for name in names]
    tops = {part[0].lower() for part in parts if len(part) > 1}
    split_of = np.array([arrays.SPLITS.get(part[0].lower(), "") if len(part) > 1 else "" for part in parts])
    if {"train", "test"} <= {arrays.SPLITS.get(top) for top in tops}:
        if outside := [name for name, split in zip(names, split_of, strict=True) if not split]:
            raise UserError(
                f"{what} has train and test folders, and {len(outside)} images outside them, the first {outside[0]!r}; "
                f"move these away, or rename the folders."
            )
        splits, parts, apart = arrays.given_splits(split_of, what), [part[1:] for part in parts], list[str]()
    else:
        splits, apart = _random_splits(file_of, what, why)
    nested = sum(len(part) > 1 for part in parts)
    folders = {part[0] for part in parts if len(part) > 1}
    if len(folders) < 2 or nested < len(parts):
        stray = len(folders) > 1
        remark = f"no classes: {len(parts) - nested} images lie beside the {len(folders)} subfolders"
        return splits, None, [*apart, *([remark] if stray else [])]
    return splits, np.array([part[0] for part in parts]), apart


def _random_splits(file_of: NDArray[np.int64], what: str, why: str) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
    """Splits at random; of 10 files or more all images of one fall into one split, as slices are like their neighbours.

    Args:
        file_of: the file of each image.
        what: the source, for messages.
        why: what became of other files, for messages.
    """
    files, place = np.unique(file_of, return_inverse=True)
    if len(files) == len(place) or len(files) < 10:
        return store.random_splits(len(place), what, why), []
    drawn = store.random_splits(len(files), what, why)
    splits = {name: np.flatnonzero(np.isin(place, chosen)) for name, chosen in drawn.items()}
    return splits, [APART]


def _strict(name: str, reason: str) -> UserError:
    return UserError(f"{name!r} cannot be read: {reason}. Repair or remove it, or leave it out by dropping --strict.")


def _report(unreadable: Sequence[tuple[str, str]], n: int, shown: int = 10) -> list[str]:
    if not unreadable:
        return []
    lines = [f"{len(unreadable):,} of {n:,} files could not be read and were left out:"]
    lines += [f"  {name}: {reason}" for name, reason in unreadable[:shown]]
    return lines + [f"  and {len(unreadable) - shown:,} more"] * (len(unreadable) > shown)
