"""The cache: prepared data sets as folders of plain arrays, built aside and renamed into place.

    <cache>/sets/<key>/          images.npy labels.npy names.npy order.npy meta.json: the entry; its key is of content
                                 and preparation
    <cache>/index/<manifest>     the key, so that a second start need not read 20,000 files again
    <cache>/building/<manifest>  what one process is writing now, under the lock of the same name
    <cache>/notes/<manifest>     what is dear to find out of a source and small to keep: which images its files hold

Rows lie split after split, so a split is a slice of one memory map. A builder that dies leaves a folder in `building`
and nothing else; as only the holder of its lock may write there, whoever gets the lock knows that the folder is stale.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from math import prod
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ganvas.ground.errors import UserError
from ganvas.ground.files import NO_ROOM, replace, writing

FORMAT = 2  # counted up when the meaning of an entry changes: old entries are then no longer found
ORDER_SEED = 20140610
CHUNK = 512  # rows that are in memory at a time
ROOM = 0.9  # of the free disk space, that an entry may take while it is made

log = logging.getLogger("ganvas")
Array = NDArray[Any]
T = TypeVar("T")


_ROOT: ContextVar[Path | None] = ContextVar("root", default=None)


def root() -> Path:
    """The cache's folder: that of `rooted`, `$GANVAS_CACHE`, or the user's cache folder."""
    if here := _ROOT.get():
        return here
    if chosen := os.environ.get("GANVAS_CACHE"):
        return Path(chosen).expanduser().absolute()
    import pooch  # type: ignore[import-untyped]

    return Path(pooch.os_cache("ganvas"))


@contextlib.contextmanager
def rooted(folder: Path) -> Iterator[None]:
    """While it lasts, the cache is a folder of its own, in this thread: for data that nobody will ask for again."""
    token = _ROOT.set(folder)
    try:
        yield
    finally:
        _ROOT.reset(token)


def digest(*parts: str | bytes | Array) -> str:
    """The SHA-256 of these parts, their types and lengths included, in hex."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, str | bytes):
            data = part.encode() if isinstance(part, str) else part
            sha.update(f"{len(data)};".encode() + data)
        else:
            sha.update(f"{part.dtype.str}{part.shape};".encode())
            for start in range(0, len(part), step(part)):
                sha.update(np.ascontiguousarray(part[start : start + step(part)]).tobytes())
    return sha.hexdigest()


