"""A run is a folder that a person can read.

recipe.json, data.json (fingerprint, versions, machine), metrics.jsonl, state.json, sessions.jsonl (who trained from
which step on), samples/, reconstructions/, checkpoints/, snapshots/ where they are asked for, and at the end model/.
Nothing in it is a pickle.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ganvas.ground.errors import UserError
from ganvas.ground.files import existing, read_json, write_text, writing
from ganvas.ground.registry import explain
from ganvas.models import MODELS, Model
from ganvas.models import load as load_model
from ganvas.recipes.base import Recipe, from_json
from ganvas.training import checkpoint, stored
from ganvas.training.place import Place, held

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ganvas.data import Dataset
    from ganvas.training.finding import Finding

log = logging.getLogger("ganvas")
_known = dataclass(config=ConfigDict(strict=True, extra="ignore"))


@_known
class _State:
    """What state.json holds."""

    state: Literal["new", "running", "interrupted", "failed", "finished"]
    step: Annotated[int, Field(ge=0)]
    steps: Annotated[int, Field(ge=1)] | None = None
    seconds: Annotated[float, Field(ge=0)] = 0.0
    test: dict[str, float] | None = None
    message: str = ""


@_known
class _Data:
    """What data.json holds."""

    fingerprint: str
    shape: list[Annotated[int, Field(ge=1)]]
    preparation: str = ""
    chosen: list[str] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    track: list[str] = Field(default_factory=list)


class Run:
    """A run's folder, which is taken wherever its path is.

    Args:
        path: the folder.
        place: where it is claimed already.

    Raises:
        UserError: there is no such folder, or no run in it.
    """

    def __init__(self, path: str | os.PathLike[str], place: Place | None = None) -> None:
        self._path, self._place = existing(path), place
        self._noting = threading.Lock()
        if not (self._path / "recipe.json").is_file():
            raise UserError(f"{self._path} is no run: it has no recipe.json.")

    @property
    def path(self) -> Path:
        """The folder. While this process trains there it is followed when it is renamed.

        Raises:
            UserError: it was deleted meanwhile.
        """
        if self._place:
            self._path = self._place.now()
        return self._path

    def folder(self, name: str) -> Path:
        """A folder in it, which is made if there is none; the run's own is not made again."""
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path

    def claim(self) -> None:
        """Train here, which no other process does until `leave`.

        Raises:
            UserError: another one does.
        """
        if not self._place:
            self._place = Place(self._path)

    def leave(self) -> None:
        """Let others train here."""
        if self._place:
            self._place.leave()
            self._place = None

    def __repr__(self) -> str:
        from ganvas.models.base import FAMILIES

        recipe, state = self.recipe, self.state
        said = [f"{state['state']} at step {state['step']:,}" + (f" of {state['steps']:,}" if "steps" in state else "")]
        test = state.get("test") or {}
        said += [f"test {name} {test[name]:.4g}" for name in FAMILIES[type(recipe.model)].figures if name in test][:1]
        return f"<Run {self.path}: {recipe.name} on {Path(recipe.data.source).stem}, {', '.join(said)}>"

    def _repr_html_(self) -> str:
        from ganvas import notebook

        return notebook.of_run(self)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def recipe(self) -> Recipe:
        """What was asked for."""
        file = self.path / "recipe.json"
        try:
            return from_json(file.read_text(encoding="utf-8"), MODELS)
        except (UnicodeDecodeError, RecursionError, UserError) as error:
            raise UserError(f"{file} can't be used: {error}") from error

    @property
    def model(self) -> Model:
        """The trained model; before training ends that of a checkpoint, see `ganvas.load`."""
        return stored.of_run(self)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; a line that is damaged is left out, which is said."""
        return [row for _, row in self._rows()]

    @property
    def history(self) -> Any:
        """The metrics as a `pandas.DataFrame`, a row for each step and split.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise UserError("run.history is a pandas data frame: pip install pandas, or take run.metrics.") from error
        return DataFrame(self.metrics)

    @property
    def findings(self) -> list[Finding]:
        """What the watch names: what is wrong, with the figures and the remedy."""
        from ganvas.training.watch import examine

        return examine(self)[0]

    def sample(self, n: int = 64, seed: int = 0) -> Tensor:
        """`Model.sample` of the trained model: (n, *shape) in [0, 1]."""
        drawn: Tensor = self.model.sample(n, seed)
        return drawn

    @property
    def snapshots(self) -> dict[int, Path]:
        """The folders of the models that were kept on the way, by their step, for `ganvas.load`."""
        found = sorted((self.path / "snapshots").glob("step-*"))
        return {int(path.name.removeprefix("step-")): path for path in found}

    @property
    def data(self) -> dict[str, Any]:
        """{"fingerprint", "shape", "preparation", "versions", "machine"} of what it was trained on, and with."""
        return _read(self.path / "data.json", _Data)

    def dataset(self, binarise: bool = False) -> Dataset:
        """What it was trained on; `binarise`: each pixel drawn once as black or white."""
        own = self.recipe.data
        return own.load(binarise=binarise or own.binarise)

    @property
    def state(self) -> dict[str, Any]:
        """{"state": "running", "interrupted", "failed" or "finished", "step", "steps", ...}.

        A run that was killed could not write it down: it is "interrupted".
        """
        file = self.path / "state.json"
        state = _read(file, _State) if file.is_file() else {"state": "new", "step": 0}
        if state["state"] == "running" and not held(self.path):
            state["state"] = "interrupted"
        return state

    def note(self, **state: Any) -> None:
        """Write the state, from any thread."""
        with self._noting:
            write_text(self.path / "state.json", json.dumps(state) + "\n")

    def truncate_metrics(self, step: int) -> None:
        """Drop the rows after `step`, and a half-written one: they will be made again."""
        kept = [line for line, row in self._rows() if row["step"] <= step]
        write_text(self.path / "metrics.jsonl", "".join(kept))

    def _rows(self) -> list[tuple[str, dict[str, Any]]]:
        """The whole lines of metrics.jsonl, and what they say."""
        file, found, damaged = self.path / "metrics.jsonl", [], 0
        text = file.read_bytes() if file.is_file() else b""
        for line in text.splitlines(keepends=True):
            if line.endswith(b"\n"):
                row = _row(line)
                if row is None:
                    damaged += 1
                else:
                    found.append((line.decode(), row))
        if damaged:
            log.warning("%s: %d damaged line%s left out.", file, damaged, " is" if damaged == 1 else "s are")
        return found

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint, if there is one."""
        found = checkpoint.found(self.path / "checkpoints")
        return found[-1] if found else None

    def sound(self) -> Path | None:
        """The newest checkpoint that can be read; those that can't are put aside, which is said."""
        while path := self.checkpoint:
            try:
                checkpoint.load(path)
                return path
            except UserError as error:
                aside = path.with_suffix(".damaged")
                path.replace(aside)
                before = self.checkpoint
                on = f"from {before.name}" if before else "from its beginning"
                log.warning("%s It is kept as %s, and the run goes on %s.", error, aside.name, on)
        return None

    def begin(self, step: int, facts: dict[str, Any]) -> None:
        """Note that a process trains from `step` on, and say what differs from the one before it."""
        file = self.path / "sessions.jsonl"
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
        try:
            before = json.loads(lines[-1])["machine"]
            differs = [(name, before[name], value) for name, value in facts["machine"].items() if before[name] != value]
        except (LookupError, TypeError, ValueError):
            differs = []
        if differs:
            said = ", ".join(f"{name} {now} (before: {was})" for name, was, now in differs)
            log.warning("%s: what follows agrees with an unbroken run to rounding, not to the last bit.", said)
        write_text(file, "\n".join([*lines, json.dumps({"step": step, **facts})]) + "\n")


