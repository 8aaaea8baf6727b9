"""The image files of a source: a folder, a zip, one file, a list of paths, or pictures in memory."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ganvas.data import medical, store, unpacking
from ganvas.ground.errors import UserError

# what Pillow opens by a program beside it, by a plug-in that it hasn't, or only in part
NO_IMAGES = frozenset([".eps", ".ps", ".wmf", ".emf", ".mpg", ".mpeg", ".h5", ".hdf", ".grib", ".bufr"])
ZIP_MEMBER = 2**29  # bytes of one file in a zip


@dataclass(frozen=True)
class Files:
    """The image files of a source: `names` sorted, with / between the parts; `read` gives one's bytes.

    `manifest` tells names, contents and labels from others.
    """

    names: tuple[str, ...]
    manifest: str
    ignored: dict[str, int]
    read: Callable[[str], bytes]
    labels: NDArray[Any] | None = None  # one a file, where they came with the files
    alone: bool = False  # a file that was named itself: all its images are to be tested


class Scanned(Files):
    """Image files in packs, which are opened when a name or a label is first asked for: what is cached needs none.

    Args:
        paths: of the packs, whose sizes and times are the manifest.
        scan: gives names, labels and the rest, of all packs.
    """

    def __init__(self, paths: Sequence[Path], scan: Callable[[], Files]) -> None:
        self.__dict__.update(manifest=stamps(paths), _scan=scan)

    @cached_property
    def _found(self) -> Files:
        found: Files = self.__dict__["_scan"]()
        return found

    names = property(lambda self: self._found.names)
    ignored = property(lambda self: self._found.ignored)
    read = property(lambda self: self._found.read)
    labels = property(lambda self: self._found.labels)


def stamps(paths: Sequence[Path]) -> str:
    """Paths, sizes and times of these files: a manifest."""
    return repr([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths])


@cache
def suffixes() -> frozenset[str]:
    """The endings of files that the installed Pillow opens as images, and of medical ones."""
    from PIL import Image

    Image.init()
    known = frozenset(end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN) - NO_IMAGES
    return known | {*medical.SUFFIXES}


def is_image(path: Path) -> bool:
    """Whether a file is one of images, by its name; or by its first bytes, where it has no suffix."""
    return _is_image(path.name, Counter(), str(path))


def in_place(path: Path) -> Files:
    """The image files of a folder or zip.

    Raises:
        UserError: a zip that cannot be read.
    """
    return _zipped(path) if path.is_file() else _in_folder(path)


def holds_images(path: Path) -> bool:
    """Whether a folder holds an image file, at any depth."""
    nothing: Counter[str] = Counter()
    return any(
        _is_image(name, nothing, f"{place}/{name}")
        for place, _, names in os.walk(path)
        if not _hidden(Path(place).name)
        for name in names
    )


def one(path: Path) -> Files:
    """A single image file."""
    status = path.stat()
    return Files((path.name,), repr((status.st_size, status.st_mtime_ns)), {}, lambda _: path.read_bytes(), alone=True)


def pictures(images: Sequence[Any]) -> Files:
    """PIL images as files in memory, by their number."""

    def encoded(name: str) -> bytes:
        image, out = images[int(name)], io.BytesIO()
        kind = "png" if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else "tiff"
        image.save(out, kind)
        return out.getvalue()

    names = tuple(f"{i:07d}" for i in range(len(images)))
    manifest = store.digest(*(part for name in names for part in (name, encoded(name))))
    return Files(names, manifest, {}, encoded)


def listed(paths: Sequence[Path]) -> Files:
    """Image files by a list of their paths, in this order.

    Raises:
        UserError: one that isn't there.
    """
    if missing := next((path for path in paths if not path.is_file()), None):
        raise UserError(f"there is no file {str(missing)!r} in the list of {len(paths):,} paths.")
    return Files(tuple(str(path) for path in paths), stamps(paths), {}, lambda name: Path(name).read_bytes())


def _in_folder(path: Path) -> Files:
    found: list[tuple[str, int, int]] = []
    ignored: Counter[str] = Counter()
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = [name for name in subfolders if not _hidden(name)]
        within = Path(folder).relative_to(path).as_posix() + "/"
        for name in names:  # strings: a Path costs as much as all else that is done with a file here
            file = f"{folder}/{name}"
            if _is_image(name, ignored, file):
                try:
                    status = os.stat(file)  # noqa: PTH116
                except OSError:  # a link to nothing
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.append((within.removeprefix("./") + name, status.st_size, status.st_mtime_ns))
    found.sort()

    def read(name: str) -> bytes:
        with open(f"{path}/{name}", "rb", 0) as file:  # noqa: PTH123
            return file.read()

    return Files(tuple(name for name, _, _ in found), repr(found), ignored, read)


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
    unpacking.check_file(path, sum(member.file_size for member in members.values()))
    while len(tops := {name.split("/", 1)[0] for name in members}) == 1 and all("/" in name for name in members):
        members = {name.removeprefix(f"{next(iter(tops))}/"): member for name, member in members.items()}

    def read(name: str) -> bytes:
        if members[name].file_size > ZIP_MEMBER:
            raise ValueError(f"refused: unpacks to {members[name].file_size:,} bytes, over {ZIP_MEMBER:,}")
        return archive.read(members[name])

    return Files(tuple(sorted(members)), repr((status.st_size, status.st_mtime_ns)), ignored, read)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: str, ignored: Counter[str], file: str | None = None) -> bool:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path for each of a million files is slow
    if _hidden(name) or suffix in suffixes() or name.lower().endswith(".nii.gz"):
        return not _hidden(name)
    if not suffix.strip(".0123456789") and name != "DICOMDIR" and file and _begins_as_dicom(file):
        return True  # scanners name files by numbers alone
    ignored[suffix or "no suffix"] += 1
    return False


def _begins_as_dicom(file: str) -> bool:
    try:
        with Path(file).open("rb") as data:
            return medical.is_dicom(data.read(132))
    except OSError:
        return False
