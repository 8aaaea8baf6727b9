"""Who is told of a training as it goes: callbacks, and the trackers that are built on them."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ganvas.ground.errors import UserError
from ganvas.ground.files import read_json, write_text
from ganvas.ground.registry import Registry

if TYPE_CHECKING:
    from ganvas.training.finding import Finding
    from ganvas.training.run import Run

PROJECT = "ganvas"
ENDS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}  # as MLflow has them


class Callback:
    """What can be done while a run is trained: override what you need, and give it as `train(..., callbacks=[it])`.

    It is called in the main process alone, between two steps. An error that it raises ends the training, which goes on
    from its checkpoint by `resume`. What it is told after the last checkpoint it is told again.
    """

    def on_begin(self, run: Run, step: int) -> None:
        """Before the first step, or after `step` steps of a run that goes on."""

    def on_step(self, step: int, figures: dict[str, float]) -> None:
        """A row of metrics: means of the losses and their parts since the last one, and images a second."""

    def on_epoch(self, step: int, epoch: float, figures: dict[str, float]) -> None:
        """Figures of the validation images."""

    def on_look(self, step: int, figures: dict[str, float]) -> None:
        """Figures of the watch."""

    def on_test(self, step: int, figures: dict[str, float]) -> None:
        """Figures of the test images, once, of the model that is kept."""

    def on_pictures(self, step: int, pictures: dict[str, NDArray[np.uint8]]) -> None:
        """Samples and reconstructions, uint8 (H, W, C), by name."""

    def on_finding(self, step: int, finding: Finding) -> None:
        """What is wrong, the first time that the watch says it."""

    def on_end(self, state: str) -> None:
        """It is "finished", "interrupted" or "failed"."""

    def on_row(self, split: str, step: int, epoch: float, figures: dict[str, float]) -> None:
        """Figures of "train", "validation", "watch" or "test": it calls the method of its kind."""
        if split == "validation":
            self.on_epoch(step, epoch, figures)
        else:
            {"train": self.on_step, "watch": self.on_look, "test": self.on_test}[split](step, figures)


class Tracker(Callback):
    """A callback that has a name, and writes for another program.

    Attributes:
        needs: the packages that it imports.
    """

    needs: ClassVar[tuple[str, ...]] = ()


TRACKERS = Registry("tracker")


def trackers(names: Sequence[str]) -> list[Tracker]:
    """The trackers of these names.

    Raises:
        UserError: an unknown one, or one whose package is missing.
    """
    for name in names:
        if missing := [package for package in TRACKERS[name].needs if find_spec(package) is None]:
            raise UserError(f"--track {name} needs {', '.join(missing)}: pip install 'ganvas[{name}]'.")
    return [TRACKERS[name]() for name in dict.fromkeys(names)]


def known_as(run: Run, tracker: str, value: str | None = None) -> str | None:
    """What a tracker calls this run, kept in its tracked.json; `value` is written down."""
    file = run.path / "tracked.json"
    known: dict[str, str] = read_json(file) if file.is_file() else {}
    if value is not None:
        write_text(file, json.dumps({**known, tracker: value}, indent=2) + "\n")
    return value or known.get(tracker)


@TRACKERS.register
class CSV(Tracker):
    """RUN/metrics.csv, for a spreadsheet or R: a line for each figure."""

    kind = "csv"
    columns = ("step", "epoch", "split", "name", "value")

    def on_begin(self, run: Run, step: int) -> None:
        """Lines that were written after the checkpoint are left out."""
        path = run.path / "metrics.csv"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [line for line in lines if line.split(",")[0].isdigit() and int(line.split(",")[0]) <= step]
        write_text(path, "\n".join([",".join(self.columns), *kept, ""]))
        self.file = path.open("a", newline="", encoding="utf-8", buffering=1)
        self.rows = csv.writer(self.file, lineterminator="\n")

    def on_row(self, split: str, step: int, epoch: float, figures: dict[str, float]) -> None:
        """A line each."""
        self.rows.writerows((step, epoch, split, name, value) for name, value in figures.items())

    def on_end(self, state: str) -> None:
        """All is written."""
        self.file.close()


@TRACKERS.register
class TensorBoard(Tracker):
    """Event files in RUN/tensorboard."""

    kind = "tensorboard"
    needs = ("tensorboard",)

    def on_begin(self, run: Run, step: int) -> None:
        """Rows that were written after the checkpoint are left out."""
        from torch.utils.tensorboard import SummaryWriter

        self.board = SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1)

    def on_row(self, split: str, step: int, epoch: float, figures: dict[str, float]) -> None:
        """A scalar each."""
        for name, value in figures.items():
            self.board.add_scalar(f"{split}/{name}", value, step)

    def on_pictures(self, step: int, pictures: dict[str, NDArray[np.uint8]]) -> None:
        """As images."""
        for name, picture in pictures.items():
            self.board.add_image(name, picture[..., :3], step, dataformats="HWC")

    def on_finding(self, step: int, finding: Finding) -> None:
        """As text."""
        self.board.add_text("findings", str(finding), step)

    def on_end(self, state: str) -> None:
        """What is buffered is written."""
        self.board.close()


@TRACKERS.register
class WandB(Tracker):
    """A run of Weights & Biases: offline, in RUN/wandb, unless WANDB_MODE says otherwise; `wandb sync` uploads it."""

    kind = "wandb"
    needs = ("wandb",)

    def on_begin(self, run: Run, step: int) -> None:
        """The same run again where it goes on."""
        import wandb

        own = known_as(run, "wandb") or known_as(run, "wandb", os.urandom(4).hex())
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.path.name,
            id=own,
            resume="allow",
            dir=str(run.path),
            mode=None if "WANDB_MODE" in os.environ else "offline",
            config=read_json(run.path / "recipe.json"),
        )

    def on_row(self, split: str, step: int, epoch: float, figures: dict[str, float]) -> None:
        """With the epoch, as its own steps only count rows."""
        self.run.log({f"{split}/{name}": value for name, value in figures.items()} | {"epoch": epoch}, step=step)

    def on_pictures(self, step: int, pictures: dict[str, NDArray[np.uint8]]) -> None:
        """As images."""
        import wandb

        self.run.log({name: wandb.Image(picture) for name, picture in pictures.items()}, step=step)

    def on_finding(self, step: int, finding: Finding) -> None:
        """As an alert, which a server can send on."""
        self.run.alert(title=finding.name, text=str(finding))

    def on_end(self, state: str) -> None:
        """Failed, unless it is finished or was interrupted."""
        self.run.finish(exit_code=int(state == "failed"))


@TRACKERS.register
class MLflow(Tracker):
    """A run of MLflow, in mlflow.db beside the run's folder, unless MLFLOW_TRACKING_URI says otherwise."""

    kind = "mlflow"
    needs = ("mlflow",)

    def on_begin(self, run: Run, step: int) -> None:
        """The same run again where it goes on."""
        from mlflow import MlflowClient

        at = run.path.absolute()
        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{at.parent / 'mlflow.db'}")
        self.own = known_as(run, "mlflow")
        if self.own is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = self.client.get_experiment_by_name(name)
            experiment = (
                found.experiment_id if found else self.client.create_experiment(name, f"file:{at.parent}/mlflow")
            )
            self.own = self.client.create_run(experiment, run_name=run.path.name).info.run_id
            known_as(run, "mlflow", self.own)
            for key, value in flat(read_json(run.path / "recipe.json")).items():
                self.client.log_param(self.own, key, value)

    def on_row(self, split: str, step: int, epoch: float, figures: dict[str, float]) -> None:
        """A metric each."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(f"{split}/{name}", value, now, step) for name, value in figures.items()]
        self.client.log_batch(self.own, metrics=metrics)

    def on_pictures(self, step: int, pictures: dict[str, NDArray[np.uint8]]) -> None:
        """As artifacts."""
        for name, picture in pictures.items():
            self.client.log_image(self.own, picture, f"{name}/{step:09d}.png")

    def on_finding(self, step: int, finding: Finding) -> None:
        """As a tag."""
        self.client.set_tag(self.own, f"finding: {finding.name}", str(finding))

    def on_end(self, state: str) -> None:
        """Its status."""
        self.client.set_terminated(self.own, ENDS[state])


def flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested settings as names with dots, and their values as text."""
    if not isinstance(value, dict):
        return {name: str(value)}
    parts = (flat(part, f"{name}.{key}" if name else key) for key, part in value.items())
    return {key: text for part in parts for key, text in part.items()}
