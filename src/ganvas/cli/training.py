"""Verbs about runs: train, resume, recipes, show."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ganvas.cli.shared import DATA, RunFolder, Strict, table, takes
from ganvas.ground.errors import UserError
from ganvas.training import progress

if TYPE_CHECKING:
    from ganvas.training.run import Run


@takes("Data", "Training")
def _training(
    *,
    data: Annotated[str | None, "DATA", f"{DATA} (default: mnist)"] = None,
    strict: Strict = False,
    minutes: Annotated[float | None, "FLOAT", "how long it may take, instead of --epochs"] = None,
    condition: Annotated[tuple[str, ...], "NAME...", "labels that the model is told: class, or attributes"] = (),
    lr: Annotated[float | None, "FLOAT", "learning rate (default: the recipe's)"] = None,
    track: Annotated[tuple[str, ...], "NAME...", "tell tensorboard, wandb or mlflow too"] = (),
    out: Annotated[Path | None, "RUN", "the run's folder (default: runs/DATE-RECIPE-...)"] = None,
    **settings: Any,
) -> None:
    """Train a model. `ganvas recipes` lists the recipes, `ganvas train RECIPE --help` has a recipe's own flags too,
    `ganvas train --resume RUN` continues a run, and with --epochs N trains it longer.

    Example:
        ganvas train vae --data ./photos --size 64
    """


def _resuming(
    recipe: Annotated[str, "", ""] = "",
    /,
    *,
    resume: RunFolder,
    epochs: Annotated[int | None, "INT", "passes over the data in all, to train longer"] = None,
) -> None:
    """Continue a run.

    Example:
        ganvas train --resume runs/first
    """


def train(words: list[str]) -> int:
    """Train a recipe, or continue a run."""
    from ganvas.cli.flags import of_recipe

    asked = of_recipe("train", words, FLAGS, RESUMING)
    if asked is None:
        return 0
    name, values = asked
    if not name:
        return _resume(values["resume"], values["recipe"], values["epochs"])
    from ganvas.training.train import train as start

    return _outcome(progress.with_progress(lambda report: start(name, report=report, **values)))


def _resume(folder: Path, recipe: str, epochs: int | None) -> int:
    from ganvas.training.run import Run
    from ganvas.training.train import resume

    run = Run(folder)
    if recipe and recipe != (name := run.recipe.name):
        raise UserError(f"{folder} is a run of {name}, not of {recipe}: go on with `ganvas train --resume {folder}`.")
    if epochs is None and run.state["state"] == "finished":
        done = math.ceil(max((row["epoch"] for row in run.metrics), default=run.recipe.training.epochs))
        more = f"ganvas train --resume {folder} --epochs {2 * done}"
        print(f"{folder} is finished, after {done:,} epoch{'s' * (done != 1)}; to train on: {more}")
        return 0
    return _outcome(progress.with_progress(lambda report: resume(folder, report, epochs)))


def _outcome(run: Run) -> int:
    """Print what came of a run; returns the exit status."""
    state = run.state
    if state["state"] == "interrupted":
        print(f"stopped at step {state['step']} of {state['steps']}; go on with: ganvas train --resume {run.path}")
        return 130
    table([*_test(run), ("run", run.path), *_pictures(run), *_next(run)])
    return 0


def _test(run: Run) -> list[tuple[str, str]]:
    from ganvas.models.base import FAMILIES

    figures = run.state.get("test")
    if not figures:
        return []
    units = FAMILIES[type(run.recipe.model)].figures
    words = {"elbo": "ELBO", "kl": "KL"}
    known = [(name, unit) for name, unit in units.items() if name in figures]
    if not known:
        return [("test", progress.words(figures))]
    (first, unit), *others = known
    parts = ", ".join(f"{words.get(name, name)} {figures[name]:.4g}" for name, _ in others)
    return [(f"test {words.get(first, first)}", f"{figures[first]:.4g} {unit}" + f" ({parts})" * bool(parts))]


def _pictures(run: Run) -> list[tuple[str, Path]]:
    found = [(kind, sorted((run.path / kind).glob("*.png"))) for kind in ("samples", "reconstructions")]
    return [(kind, files[-1]) for kind, files in found if files]


def _next(run: Run) -> list[tuple[str, str]]:
    """The commands that one may type next."""
    from ganvas.models.base import FAMILIES
    from ganvas.training import stored

    family = FAMILIES[type(run.recipe.model)]
    ends = {"sample": " -n 64", "reconstruct": "", "denoise": " IMAGES...", "encode": " --out features.npz"}
    said = [] if run.state["state"] == "finished" else [f"ganvas train --resume {run.path}"]
    if stored.files(run.path):
        said += [f"ganvas {verb} {run.path}{end}" for verb, end in ends.items() if hasattr(family, verb)]
    return [("" if i else "next", line) for i, line in enumerate(said)]


def recipes() -> None:
    """The recipes.

    Example:
        ganvas recipes
    """
    from ganvas.recipes import RECIPES

    table((name, (inspect.getdoc(recipe) or "").split("\n")[0]) for name, recipe in RECIPES.items())


def show(
    run: Annotated[Path, "RUN", "a run's folder"],
    /,
    *,
    nets: Annotated[bool, "", "its nets too, layer by layer, with shapes and parameters"] = False,
    html: Annotated[bool, "", "as one file to look at and to mail, with pictures and curves"] = False,
    out: Annotated[Path | None, "FILE", "of --html (default: RUN/show.html)"] = None,
) -> None:
    """What a run is, how far it came, its figures, pictures and model.

    Example:
        ganvas show runs/first --nets
    """
    from ganvas.training.run import Run

    if out and not html:
        raise UserError(f"--out {out} is of --html: ganvas show {run} --html --out {out}")
    it = Run(run)
    if html:
        from ganvas import notebook
        from ganvas.ground.files import write_text

        out = out or it.path / "show.html"
        write_text(out, notebook.page(it, _without_paths(_facts(it))))
        print(out)
        return
    table([*_facts(it), *_pictures(it), *_next(it)])
    if nets:
        _show_nets(it)


def _without_paths(facts: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in facts if not isinstance(value, Path)]


def _facts(run: Run) -> list[tuple[str, Any]]:
    """What it is, how far it came, its figures."""
    from ganvas.ground.registry import dump, flagged
    from ganvas.recipes.base import Data

    recipe, state = run.recipe, run.state
    model, training, data = dump(recipe.model), dump(recipe.training), dump(recipe.data)
    last = {row.pop("split"): row for row in run.metrics}
    asked = flagged(Data).keys() - {"size", "channels"}  # which its shape says
    return [
        ("run", run.path),
        ("recipe", recipe.name),
        ("state", f"{state['state']} at step {state['step']} of {state.get('steps', '?')}"),
        *[("", state[word]) for word in ("message",) if word in state],
        ("data", f"{data['source']}, {' x '.join(map(str, run.data['shape']))}"),
        *[(f"  {name}", _words(value)) for name, value in data.items() if name in asked and value],
        ("model", model.pop("kind")),
        *[(f"  {name}", _words(value)) for name, value in model.items()],
        ("  training", _words({key: value for key, value in training.items() if key not in ("kind", "turns")})),
        *[(f"  {player}", _words(turn)) for player, turn in training["turns"].items()],
        *[(split, progress.words(last[split])) for split in ("train", "validation") if split in last],
        *_test(run),
        *([("model folder", run.path / "model")] if state["state"] == "finished" else []),
    ]


def _show_nets(run: Run) -> None:
    import torch

    from ganvas.data.loader import Batch
    from ganvas.ground.randomness import Draw
    from ganvas.models.base import FAMILIES
    from ganvas.parts.nets import summary

    config, shape = run.recipe.model, tuple(run.data["shape"])
    model = FAMILIES[type(config)](config, shape).eval()
    for name, player in model.players().items():
        layers = summary.summary(player, Batch(torch.zeros(2, *shape)), Draw(0))
        print(f"\n{name}\n{summary.table(layers)}")


def _words(value: Any) -> str:
    """A setting as a person reads it: {"kind": "mlp", "hidden": [500, 500]} -> "mlp, hidden 500 500"."""
    if isinstance(value, dict):
        return ", ".join((f"{key} " if key not in ("kind", "name") else "") + _words(v) for key, v in value.items())
    if isinstance(value, list):
        return " ".join(map(_words, value))
    return "none" if value is None else str(value).lower()


FLAGS, RESUMING = _training, _resuming
HELP = """\
  train RECIPE --data DATA      train a model
  train --resume RUN            continue a run; --epochs N: train it longer
  recipes                       the recipes
  show RUN                      what a run is and how far it came
"""
VERBS: dict[str, Callable[..., None]] = {"recipes": recipes, "show": show}  # train's flags depend on its recipe
