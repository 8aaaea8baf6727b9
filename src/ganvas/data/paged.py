"""Rows of a memory map that not all fit into memory: the system is told which are read next."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.ground import memory


class Paged:
    """Rows that are read in a random order, each page of them when it is asked for and no other.

    Left alone the system reads ahead of each row that it does not hold, up to megabytes, and in a random order these
    push out of memory what is read next; and it reads one row after the other, where a disk could read many at once.

    Args:
        rows: (N, ...), a memory map or a slice of one.
    """

    def __init__(self, rows: NDArray[Any]) -> None:
        whole: Any = rows
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        self._map: mmap.mmap = whole.base
        self._size = rows[0].nbytes
        self._first: int = rows.ctypes.data - whole.ctypes.data + whole.offset % mmap.ALLOCATIONGRANULARITY
        self._advise(mmap.MADV_RANDOM, self._first, rows.nbytes)

    def want(self, places: NDArray[np.int64]) -> None:
        """Begin to read the rows at these places; they need not be waited for."""
        for start in (self._first + places * self._size).tolist():
            self._advise(mmap.MADV_WILLNEED, start, self._size)

    def _advise(self, advice: int, start: int, length: int) -> None:
        page = start - start % mmap.PAGESIZE
        self._map.madvise(advice, page, start - page + length)


def paged(rows: Any) -> Paged | None:
    """Rows as `Paged`, where they are a memory map that is larger than what memory is free."""
    if not (isinstance(rows, np.memmap) and rows.flags.c_contiguous and hasattr(mmap, "MADV_RANDOM")):
        return None
    there = memory.free()
    return Paged(rows) if there is not None and rows.nbytes > there else None
