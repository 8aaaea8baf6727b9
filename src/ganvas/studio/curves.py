"""metrics.jsonl as columns, thinned for a screen: read on where it was left, and held in memory as float64."""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from ganvas.studio import safety

CHUNK = 2**15  # bytes that are read at a time; more of them are slower, as the garbage collector looks at their rows
LONGEST = 2**20  # bytes of a line; a longer one is no row
MEMORY = 256 * 2**20  # bytes of the columns that are kept
TABLES = 1000  # sorts of rows in a file; further ones are left out
MARK = 64  # bytes before the cursor that tell whether the file is still the same
PLACE = ("step", "epoch", "split")
ANEW = -1  # a cursor: ask for the whole curves

Floats = NDArray[np.float64]


class _Table:
    """Rows with the same figures, as a growing (1 + figures, rows) array whose first row is the step."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names, self.n = names, 0
        self.values: Floats = np.empty((1 + len(names), 0))

    def add(self, columns: Floats) -> None:
        """Append (1 + figures, n)."""
        n = self.n + columns.shape[1]
        if n > self.values.shape[1]:
            grown: Floats = np.empty((len(self.values), max(256, n * 3 // 2)))
            grown[:, : self.n] = self.values[:, : self.n]
            self.values = grown
        self.values[:, self.n : n] = columns
        self.n = n


class Curves:
    """The metrics of a run. It may be asked from several threads.

    Args:
        file: metrics.jsonl, which need not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        self.cursor, self.skipping, self.mark = 0, False, b""
        self.tables: dict[tuple[str, ...], _Table] = {}

    @property
    def memory(self) -> int:
        """Bytes."""
        return sum(table.values.nbytes for table in self.tables.values())

    def read(self) -> int:
        """Read what is new; all of it, where the file was cut or written anew. Returns the cursor.

        A half-written last line is left for later, and what is no row is left out.

        Raises:
            RefusedError: the file is a link, or can't be read.
        """
        try:
            file = safety.opened(self.file)
        except safety.NotFoundError:
            self._start()
            return 0
        with file:
            if self.cursor:
                file.seek(self.cursor - len(self.mark))
                if file.read(len(self.mark)) != self.mark:
                    self._start()
            file.seek(self.cursor)
            rest = b""
            while chunk := file.read(CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                if lines:
                    self._take(lines[self.skipping :])
                    self.skipping = False
                    self.cursor += sum(map(len, lines)) + len(lines)
                if len(rest) > LONGEST:
                    self.cursor, self.skipping, rest = self.cursor + len(rest), True, b""
            start = max(0, self.cursor - MARK)
            file.seek(start)
            self.mark = file.read(self.cursor - start)
        return self.cursor

    def _take(self, lines: list[bytes]) -> None:
        groups: dict[tuple[str, ...], list[Any]] = {}
        for line in lines:
            try:
                row = from_json(line)
                groups.setdefault((row["split"], *row), []).append(row.values())
            except (ValueError, TypeError, AttributeError, KeyError):  # no JSON, no object, no row
                continue
        for (split, *names), rows in groups.items():
            if "step" not in names:
                continue
            columns = dict(zip(names, zip(*rows, strict=True), strict=True))
            step, figures = columns["step"], {name: columns[name] for name in names if name not in PLACE}
            try:
                self._add((split, *figures), np.array([step, *figures.values()], np.float64))
            except (ValueError, TypeError, OverflowError):  # something else than numbers is among them
                for place in range(len(rows)):
                    own = {name: values[place] for name, values in figures.items() if _number(values[place])}
                    if _number(step[place]):
                        self._add((split, *own), np.array([[step[place]], *([it] for it in own.values())], np.float64))

    def _add(self, key: tuple[str, ...], columns: Floats) -> None:
        if key not in self.tables and len(self.tables) >= TABLES:
            return
        known = np.abs(columns[0]) < 2**53
        self.tables.setdefault(key, _Table(key[1:])).add(columns if known.all() else columns[:, known])

    def series(self, points: int) -> dict[str, dict[str, list[Any]]]:
        """{"train/elbo": {"step", "value"}}: at most `points` of each, see `thin`; null for what is not finite."""
        parts: dict[str, list[tuple[Floats, Floats]]] = {}
        for (split, *_), table in self.tables.items():
            for name, values in zip(table.names, table.values[1:, : table.n], strict=True):
                parts.setdefault(f"{split}/{name}", []).append((table.values[0, : table.n], values))
        found = {}
        for name, several in parts.items():
            steps, values = several[0] if len(several) == 1 else map(np.concatenate, zip(*several, strict=True))
            if len(several) > 1:
                order = np.argsort(steps, kind="stable")
                steps, values = steps[order], values[order]
            kept = thin(values, points)
            found[name] = {
                "step": steps[kept].astype(np.int64).tolist(),
                "value": [value if math.isfinite(value) else None for value in values[kept].tolist()],
            }
        return found


def thin(values: Floats, points: int) -> NDArray[np.int64]:
    """The places of at most `points` of the values (n,), at least 10, that look like all of them.

    They are cut into buckets, of each of which the smallest and the largest stay, and the first that is not finite; so
    do the first and the last of all.
    """
    n = len(values)
    if n <= points:
        return np.arange(n)
    finite = np.isfinite(values)
    whole = bool(finite.all())
    width = -(-n // max(1, (points - 2) // (2 if whole else 3)))
    full = n // width * width
    kept = [np.array([0, n - 1])]
    for start, stop in ((0, full), (full, n)):  # buckets of one width, and what is left
        if start == stop:
            continue
        table, known = (it[start:stop].reshape(-1, min(width, stop - start)) for it in (values, finite))
        starts = np.arange(start, stop, width)
        kept.append(starts + (table if whole else np.where(known, table, np.inf)).argmin(1))
        kept.append(starts + (table if whole else np.where(known, table, -np.inf)).argmax(1))
        if not whole:
            kept.append((starts + known.argmin(1))[~known.all(1)])
    return np.unique(np.concatenate(kept))


class Library:
    """The curves of runs, the least recently asked for out when they take too much memory."""

    def __init__(self) -> None:
        self.held: OrderedDict[Path, Curves] = OrderedDict()
        self.lock = threading.Lock()

    def curves(self, run: Path, points: int) -> dict[str, Any]:
        """{"cursor", "series"} of a run's folder, as docs/studio.md says."""
        with self.lock:
            curves = self.held.setdefault(run, Curves(run / "metrics.jsonl"))
            self.held.move_to_end(run)
        with curves.lock:
            answer = {"cursor": curves.read(), "series": curves.series(points)}
        with self.lock:
            while len(self.held) > 1 and sum(held.memory for held in self.held.values()) > MEMORY:
                self.held.popitem(last=False)
        return answer


def rows_after(path: Path, cursor: int, most: int) -> tuple[int, list[dict[str, Any]]]:
    """The whole rows of metrics.jsonl after a cursor, with null for what is not finite, and the cursor after them.

    Returns:
        `ANEW` and no rows, where the cursor is not one of this file, or over `most` bytes are new.

    Raises:
        RefusedError: the file is a link, or can't be read.
    """
    try:
        file = safety.opened(path)
    except safety.NotFoundError:
        return (0, []) if cursor == 0 else (ANEW, [])
    with file:
        size = os.fstat(file.fileno()).st_size
        start = max(0, cursor - 1)
        file.seek(start)
        new = file.read(most + 1) if start < size or not cursor else b""
    if (cursor and new[:1] != b"\n") or len(new) > most:
        return ANEW, []
    *lines, rest = new[start != cursor :].split(b"\n")
    rows = []
    for line in lines:
        try:
            row = from_json(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append({name: _plain(value) for name, value in row.items()})
    return cursor + len(new) - (start != cursor) - len(rest), rows


def _number(value: Any) -> bool:
    """Whether it is a number, or null for one."""
    return value is None or isinstance(value, float) or (type(value) is int and abs(value) < 2**53)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
