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
from ganvas.ground.errors import UserError

LARGEST = 64  # side that is chosen for images of different sizes, at most, and for large ones
LARGE = 128  # the longer side above which images are made smaller, unless a size is given
APART = "images of one file are all in one split"

TOGETHER = 4  # files that a thread is given at a time: to hand over each alone costs a tenth of decoding it
HANDED = 2**18  # bytes of their images, from which on it is given fewer

Images = dict[int, pixels.Pixels] | str  # a file's, by their number in it, or why there are none
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

    def plan(ahead: _Ahead | None = None) -> _Plan:
        own = labels_of(files.labels) if values is None else values
        found = survey(files, what, progress, ahead)
        pages = [page for each in found if not isinstance(each, str) for page in each]
        form, chosen = _form(pages, what, size, channels, asked)
        return _Plan(files, what, own, strict, asked, found, pages, form, chosen)

    def build(writer: store.Writer) -> str:
        def form_of(pages: Pages) -> Form:
            return _form(pages, what, size, channels, asked)[0]

        ahead = _Ahead(files, writer, strict, stream is None, form_of)
        return _build(writer, plan(ahead), ahead, progress, stream is None)

    entry: store.Prepared
    try:
        entry = _stream(plan(), manifest, "as asked") if stream else store.entry(manifest, build)
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
    places = _places(paths)
    files = Files(tuple(map(str, places.values())), "", {}, lambda name: Path(name).read_bytes())
    shown: list[Path] = []
    rows: list[pixels.Pixels] = []
    for label, found in zip(places, _read(files, size, channels, asked, known), strict=True):
        rows += found
        shown += _pages_named(label, len(found))
    return shown, np.stack(rows)


def read_each(
    paths: Sequence[Path], channels: int, known: ranges.Range | None = None
) -> Iterator[tuple[Path, pixels.Pixels]]:
    """The image files at `paths`, and those in folders there, one at a time in its own size; otherwise as `read`.

    Yields:
        A PNG's name, relative to the folder that it was found in, and the pixels (1, H, W, C).
    """
    for label, path in _places(paths).items():
        try:
            data = path.read_bytes()
            pages = pixels.survey(data)
            scale, finish = _reader(pages, None, known)
            found = [finish(pixels.decode(data, page.size, channels, page.number, scale)) for page in pages]
        except UserError:
            raise
        except Exception as error:  # Pillow raises whatever its parsers run into
            raise UserError(f"{str(path)!r} cannot be read: {error}.") from error
        yield from zip(_pages_named(label, len(found)), (row[None] for row in found), strict=True)


def _pages_named(label: Path, n: int) -> list[Path]:
    """The name of each of the n images of a file."""
    return [label.with_stem(f"{label.stem}-{i}") for i in range(n)] if n > 1 else [label]


def _places(paths: Sequence[Path]) -> dict[Path, Path]:
    """Where each image lies, by the name that a PNG of it gets."""
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
    return places


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
    """The images that can be read, in order, and the files that can't."""

    def __init__(self, files: Files, strict: bool) -> None:
        self.files, self.strict = files, strict
        self.file: list[int] = []
        self.number: list[int] = []
        self.names: list[str] = []
        self.unreadable: list[tuple[str, str]] = []

    def add(self, file: int, found: Iterable[int] | str) -> None:
        """Takes a file's images, by their numbers in it, or why it has none."""
        name = self.files.names[file]
        if isinstance(found, str):
            self.unreadable.append((name, found))
            if self.strict:
                raise _strict(name, found)
            return
        numbers = list(found)
        self.file += [file] * len(numbers)
        self.number += numbers
        self.names += [f"{name}#{i}" if len(numbers) > 1 else name for i in numbers]


class _Written(_Rows):
    """The same, written into the cache as they come; what a writer had before is gone.

    Attributes:
        count: files that came.
        content: the digest of their names and contents.
        top: the largest byte.
    """

    def __init__(self, files: Files, writer: store.Writer, strict: bool) -> None:
        super().__init__(files, strict)
        self.writer, self.count, self.top, self.content = writer, 0, 0, hashlib.sha256()
        writer.clear()

    def take(self, sha: bytes, found: Images) -> None:
        """Takes the next file's digest and images."""
        self.content.update(store.digest(self.files.names[self.count], sha).encode())
        self.add(self.count, found)
        for row in () if isinstance(found, str) else found.values():
            self.top = max(self.top, int(row.max()))
            self.writer.append(row[None])
        self.count += 1


