"""The command line: parse, call, print. torch is imported when a verb needs it, not before.

A verb is a function, see `ganvas.flags`: its signature gives the flags, its docstring what it does and an example.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ganvas.errors import UserError, unknown
from ganvas.training import progress

if TYPE_CHECKING:
    from ganvas.data import Dataset
    from ganvas.models import Model
    from ganvas.training.run import Run

HELP = """usage: ganvas VERB [...]

  train RECIPE --data DATA      train a model
  train --resume RUN            continue a run where it stopped
  recipes                       the recipes
  data list                     the data sets that have a name
  data show DATA                what is in one, or in a folder, zip, .npy, .npz
  show RUN                      what a run is and how far it came
  sample RUN -n 64              new images
  reconstruct RUN --data DATA   images, and what the model makes of them
  denoise RUN IMAGES...         image files without their noise
  encode RUN --data DATA        the codes of images, as features.npz

  VERB --help                   a verb's flags; train RECIPE --help: a recipe's
  --debug                       with any verb: an error's traceback

example: ganvas train vae --data mnist --latent-dim 2
"""

RunFolder = Annotated[Path, "RUN", "a run's folder, or a model's"]
DATA = "a named set, a folder, zip, .npy or .npz"
Size = Annotated[int | tuple[int, int] | None, "H [W]", "side, or height and width, that images are fitted to"]
Channels = Annotated[Literal[1, 3] | None, "1|3", "1 makes images grey, 3 makes them colour"]
Labels = Annotated[Path | None, "FILE", "of labels: CSV of lines file,label, or .npy"]
Strict = Annotated[bool, "", "stop at a file that can't be read"]
Device = Annotated[str, "NAME", "auto, cpu, cuda, cuda:1 or mps"]
ModelData = Annotated[str | None, "DATA", f"{DATA} (default: the run's)"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0; 1 for an error; 2 for a flag that can't be; 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    with _speaking(os.environ.get("RANK", "0") == "0"):
        try:
            return _dispatch([word for word in words if word != "--debug"])
        except (UserError, OSError) as error:
            if debug:
                raise
            print(f"ganvas: {error}", file=sys.stderr)
            return getattr(error, "status", 1)
        except KeyboardInterrupt:
            if debug:
                raise
            print("ganvas: stopped", file=sys.stderr)
            return 130


@contextlib.contextmanager
def _speaking(aloud: bool) -> Iterator[None]:
    """Of several processes that train together, one prints."""
    if aloud:
        yield
        return
    with Path(os.devnull).open("w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if words[0] == "data":
        named = bool(words[1:]) and not words[1].startswith("-")
        if named and words[1] not in ("list", "show"):
            raise UserError(f"`ganvas data` takes list or show: ganvas data show {words[1]}")
        words = [" ".join(words[:2]), *words[2:]] if named else ["data list", *words[1:]]
    verb, *rest = words
    if verb == "train":
        return train(rest)
    if verb not in VERBS:
        raise unknown("verb", verb, ["train", *VERBS])
    from ganvas.flags import Command, wants_help

    command = Command(verb, VERBS[verb])
    if wants_help(rest):
        print(command)
        return 0
    values = command.parse(rest)
    VERBS[verb](*[values.pop(flag.name) for flag in command.flags if flag.positional], **values)
    return 0


def _training(
    *,
    data: Annotated[str, "DATA", DATA] = "mnist",
    size: Size = None,
    channels: Channels = None,
    labels: Labels = None,
    binarise: Annotated[bool, "", "draw every pixel once as black or white"] = False,
    strict: Strict = False,
    epochs: Annotated[int | None, "INT", "passes over the data (default: the recipe's)"] = None,
    batch_size: Annotated[int | None, "INT", "images a move (default: the recipe's)"] = None,
    lr: Annotated[float | None, "FLOAT", "learning rate (default: the recipe's)"] = None,
    schedule: Annotated[
        Literal["constant", "cosine"] | None, "constant|cosine", "of --lr (default: the recipe's)"
    ] = None,
    patience: Annotated[int | None, "INT", "epochs without a better figure before it stops"] = None,
    seed: Annotated[int, "INT", "of every draw"] = 0,
    device: Device = "auto",
    precision: Annotated[Literal["auto", "float32", "bfloat16"], "NAME", "auto, float32 or bfloat16"] = "auto",
    tensorboard: Annotated[bool, "", "write TensorBoard's files into the run too"] = False,
    out: Annotated[Path | None, "RUN", "the run's folder (default: runs/DATE-RECIPE-...)"] = None,
) -> None:
    """Train a model. `ganvas recipes` lists the recipes, `ganvas train RECIPE --help` has a recipe's own flags too,
    and `ganvas train --resume RUN` continues a run.

    Example:
        ganvas train vae --data ./photos --size 64
    """


def _resuming(recipe: Annotated[str, "", ""] = "", /, *, resume: RunFolder) -> None:
    """Continue a run.

    Example:
        ganvas train --resume runs/first
    """


def train(words: list[str]) -> int:
    """Train a recipe, or continue a run."""
    from ganvas.flags import Command, wants_help
    from ganvas.recipes import RECIPES

    if any(word.split("=")[0] == "--resume" for word in words) and not wants_help(words):
        values = Command("train", _resuming).parse(words)
        return _resume(values["resume"], values["recipe"])
    if wants_help(words[:1]):
        print(Command("train RECIPE", _training))
        return 0
    if not words or words[0].startswith("-"):
        raise UserError(f"`ganvas train` takes a recipe: {', '.join(RECIPES)}. For example: ganvas train vae")
    name, *rest = words
    command = Command(f"train {name}", RECIPES[name], _training)
    if wants_help(rest):
        print(command)
        return 0
    values = command.parse(rest)
    from ganvas.training.train import train as start

    return _outcome(progress.watched(lambda report: start(name, report=report, **values)))


def _resume(folder: Path, recipe: str) -> int:
    from ganvas.training.run import Run
    from ganvas.training.train import resume

    if recipe and recipe != (name := Run(folder).recipe.name):
        raise UserError(f"{folder} is a run of {name}, not of {recipe}: go on with `ganvas train --resume {folder}`.")
    return _outcome(progress.watched(lambda report: resume(folder, report)))


def _outcome(run: Run) -> int:
    """Print what came of a run; returns the exit status."""
    state = run.state
    if state["state"] == "interrupted":
        print(f"stopped at step {state['step']} of {state['steps']}; go on with: ganvas train --resume {run.path}")
        return 130
    _print([*_test(state), ("run", run.path), *_pictures(run), *_next(run)])
    return 0


def _print(lines: Iterable[tuple[str, Any]]) -> None:
    rows = list(lines)
    width = max(16, *(len(name) for name, _ in rows))
    for name, value in rows:
        print(f"{name:<{width}} {value}")


def _test(state: Mapping[str, Any]) -> list[tuple[str, str]]:
    figures = state.get("test")
    if not figures:
        return []
    if "elbo" in figures:
        parts = f"reconstruction {figures['reconstruction']:.2f} + KL {figures['kl']:.2f}"
        return [("test ELBO", f"{figures['elbo']:.2f} nats per image = -({parts})")]
    if "loss" in figures:
        return [("test loss", f"squared error {figures['loss']:.3f} per image")]
    return [("test", progress.words(figures))]


def _pictures(run: Run) -> list[tuple[str, Path]]:
    found = [(kind, sorted((run.path / kind).glob("*.png"))) for kind in ("samples", "reconstructions")]
    return [(kind, files[-1]) for kind, files in found if files]


def _next(run: Run) -> list[tuple[str, str]]:
    """The commands that one may type after training."""
    from ganvas.models.base import FAMILIES

    family = FAMILIES[type(run.recipe.model)]
    ends = {"sample": " -n 64", "reconstruct": "", "denoise": " IMAGES...", "encode": " --out features.npz"}
    said = [f"ganvas {verb} {run.path}{end}" for verb, end in ends.items() if hasattr(family, verb)]
    return [("" if i else "next", line) for i, line in enumerate(said)]


def recipes() -> None:
    """The recipes.

    Example:
        ganvas recipes
    """
    from ganvas.recipes import RECIPES

    _print((name, (inspect.getdoc(recipe) or "").split("\n")[0]) for name, recipe in RECIPES.items())


def data_list() -> None:
    """The data sets that have a name; `ganvas data show DATA` describes one, or images of your own.

    Example:
        ganvas data list
    """
    from ganvas.data import names

    _print([*names().items(), ("or your own", "a folder or zip of images, .npy or .npz")])


def data_show(
    data: Annotated[str, "DATA", DATA],
    /,
    *,
    size: Size = None,
    channels: Channels = None,
    labels: Labels = None,
    strict: Strict = False,
) -> None:
    """What is in a data set, and how its images are prepared.

    Example:
        ganvas data show ./photos --size 64
    """
    from ganvas.data import describe, load

    _print(describe(load(data, size=size, channels=channels, labels=labels, strict=strict)))


def show(run: Annotated[Path, "RUN", "a run's folder"], /) -> None:
    """What a run is, how far it came, its figures, pictures and model.

    Example:
        ganvas show runs/first
    """
    from ganvas.registry import dump
    from ganvas.training.run import Run

    it = Run(run)
    recipe, state = it.recipe, it.state
    model, training, data = dump(recipe.model), dump(recipe.training), dump(recipe.data)
    last = {row.pop("split"): row for row in it.metrics}
    finished = state["state"] == "finished"
    _print(
        [
            ("run", it.path),
            ("recipe", recipe.name),
            ("state", f"{state['state']} at step {state['step']} of {state.get('steps', '?')}"),
            *[("", state[word]) for word in ("message",) if word in state],
            ("data", f"{data['source']}, {' x '.join(map(str, it.data['shape']))}"),
            *[(f"  {name}", _words(data[name])) for name in ("binarise", "labels") if data.get(name)],
            ("model", model.pop("kind")),
            *[(f"  {name}", _words(value)) for name, value in model.items()],
            ("training", _words({key: value for key, value in training.items() if key not in ("kind", "turns")})),
            *[(f"  {player}", _words(turn)) for player, turn in training["turns"].items()],
            *[(split, progress.words(last[split])) for split in ("train", "validation") if split in last],
            *_test(state),
            *_pictures(it),
            *([("model folder", it.path / "model"), *_next(it)] if finished else []),
            *([] if finished else [("next", f"ganvas train --resume {it.path}")]),
        ]
    )


def _words(value: Any) -> str:
    """A setting as a person reads it: {"kind": "mlp", "hidden": [500, 500]} -> "mlp, hidden 500 500"."""
    if isinstance(value, dict):
        return ", ".join((f"{key} " if key not in ("kind", "name") else "") + _words(v) for key, v in value.items())
    if isinstance(value, list):
        return " ".join(map(_words, value))
    return "none" if value is None else str(value).lower()


def sample(
    run: RunFolder,
    /,
    *,
    n: Annotated[int, "INT", "how many"] = 64,
    seed: Annotated[int, "INT", "the same seed gives the same images"] = 0,
    out: Annotated[Path | None, "PNG", "the picture (default: RUN/samples-N-seedS.png)"] = None,
) -> None:
    """New images from a model, as one picture.

    Example:
        ganvas sample runs/first -n 64
    """
    model = _model(run, "sample", n)
    from ganvas import plots

    print(plots.save(plots.grid(model.sample(n, seed)), out or run / f"samples-{n}-seed{seed}.png"))


def reconstruct(
    run: RunFolder,
    /,
    *,
    data: ModelData = None,
    n: Annotated[int, "INT", "how many images"] = 30,
    out: Annotated[Path | None, "PNG", "the picture (default: RUN/reconstructed.png)"] = None,
) -> None:
    """Test images and their reconstructions, a row of each, as one picture.

    Example:
        ganvas reconstruct runs/first --data ./photos
    """
    model = _model(run, "reconstruct", n)
    _image_shape(model)
    from ganvas import plots
    from ganvas.data.loader import to_tensor

    images = to_tensor(_data(run, model, data).splits["test"].images[:n])
    print(plots.save(plots.rows(images, model.reconstruct(images)), out or run / "reconstructed.png"))


def denoise(
    run: RunFolder,
    images: Annotated[tuple[Path, ...], "IMAGES...", "image files, or folders of them"] = (),
    /,
    *,
    noise: Annotated[float, "FLOAT", "put this much of the model's kind of noise on first"] = 0.0,
    n: Annotated[int, "INT", "how many images the picture shows"] = 30,
    seed: Annotated[int, "INT", "of the noise"] = 0,
    out: Annotated[Path | None, "DIR", "also write each image there, by its name, as PNG"] = None,
) -> None:
    """Images without their noise, in RUN/denoised.png: a row of what is given, a row of what comes out.

    Example:
        ganvas denoise runs/first scan.png ./scans --out clean
    """
    model = _model(run, "denoise", n)
    shape = _image_shape(model)
    if not images:
        raise UserError("`ganvas denoise RUN` takes image files, or folders: ganvas denoise RUN scan.png")
    if noise < 0:
        raise UserError(f"--noise {noise:g}: it takes 0 or more.")
    from ganvas import plots
    from ganvas.data.folder import read
    from ganvas.data.loader import to_tensor
    from ganvas.models.autoencoder import corrupt
    from ganvas.randomness import Draw

    names, pixels = read(images, (shape[1], shape[2]), shape[0])
    seen = [to_tensor(pixels)]
    if noise:
        seen.append(corrupt(seen[0], model.config.noise, noise, Draw(seed)).clamp(0, 1))
    seen.append(model.denoise(seen[-1]))
    if out:
        for name, image in zip(names, seen[-1], strict=True):
            plots.save((image * 255).round().byte().permute(1, 2, 0).numpy(), out / name)
        print(out)
    print(plots.save(plots.rows(*(part[:n] for part in seen)), run / "denoised.png"))


def encode(
    run: RunFolder,
    /,
    *,
    data: ModelData = None,
    out: Annotated[Path, "FILE", "what to write"] = Path("features.npz"),
    device: Device = "auto",
) -> None:
    """The codes of images for numpy.load: train, validation and test, and train_labels ... where there are labels.

    Example:
        ganvas encode runs/first --data ./photos --out features.npz
    """
    model = _model(run, "encode")
    from ganvas.evaluate import write_codes
    from ganvas.training.engine import choose_device

    dataset = _data(run, model.to(choose_device(device)), data)
    print(write_codes(out, model, dataset))


def _model(folder: Path, verb: str, n: int = 1) -> Model:
    """The model in a folder, once it is known to have the verb: before any data is read."""
    if n < 1:
        raise UserError(f"-n {n}: it takes at least 1.")
    from ganvas.models import load

    model = load(folder)
    getattr(model, verb)
    return model


def _image_shape(model: Model) -> tuple[int, ...]:
    if len(model.shape) != 3:
        raise UserError(f"this model is of points of shape {model.shape}, not of images.")
    return model.shape


def _data(folder: Path, model: Model, source: str | None) -> Dataset:
    """The images that a run was trained on, or others as its model takes them."""
    from ganvas.data import load
    from ganvas.training.run import Run

    own = Run(folder).recipe.data if (folder / "recipe.json").is_file() else None
    if own and source in (None, own.source):
        return load(own.source, size=own.size, channels=own.channels, binarise=own.binarise, labels=own.labels)
    if source is None:
        raise UserError(f"{folder} is a model without its run: say which images with --data, a name or a path.")
    if len(model.shape) != 3:
        return load(source)
    return load(source, size=(model.shape[1], model.shape[2]), channels=model.shape[0])


VERBS: dict[str, Callable[..., None]] = {
    "recipes": recipes,
    "data list": data_list,
    "data show": data_show,
    "show": show,
    "sample": sample,
    "reconstruct": reconstruct,
    "denoise": denoise,
    "encode": encode,
}
