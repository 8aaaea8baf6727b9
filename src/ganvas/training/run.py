"""A run is a folder that a person can read.

recipe.json, data.json (fingerprint, versions, machine), metrics.jsonl, state.json, samples/, reconstructions/,
checkpoints/, snapshots/ where they are asked for, and at the end model/. Nothing in it is a pickle.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganvas.errors import UserError
from ganvas.files import existing, read_json, write_text
from ganvas.models import MODELS, Model
from ganvas.recipe import Recipe, from_json
from ganvas.training import stored

if TYPE_CHECKING:
    from ganvas.data import Dataset


class Run:
    """A run's folder, which is taken wherever its path is.

    Attributes:
        path: the folder.

    Raises:
        UserError: there is no such folder, or no run in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = existing(path)
        if not (self.path / "recipe.json").is_file():
            raise UserError(f"{self.path} is no run: it has no recipe.json.")

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def recipe(self) -> Recipe:
        """What was asked for."""
        return from_json((self.path / "recipe.json").read_text(encoding="utf-8"), MODELS)

    @property
    def model(self) -> Model:
        """The trained model; before training ends that of a checkpoint, see `ganvas.load`."""
        return stored.load(self.path)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl."""
        return [json.loads(line) for line in self._whole_lines()]

    @property
    def snapshots(self) -> dict[int, Path]:
        """The folders of the models that were kept on the way, by their step, for `ganvas.load`."""
        found = sorted((self.path / "snapshots").glob("step-*"))
        return {int(path.name.removeprefix("step-")): path for path in found}

    @property
    def data(self) -> dict[str, Any]:
        """{"fingerprint", "shape", "preparation", "versions", "machine"} of what it was trained on, and with."""
        facts: dict[str, Any] = read_json(self.path / "data.json")
        return facts

    def dataset(self, binarise: bool = False) -> Dataset:
        """What it was trained on; `binarise`: each pixel drawn once as black or white."""
        from ganvas.data import load

        own = self.recipe.data
        binarise = binarise or own.binarise
        how: dict[str, Any] = {"size": own.size, "channels": own.channels, "labels": own.labels}
        return load(own.source, **how, range=own.range, limit=own.limit, binarise=binarise)

    @property
    def state(self) -> dict[str, Any]:
        """{"state": "running", "interrupted", "failed" or "finished", "step", "steps", ...}."""
        file = self.path / "state.json"
        return read_json(file) if file.is_file() else {"state": "new", "step": 0}

    def note(self, **state: Any) -> None:
        """Write the state."""
        write_text(self.path / "state.json", json.dumps(state) + "\n")

    def truncate_metrics(self, step: int) -> None:
        """Drop the rows after `step`, and a half-written one: they will be made again."""
        kept = [line for line in self._whole_lines() if json.loads(line)["step"] <= step]
        write_text(self.path / "metrics.jsonl", "".join(kept))

    def _whole_lines(self) -> list[str]:
        file = self.path / "metrics.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
        return [line for line in lines if line.endswith("\n")]

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint, if there is one."""
        found = sorted((self.path / "checkpoints").glob("step-*.safetensors"))
        return found[-1] if found else None


def create(path: Path, recipe: Recipe, facts: dict[str, Any]) -> Run:
    """Make a run's folder.

    Raises:
        UserError: the folder holds a run already.
    """
    if (path / "recipe.json").exists():
        raise UserError(
            f"{path} holds a run already: continue it with `ganvas train --resume {path}`, or take another --out."
        )
    path.mkdir(parents=True, exist_ok=True)
    write_text(path / "data.json", json.dumps(facts, indent=2) + "\n")
    write_text(path / "recipe.json", recipe.to_json())
    return Run(path)
