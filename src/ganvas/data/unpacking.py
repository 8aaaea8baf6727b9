"""What files unpack to: one guard for all that are packed; and arrays of an `.npz`, read some rows at a time."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ganvas.ground import memory
from ganvas.ground.errors import UserError

RATIO, FREE = 100, 2**30  # a file may unpack to 100 times its size, and to 1 GiB whatever its size
MEANT = "GANVAS_UNPACK"  # "any": there is no bound
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def meant() -> tuple[str, ...]:
    """A word where there is no bound: what was found out with one is found out anew."""
    return ("any",) if os.environ.get(MEANT) == "any" else ()


def allowed(packed: int) -> int:
    """Bytes that a file of `packed` bytes may unpack to."""
    return 2**63 if meant() else max(FREE, RATIO * packed)


def check(packed: int, unpacked: int) -> None:
    """The guard, of one file among many.

    Raises:
        ValueError: `packed` bytes unpack to too many.
    """
    if unpacked > allowed(packed):
        raise ValueError(
            f"refused as a decompression bomb: {packed:,} bytes that unpack to {unpacked:,} (up to {allowed(packed):,} "
            f"are accepted). If you mean it, set {MEANT}=any, or unpack it first"
        )


def check_file(path: Path, unpacked: int) -> None:
    """The guard, of a file that was named.

    Raises:
        UserError: it unpacks to too many bytes.
    """
    try:
        check(path.stat().st_size, unpacked)
    except ValueError as error:
        raise UserError(f"{path} is {error}.") from None


class Member:
    """An array in an `.npz`, of which rows are read as they are asked for.

    Attributes:
        dtype: of its numbers.
        shape: its own.

    Raises:
        UserError: it is no plain array, or not as long as it says.
    """

    def __init__(self, path: Path, name: str, size: int) -> None:
        self.path, self.name = path, name
        self._rows = _Rows(self)
        with self._read() as file:
            self.shape, fortran, self.dtype = _header(file)
            there = size - file.tell()  # as the zip's directory says, and no more can be read
            if there < self.nbytes:
                said = f"{self.shape} {self.dtype}, which are {self.nbytes:,} bytes"
                raise ValueError(f"its header says {said}, and it has {there:,}")
        self._whole = self._at_once() if fortran and self.ndim > 1 else None

    @property
    def ndim(self) -> int:
        """Axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return int(self.dtype.itemsize * prod(self.shape))

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Rows from start to stop; those after the last ones are read on, others from the beginning."""
        start, stop, _ = rows.indices(len(self))
        return self._rows.take(start, stop) if self._whole is None else self._whole[start:stop]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        memory.require(self.nbytes, f"{self.name} of {self.path}", "take one with fewer rows")
        return (self._rows.take(0, len(self)) if self.ndim else self._at_once()).astype(dtype or self.dtype, copy=False)

    def _at_once(self) -> NDArray[Any]:
        """All of it: where columns come first, rows are nowhere together."""
        memory.require(2 * self.nbytes, f"{self.name} of {self.path}", "save it in C order")
        with self._read() as file:
            found: NDArray[Any] = np.ascontiguousarray(npy.read_array(file, allow_pickle=False))
            return found

    @contextmanager
    def _read(self) -> Iterator[Any]:
        """The member's bytes; whatever its reading raises is a sentence."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as file:
                yield file
        except UserError:
            raise
        except Exception as error:  # zipfile, zlib, struct and tokenize have errors of their own
            raise _unreadable(self.path, f"{self.name}: {error}") from error


class _Rows:
    """A member's rows in order: its file stays open while they are asked for one after the other."""

    def __init__(self, member: Member) -> None:
        self.member, self.at = member, -1
        self._reading: Any = None

    def take(self, start: int, stop: int) -> NDArray[Any]:
        """Rows from start to stop."""
        if start != self.at:
            self._reading = self._from(start)
            next(self._reading)
        rows: NDArray[Any] = self._reading.send(stop - start)
        self.at = stop
        if stop == len(self.member):
            self._reading.close()
            self.at = -1
        return rows

    def _from(self, start: int) -> Generator[Any, int, None]:
        member = self.member
        size = member.dtype.itemsize * prod(member.shape[1:])
        with member._read() as file:
            _header(file)
            _skip(file, start * size)
            count = yield None
            while True:
                data = _exactly(file, count * size)
                count = yield np.frombuffer(data, member.dtype).reshape(count, *member.shape[1:])


def members(path: Path) -> dict[str, Member]:
    """The arrays of an `.npz`, by name.

    Raises:
        UserError: it can't be read, holds something else, or unpacks to too much.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
    except Exception as error:
        raise _unreadable(path, str(error)) from error
    check_file(path, sum(sizes.values()))
    if other := next((name for name in sizes if not name.endswith(".npy")), None):
        raise _unreadable(path, f"it holds {other!r}, which is no array")
    names = {name.removesuffix(".npy"): size for name, size in sizes.items()}
    return {name: Member(path, name, size) for name, size in names.items()}


def _unreadable(path: Path, why: str) -> UserError:
    return UserError(f"{path} cannot be read as a NumPy file without pickled objects: {why.rstrip('.')}.")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"an array of format {version}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Python 2 wrote it
        shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject or any(side < 0 for side in shape):
        raise ValueError(f"an array of {dtype} {shape}")
    return shape, fortran, dtype


def _skip(file: IO[bytes], size: int) -> None:
    while size > 0:
        size -= len(_exactly(file, min(size, 2**20)))


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise ValueError(f"it ends {size - len(data):,} bytes too soon")
    return data
