"""A model as files that need no ganvas: export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ganvas.cli.models import image_shape, load_data, load_model
from ganvas.cli.shared import ModelData, RunFolder, table
from ganvas.ground.errors import UserError

if TYPE_CHECKING:
    from ganvas.data import Dataset
    from ganvas.models import Model


def export(
    run: RunFolder,
    /,
    *,
    onnx: Annotated[bool, "", "its functions as ONNX files, and an example that runs them"] = False,
    html: Annotated[bool, "", "the Explore page as a folder for any web server"] = False,
    one_file: Annotated[bool, "", "with --html: the page as a single file, for small models"] = False,
    data: ModelData = None,
    out: Annotated[Path | None, "PATH", "where (default: RUN/onnx, RUN/page, or RUN/page.html)"] = None,
) -> None:
    """A trained model to take along: it runs without ganvas and without PyTorch. Each file is checked against the
    model, with test images where there are some.

    Example:
        ganvas export runs/first --onnx
    """
    if one_file and not html:
        raise UserError(f"--one-file makes the page a single file: ganvas export {run} --html --one-file")
    if not (onnx or html):
        raise UserError(f"`ganvas export` takes --onnx or --html, or both: ganvas export {run} --onnx")
    if onnx and html and out:
        raise UserError(f"--out {out} is one place, and --onnx and --html make two: leave it out, or one of them.")
    from ganvas import export as exports

    exports.require()
    model = load_model(run, "decode")
    if html:
        image_shape(model)
        exports.built()
    dataset, facts = _dataset(run, model, data), _facts(run)
    seen = "random numbers" if dataset is None else f"the test split of {dataset.name}"
    for wanted, write, name in (
        (onnx, exports.write_onnx, "onnx"),
        (html and not one_file, exports.write_page, "page"),
        (one_file, exports.write_file, "page.html"),
    ):
        if wanted:
            place = out or run / name
            files = write(model, place, facts, dataset)
            table([("checked with", seen), *((file.name, _said(file.size, file.difference)) for file in files)])
            print(place)
    if html and not one_file:
        print(f"to see it: python -m http.server --directory {out or run / 'page'}")


def _said(size: int, difference: float | None) -> str:
    """ "1.2 MB, largest difference 6e-08"."""
    text = f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
    return text if difference is None else f"{text}, largest difference {difference:.1g}"


def _dataset(run: Path, model: Model, source: str | None) -> Dataset | None:
    """The images to check with; None where nobody says which, or where the run's own are not there any more."""
    try:
        return load_data(run, model, source)
    except (UserError, OSError):
        if source is not None:
            raise
        return None


def _facts(folder: Path) -> dict[str, str]:
    """What the files say of where the model comes from: names, no paths."""
    from ganvas.training.run import Run

    name = folder.resolve().name
    if not (folder / "recipe.json").is_file():
        return {"run": name}
    recipe = Run(folder).recipe
    return {"run": name, "recipe": recipe.name, "data": Path(recipe.data.source).stem}


def push(
    run: RunFolder,
    name: Annotated[str, "USER/NAME", "on the Hub; it is made unless it is there"],
    /,
    *,
    private: Annotated[bool, "", "others may not see it"] = False,
    license: Annotated[str | None, "NAME", "of the model, by its name on the Hub: apache-2.0, cc-by-4.0, ..."] = None,
    data_license: Annotated[str | None, "TEXT", "of the data that it was trained on, for the card"] = None,
) -> None:
    """A model to the Hugging Face Hub, with a card: what it is, figures, samples, how it was trained. You log in by
    `hf auth login`, or HF_TOKEN. `ganvas.load("hf:USER/NAME")` reads it back.

    Example:
        ganvas push runs/first me/digits --license apache-2.0
    """
    from ganvas import hub

    print(hub.push(run, name, private=private, license=license, data_license=data_license))


def pull(
    name: Annotated[str, "USER/NAME", "of a model that ganvas has pushed"],
    /,
    *,
    out: Annotated[Path | None, "DIR", "a new folder (default: NAME)"] = None,
) -> None:
    """A model from the Hugging Face Hub into a folder, which every verb then takes.

    Example:
        ganvas pull me/digits
    """
    import shutil

    from ganvas import hub
    from ganvas.models import load

    out = out or Path(name.split("/")[-1])
    if out.exists():
        raise UserError(f"{out} is there already: say where else, with --out DIR.")
    found = hub.pull(name)
    load(found)  # before anything is written
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for file in hub.FILES:
        shutil.copyfile(found / file, part / file)
    part.rename(out)
    print(out)


HELP = """\
  export RUN --onnx             ONNX files; --html: a page that explores it
  push RUN USER/NAME            to the Hugging Face Hub
  pull USER/NAME                from it, into a folder
"""
VERBS: dict[str, Callable[..., None]] = {"export": export, "push": push, "pull": pull}
