"""A folder or zip of images, decoded in parallel into the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ganvas.data import arrays, imagefiles, pixels, ranges, store, streamed, unpacking
from ganvas.data.imagefiles import Files
from ganvas.data.pixels import Form
from ganvas.errors import UserError

LARGEST = 64  # side that is chosen for images of different sizes, at most, and for large ones
LARGE = 128  # the longer side above which images are made smaller, unless a size is given
APART = "images of one file are all in one split"

# The file's digest, and its images' pixels by their number in it, or why there are none.
Decoded = tuple[bytes, dict[int, pixels.Pixels] | str]
Pages = list[pixels.Page]
Found = tuple[pixels.Page, ...] | str  # the images of a file, or why it has none
T = TypeVar("T")


def build_entry(
    path: Path,
    size: tuple[int, int] | None,
    channels: int | None,
    labels: arrays.Labels | None,
    strict: bool,
    progress: bool,
    asked: ranges.Range | None = None,
    stream: bool | None = False,
) -> tuple[store.Prepared, list[str]]:
    """The entry for the folder or zip at `path`, decoded now unless done before; and remarks on the path.

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
    entry = from_files(files, str(path), size, channels, labels, strict, progress, asked, stream)
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
    stream: bool | None = False,
) -> store.Prepared:
    """The entry for image files wherever they are, which may have labels of their own; as `build_entry`.

    Args:
        stream: decode images when they are asked for; None: only where the cache has no room for them.
    """

    def labels_of(labels: arrays.Labels | None) -> NDArray[Any] | None:
        return None if labels is None else arrays.labels_of(labels, files.names, what)

    values = labels_of(labels)
    given = "" if values is None else store.digest(values if values.dtype.kind != "U" else "\n".join(values.tolist()))
    manifest = store.digest("folder", what, files.manifest, repr((size, channels, asked)), given, *unpacking.meant())

    def plan() -> _Plan:
        own = labels_of(files.labels) if values is None else values
        found = survey(files, what, progress)
        pages = [page for each in found if not isinstance(each, str) for page in each]
        form, chosen = _form(pages, what, size, channels, asked)
        return _Plan(files, what, own, strict, asked, found, pages, form, chosen)

    entry: store.Prepared
    try:
        if stream:
            entry = _stream(plan(), manifest, "as asked")
        else:
            entry = store.entry(manifest, lambda writer: _build(writer, plan(), progress, stream is None))
    except store.NoRoomError as full:
        why = f"kept, they would take {full.size / 1e9:,.3g} GB, and {full.free / 1e9:,.3g} GB are free in the cache"
        entry = _stream(plan(), manifest, why)
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
    with closing(_surveyed(files)) as seen:
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


@dataclass(frozen=True)
class _Plan:
    """Image files, and what was found when they were looked at: each one's images, and what all of these become."""

    files: Files
    what: str
    labels: NDArray[Any] | None
    strict: bool
    asked: ranges.Range | None
    found: list[Found]
    pages: Pages
    form: Form
    chosen: list[str]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of each image."""
        return (*(self.form.size or self.pages[0].size), self.form.channels)

    def scale(self, top: int) -> tuple[ranges.Scale, NDArray[Any] | None]:
        """The scale of images whose largest byte is `top`, and the table by which bytes become what is kept."""
        if _any_wide(self.pages):
            return self.form.scale, None
        scale = dataclasses.replace(pixels.scale_of(self.pages, self.what, self.asked), bits=8)
        if self.asked is None and ranges.dark(top):
            scale = ranges.Scale(0, top, top + 1, 8, f"values from 0 to {top} of 255, stretched to black and white")
        return scale, None if scale == ranges.Scale() else scale(np.arange(256))


class _Rows:
    """The images of a plan that can be read, in order, and the files that can't."""

    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        self.file: list[int] = []
        self.number: list[int] = []
        self.names: list[str] = []
        self.unreadable: list[tuple[str, str]] = []

    def add(self, file: int, found: Iterable[int] | str) -> None:
        """Takes a file's images, by their numbers in it, or why it has none."""
        name = self.plan.files.names[file]
        if isinstance(found, str):
            self.unreadable.append((name, found))
            if self.plan.strict:
                raise _strict(name, found)
            return
        numbers = list(found)
        self.file += [file] * len(numbers)
        self.number += numbers
        self.names += [f"{name}#{i}" if len(numbers) > 1 else name for i in numbers]


@dataclass(frozen=True)
class _Laid:
    """How rows are laid out: their splits, labels, and what is said of them."""

    splits: dict[str, NDArray[np.int64]]
    labels: NDArray[np.int64] | None
    preparation: str
    meta: dict[str, Any]


