"""The model that a folder holds: a run's, finished or not, or one that was saved."""

from __future__ import annotations

import contextlib
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ganvas.ground.errors import UserError

if TYPE_CHECKING:
    import torch

    from ganvas.models import Model
    from ganvas.recipes.base import Recipe

log = logging.getLogger("ganvas")


class Folder(Protocol):
    """What has to be known of a run, see `ganvas.training.run.Run`."""

    @property
    def path(self) -> Path: ...  # noqa: D102

    @property
    def recipe(self) -> Recipe: ...  # noqa: D102

    @property
    def data(self) -> dict[str, Any]: ...  # noqa: D102

    @property
    def state(self) -> dict[str, Any]: ...  # noqa: D102


def files(folder: Path) -> list[Path]:
    """Where a run's weights lie, those to take first: of model/, of the best checkpoint, of the newest, and before."""
    whole = [folder / "model", folder / "checkpoints" / "best"]
    newest = sorted((folder / "checkpoints").glob("step-*.safetensors"), reverse=True)
    # config.json is written last: without it the weights beside it may be half of what was to be written.
    return [part / "model.safetensors" for part in whole if (part / "config.json").is_file()] + newest


def of_run(run: Folder, device: str | torch.device = "cpu") -> Model:
    """A run's model; without model/ that of the best checkpoint, else of the newest one that can be read.

    It is said once which one is taken where the run is not finished, and which one is damaged.

    Raises:
        UserError: none of them is there, or can be read.
    """
    from ganvas import models

    folder, found = run.path, files(run.path)
    if found and found[0].parent.name == "model":
        with contextlib.suppress(UserError):  # a damaged state.json keeps nobody from the model
            if run.state["state"] not in ("finished", "new"):
                _say(f"{folder} trains on and is not finished: its model of before is taken.")
        return models.load(folder, device)
    for file in found:
        try:
            best = file.parent.name == "best"
            model = models.load(file.parent) if best else of_checkpoint(run, file)
        except FileNotFoundError:  # a training drops all but its two newest checkpoints
            continue
        except UserError as error:
            _say(f"{error} It is passed over.")
            continue
        which = "best checkpoint so far" if best else f"checkpoint of step {int(file.stem.removeprefix('step-')):,}"
        _say(f"{folder} is not finished: its {which} is taken.")
        return model.to(device).eval()
    what = "no checkpoint that can be read" if found else "no checkpoint yet"
    raise UserError(f"{folder} has no model and {what}: train it with `ganvas train --resume {folder}`.")


def of_checkpoint(run: Folder, file: Path) -> Model:
    """That of a checkpoint.

    Raises:
        UserError: it is damaged, or another run's.
    """
    from ganvas.ground import tensors
    from ganvas.models.base import FAMILIES

    config = run.recipe.model
    model = FAMILIES[type(config)](config, tuple(run.data["shape"]))
    weights, _ = tensors.load(file, "model/")
    try:
        model.load_state_dict(weights)
    except UserError as error:
        raise UserError(f"{file} does not fit its recipe.json: {error}") from error
    return model


@functools.cache
def _say(line: str) -> None:
    """Once, however often it is so."""
    log.warning("%s", line)
