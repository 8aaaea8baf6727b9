"""Checkpoints: everything that moves in a run, in one safetensors file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

from pydantic import Field
from torch import Tensor

from ganvas.ground import tensors
from ganvas.ground.errors import UserError
from ganvas.ground.registry import build, settings

KEEP = 2
Whole = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


@settings
class Facts:
    """What moves and is no tensor.

    Attributes:
        step: the number of steps that were played.
        seconds: that they took.
        best: the smallest validation loss so far.
        best_epoch: when that was.
        stopped: whether patience has stopped the training.
    """

    step: Whole
    seconds: Finite
    best: Finite | None = None
    best_epoch: Whole = 0
    stopped: bool = False


def save(folder: Path, moving: dict[str, Tensor], facts: Facts) -> Path:
    """Write the checkpoint of `facts.step`; then drop all but the newest two."""
    path = folder / f"step-{facts.step:09d}.safetensors"
    tensors.save(path, moving, {name: json.dumps(value) for name, value in dataclasses.asdict(facts).items()})
    for old in found(folder)[:-KEEP]:
        old.unlink()
    return path


def load(path: Path) -> tuple[dict[str, Tensor], Facts]:
    """The tensors and facts of a checkpoint.

    Raises:
        UserError: the file is damaged.
    """
    moving, text = tensors.load(path)
    try:
        return moving, build(Facts, {name: json.loads(value) for name, value in text.items()})
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}).") from error


def part(moving: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of a part, "model", "window" or "optimizer/PLAYER", by their names in it."""
    return {place.removeprefix(f"{name}/"): t for place, t in moving.items() if place.startswith(f"{name}/")}


def found(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder of them, the newest last."""
    return sorted(folder.glob("step-*.safetensors"))
