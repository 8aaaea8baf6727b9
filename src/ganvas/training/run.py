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
    from torch import Tensor

    from ganvas.data import Dataset
    from ganvas.training.watch import Finding


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

    def __repr__(self) -> str:
        recipe, state = self.recipe, self.state
        said = [f"{state['state']} at step {state['step']:,}" + (f" of {state['steps']:,}" if "steps" in state else "")]
        test = state.get("test") or {}
        said += [f"test {name} {test[name]:.4g}" for name in ("elbo", "loss") if name in test][:1]
        return f"<Run {self.path}: {recipe.name} on {Path(recipe.data.source).stem}, {', '.join(said)}>"

    def _repr_html_(self) -> str:
        from ganvas import notebook

        return notebook.of_run(self)

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
        facts: dict[str, Any] = read_json(self.path / "data.json")
        return facts

    def dataset(self, binarise: bool = False) -> Dataset:
        """What it was trained on; `binarise`: each pixel drawn once as black or white."""
        from ganvas.data import load

        own = self.recipe.data
        binarise = binarise or own.binarise
        how: dict[str, Any] = {"size": own.size, "channels": own.channels, "labels": own.labels}
        how |= {"range": own.range, "limit": own.limit, "stream": own.stream}
        return load(own.source, **how, binarise=binarise)

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
