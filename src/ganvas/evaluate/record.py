"""Evaluations: made a metric at a time, kept as a folder that a person can read, and found again.

figures.json has a record for each metric: its figures, and all that is needed to make them again. NAME.npy has the
value of each image, where a figure is their mean; samples.png shows what was measured.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.evaluate.figures import Figure, NotApplicableError
from ganvas.evaluate.measures.checks import Array
from ganvas.evaluate.metrics import METRICS
from ganvas.evaluate.subject import Subject
from ganvas.ground.errors import UserError
from ganvas.ground.files import read_json, replace, sweep, write_text
from ganvas.ground.provenance import commit, machine
from ganvas.version import __version__

FILE = "figures.json"
log = logging.getLogger("ganvas")
ASKED = ("parzen", "annealing", "synthetic")  # made only when they are asked for: they mislead, or take hours


@dataclass(frozen=True)
class Record:
    """What a metric gave.

    Attributes:
        metric: its name in METRICS.
        figures: its figures.
        data: the data set's name, shape, fingerprint and split.
        facts: seed, command, ganvas's version, commit, machine, date and seconds.
    """

    metric: str
    figures: tuple[Figure, ...]
    data: dict[str, str]
    facts: dict[str, Any]


def evaluate(
    subject: Subject,
    metrics: Sequence[str] = (),
    *,
    command: str = "",
    begun: Callable[[str], None] = lambda name: None,
    done: Callable[[Record], None] = lambda record: None,
) -> tuple[list[Record], dict[str, str]]:
    """Measure.

    Args:
        subject: what.
        metrics: names in METRICS; none: all that the subject can have, but those that are only made when asked for.
        command: how to do this again, for the records.
        begun: told of each metric's name before it is measured.
        done: told of each record as it is made.

    Returns:
        The records; and why other metrics can't be had, by name.

    Raises:
        UserError: an unknown metric, or one that the subject can't have although it is asked for; data that has NaN.
    """
    known = [METRICS[name] for name in metrics]  # an unknown one is refused before any work
    names = list(metrics) or [name for name in METRICS if name not in ASKED]
    records, left_out = [], {}
    for name, metric in zip(names, known or [METRICS[name] for name in names], strict=True):
        began = time.monotonic()
        begun(name)
        try:
            figures = tuple(metric(subject))
        except NotApplicableError as error:
            if metrics:
                raise UserError(f"{name}: {error}") from error
            left_out[name] = str(error)
            continue
        record = Record(name, figures, data_of(subject), facts_of(subject, command, time.monotonic() - began))
        records.append(record)
        done(record)
    return records, left_out


def data_of(subject: Subject) -> dict[str, str]:
    """The data that a subject is held against."""
    data, shape = subject.dataset, " x ".join(map(str, subject.dataset.shape))
    return {"name": data.name, "shape": shape, "fingerprint": data.fingerprint, "split": subject.split}


def facts_of(subject: Subject, command: str, seconds: float) -> dict[str, Any]:
    """What is needed to make a figure again."""
    return {
        "seed": subject.seed,
        "command": command,
        "ganvas": __version__,
        "commit": commit(),
        "machine": machine(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(seconds, 1),
    }


def write(folder: Path, record: Record) -> None:
    """Add a record to an evaluation's folder, instead of those of the same metric, data and protocols."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    kept = [other for other in read(folder) if _key(other) != _key(record)] if (folder / FILE).exists() else []
    for figure in record.figures:
        if figure.each is not None:
            replace(folder / _name(record, figure), partial(_save, figure.each))
    rows = [{**vars(one), "figures": [_plain(figure) for figure in one.figures]} for one in [*kept, record]]
    write_text(folder / FILE, json.dumps(rows, indent=2, allow_nan=False) + "\n")


def evaluated(folder: Path) -> bool:
    """Whether `read` finds something in a folder."""
    return any((place / FILE).is_file() for place in (folder, folder / "evaluation"))


def read(folder: Path) -> list[Record]:
    """The records of an evaluation's folder, or of a run's.

    Raises:
        UserError: there are none, or they are damaged.
    """
    place = folder if (folder / FILE).is_file() else folder / "evaluation"
    if not evaluated(folder):
        raise UserError(f"{folder} has not been evaluated: ganvas evaluate {folder}")
    try:
        rows, records = read_json(place / FILE), []
        json.dumps(rows, allow_nan=False)
        for row in rows:
            figures = tuple(Figure(**figure) for figure in row.pop("figures"))
            records.append(Record(figures=figures, **row))
        return [_with_each(place, record) for record in records]
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{place / FILE} is damaged: {error}. Evaluate again: ganvas evaluate {folder}") from error


def _with_each(place: Path, record: Record) -> Record:
    figures = []
    for figure in record.figures:
        file = place / _name(record, figure)
        if file.is_file():
            try:
                values = np.load(file, allow_pickle=False)
                whole = values.shape == (figure.n,) and bool(np.isclose(values.mean(), figure.value))
            except Exception:  # a damaged header raises more than ValueError: tokenize.TokenError, SyntaxError
                whole = False
            if whole:
                figure = Figure(**_plain(figure), each=values)
            else:
                log.warning("%s is damaged and left out: evaluate again, to have it.", file)
        figures.append(figure)
    return Record(record.metric, tuple(figures), record.data, record.facts)


def _plain(figure: Figure) -> dict[str, Any]:
    return {name: value for name, value in vars(figure).items() if name != "each"}


def _key(record: Record) -> tuple[Any, ...]:
    return record.metric, tuple(record.data.items()), tuple(figure.protocol for figure in record.figures)


def _name(record: Record, figure: Figure) -> str:
    words = f"{figure.name} {figure.unit} {figure.protocol} {record.data['split']} {record.data['fingerprint'][:8]}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") + ".npy"


def _save(values: Array, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, values, allow_pickle=False)