class _Ahead:
    """Decodes images in the same reading in which their files are looked at, in the form that the first one says.

    It ends with the first file that can't have that form: one of several images or of wide ones, of colour among grey
    ones, of another size where none was asked for. All are decoded after the looking, then.

    Attributes:
        form: what images become; None: nothing is decoded.
    """

    def __init__(
        self, files: Files, writer: store.Writer, strict: bool, check: bool, form_of: Callable[[Pages], Form]
    ) -> None:
        self.files, self.writer, self.strict, self.check, self.form_of = files, writer, strict, check, form_of
        self.form: Form | None = None
        self.allowed: set[pixels.Page] = set()

    def begin(self) -> None:
        """Looks at the first file."""
        with closing(_surveyed(self.files, self.files.names[:1])) as seen:
            ((_, pages),) = seen
        if isinstance(pages, str) or len(pages) > 1 or _any_wide(pages):
            return
        self.first, self.written = pages[0], _Written(self.files, self.writer, self.strict)
        try:
            form = self.form_of(pages)
            size = form.size or self.first.size
            if self.check:
                store.check_room(len(self.files.names) * size[0] * size[1] * form.channels * form.scale.bits // 8)
        except (UserError, store.NoRoomError):  # of all files it may not be so
            return
        self.form = form

    def look(self, data: bytes) -> tuple[Pages, pixels.Pixels | str | None]:
        """As `pixels.look`, in a thread."""
        return pixels.look(data, form) if (form := self.form) else (pixels.survey(data), None)

    def take(self, sha: bytes, pages: Pages | str, row: pixels.Pixels | str | None) -> None:
        """Takes the next file's digest, what it is, and what was decoded."""
        if self.form is None:
            return
        if isinstance(pages, str):
            self.written.take(sha, pages)
        elif row is None or not self._allows(pages[0]):
            self.form = None
        else:
            self.written.take(sha, row if isinstance(row, str) else {0: row})

    def _allows(self, page: pixels.Page) -> bool:
        if page not in self.allowed and self.form_of([self.first, page]) == self.form:
            self.allowed.add(page)
        return page in self.allowed


@dataclass(frozen=True)
class _Laid:
    """How rows are laid out: their splits, labels, and what is said of them."""

    splits: dict[str, NDArray[np.int64]]
    labels: NDArray[np.int64] | None
    preparation: str
    meta: dict[str, Any]


def _build(writer: store.Writer, plan: _Plan, ahead: _Ahead, progress: bool, check: bool) -> str:
    """Decodes all images into the cache, unless that was done `ahead`; with `check` only if there is room for them."""
    files, n = plan.files, len(plan.files.names)
    if n and ahead.form == plan.form and ahead.written.count == n:
        rows = ahead.written
    else:
        rows = _Written(files, writer, plan.strict)
        if check and plan.pages:
            store.check_room(len(plan.pages) * int(np.prod(plan.shape)) * plan.form.scale.bits // 8)
        with closing(_decoded(files, plan.form)) as decoded:
            tracked = store.tracked(decoded, n, f"decoding {plan.what}", progress)
            for seen, (sha, found) in zip(plan.found, tracked, strict=True):
                rows.take(sha, seen if isinstance(seen, str) and not isinstance(found, str) else found)
    scale, table = plan.scale(rows.top)
    laid = _lay_out(plan, rows, scale)
    if laid.labels is not None:
        rows.content.update(store.digest(laid.labels, *laid.meta["classes"]).encode())
    content, how, names = rows.content.hexdigest(), laid.preparation, np.array(rows.names)
    return writer.finish(content, how, laid.splits, laid.labels, names=names, table=table, **laid.meta)


def _stream(plan: _Plan, manifest: str, why: str) -> streamed.Entry:
    """The entry of images that are decoded when they are asked for."""
    rows = _Rows(plan.files, plan.strict)
    for index, found in enumerate(plan.found):
        rows.add(index, found if isinstance(found, str) else [page.number for page in found])
    top = max((page.high for page in plan.pages), default=255)  # bytes are not read before: 255
    scale, table = plan.scale(int(top))
    laid = _lay_out(plan, rows, scale)
    laid.meta["report"].append(f"streamed, which means decoded when they are asked for: {why}")
    form = dataclasses.replace(plan.form, size=plan.shape[:2])
    images = streamed.Images(plan.files, form, np.array(rows.file), np.array(rows.number), table)
    jpegs = any(name.lower().endswith((".jpg", ".jpeg")) for name in plan.files.names)
    made = [fitted] if jpegs and (fitted := pixels.made(pixels.JPEG_MAGIC, plan.form)) else []
    key = store.key_of(store.digest("streamed", manifest, *made), laid.preparation)
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
    codes, classes, unknown = arrays.encode(folders if plan.labels is None else plan.labels[rows.file])
    height, width, channels = plan.shape
    fitted = f"size as it is, {height} x {width}" if form.size is None else pixels.fitting(form.size)
    fitted += f"; {APART}" * (APART in remarks)  # other splits are another entry
    laid = pixels.WHITE if channels < 4 else "transparency kept"
    how = f"{fitted}; {pixels.KINDS[channels]}; {laid}; {arrays.bits(scale)}"
    report = _report(rows.unreadable, n) + chosen + remarks + unknown
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


def survey(files: Files, what: str, progress: bool, ahead: _Ahead | None = None) -> list[Found]:
    """Each file's images, or why it has none, in order: looked at now unless it is noted in the cache.

    Equal ones are one object, and most of a million files are equal.
    """

    def looked() -> Generator[Found, None, None]:
        if ahead:
            ahead.begin()
        if not (ahead and ahead.form):
            with closing(_surveyed(files)) as seen:
                yield from (each if isinstance(each, str) else tuple(each) for _, each in seen)
            return
        with closing(_in_threads(files, ahead.look, ahead.form)) as both:
            for sha, each in both:
                pages, row = (each, None) if isinstance(each, str) else each
                ahead.take(sha, pages, row)
                yield pages if isinstance(pages, str) else tuple(pages)

    def look() -> dict[str, Any]:
        kinds: dict[Found, int] = {}
        with closing(looked()) as found:
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


def _surveyed(files: Files, names: Sequence[str] | None = None) -> Generator[tuple[bytes, Pages | str], None, None]:
    return _in_threads(files, pixels.survey, names=names)


def _decoded(files: Files, form: Form) -> Generator[tuple[bytes, Images], None, None]:
    return _in_threads(files, lambda data: pixels.decode_all(data, form), form)


def _in_threads(
    files: Files, ask: Callable[[bytes], T], form: Form | None = None, names: Sequence[str] | None = None
) -> Generator[tuple[bytes, T | str], None, None]:
    """Asks in threads, in order, a few files ahead of the reader: their digests, and the answers or why there are none.

    Args:
        files: all.
        ask: gets the bytes of a file.
        form: of the images in the answers; None: there are none.
        names: of those that are asked for; None: all.
    """
    from PIL import Image

    def answer(name: str) -> tuple[bytes, T | str]:
        data = b""
        result: T | str
        try:
            data = files.read(name)
            result = ask(data)
        except UserError:  # a package is missing
            raise
        except Exception as error:  # Pillow's decoders raise SyntaxError, struct.error, IndexError and others
            result = pixels.reason(error)
        sha = hashlib.sha256(data)
        sha.update(pixels.made(data, form) if form else b"")
        return sha.digest(), result

    together = TOGETHER
    if form:  # of one that is not asked for, images of 128 x 128 or less, or files of several, which may be large
        together = max(1, min(TOGETHER, HANDED // (int(np.prod(form.size)) * form.channels))) if form.size else 1
    names, workers = files.names if names is None else names, streamed.workers()
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # odd metadata is no reason to leave an image out, or to write over the bar
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        ahead: deque[Future[list[tuple[bytes, T | str]]]] = deque()
        try:
            for start in range(0, len(names), together):
                ahead.append(pool.submit(lambda part: [answer(name) for name in part], names[start : start + together]))
                if len(ahead) > 2 * workers:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
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