def _build(writer: store.Writer, plan: _Plan, progress: bool, check: bool) -> str:
    """Decodes all images into the cache; with `check` only if there is room for them."""
    files, rows, n = plan.files, _Rows(plan), len(plan.files.names)
    if check and plan.pages:
        store.check_room(len(plan.pages) * int(np.prod(plan.shape)) * plan.form.scale.bits // 8)
    content = hashlib.sha256()
    top = 0
    with closing(_decoded(files, plan.form)) as decoded:
        for index, (sha, found) in enumerate(store.tracked(decoded, n, f"decoding {plan.what}", progress)):
            content.update(store.digest(files.names[index], sha).encode())
            if isinstance(refused := plan.found[index], str) and not isinstance(found, str):
                found = refused  # when it was looked at
            rows.add(index, found)
            for row in () if isinstance(found, str) else found.values():
                top = max(top, int(row.max()))
                writer.append(row[None])
    scale, table = plan.scale(top)
    laid = _lay_out(plan, rows, scale)
    if laid.labels is not None:
        content.update(store.digest(laid.labels, *laid.meta["classes"]).encode())
    names = np.array(rows.names)
    how = laid.preparation
    return writer.finish(content.hexdigest(), how, laid.splits, laid.labels, names=names, table=table, **laid.meta)


def _stream(plan: _Plan, manifest: str, why: str) -> streamed.Entry:
    """The entry of images that are decoded when they are asked for."""
    rows = _Rows(plan)
    for index, found in enumerate(plan.found):
        rows.add(index, found if isinstance(found, str) else [page.number for page in found])
    top = max((page.high for page in plan.pages), default=255)  # bytes are not read before: 255
    scale, table = plan.scale(int(top))
    laid = _lay_out(plan, rows, scale)
    laid.meta["report"].append(f"streamed, which means decoded when they are asked for: {why}")
    form = dataclasses.replace(plan.form, size=plan.shape[:2])
    images = streamed.Images(plan.files, form, np.array(rows.file), np.array(rows.number), table)
    key = store.key_of(store.digest("streamed", manifest), laid.preparation)
    return streamed.Entry(key, laid.preparation, laid.meta, images, laid.splits, laid.labels, np.array(rows.names))


def _lay_out(plan: _Plan, rows: _Rows, scale: ranges.Scale) -> _Laid:
    files, what, form, pages = plan.files, plan.what, plan.form, plan.pages
    n, chosen = len(files.names), [*plan.chosen, *([scale.chosen] if scale.chosen else [])]
    if not rows.file:
        why = ": ".join(rows.unreadable[0])
        raise UserError(f"{what}: none of the {n:,} images can be read; the first: {why}.")
    kept = len(rows.file)
    if several := kept - len(set(rows.file)):
        named = "every page, frame and slice (along a volume's last axis) is an image"
        chosen.append(f"{named}: {kept:,} of {kept - several:,} files")
    if empty := sum(page.left_out for page in pages):
        chosen.append(f"{empty:,} empty slices, each of one value, were left out")
    refused = "; ".join(f"{name} was left out: {reason}" for name, reason in rows.unreadable[:3])
    folders, remarks = None, list[str]()
    if files.alone:
        nothing = np.arange(0)
        splits = {"train": nothing, "validation": nothing, "test": np.arange(kept)}
    else:
        splits, folders, remarks = _layout(rows.names, what, refused and f"{refused}.", np.array(rows.file))
    values = folders if plan.labels is None else plan.labels[rows.file]
    codes, classes = (None, None) if values is None else arrays.encode(values)
    height, width, channels = plan.shape
    fitted = f"size as it is, {height} x {width}" if form.size is None else pixels.fitting(form.size)
    fitted += f"; {APART}" * (APART in remarks)  # other splits are another entry
    laid = pixels.WHITE if channels < 4 else "transparency kept"
    how = f"{fitted}; {pixels.KINDS[channels]}; {laid}; {arrays.bits(scale)}"
    report = _report(rows.unreadable, n) + chosen + remarks
    meta: dict[str, Any] = {"classes": classes, "attributes": None, "report": report, "unreadable": rows.unreadable}
    return _Laid(splits, codes, how, meta | arrays.facts(scale))


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


def survey(files: Files, what: str, progress: bool) -> list[Found]:
    """Each file's images, or why it has none, in order: looked at now unless it is noted in the cache.

    Equal ones are one object, and most of a million files are equal.
    """

    def look() -> dict[str, Any]:
        kinds: dict[Found, int] = {}
        with closing(_surveyed(files)) as seen:
            found = (each if isinstance(each, str) else tuple(each) for _, each in seen)
            tracked = store.tracked(found, len(files.names), f"looking at {what}", progress)
            kind_of = [kinds.setdefault(each, len(kinds)) for each in tracked]
        plain = [kind if isinstance(kind, str) else [dataclasses.astuple(page) for page in kind] for kind in kinds]
        return {"kinds": plain, "kind_of": kind_of}

    noted = store.noted(store.digest("survey", what, files.manifest, *unpacking.meant()), look)
    kinds = [
        kind if isinstance(kind, str) else tuple(pixels.Page(tuple(size), *rest) for size, *rest in kind)
        for kind in noted["kinds"]
    ]
    return [kinds[kind] for kind in noted["kind_of"]]


def _surveyed(files: Files) -> Generator[tuple[bytes, Pages | str], None, None]:
    return _in_threads(files, pixels.survey)


def _decoded(files: Files, form: Form) -> Generator[Decoded, None, None]:
    return _in_threads(files, lambda data: pixels.decode_all(data, form))


def _in_threads(files: Files, ask: Callable[[bytes], T]) -> Generator[tuple[bytes, T | str], None, None]:
    """Asks in threads, in order, a few files ahead of the reader."""
    from PIL import Image

    def decode(name: str) -> tuple[bytes, T | str]:
        data = b""
        result: T | str
        try:
            data = files.read(name)
            result = ask(data)
        except UserError:  # a package is missing
            raise
        except Exception as error:  # Pillow's decoders raise SyntaxError, struct.error, IndexError and others
            result = pixels.reason(error)
        return hashlib.sha256(data).digest(), result

    workers = streamed.workers()
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
