"""A folder or zip of images, decoded in parallel into the cache."""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.data import arrays, pixels, store
from ganvas.errors import UserError

SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"])
ZIP_MEMBER = 2**29  # bytes of one file in a zip
ZIP_RATIO, ZIP_FREE = 100, 2**30  # a zip may hold 100 times its size, and 1 GiB whatever its size

Decoded = tuple[bytes, pixels.Pixels | str]  # the file's digest, and its pixels or why there are none


@dataclass(frozen=True)
class Files:
    """The image files of a source: `names` sorted, with / between the parts; `read` gives one's bytes."""

    names: tuple[str, ...]
    manifest: str
    ignored: dict[str, int]
    read: Callable[[str], bytes]


def build_entry(
    path: Path,
    size: tuple[int, int] | None,
    channels: int | None,
    labels: arrays.Labels | None,
    strict: bool,
    progress: bool,
) -> tuple[store.Entry, list[str]]:
    """The cache's entry for the folder or zip at `path`, decoded now unless done before; and remarks on the path.

    Raises:
        UserError: no images, sizes or channels that differ and are not stated, labels that do not match; with `strict`
            also the first file that cannot be read.
    """
    files = _zipped(path) if path.is_file() else _in_folder(path)
    if not files.names:
        looked = " ".join(sorted(SUFFIXES))
        raise UserError(f"{path} holds no images: {sum(files.ignored.values())} other files, none ending in {looked}.")
    values = None if labels is None else arrays.labels_of(labels, files.names, str(path))
    given = "" if values is None else store.digest(values if values.dtype.kind != "U" else "\n".join(values.tolist()))
    manifest = store.digest("folder", str(path), files.manifest, repr((size, channels)), given)
    entry = store.entry(manifest, lambda writer: _build(writer, files, path, size, channels, values, strict, progress))
    if strict and entry.meta["unreadable"]:
        raise _strict(*entry.meta["unreadable"][0])
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(files.ignored.items()))
    return entry, [f"files that are not images were ignored: {kinds}"] if kinds else []


def read(paths: Sequence[Path], size: tuple[int, int], channels: int) -> tuple[list[Path], pixels.Pixels]:
    """The image files at `paths`, and those in folders there, decoded into memory.

    Returns:
        A PNG's name for each, relative to the folder that it was found in, and the pixels (N, H, W, C).

    Raises:
        UserError: a path with no images, a file that cannot be read, or two of one name.
    """
    places: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"there is no {str(path)!r}; give image files, or folders of them.")
        names = _in_folder(path).names if path.is_dir() else (path.name,)
        if not names:
            raise UserError(f"{path} holds no images: no file in it ends in {' '.join(sorted(SUFFIXES))}.")
        for name in names:
            place = path / name if path.is_dir() else path
            if (other := places.setdefault(Path(name).with_suffix(".png"), place)) != place:
                raise UserError(f"{str(other)!r} and {str(place)!r} have one name: rename one, or give them apart.")
    files = Files(tuple(map(str, places.values())), "", {}, lambda name: Path(name).read_bytes())
    rows = []
    with closing(_decoded(files, size, channels)) as decoded:
        for name, (_, row) in zip(files.names, decoded, strict=True):
            if isinstance(row, str):
                raise UserError(f"{name!r} cannot be read: {row}.")
            rows.append(row)
    return list(places), np.stack(rows)


def _build(
    writer: store.Writer,
    files: Files,
    path: Path,
    size: tuple[int, int] | None,
    channels: int | None,
    labels: NDArray[Any] | None,
    strict: bool,
    progress: bool,
) -> str:
    content = hashlib.sha256()
    kept: list[int] = []
    unreadable: list[tuple[str, str]] = []
    first: pixels.Pixels | None = None
    with closing(_decoded(files, size, channels)) as decoded:
        for index, (sha, row) in enumerate(store.tracked(decoded, len(files.names), f"decoding {path.name}", progress)):
            name = files.names[index]
            content.update(store.digest(name, sha).encode())
            if isinstance(row, str):
                unreadable.append((name, row))
                if strict:
                    raise _strict(name, row)
                continue
            first = row if first is None else first
            if row.shape != first.shape:
                raise _differ(files.names[kept[0]], first.shape, name, row.shape)
            kept.append(index)
            writer.append(row[None])
    if first is None:
        why = ": ".join(unreadable[0])
        raise UserError(f"{path}: none of the {len(files.names):,} images can be read; the first: {why}.")

    splits, folders, remarks = _layout([files.names[index] for index in kept], str(path))
    values = folders if labels is None else labels[kept]
    codes, classes = (None, None) if values is None else arrays.encode(values)
    if codes is not None and classes is not None:
        content.update(store.digest(codes, *classes).encode())
    fitted = f"size as it is, {first.shape[0]} x {first.shape[1]}" if size is None else pixels.fitting(size)
    how = f"{fitted}; {'grey' if first.shape[2] == 1 else 'colour'}; {pixels.WHITE}; 8 bit"
    report = _report(unreadable, len(files.names)) + remarks
    meta = {"classes": classes, "attributes": None, "report": report, "unreadable": unreadable}
    return writer.finish(content.hexdigest(), how, splits, codes, **meta)


