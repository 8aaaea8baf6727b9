"""The runs below a folder, each summed up from the ends of its files.

Nothing is read again that has not changed, and no model is loaded. Folders that are links are not entered.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ganvas.ground.errors import UserError
from ganvas.studio import made, safety
from ganvas.training.place import held

STATES = ("new", "running", "interrupted", "failed", "finished")
FILES = ("recipe.json", "data.json", "state.json", "findings.json", "metrics.jsonl")
SHOWN = ("findings.json", "samples", "reconstructions", "snapshots")  # what `detail` tells of
DEPTH, FOLDERS = 6, 20_000  # how deep runs are looked for, and in how many folders
LARGEST = 2 * 2**20  # bytes of a JSON file
TAIL, TAILS = 2**16, 2**20  # bytes of metrics.jsonl that are read at first, and at most
SILENT = 30.0  # seconds: a training writes more often, or else its lock is looked at,
LOOK_AGAIN = 10.0  # and again so much later
FRESH = 2 * 10**9  # nanoseconds: a folder may change twice within its clock's tick

_SNAPSHOT = re.compile(r"step-(\d+)", re.ASCII)
_EPOCH = re.compile(r"epoch-(\d+)\.png", re.ASCII)
PLACE = ("step", "epoch", "split")
Summary = dict[str, Any]  # as docs/studio.md says
Stamp = tuple[int, int, int] | None
log = logging.getLogger("ganvas")


class BadRunError(UserError):
    """A run whose files are damaged."""

    code = 409


@dataclass
class _Known:
    """A run as it was last seen; `again`: when it is to be looked at even though its files are the same."""

    stamps: list[Stamp]
    summary: Summary
    again: float


class Shelf:
    """A folder of runs. It may be asked from several threads.

    Args:
        folder: with runs in it, at any depth; or a run itself.

    Attributes:
        folder: absolute, without links.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._known: dict[str, _Known] = {}
        self._folders: dict[str, tuple[int, list[str]]] = {}
        self._lock = threading.Lock()

    def find(self, run: str) -> Path:
        """The folder of a run.

        Args:
            run: its id.

        Raises:
            RefusedError: it leads out of the folder, see `ganvas.studio.safety.inside`.
            NotFoundError: there is no such run.
        """
        path = safety.inside(self.folder, run)
        if not (path / "recipe.json").is_file():
            raise safety.NotFoundError(f"there is no run {run!r}: it has no recipe.json.")
        return path

    def summaries(self, thorough: bool = True) -> dict[str, Summary]:
        """The summary of each run, by its id, in the order of the ids. One that has not changed is the same object.

        Args:
            thorough: look at every run and for new ones; else only at those that are in training.
        """
        with self._lock:
            if thorough:
                found = sorted(self._walk())
                self._known = {run: self._look(run) for run in found}
            else:
                for run, known in self._known.items():
                    if known.again < math.inf:
                        self._known[run] = self._look(run)
            return {run: known.summary for run, known in self._known.items()}

    def detail(self, run: str) -> dict[str, Any]:
        """All that `/api/run` tells of a run.

        Raises:
            RefusedError, NotFoundError: as `find` does.
            BadRunError: its files are damaged.
        """
        path = self.find(run)
        with self._lock:
            known = self._look(run)
            if run in self._known:
                self._known[run] = known
        summary = known.summary
        if not summary["ok"]:
            raise BadRunError(f"the run {run!r} can't be shown: {summary['error']}")
        pictures = {name: _pictures(path, name) for name in ("samples", "reconstructions")}
        snapshots = sorted(int(found[1]) for name in _names(path / "snapshots") if (found := _SNAPSHOT.fullmatch(name)))
        return {
            "summary": summary,
            "recipe": _json(path, "recipe.json", dict),
            "data": _json(path, "data.json", dict),
            "findings": _json(path, "findings.json", list) or [],
            "pictures": pictures,
            "snapshots": snapshots,
            "made": made.listed(path),
            "path": made.typed(path),
            "search": self._search(path),
        }

    def _search(self, run: Path) -> dict[str, Any] | None:
        """Of a run that is a trial of one: its folder as it is typed, and whether it has a picture."""
        folder = made.search(self.folder, run)
        return {"path": made.typed(folder), "picture": (folder / "tune.png").is_file()} if folder else None

    def shown(self, run: str) -> list[Stamp]:
        """What changes when the pictures, snapshots or findings of a run do."""
        return [stamp(f"{self.folder}/{run}/{name}") for name in SHOWN]

    def _walk(self) -> Iterator[str]:
        """The ids of all runs."""
        folders: dict[str, tuple[int, list[str]]] = {}
        rest = [("", 0)]
        while rest:
            place, depth = rest.pop()
            path = f"{self.folder}/{place}"
            if os.path.lexists(f"{path}/recipe.json"):
                yield place or "."
            elif depth < DEPTH and len(folders) < FOLDERS:
                folders[place] = self._listed(place, path)
                rest += [(f"{place}/{name}" if place else name, depth + 1) for name in folders[place][1]]
        if len(folders) == FOLDERS > len(self._folders):
            log.warning("%s has over %s folders: runs in the others are not shown.", self.folder, f"{FOLDERS:,}")
        self._folders = folders

    def _listed(self, place: str, path: str) -> tuple[int, list[str]]:
        """A folder's time, and the folders in it; read again where the time is another one, or too recent to tell."""
        try:
            changed = os.lstat(path).st_mtime_ns
            before = self._folders.get(place)
            if before and before[0] == changed:
                return before
            with os.scandir(path) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:  # gone, or not for us
            return 0, []
        fresh = time.time_ns() - changed < FRESH
        return 0 if fresh else changed, [name for name in names if safety.plain(name)]

    def _look(self, run: str) -> _Known:
        path = f"{self.folder}/{run}"
        stamps = [stamp(f"{path}/{name}") for name in FILES]
        known, now = self._known.get(run), time.time()
        if known and known.stamps == stamps and now < known.again:
            return known
        try:
            summary = _summed_up(run, Path(path), stamps, now)
        except (UserError, OSError) as error:
            summary = {"id": run, "ok": False, "error": str(error)}
        again = math.inf
        if summary.get("state") in ("new", "running"):
            again = max(summary["changed"] + SILENT, now + LOOK_AGAIN)
        return _Known(stamps, known.summary if known and known.summary == summary else summary, again)


