"""metrics.jsonl as columns: against `json`, row by row; thinned; and read on while it is written."""

import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganvas.studio import curves, safety
from ganvas.studio.curves import ANEW, Curves, Library, rows_after, thin
from ganvas.training.run import Run

Rows = list[dict[str, Any]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def text(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def made(n: int, seed: int = 0) -> Rows:
    draw = random.Random(seed)
    rows: Rows = []
    for i in range(1, n + 1):
        rows.append({"step": 5 * i, "epoch": i / 7, "split": "train", "loss": draw.gauss(0, 1), "kl": draw.random()})
        if i % 9 == 0:
            rows.append({"step": 5 * i, "epoch": i // 7, "split": "validation", "loss": draw.gauss(0, 1), "n": i})
        if i % 20 == 0:  # other figures than before
            rows.append({"step": 5 * i + 1, "epoch": 1.0, "split": "train", "loss": draw.gauss(0, 1)})
    return rows


def expected(rows: Rows) -> dict[str, dict[str, list[Any]]]:
    """The same as `Curves.series` without thinning, by plain loops."""
    found: dict[str, dict[str, list[Any]]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in ("step", "epoch", "split"):
                series = found.setdefault(f"{row['split']}/{name}", {"step": [], "value": []})
                series["step"].append(row["step"])
                series["value"].append(value)
    return found


def test_columns(file: Path) -> None:
    rows = made(3000)
    file.write_text(text(rows))
    it = Curves(file)
    assert it.read() == file.stat().st_size
    assert it.series(10**6) == expected(rows)


@pytest.mark.parametrize("chunk", [1, 7, 100, 4096])
def test_read_while_it_is_written(chunk: int, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "CHUNK", chunk)
    rows = made(40)
    data, it = text(rows).encode(), Curves(file)
    assert it.read() == 0 and it.series(100) == {}  # there is no file yet
    for end in [*range(0, len(data), 333), len(data)]:
        file.write_bytes(data[:end])
        assert it.read() == data[:end].rfind(b"\n") + 1
    assert it.series(10**6) == expected(rows)


def test_what_is_not_finite_is_null(file: Path) -> None:
    values = [math.nan, math.inf, -math.inf, None, 1.5]
    file.write_text(text([{"step": i, "epoch": 0, "split": "train", "loss": it} for i, it in enumerate(values)]))
    it = Curves(file)
    it.read()
    assert it.series(100) == {"train/loss": {"step": [0, 1, 2, 3, 4], "value": [None, None, None, None, 1.5]}}


GARBAGE = [
    b"",
    b"{",
    b"\xff\x00",
    b"[]",
    b"3",
    b"null",
    b'{"step": 1}',
    b'{"split": "train", "loss": 1}',
    b'{"step": 1, "split": ["train"], "loss": 1}',
    b'{"step": "x", "split": "train", "loss": 1}',
    b'{"step": null, "split": "train", "loss": 1}',
    b'{"step": 1e300, "split": "train", "loss": 1}',
    b'{"step": NaN, "split": "train", "loss": 1}',
    b"[" * 10_000,
    b"{" + b" " * curves.LONGEST + b"}",
    bytes(3 * curves.LONGEST),
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda line: repr(line[:20]))
def test_garbage_is_left_out(garbage: bytes, file: Path) -> None:
    rows = made(30)
    half = text(rows[:15]).encode(), text(rows[15:]).encode()
    file.write_bytes(half[0] + garbage + b"\n" + half[1])
    it = Curves(file)
    assert it.read() == file.stat().st_size
    assert it.series(1000) == expected(rows)


def test_figures_that_are_no_numbers_are_left_out(file: Path) -> None:
    row = {"step": 1, "epoch": 1, "split": "train", "a": "x", "b": [1], "c": {}, "d": 10**400, "e": 2, "f": 0.5}
    file.write_text(text([row]))
    it = Curves(file)
    it.read()
    assert it.series(100) == {f"train/{name}": {"step": [1], "value": [row[name]]} for name in "ef"}


def test_there_is_an_end_to_sorts_of_rows(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "TABLES", 5)
    file.write_text(text([{"step": 1, "epoch": 1, "split": "train", f"name {i}": 1.0} for i in range(50)]))
    it = Curves(file)
    it.read()
    assert list(it.series(100)) == [f"train/name {i}" for i in range(5)]


def test_a_link_is_refused(file: Path) -> None:
    file.with_name("other").write_text(text(made(3)))
    file.symlink_to(file.with_name("other"))
    for read in (Curves(file).read, lambda: rows_after(file, 0, 100)):
        with pytest.raises(safety.RefusedError, match="is a link"):
            read()


# Cut by a resume


def test_a_resume_that_cuts_the_file_is_seen(make_run: Callable[..., Run]) -> None:
    rows = made(100)
    run = make_run(rows=rows)
    it = Curves(run.path / "metrics.jsonl")
    it.read()
    run.truncate_metrics(250)
    kept = [row for row in rows if row["step"] <= 250]
    new = [{**row, "loss": 7.0} for row in rows if row["step"] > 250]  # as long as before
    with it.file.open("a") as file:
        file.write(text(new))
    it.read()
    assert it.series(1000) == expected(kept + new)


def test_a_file_that_is_written_over_is_seen(file: Path) -> None:
    rows = made(100)
    file.write_text(text(rows))
    it = Curves(file)
    it.read()
    other = made(200, seed=1)
    file.write_text(text(other))  # longer, and in the same place
    it.read()
    assert it.series(1000) == expected(other)
    file.unlink()
    assert it.read() == 0 and it.series(100) == {}


# Thinned


@given(
    values=st.lists(st.floats(width=16) | st.just(math.nan), min_size=1, max_size=300),
    points=st.integers(min_value=10, max_value=60),
)
def test_thin(values: list[float], points: int) -> None:
    array = np.array(values)
    kept = thin(array, points)
    assert len(kept) <= max(points, 1) and (np.diff(kept) > 0).all()
    assert kept[0] == 0 and kept[-1] == len(values) - 1
    finite = array[np.isfinite(array)]
    if len(finite):
        seen = array[kept][np.isfinite(array[kept])]
        assert seen.min() == finite.min() and seen.max() == finite.max()
    if len(values) <= points:
        assert len(kept) == len(values)
    elif len(finite) < len(values):
        assert not np.isfinite(array[kept]).all()  # a gap is shown


def test_a_spike_among_a_million_is_kept() -> None:
    values = np.sin(np.arange(1_000_000) / 1e5)
    values[[123_456, 765_432]] = 9, -9
    kept = thin(values, 2000)
    assert 1000 < len(kept) <= 2000 and {123_456, 765_432} <= set(kept.tolist())


def test_the_least_recently_asked_for_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(text(made(100)))
    it = Library()
    first = it.curves(tmp_path / "a", 50)
    monkeypatch.setattr(curves, "MEMORY", 2 * it.held[tmp_path / "a"].memory)
    for name in "bac":
        assert it.curves(tmp_path / name, 50) == first
    assert [path.name for path in it.held] == ["a", "c"]


# Rows after a cursor


def test_rows_after(file: Path) -> None:
    rows = made(50)
    data = text(rows).encode()
    file.write_bytes(data + b'{"step": 1, ')
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    for place, cursor in enumerate([0, *ends]):
        assert rows_after(file, cursor, 10**6) == (len(data), rows[place:])


def test_rows_after_have_null_for_what_is_not_finite(file: Path) -> None:
    file.write_text('{"step": 1, "loss": NaN, "kl": -Infinity}\nnonsense\n')
    assert rows_after(file, 0, 100) == (file.stat().st_size, [{"step": 1, "loss": None, "kl": None}])


def test_a_cursor_of_another_file_asks_for_the_whole(file: Path) -> None:
    assert rows_after(file, 0, 100) == (0, [])
    assert rows_after(file, 5, 100) == (ANEW, [])
    file.write_text(text(made(10)))
    size = file.stat().st_size
    assert rows_after(file, size, 100) == (size, [])
    assert rows_after(file, size + 1, 100) == (ANEW, [])
    assert rows_after(file, 3, 10**6) == (ANEW, [])  # within a row
    assert rows_after(file, 0, size - 1) == (ANEW, [])  # too much
    os.truncate(file, 0)
    assert rows_after(file, size, 100) == (ANEW, [])