def _decoded(files: Files, size: tuple[int, int] | None, channels: int | None) -> Generator[Decoded, None, None]:
    """Decodes in threads (Pillow lets go of the interpreter's lock), in order, a few files ahead of the reader."""
    from PIL import Image, UnidentifiedImageError

    def decode(name: str) -> Decoded:
        data = b""
        try:
            data = files.read(name)
            result: pixels.Pixels | str = pixels.decode(data, size, channels)
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
        ahead: deque[Future[Decoded]] = deque()
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


def _in_folder(path: Path) -> Files:
    found: list[tuple[str, int, int]] = []
    ignored: Counter[str] = Counter()
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = [name for name in subfolders if not _hidden(name)]
        for name in names:
            file = Path(folder, name)
            if _is_image(name, ignored) and file.is_file():
                status = file.stat()
                found.append((file.relative_to(path).as_posix(), status.st_size, status.st_mtime_ns))
    found.sort()
    return Files(tuple(name for name, _, _ in found), repr(found), ignored, lambda name: (path / name).read_bytes())


def _zipped(path: Path) -> Files:
    """The members of a zip, read in memory and never unpacked to a path."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as a zip file: {error}.") from error
    ignored: Counter[str] = Counter()
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        parts = [part for part in member.filename.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if parts and not member.is_dir() and not any(map(_hidden, parts)) and _is_image(parts[-1], ignored):
            members["/".join(parts)] = member
    status = path.stat()
    total, allowed = sum(member.file_size for member in members.values()), max(ZIP_FREE, ZIP_RATIO * status.st_size)
    if total > allowed:
        raise UserError(
            f"{path} is refused as a decompression bomb: {status.st_size:,} bytes that unpack to {total:,} "
            f"(up to {allowed:,} are accepted). If you trust it, unpack it and give the folder."
        )
    while len(tops := {name.split("/", 1)[0] for name in members}) == 1 and all("/" in name for name in members):
        members = {name.removeprefix(f"{next(iter(tops))}/"): member for name, member in members.items()}

    def read(name: str) -> bytes:
        if members[name].file_size > ZIP_MEMBER:
            raise ValueError(f"refused: unpacks to {members[name].file_size:,} bytes, over {ZIP_MEMBER:,}")
        return archive.read(members[name])

    return Files(tuple(sorted(members)), repr((status.st_size, status.st_mtime_ns)), ignored, read)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: str, ignored: Counter[str]) -> bool:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each of a million files is slow
    if _hidden(name) or suffix in SUFFIXES:
        return not _hidden(name)
    ignored[suffix or "no suffix"] += 1
    return False


def _layout(names: Sequence[str], what: str) -> tuple[dict[str, NDArray[np.int64]], NDArray[Any] | None, list[str]]:
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
        splits, parts = arrays.given_splits(split_of, what), [part[1:] for part in parts]
    else:
        splits = store.random_splits(len(names), what)
    nested = sum(len(part) > 1 for part in parts)
    folders = {part[0] for part in parts if len(part) > 1}
    if len(folders) < 2 or nested < len(parts):
        stray = len(folders) > 1
        remark = f"no classes: {len(parts) - nested} images lie beside the {len(folders)} subfolders"
        return splits, None, [remark] if stray else []
    return splits, np.array([part[0] for part in parts]), []


def _differ(one: str, was: tuple[int, ...], other: str, now: tuple[int, ...]) -> UserError:
    if was[2] != now[2]:
        kinds = {1: "grey", 3: "in colour"}
        what = f"{one!r} is {kinds[was[2]]} and {other!r} is {kinds[now[2]]}"
        return UserError(f"{what}: say which you want with --channels 1 or --channels 3.")
    sizes = f"{one!r} is {was[0]} x {was[1]} and {other!r} is {now[0]} x {now[1]} (height x width)"
    return UserError(f"{sizes}: say which size you want, for example --size 64.")


def _strict(name: str, reason: str) -> UserError:
    return UserError(f"{name!r} cannot be read: {reason}. Repair or remove it, or leave it out by dropping --strict.")


def _report(unreadable: Sequence[tuple[str, str]], n: int, shown: int = 10) -> list[str]:
    if not unreadable:
        return []
    lines = [f"{len(unreadable):,} of {n:,} files could not be read and were left out:"]
    lines += [f"  {name}: {reason}" for name, reason in unreadable[:shown]]
    return lines + [f"  and {len(unreadable) - shown:,} more"] * (len(unreadable) > shown)
