"""Images that are decoded when they are asked for: of sets that are too large for the cache."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.data import pixels, store
from ganvas.data.imagefiles import Files
from ganvas.ground.errors import UserError

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """Rows (N, H, W, C) of image files, that are taken as those of an array: by number, slice or numbers.

    Nothing is kept: each time, the files of the rows are read and decoded, in threads.

    Attributes:
        files: where they are.
        form: what each becomes; its size is stated.
        file: the place of each row's file among the names of `files`, (N,).
        number: of each row's image in its file, (N,).
        table: what each byte becomes, (256,); None leaves them.
    """

    files: Files
    form: pixels.Form
    file: NDArray[np.int64]
    number: NDArray[np.int64]
    table: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        assert self.form.size is not None
        return (len(self), *self.form.size, self.form.channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16."""
        return np.dtype(np.uint8 if self.form.scale.bits == 8 else np.uint16)

    @property
    def nbytes(self) -> int:
        """Bytes that all of them take, decoded."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.file)

    def __getitem__(self, rows: Any) -> Array:
        """The rows, decoded: (n, H, W, C), or (H, W, C) of a single number.

        Raises:
            UserError: a file that can't be read any more, by its name.
        """
        places = np.arange(len(self))[rows]
        found = self.begin(np.atleast_1d(places))()
        return found if np.ndim(places) else found[0]

    def __iter__(self) -> Iterator[Array]:
        for start in range(0, len(self), store.CHUNK):
            yield from self[start : start + store.CHUNK]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("streamed images can't be had without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def part(self, rows: NDArray[np.int64]) -> Images:
        """These rows alone, none of them decoded."""
        return dataclasses.replace(self, file=self.file[rows], number=self.number[rows])

    def begin(self, rows: NDArray[np.int64]) -> Callable[[], Array]:
        """Begins to decode rows (n,) in threads; what is returned waits for them, and gives (n, H, W, C)."""
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        wanted: dict[int, dict[int, list[int]]] = {}  # by file and number the places in `out`
        for place, (file, number) in enumerate(zip(self.file[rows].tolist(), self.number[rows].tolist(), strict=True)):
            wanted.setdefault(file, {}).setdefault(number, []).append(place)
        # In the order of the source: what lies together in it, as in a row group of a parquet file, is read together.
        jobs = [_pool().submit(self._decode, self.files.names[file], wanted[file], out) for file in sorted(wanted)]

        def wait() -> Array:
            for job in jobs:
                job.result()
            return out

        return wait

    def _decode(self, name: str, places: Mapping[int, list[int]], out: Array) -> None:
        try:
            found = pixels.decode_all(self.files.read(name), self.form, places)
            for number, where in places.items():
                out[where] = found[number] if self.table is None else self.table[found[number]]
        except UserError:
            raise
        except Exception as error:  # Pillow raises whatever its parsers run into
            raise UserError(
                f"{name!r} cannot be read: {pixels.reason(error)}. Its header could, when the set was looked at: bring "
                "back the file as it was, or remove it and begin anew."
            ) from error


@dataclass(eq=False)
class Entry:
    """A prepared data set whose images are not kept: see `store.Prepared`.

    Attributes:
        key: made of the files' names, sizes and times, and of the preparation.
        preparation: how images are made.
        meta: as of an entry of the cache.
        images: all.
        rows: of each split.
        labels: of all, (N,) or (N, A); None without labels.
        names: of the source's files, (N,).
    """

    key: str
    preparation: str
    meta: dict[str, Any]
    images: Images
    rows: Mapping[str, NDArray[np.int64]]
    labels: NDArray[np.int64] | None
    names: Array

    def splits(self) -> dict[str, tuple[Images, Array | None]]:
        """(images, labels) of each split."""
        return {
            name: (self.images.part(rows), None if self.labels is None else self.labels[rows])
            for name, rows in self.rows.items()
        }

    def extra(self, name: str, split: str) -> Array | None:
        """The "names" or "order" of a split's rows."""
        return self.names[self.rows[split]] if name == "names" else self.rows[split]

    def part(self, kept: Mapping[str, NDArray[np.int64]], preparation: str) -> Entry:
        """The entry of some rows of each split."""
        rows = {split: self.rows[split][places] for split, places in kept.items()}
        key = store.key_of(self.key, preparation)
        return dataclasses.replace(self, key=key, preparation=preparation, rows=rows)


def workers() -> int:
    """Threads that decode: Pillow lets go of the interpreter's lock."""
    return max(1, min(32, os.cpu_count() or 1))


@cache
def _pool() -> ThreadPoolExecutor:
    # Its threads warn whenever they decode, so a filter for the time of a call would not do.
    warnings.filterwarnings("ignore", module=r"(PIL|pydicom|nibabel|tifffile)\b")
    return ThreadPoolExecutor(workers(), "ganvas-decode")


if hasattr(os, "register_at_fork"):  # a child has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