def load(folder: str | os.PathLike[str], device: str | torch.device = "cpu") -> Model:
    """The model in a run's folder, in one that `Model.save` wrote, or on the Hub; nothing in it is unpickled.

    "hf:USER/NAME" is one of the Hugging Face Hub. Of a run that is not finished it is that of its best checkpoint, else
    of the newest one, see `stored.of_run`.

    Raises:
        UserError: no such folder, no model or checkpoint in it, or one that does not fit its settings.
    """
    if isinstance(folder, str) and folder.startswith("hf:"):
        from ganvas.hub import pull

        return load_model(pull(folder.removeprefix("hf:")), device)
    folder = existing(folder)
    if (folder / "recipe.json").is_file():
        return stored.of_run(Run(folder), device)
    return load_model(folder, device)


def _row(line: bytes) -> dict[str, Any] | None:
    """A row of metrics; None for what is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not {"step", "epoch", "split"} <= row.keys():
        return None
    kinds = {"step": int, "split": str}
    return row if all(isinstance(value, kinds.get(name, int | float)) for name, value in row.items()) else None


def _read(path: Path, kind: type) -> dict[str, Any]:
    """A JSON file that holds this.

    Raises:
        UserError: it is damaged.
    """
    try:
        value: dict[str, Any] = read_json(path)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from error
    try:
        TypeAdapter(kind).validate_json(json.dumps(value))  # where a list of numbers has to be one
    except ValidationError as error:
        raise UserError(f"{path} is damaged: {explain(error)}") from error
    return value


def create(path: Path, recipe: Recipe, facts: dict[str, Any]) -> Run:
    """Make a run's folder, claimed before anything is written in it.

    Raises:
        UserError: the folder holds a run already, or another process begins one there.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    place = Place(path)
    try:
        if (path / "recipe.json").exists():
            raise UserError(
                f"{path} holds a run already: continue it with `ganvas train --resume {path}`, or take another --out."
            )
        write_text(path / "data.json", json.dumps(facts, indent=2) + "\n")
        write_text(path / "recipe.json", recipe.to_json())
        return Run(path, place)
    except BaseException:
        place.leave()
        raise
