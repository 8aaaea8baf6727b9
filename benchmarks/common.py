"""What both environments share: children that print one JSON line, rows with their spread. Standard library only."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import floor, log10
from pathlib import Path
from typing import Any, TypeVar

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"
OURS = sys.executable
PEERS = str(HERE / ".peers" / "bin" / "python")
ENVIRONMENT = os.environ | {"GANVAS_CACHE": str(CACHE / "ganvas")}
EARLIER: list[str] = []  # the commit that `run.py --against` names, if it does

Call = Callable[[], Any]
T = TypeVar("T")


def child(python: str, task: str, **arguments: Any) -> dict[str, Any]:
    """What `task`, "file.function", returns in a process of its own, so that no import or thread leaks."""
    file, name = task.split(".")
    command = [python, str(HERE / f"{file}.py"), name, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CACHE, env=ENVIRONMENT)
    if done.returncode:
        raise SystemExit(f"{task} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def serve(*tasks: Callable[..., dict[str, Any]]) -> None:
    """The other end of `child`."""
    _, name, arguments = sys.argv
    print("\n" + json.dumps({task.__name__: task for task in tasks}[name](**json.loads(arguments))))


def interleave(repeats: int, *sides: Callable[[int], Any]) -> list[list[Any]]:
    """What each side returned for repeats 0, 1, ...; the sides alternate, and so does who goes first."""
    answers: list[list[Any]] = [[None] * repeats for _ in sides]
    for repeat in range(repeats):
        order = list(enumerate(sides))
        for place, side in order if repeat % 2 == 0 else reversed(order):
            answers[place][repeat] = side(repeat)
    return answers


def earlier(side: Callable[[int], T]) -> list[Callable[[int], T]]:
    """A side of `interleave` once more, whose children run the source of the commit of `--against`; none without it."""

    def once_more(repeat: int) -> T:
        with _source_of(EARLIER[0]):
            return side(repeat)

    return [once_more for _ in EARLIER]


@contextmanager
def _source_of(commit: str) -> Iterator[None]:
    """Children import ganvas as it was then; the benchmarks are today's."""
    tree, before = CACHE / "against" / commit, ENVIRONMENT.get("PYTHONPATH")
    if not tree.exists():
        subprocess.run(["git", "worktree", "prune"], cwd=HERE, check=True)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], cwd=HERE, check=True)
    ENVIRONMENT["PYTHONPATH"] = str(tree / "src")
    try:
        yield
    finally:
        ENVIRONMENT.pop("PYTHONPATH")
        ENVIRONMENT.update({"PYTHONPATH": before} if before else {})


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: was measured.
        unit: of both sides' figures.
        ours: a figure for each repeat.
        peer: likewise; the pairs were taken one right after the other. None: there is no peer.
        compare: "higher" or "lower" is better, or "difference" where a ratio says nothing.
        flops: useful floating-point operations for each of `unit`, which is then a rate.
        against: who the peer is.
        aim: what we promised.
        note: a sentence on the figures.
    """

    what: str
    unit: str
    ours: list[float]
    peer: list[float] | None = None
    compare: str = "higher"
    flops: float | None = None
    against: str = ""
    aim: str = ""
    note: str = ""
    ratio: list[float] = field(init=False)

    def __post_init__(self) -> None:
        pairs = list(zip(self.ours, self.peer or [], strict=bool(self.peer)))
        combine: dict[str, Callable[[float, float], float]] = {
            "higher": lambda a, b: a / b,
            "lower": lambda a, b: b / a,
            "difference": lambda a, b: a - b,
        }
        object.__setattr__(self, "ratio", [combine[self.compare](a, b) for a, b in pairs])

    def and_earlier(self, *figures: list[float]) -> list[Row]:
        """Itself, and a row that has those of the `earlier` side, where there is one, for its peer."""
        return [
            self,
            *(
                replace(self, what=f"{self.what}: against {commit}", peer=peer, against=commit, aim="", note="")
                for commit, peer in zip(EARLIER, figures, strict=True)
            ),
        ]

    def cells(self, rates: dict[str, float]) -> list[str]:
        """The table's cells; `rates`: name -> FLOP/s of matrix products."""
        style = ".2f" if self.compare == "difference" else ""
        unit = f" {self.unit}" if self.unit else ""
        peer = f"{spread(self.peer, style)}{unit} ({self.against})" if self.peer else "-"
        ratio = "-"
        if self.ratio:
            ratio = f"{spread(self.ratio, '+.2f')}{unit}" if style else f"{spread(self.ratio)} x"
        share = "-"
        if self.flops:
            done = statistics.median(self.ours) * self.flops
            share = ", ".join(f"{done / rate:.1%} of {name}" for name, rate in rates.items())
        return [self.what, f"{spread(self.ours, style)}{unit}", peer, ratio, share, self.aim or "-"]


def spread(values: list[float], style: str = "") -> str:
    """Median (smallest to largest), to three digits unless `style` formats them."""
    low, middle, high = min(values), statistics.median(values), max(values)
    text = [format(value, style) if style else _three_digits(value) for value in (middle, low, high)]
    return text[0] if len(values) == 1 else f"{text[0]} ({text[1]} to {text[2]})"


def _three_digits(value: float) -> str:
    return f"{value:,.{max(0, 2 - floor(log10(abs(value))))}f}" if value else "0"


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """Fills "MB" with the peak of the memory that this process and its children held while in the block.

    The sum of their proportional set sizes: the resident set, a page shared by n of them counted as 1/n in each.
    Linux alone tells it; elsewhere the answer stays 0.
    """
    peak = {"MB": 0.0}
    ended = threading.Event()

    def watch() -> None:
        while True:
            peak["MB"] = max(peak["MB"], sum(map(_pss, _family(os.getpid()))) / 1e3)
            if ended.wait(0.05):
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _family(process: int) -> Iterator[int]:
    yield process
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # the thread ended meanwhile
            continue
        for one in children:
            yield from _family(int(one))


def _pss(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
