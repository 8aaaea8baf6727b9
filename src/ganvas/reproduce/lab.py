"""What a row of `ganvas reproduce` is, and what it is given to work with.

A row is a function of a `Lab` that returns an `Outcome`, registered in FIGURES under its name. Its docstring is read:

    L2: codes of an autoencoder beside PCA.      the lecture's rows and a title; P1 ...: a figure of a paper's table

    Claim: what is measured, and what would refute it.

    (anything else, for the reader of the code)

It imports torch, matplotlib and the like inside itself: listing the rows imports none of them.
"""

from __future__ import annotations

import datetime
import hashlib
import inspect
import json
import math
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ganvas.ground.errors import UserError, unknown
from ganvas.ground.files import read_json, write_text
from ganvas.ground.provenance import commit
from ganvas.ground.registry import Registry
from ganvas.training import progress

if TYPE_CHECKING:
    from ganvas.training.run import Run

FIGURES = Registry("figure")
T = TypeVar("T")
_DOC = re.compile(r"([LP]\d+(?:, [LP]\d+)*): (.+?)\.?\n\n(?:.*\n\n)?Claim: (.+?)(?:\n\n|\Z)", re.S)


@dataclass(frozen=True)
class Measure:
    """A number that speaks for or against the claim.

    Attributes:
        name: what it is.
        values: one a seed, or a single one with its `error`.
        unit: of the values.
        expected: what the claim says of it: "above 0", "at most 4.2".
        error: the standard error of a single value.

    Raises:
        UserError: no value, or one that is not finite.
    """

    name: str
    values: Sequence[float]
    unit: str = ""
    expected: str = ""
    error: float | None = None

    def __post_init__(self) -> None:
        if not self.values or not all(map(math.isfinite, [*self.values, self.error or 0.0])):
            raise UserError(f"the measure {self.name!r} is {list(self.values)}, error {self.error}: no finite number.")

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        """The standard deviation over the seeds (n - 1); None of a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Outcome:
    """What came of a row.

    Attributes:
        measures: the numbers.
        holds: whether the claim does.
        reason: why it does not; or what else a reader has to know.
        figure: a matplotlib Figure, or a picture uint8 (H, W, C).
    """

    measures: Sequence[Measure]
    holds: bool
    reason: str
    figure: Any


@dataclass(frozen=True)
class Row:
    """What the docstring of a row says.

    Attributes:
        name: in FIGURES.
        lecture: the lecture's rows, ("L2",).
        title: one line.
        claim: what is measured, and what would refute it.
        make: the function.
    """

    name: str
    lecture: tuple[str, ...]
    title: str
    claim: str
    make: Callable[[Lab], Outcome]


def row(name: str) -> Row:
    """The row of that name.

    Raises:
        UserError: there is none.
    """
    make = FIGURES[name]
    said = _DOC.match(inspect.getdoc(make) or "")
    if not said:
        raise TypeError(f'the docstring of {name} must say "L2: title." and, in a paragraph of its own, "Claim: ...".')
    lecture, title, claim = (" ".join(part.split()) for part in said.groups())
    return Row(name, tuple(lecture.split(", ")), title, claim, make)


def rows() -> list[Row]:
    """All rows, as they follow in the lecture; then those of papers."""
    return sorted(map(row, FIGURES), key=lambda it: (it.lecture[0][0], int(it.lecture[0][1:]), it.name))


def find(words: Iterable[str]) -> list[Row]:
    """The rows that are meant, each once, as they follow in the lecture.

    Args:
        words: names, the lecture's rows ("L2") or those of papers ("P1"), "all" of the lecture, "papers".

    Raises:
        UserError: a word that is none of these.
    """
    known, chosen = rows(), set()
    for word in words:
        groups = {"all": "L", "papers": "P"}
        meant = {it.name for it in known if it.lecture[0][0] == groups.get(word) or word == it.name}
        meant |= {it.name for it in known if word.upper() in it.lecture}
        if not meant:
            raise unknown("figure", word, [*groups, *(part for it in known for part in (it.name, *it.lecture))])
        chosen |= meant
    return [it for it in known if it.name in chosen]


@dataclass
class Lab:
    """What a row works with: its size, its seeds, and runs that are trained once.

    Attributes:
        quick: a small version is asked for.
        seeds: to train with.
        runs: where runs and cached results are kept, for any row to use.
        kept: where `summary` keeps what rows need of long trainings; by default beside the runs.
        used: the folders of the runs that were asked for.
        summaries: what was looked up of runs in `kept`: {"run", "machine", "commit", "date", "seconds"} each.
        reused: seconds that went, at another time, into what was only looked up.
    """

    quick: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)
    runs: Path = Path("runs/reproduce")
    kept: Path | None = None
    used: list[Path] = field(default_factory=list, init=False)
    summaries: list[dict[str, Any]] = field(default_factory=list, init=False)
    reused: float = field(default=0.0, init=False)

    def pick(self, *, quick: T, full: T) -> T:
        """One of two values, by the size that is asked for."""
        return quick if self.quick else full

    def train(self, recipe: str, *, seed: int, data: Any = "mnist", **settings: Any) -> Run:
        """The finished run of these settings: looked up, continued from where it was killed, or trained now.

        Args:
            recipe: the name of a recipe.
            seed: of every draw.
            data: as `ganvas.train` takes it.
            settings: any other argument of `ganvas.train`, the recipe's own among them.

        Raises:
            UserError: as `ganvas.train`.
            KeyboardInterrupt: it was stopped; the same call continues it.
        """
        from ganvas.training.run import Run
        from ganvas.training.train import resume, train

        path = self.runs / self._folder(recipe, seed, data, settings)
        begun = (path / "recipe.json").is_file()
        if begun and Run(path).state["state"] == "finished":
            run = Run(path)
            if path not in self.used:
                self.reused += run.state.get("seconds", 0.0)
        else:
            said = " ".join(f"{key}={value}" for key, value in settings.items())
            print(f"{'continuing' if begun else 'training'} {recipe} {said} seed={seed} in {path}", file=sys.stderr)
            if begun:
                self.reused += Run(path).state.get("seconds", 0.0)
                run = progress.with_progress(lambda report: resume(path, report))
            else:
                run = progress.with_progress(
                    lambda report: train(recipe, data=data, seed=seed, out=path, report=report, **settings)
                )
            if run.state["state"] == "interrupted":
                raise KeyboardInterrupt
        self.used += [path] * (path not in self.used)
        return run

    def summary(self, of: Callable[[Run], T], recipe: str, *, seed: int, data: Any = "mnist", **settings: Any) -> T:
        """`of(run)`, a JSON value, of the run that `train` gives; once that is kept, the run is needed no more.

        So a row of many long trainings is made a training at a time, on whatever machine is there, by the one command.

        Args:
            of: what is asked of the run, the same for all who ask for one of these settings.
            recipe: and the others are those of `train`.
        """
        folder = self._folder(recipe, seed, data, settings)
        path = (self.kept or self.runs / "kept") / f"{folder}.json"
        if path.is_file():
            found = read_json(path)
            self.reused += found["seconds"] * (self.runs / folder not in self.used)
        else:
            run = self.train(recipe, seed=seed, data=data, **settings)
            found = {"run": folder, "machine": run.data.get("machine"), "commit": commit(), "value": of(run)}
            found |= {"date": f"{datetime.date.today()}", "seconds": run.state.get("seconds", 0.0)}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(found))
        about = {name: value for name, value in found.items() if name != "value"}
        self.summaries += [about] * (about not in self.summaries)
        return found["value"]  # type: ignore[no-any-return]

    def model(self, run: Run, step: int | None = None) -> Any:
        """The model of a run, or of one of its snapshots, on the GPU where there is one."""
        from ganvas.training.engine import choose_device
        from ganvas.training.run import load

        return load(run.path if step is None else run.snapshots[step], choose_device("auto"))

    def _folder(self, recipe: str, seed: int, data: Any, settings: dict[str, Any]) -> str:
        """<recipe>-<data>-<hash>: of the recipe as it is today, and of all that is asked of it."""
        from ganvas.data import load
        from ganvas.ground.registry import build, parameters
        from ganvas.recipes import RECIPES

        if not isinstance(data, str | Path):
            data = load(data).source
        own = parameters(RECIPES[recipe])
        made = build(RECIPES[recipe], {name: value for name, value in settings.items() if name in own})
        text = made.to_json() + _canonical({**settings, "data": data, "seed": seed})
        label = re.sub(r"[^\w.]+", "-", Path(str(data).partition(":")[0]).stem)
        return f"{recipe}-{label}-{_hash(text)}"

    def cache(self, name: str, settings: dict[str, Any], function: Callable[[], T]) -> T:
        """`function()`, a JSON value, computed once and kept.

        Args:
            name: of the result.
            settings: everything that it depends on.
            function: computes it.
        """
        path = self.runs / "cache" / f"{name}-{_hash(_canonical(settings))}.json"
        if path.is_file():
            kept = read_json(path)
            self.reused += kept["seconds"]
            return kept["value"]  # type: ignore[no-any-return]
        began = time.monotonic()
        value = function()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"settings": settings, "seconds": time.monotonic() - began, "value": value}))
        return value


def _canonical(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=str)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
