"""`train` and `resume`: from a recipe's name to a finished run."""

from __future__ import annotations

import dataclasses
import datetime
import inspect
import json
import platform
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import ganvas
import ganvas.recipes
from ganvas.data import Dataset, load
from ganvas.errors import UserError, unknown
from ganvas.files import write_text
from ganvas.models import Model
from ganvas.models import load as load_model
from ganvas.models.base import FAMILIES
from ganvas.recipe import RECIPES, Data, Recipe
from ganvas.registry import build
from ganvas.training.loop import Game, choose_device, evaluate, play
from ganvas.training.run import Run, create

Report = Callable[[int, int, dict[str, float]], None]


def quiet(step: int, steps: int, row: dict[str, float]) -> None:
    """Report nothing."""


def train(
    recipe: str,
    *,
    data: Any = "mnist",
    size: int | tuple[int, int] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    out: str | Path | None = None,
    report: Report = quiet,
    **settings: Any,
) -> Run:
    """Train a model and return its run.

    Args:
        recipe: the name of a recipe, see `ganvas recipes`.
        data: a named data set, a folder, a zip, .npy, .npz, an array or a tensor.
        size: height and width that images are scaled and cropped to.
        epochs: passes over the data; the recipe's own by default, as the next two.
        batch_size: images a move.
        lr: learning rate of every player.
        seed: of every draw.
        device: "auto", "cpu", "cuda", "mps".
        precision: "auto", "float32" or "bfloat16".
        out: the run's folder; by default runs/DATE-RECIPE-DATA-ID.
        report: called with (step, steps, figures) as it goes.
        settings: the recipe's own arguments.

    Raises:
        UserError: before training starts, for a setting that can't work; while it goes, for a loss that is not finite.
    """
    made: Recipe = build(RECIPES[recipe], _known(recipe, settings))
    dataset = load(data, size=size)
    changes = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "device": device, "precision": precision}
    training = _replace(made.training, {name: value for name, value in changes.items() if value is not None})
    if lr is not None:
        turns = {
            name: dataclasses.replace(turn, optimizer=_replace(turn.optimizer, {"lr": lr}))
            for name, turn in training.turns.items()
        }
        training = dataclasses.replace(training, turns=turns)
    extent = (size, size) if isinstance(size, int) else size
    made = dataclasses.replace(made, data=Data(source=dataset.source, size=extent), training=training)
    model = make_model(made, dataset)
    stamp = datetime.datetime.now().strftime("%Y%m%d")
    path = Path(out) if out else Path("runs") / f"{stamp}-{recipe}-{dataset.name}-{secrets.token_hex(3)}"
    facts = {"fingerprint": dataset.fingerprint, "shape": dataset.shape, "preparation": dataset.preparation}
    versions = {"ganvas": ganvas.__version__, "torch": torch.__version__, "python": platform.python_version()}
    # The game is made first: what it refuses leaves no folder behind.
    Game(model, made, dataset, Run.__new__(Run))
    run = create(path, made, {**facts, "versions": versions})
    return _play(Game(model, made, dataset, run), report)


def resume(path: str | Path, report: Report = quiet) -> Run:
    """Continue a run from its newest checkpoint, as if it had never stopped."""
    run = Run(path)
    if run.state["state"] == "finished":
        raise UserError(f"{run.path} is finished: there is nothing to resume.")
    recipe = run.recipe
    asked = recipe.data
    dataset = load(asked.source, size=asked.size, channels=asked.channels, binarise=asked.binarise)
    before = json.loads((run.path / "data.json").read_text())["fingerprint"]
    if dataset.fingerprint != before:
        raise UserError(f"the data of {run.path} has changed: {recipe.data.source} is not what it was trained on.")
    game = Game(make_model(recipe, dataset), recipe, dataset, run)
    checkpoint = run.checkpoint
    if checkpoint:
        game.restore(checkpoint)
    else:
        run.truncate_metrics(0)
    return _play(game, report)


def make_model(recipe: Recipe, dataset: Dataset) -> Model:
    """The recipe's model with its first weights, which depend on the seed alone."""
    device = choose_device(recipe.training.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        model = FAMILIES[type(recipe.model)](recipe.model, dataset.shape)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _play(game: Game, report: Report) -> Run:
    run = game.run
    run.note(state="running", step=game.step, steps=game.steps)
    try:
        if play(game, report) == "interrupted":
            return run
    except BaseException as error:
        run.note(state="failed", step=game.step, steps=game.steps, message=str(error) or type(error).__name__)
        raise
    best = run.path / "checkpoints" / "best"
    model = load_model(best, game.model.device) if best.is_dir() else game.model
    figures = evaluate(model, game.data, "test", game.recipe.training.seed)
    model.save(run.path / "model")
    write_text(run.path / "model" / "README.md", _card(game, figures))
    run.note(state="finished", step=game.step, steps=game.steps, test=figures)
    return run


def _card(game: Game, figures: dict[str, float]) -> str:
    lines = [f"# {game.recipe.name} on {game.data.name}", "", f"{type(game.model).__name__}, {game.step} steps.", ""]
    lines += [
        f"- test {name}: {value:.3f} (nats per image)"
        if name != "loss"
        else f"- test squared error: {value:.3f} per image"
        for name, value in figures.items()
    ]
    lines += ["", "```python", "import ganvas", 'model = ganvas.load("this folder")', "```", ""]
    return "\n".join(lines)


def _known(recipe: str, settings: dict[str, Any]) -> dict[str, Any]:
    own = inspect.signature(RECIPES[recipe]).parameters
    for name in settings:
        if name not in own:
            raise unknown(f"setting of {recipe}", name, own)
    return settings


def _replace(value: Any, changes: dict[str, Any]) -> Any:
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return build(type(value), fields | changes)
