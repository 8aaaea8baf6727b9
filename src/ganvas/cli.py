"""The command line: parse, call, print. torch is imported when a verb needs it, not before."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganvas.errors import UserError, unknown

HELP = """usage: ganvas VERB [...]

  train RECIPE --data DATA      train a model; `ganvas train RECIPE --help` shows its flags
  train --resume RUN            continue a run where it stopped
  recipes                       the recipes
  data [NAME_OR_PATH]           the data sets, or what is in one
  show RUN                      what a run is and how far it came
  sample RUN -n 64              new images
  reconstruct RUN --data DATA   images, and what the model makes of them

  --debug with any verb shows an error's traceback

example: ganvas train vae --data mnist --latent-dim 2
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for an error, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    try:
        verb, *rest = arguments
        if verb not in VERBS:
            raise unknown("verb", verb, VERBS)
        return VERBS[verb](rest) or 0
    except UserError as error:
        if debug:
            raise
        print(f"ganvas: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if debug:
            raise
        return 130


def _call(function: Callable[..., Any], rest: list[str], verb: str) -> Any:
    import tyro

    return tyro.cli(function, args=rest, prog=f"ganvas {verb}", config=(tyro.conf.AvoidSubcommands,))


def train(rest: list[str]) -> int:
    """Train or resume."""
    import ganvas.recipes  # noqa: F401
    from ganvas.recipe import RECIPES

    if rest[:1] == ["--resume"]:
        if len(rest) != 2:
            raise UserError("--resume takes a run's folder: `ganvas train --resume runs/...`.")
        from ganvas.training.train import resume

        return _finish(_with_progress(lambda report: resume(rest[1], report)))
    if not rest or rest[0].startswith("-"):
        raise UserError(
            f"`ganvas train` takes a recipe: {', '.join(RECIPES)}. For example: ganvas train vae --data mnist"
        )
    name, *flags = rest
    values = _call(_flags(RECIPES[name]), flags, f"train {name}")
    from ganvas.training.train import train as start

    return _finish(_with_progress(lambda report: start(name, report=report, **values)))


def _flags(recipe: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """A function that takes the flags of every training and the recipe's own, and returns them."""
    none = dict.fromkeys(("size", "epochs", "batch_size", "lr", "out"))
    kinds = {
        "size": tuple[int, ...] | None,
        "epochs": int | None,
        "batch_size": int | None,
        "lr": float | None,
        "out": Path | None,
    }
    shared: dict[str, Any] = {"data": (str, "mnist"), **{n: (kinds[n], none[n]) for n in none}}
    shared |= {
        "seed": (int, 0),
        "device": (str, "auto"),
        "precision": (typing.Literal["auto", "float32", "bfloat16"], "auto"),
    }
    hints = typing.get_type_hints(recipe)
    own = {n: (hints[n], p.default) for n, p in inspect.signature(recipe).parameters.items()}

    def collect(**values: Any) -> dict[str, Any]:
        size = values.pop("size")
        if size is not None and len(size) not in (1, 2):
            raise UserError(f"--size takes one number, or height and width: not {size}.")
        return {**values, "size": size if size is None or len(size) == 2 else size[0]}

    parameters = [
        inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for n, (kind, default) in {**shared, **own}.items()
    ]
    collect.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    collect.__annotations__ = {n: kind for n, (kind, _) in {**shared, **own}.items()}
    collect.__doc__ = recipe.__doc__
    return collect


def _with_progress(start: Callable[[Callable[..., None]], Any]) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def report(step: int, steps: int, figures: dict[str, float]) -> None:
            said = "  ".join(
                f"{name} {value:,.4g}" if name != "images/s" else f"{value:,.0f} images/s"
                for name, value in figures.items()
            )
            bar.update(task, completed=step, total=steps, description=said)

        return start(report)


def _finish(run: Any) -> int:
    state = run.state
    if state["state"] == "interrupted":
        print(f"stopped at step {state['step']} of {state['steps']}; go on with: ganvas train --resume {run.path}")
        return 130
    test = state.get("test", {})
    if "elbo" in test:
        print(
            f"test ELBO {test['elbo']:.2f} nats = -(reconstruction {test['reconstruction']:.2f} + KL {test['kl']:.2f})"
        )
    elif "loss" in test:
        print(f"test squared error {test['loss']:.3f} per image")
    print(f"run: {run.path}")
    for folder in ("samples", "reconstructions"):
        last = sorted((run.path / folder).glob("*.png"))
        if last:
            print(f"{folder}: {last[-1]}")
    return 0


def recipes(rest: list[str]) -> None:
    """List the recipes."""
    import ganvas.recipes  # noqa: F401
    from ganvas.recipe import RECIPES

    for name, recipe in RECIPES.items():
        print(f"{name:24}{(recipe.__doc__ or '').strip().splitlines()[0]}")


def data(rest: list[str]) -> None:
    """List the data sets, or describe one: `data`, `data list`, `data show X`, `data X`."""
    from ganvas.data import describe, load, names

    words = [word for word in rest if word not in ("list", "show")]
    if not words:
        for name, said in names().items():
            print(f"{name:18}{said}")
        print("or a folder, a zip, .npy or .npz of your own")
        return
    for field, value in describe(load(words[0])):
        print(f"{field:14}{value}")


def show(rest: list[str]) -> None:
    """What a run is and how far it came."""
    if not rest:
        raise UserError("`ganvas show` takes a run's folder.")
    from ganvas.training.run import Run

    run = Run(rest[0])
    state, recipe = run.state, run.recipe
    print(f"{recipe.name} on {recipe.data.source}: {state['state']}, step {state['step']} of {state.get('steps', '?')}")
    print(f"{recipe.model}")
    for row in run.metrics[-2:]:
        print(
            "  ".join(
                f"{key} {value:.5g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
            )
        )
    _finish(run) if state["state"] in ("finished", "interrupted") else print(f"go on: ganvas train --resume {run.path}")


def sample(rest: list[str]) -> None:
    """New images from a run's model."""

    def sample_(run: str, /, n: int = 64, seed: int = 0, out: Path | None = None) -> tuple[str, int, int, Path | None]:
        return run, n, seed, out

    rest = ["--n" if word == "-n" else word for word in rest]
    folder, n, seed, out = _call(sample_, rest, "sample")
    from ganvas import plots
    from ganvas.models import load

    if n < 1:
        raise UserError(f"-n {n}: it takes at least 1.")
    print(plots.save(plots.grid(load(folder).sample(n, seed)), out or Path(folder) / f"samples-{n}-seed{seed}.png"))


def reconstruct(rest: list[str]) -> None:
    """Images and their reconstructions, a row of each."""

    def reconstruct_(
        run: str, /, data: str = "mnist", n: int = 30, out: Path | None = None
    ) -> tuple[str, str, int, Path | None]:
        return run, data, n, out

    folder, source, n, out = _call(reconstruct_, rest, "reconstruct")
    import torch

    from ganvas import plots
    from ganvas.data import load as load_data
    from ganvas.data.loader import to_tensor
    from ganvas.models import load

    model = load(folder)
    size = (model.shape[-2], model.shape[-1]) if Path(source).exists() else None
    images = to_tensor(load_data(source, size=size).splits["test"].images[:n])
    pairs = zip(torch.split(images, 10), torch.split(model.reconstruct(images), 10), strict=True)
    picture = plots.grid(torch.cat([part for pair in pairs for part in pair]), 10)
    print(plots.save(picture, out or Path(folder) / "reconstructed.png"))


VERBS: dict[str, Callable[[list[str]], int | None]] = {
    "train": train,
    "recipes": recipes,
    "data": data,
    "show": show,
    "sample": sample,
    "reconstruct": reconstruct,
}