def step(rows: Array) -> int:
    """How many rows are in memory at a time: CHUNK, or of large ones those of 16 MB; at least one."""
    return max(1, min(CHUNK, 2**24 // max(1, rows.dtype.itemsize * prod(rows.shape[1:]))))


def key_of(content: str, preparation: str) -> str:
    """The key of what was made from this content, which is a digest, by this preparation."""
    return digest(f"format {FORMAT}", content, preparation)


def random_splits(n: int, what: str, why: str = "") -> dict[str, NDArray[np.int64]]:
    """80 / 10 / 10 by a permutation that depends on `n` alone; at least one row each.

    Raises:
        UserError: fewer than 3 rows; `why` says what became of the others.
    """
    if n < 3:
        found = f"{what} has {n} usable images; at least 3 are needed, one each to train, validate and test."
        raise UserError(f"{found} {why}".strip())
    order = np.random.default_rng([ORDER_SEED, n]).permutation(n)
    tenth = max(1, round(n / 10))
    return {"train": order[2 * tenth :], "validation": order[tenth : 2 * tenth], "test": order[:tenth]}


def tracked(items: Iterable[T], total: int, what: str, progress: bool) -> Iterable[T]:
    """These items with a progress bar on stderr, if it is wanted and stderr is a terminal."""
    if not (progress and sys.stderr.isatty()):
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description=what, total=total, console=Console(stderr=True), transient=True)


class Prepared(Protocol):
    """A prepared data set: an `Entry`, or one whose images are streamed.

    Attributes:
        key: its fingerprint.
        preparation: how its images were made, as a sentence.
        meta: what else is known of it.
    """

    key: str
    preparation: str
    meta: dict[str, Any]

    def splits(self) -> Mapping[str, tuple[Any, Array | None]]:
        """(images, labels) of each split."""

    def extra(self, name: str, split: str) -> Array | None:
        """The "names" or "order" of a split's rows; None where there are none."""


class DamagedError(ValueError):
    """An entry of the cache is not as it was written."""


def checksums(folder: Path, meta: dict[str, Any]) -> dict[str, int]:
    """The CRC-32 of each array of an entry, and of what is known of it; a few GB a second."""
    sums = {"meta.json": zlib.crc32(json.dumps(meta, sort_keys=True).encode())}
    for file in sorted(folder.glob("*.npy")):
        sums[file.name] = 0
        with file.open("rb") as opened:
            while part := opened.read(1 << 16):
                sums[file.name] = zlib.crc32(part, sums[file.name])
    return sums


class NoRoomError(Exception):
    """The disk has no room for an entry.

    Attributes:
        size: bytes that the rows take.
        free: bytes that are free.
    """

    def __init__(self, size: int, free: int) -> None:
        super().__init__(f"{size:,} bytes to keep, {free:,} are free")
        self.size, self.free = size, free


def check_room(size: int) -> None:
    """Whether the cache can keep rows of `size` bytes in all.

    Raises:
        NoRoomError: it can't: while they are laid out, they are there twice.
    """
    folder = next(place for place in (root(), *root().parents) if place.is_dir())
    free = shutil.disk_usage(folder).free
    if 2 * size > ROOM * free:
        raise NoRoomError(size, free)


class Entry:
    """A finished entry of the cache, whose files are as they were written: their checksums are compared.

    Args:
        folder: where it is.
        fresh: this process has just written it: nothing is compared.

    Raises:
        OSError, ValueError, KeyError: it is not there or not whole.
    """

    def __init__(self, folder: Path, fresh: bool = False) -> None:
        self.folder = folder
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        # An entry of an earlier release has no checksums. Two marks: a bit that hides one leaves the other.
        sums, ours = self.meta.pop("checksums", None), self.meta.pop("checked", None)
        whole = (folder / "images.npy").stat().st_size == self.meta["bytes"]
        if not whole or (not fresh and (sums or ours) and sums != checksums(folder, self.meta)):
            raise DamagedError(f"{folder} is damaged")
        self.key: str = self.meta["key"]
        self.preparation: str = self.meta["preparation"]

    def splits(self) -> dict[str, tuple[Array, Array | None]]:
        """(images, labels) of each split: slices of memory maps."""
        images: Array = np.load(self.folder / "images.npy", mmap_mode="r")
        path = self.folder / "labels.npy"
        labels: Array | None = np.load(path, mmap_mode="r") if path.exists() else None
        return {
            name: (images[start:stop], None if labels is None else labels[start:stop])
            for name, (start, stop) in self.meta["splits"].items()
        }

    def extra(self, name: str, split: str) -> Array | None:
        """The "names" or "order" of a split's rows, mapped; None where there are none."""
        path = self.folder / f"{name}.npy"
        start, stop = self.meta["splits"][split]
        return np.load(path, mmap_mode="r")[start:stop] if path.exists() else None


class Writer:
    """Takes rows as they come and, when their number is known, lays them out split by split.

    Two passes over the disk, as the splits depend on how many rows prove usable; memory holds CHUNK rows at a time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self._file = (folder / "rows").open("w+b")
        self._dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._shape: tuple[int, ...] = ()

    def append(self, rows: Array) -> None:
        """Takes `rows` (n, ...), all calls with the same dtype and the same shape behind n."""
        self._dtype, self._shape = rows.dtype, rows.shape[1:]
        self._file.write(np.ascontiguousarray(rows).data)
        self.count += len(rows)

    def clear(self) -> None:
        """Forgets the rows that it took."""
        self.count = 0
        self._file.seek(0)
        self._file.truncate()

    def finish(
        self,
        content: str,
        preparation: str,
        splits: Mapping[str, NDArray[np.int64]],
        labels: NDArray[np.int64] | None = None,
        *,
        names: Array | None = None,
        order: NDArray[np.int64] | None = None,
        table: Array | None = None,
        **meta: object,
    ) -> str:
        """Writes the entry's files and returns its key.

        Args:
            content: the digest of what the rows were made from.
            preparation: how they were made, as a sentence.
            splits: the rows of each split, as indices in the order of arrival.
            labels: (count,) or (count, A), in the order of arrival.
            names: of the source's files, (count,), in the order of arrival.
            order: each row's place in the source, (count,); None: rows arrive in the source's order.
            table: what each byte becomes, (256,); None leaves them.
            meta: what else to keep, as JSON.
        """
        rows = np.concatenate(list(splits.values()))
        size = self._dtype.itemsize * int(np.prod(self._shape))
        with (self.folder / "images.npy").open("wb") as out:
            header = {"descr": self._dtype.str, "fortran_order": False, "shape": (len(rows), *self._shape)}
            np.lib.format.write_array_header_1_0(out, header)
            changed = None if table is None else table.astype(np.uint8).tobytes()
            for row in rows.tolist():
                self._file.seek(row * size)
                read = self._file.read(size)
                out.write(read if changed is None else read.translate(changed))
            written = out.tell()
            _sync(out)
        self._file.close()
        (self.folder / "rows").unlink()
        places = np.arange(self.count) if order is None else order
        kept = {"labels": labels, "names": names, "order": places}
        for name, values in kept.items():
            if values is not None:
                with (self.folder / f"{name}.npy").open("wb") as out:
                    np.save(out, values[rows] if name == "names" else values[rows].astype(np.int64))
                    _sync(out)
        ends = np.cumsum([len(rows) for rows in splits.values()]).tolist()
        bounds = dict(zip(splits, zip([0, *ends], ends, strict=False), strict=True))
        key = key_of(content, preparation)
        facts = {"key": key, "preparation": preparation, "splits": bounds, "bytes": written, **meta}
        facts |= {"checksums": checksums(self.folder, json.loads(json.dumps(facts))), "checked": True}
        with (self.folder / "meta.json").open("wb") as out:
            out.write(json.dumps(facts, indent=1, ensure_ascii=False).encode())
            _sync(out)
        return key

    def close(self) -> None:
        """Lets go of the file, also when the build failed, whatever of it finds no room then."""
        with contextlib.suppress(OSError):
            self._file.close()


def entry(manifest: str, build: Callable[[Writer], str]) -> Entry:
    """The entry that `build` makes, made now only if no process has made it before.

    Args:
        manifest: whatever tells quickly that the result would be the same: a name, or paths with sizes and times.
        build: fills the writer and returns what its `finish` returned.
    """
    base, name = root(), digest(f"format {FORMAT}", manifest)
    if found := _indexed(base, name):
        return found
    from filelock import FileLock

    for part in ("sets", "index", "locks", "building"):
        (base / part).mkdir(parents=True, exist_ok=True)
    with FileLock(base / "locks" / name):
        if found := _indexed(base, name):
            return found
        _sweep(base, keep=name)
        folder = base / "building" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        writer = Writer(folder)
        try:
            key = build(writer)
            _publish(folder, base / "sets" / key)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            with writing(folder / "rows"):
                raise
        finally:
            writer.close()
            shutil.rmtree(folder, ignore_errors=True)
        aside = base / "building" / f"{name}.key"
        aside.write_text(key)
        aside.replace(base / "index" / name)
    return Entry(base / "sets" / key, fresh=True)


def noted(manifest: str, find: Callable[[], Any]) -> Any:
    """The value that `find` gives, JSON; found out now only if no process has noted it before.

    Args:
        manifest: as for `entry`.
        find: finds it out.
    """
    base, name = root(), digest(f"format {FORMAT}", manifest)
    from filelock import FileLock

    for part in ("notes", "locks"):
        (base / part).mkdir(parents=True, exist_ok=True)
    note = base / "notes" / name
    with FileLock(base / "locks" / f"{name}.note"):
        try:
            return json.loads(zlib.decompress(note.read_bytes()))
        except (OSError, ValueError, zlib.error):
            found = find()
            replace(note, lambda part: part.write_bytes(zlib.compress(json.dumps(found).encode())))
            return found


def find(prefix: str) -> Entry | None:
    """The entry whose key starts with `prefix`, if there is exactly one."""
    if not isinstance(prefix, str) or not prefix.isalnum():  # it may come from a file that a person changed
        return None
    found = list((root() / "sets").glob(f"{prefix}*"))
    return _whole(found[0]) if len(found) == 1 else None


def _indexed(base: Path, name: str) -> Entry | None:
    try:
        return _whole(base / "sets" / (base / "index" / name).read_text())
    except (OSError, ValueError):
        return None


def _whole(folder: Path) -> Entry | None:
    """The entry in a folder; None where there is none, or one that is damaged."""
    try:
        return Entry(folder)
    except DamagedError as error:
        log.warning("%s, and not used.", error)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return None


def _publish(folder: Path, target: Path) -> None:
    if not _whole(target):
        shutil.rmtree(target, ignore_errors=True)
        try:
            folder.rename(target)
        except OSError:  # the same content under another manifest came first
            Entry(target)
        if os.name == "posix":
            parent = os.open(target.parent, os.O_RDONLY)
            os.fsync(parent)
            os.close(parent)


def _sweep(base: Path, keep: str) -> None:
    """Removes what killed builders left: a folder whose lock is free has no builder."""
    from filelock import FileLock, Timeout

    for folder in (base / "building").iterdir():
        if folder.is_dir() and folder.name != keep:
            try:
                with FileLock(base / "locks" / folder.name, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:
                continue


def _sync(out: Any) -> None:
    out.flush()
    os.fsync(out.fileno())