def _summed_up(run: str, path: Path, stamps: list[Stamp], now: float) -> Summary:
    """Raises UserError where a file is damaged or missing."""
    recipe, data, state = (_json(path, file, dict) for file in FILES[:3])
    findings = _json(path, "findings.json", list) or []
    if recipe is None or data is None:
        raise BadRunError(f"it has no {'recipe.json' if recipe is None else 'data.json'}.")
    state = state or {"state": "new", "step": 0}
    if state.get("state") not in STATES:
        raise BadRunError(f"state.json has the state {state.get('state')!r:.40}: it takes one of {', '.join(STATES)}.")
    rows = _last_rows(path)
    last = max(rows.values(), key=lambda row: row["step"], default=None)
    figures = rows.get("validation") or rows.get("train") or {}
    times = {name: it[0] / 1e9 for name, it in zip(FILES, stamps, strict=True) if it}
    changed = max(times.values(), default=0.0)
    word, step, steps = state["state"], int(_number(state, "state.json", "step")), state.get("steps")
    seconds = _number(state, "state.json", "seconds") if "seconds" in state else 0.0
    if word == "running":
        step = max(step, int(last["step"]) if last else 0)
        # The state is noted less often than a row is written.
        seconds += max(0.0, times.get("metrics.jsonl", 0.0) - times.get("state.json", math.inf))
        # A clock may be wrong: what is dated in the future is no sign of life.
        if not 0 <= now - changed <= SILENT and not held(path):
            word = "interrupted"
    steps = int(_number(state, "state.json", "steps")) if steps is not None else None
    shape = _part(data, "data.json", "shape", list)
    if not all(isinstance(side, int) for side in shape):
        raise BadRunError(f"data.json has the shape {shape!r:.40}: it takes whole numbers.")
    latent = _part(recipe, "recipe.json", "model", dict).get("latent_dim")
    going = word == "running" and steps is not None and step > 0
    summary: Summary = {
        "id": run,
        "ok": True,
        "state": word,
        "recipe": str(_part(recipe, "recipe.json", "name", str)),
        "data": str(_part(recipe, "recipe.json", "data.source", str)),
        "shape": shape,
        "latent": latent if isinstance(latent, int) else None,
        "verbs": _verbs(state.get("verbs"), _part(recipe, "recipe.json", "model.kind", str)),
        "seed": int(_number(recipe, "recipe.json", "training.seed")),
        "step": step,
        "steps": steps,
        "epoch": float(last["epoch"]) if last else 0.0,
        "epochs": int(_number(recipe, "recipe.json", "training.epochs")),
        "seconds": round(seconds, 1),
        "remaining": round(seconds / step * max(0, (steps or 0) - step), 1) if going else None,
        "started": times.get("recipe.json", 0.0),
        "changed": changed,
        "figures": {name: value for name, value in figures.items() if name not in PLACE and _finite(value)},
        "findings": [str(_part(finding, "findings.json", "name", str)) for finding in findings],
    }
    if word == "failed":
        summary["error"] = str(state.get("message", ""))
    return summary


def _part(value: Any, file: str, place: str, kind: type) -> Any:
    """A part of a JSON object, "a.b" for the b of a; raises BadRunError where it is missing or of another type."""
    for name in place.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, kind):
        raise BadRunError(f"{file} has no {place} that is of type {kind.__name__}.")
    return value


def _number(value: Any, file: str, place: str) -> float:
    found = _part(value, file, place, object)
    if not _finite(found):
        raise BadRunError(f"{file} has no {place} that is a number.")
    return float(found)


def _finite(value: Any) -> bool:
    """Whether it is a number that JavaScript has, too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _json(path: Path, file: str, kind: type) -> Any:
    """The value in a JSON file, with null for numbers that are not finite; None where there is no file."""
    try:
        text, _ = safety.read(path / file, LARGEST)
    except safety.NotFoundError:
        return None
    try:
        value = json.loads(text, parse_constant=lambda _: None, parse_float=lambda digits: _or_none(float(digits)))
    except (ValueError, RecursionError) as error:
        raise BadRunError(f"{file} is damaged: {error}.") from error
    if not isinstance(value, kind):
        raise BadRunError(f"{file} is damaged: it holds no {kind.__name__}.")
    return value


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _last_rows(path: Path) -> dict[str, dict[str, Any]]:
    """The last row of each split that the tail of metrics.jsonl has; a half-written one is none.

    Raises:
        BadRunError: the last line is no row.
    """
    rows: dict[str, dict[str, Any]] = {}
    try:
        file = safety.opened(path / "metrics.jsonl")
    except safety.NotFoundError:
        return rows
    with file:
        size = os.fstat(file.fileno()).st_size
        for length in (TAIL, TAILS):
            file.seek(max(0, size - length))
            lines = file.read(length).split(b"\n")[size > length : -1]
            if lines and not rows:
                row = _row(lines[-1])
                if row is None:
                    raise BadRunError(f"metrics.jsonl is damaged: its last line, {lines[-1][:40]!r}, is no row.")
                rows[row["split"]] = row
            for split in {"train", "validation"} - rows.keys():
                word = f'"{split}"'.encode()  # a line without it is not worth parsing
                found = (
                    row for line in reversed(lines) if word in line and (row := _row(line)) and row["split"] == split
                )
                rows |= {row["split"]: row for row in itertools.islice(found, 1)}
            if size <= length or "validation" in rows:
                return rows
    if not rows:
        raise BadRunError(f"metrics.jsonl is damaged: its last line has over {TAILS:,} bytes.")
    return rows


def _row(line: bytes) -> dict[str, Any] | None:
    """A row of metrics; None for what is none."""
    try:
        row = from_json(line)
    except ValueError:
        return None
    whole = isinstance(row, dict) and isinstance(row.get("split"), str)
    return row if whole and _finite(row.get("step")) and _finite(row.get("epoch")) else None


def stamp(path: str) -> Stamp:
    """What changes when a file does; None for none. A link is not followed."""
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _names(folder: Path) -> list[str]:
    """The names in a folder that is no link; none where there is none."""
    try:
        return [] if folder.is_symlink() else [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def _pictures(run: Path, name: str) -> list[dict[str, Any]]:
    found = {int(match[1]): file for file in _names(run / name) if (match := _EPOCH.fullmatch(file))}
    return [{"epoch": epoch, "file": f"{name}/{found[epoch]}"} for epoch in sorted(found)]


def _verbs(said: Any, kind: str) -> list[str]:
    """What a model can be asked; a run of before did not say so, and then torch is imported to find out."""
    if isinstance(said, list) and all(isinstance(verb, str) for verb in said):
        return said
    from ganvas.models import MODELS
    from ganvas.models.base import FAMILIES

    return FAMILIES[MODELS[kind]].verbs() if kind in MODELS else []
