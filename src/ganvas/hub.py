"""Models on the Hugging Face Hub: `ganvas push RUN USER/NAME`, and back by `ganvas.load("hf:USER/NAME")`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ganvas.ground.errors import UserError
from ganvas.ground.files import write_text

if TYPE_CHECKING:
    from ganvas.models import Model
    from ganvas.training.run import Run

PREFIX = "hf:"
FILES = ("config.json", "model.safetensors")
SAMPLES = 64


def push(
    folder: str | Path,
    name: str,
    *,
    private: bool = False,
    license: str | None = None,
    data_license: str | None = None,
) -> str:
    """Upload a model with its card: what it is, its figures, samples, how it was trained; no path of this machine.

    Args:
        folder: a run's, or a model's.
        name: "USER/NAME"; the repository is made unless it is there, and keeps its history.
        private: whether others may not see it; of a new one.
        license: of the model, by its name on the Hub, such as "apache-2.0".
        data_license: of the data that it was trained on, in words.

    Returns:
        The address of the upload.

    Raises:
        UserError: no model there, a name that can't be, nobody is logged in, or the Hub refuses.
    """
    from huggingface_hub import HfApi

    from ganvas.training.run import Run, load

    _check(name)
    model = load(folder)
    run = Run(folder) if (Path(folder) / "recipe.json").is_file() else None
    with tempfile.TemporaryDirectory(prefix="ganvas-") as made:
        model.save(made)
        pictured = _picture(model, Path(made, "samples.png"))
        write_text(Path(made, "README.md"), card(model, name, run, pictured, license, data_license))
        with _asking(name):
            api = HfApi()
            api.create_repo(name, private=private, exist_ok=True)
            done = api.upload_folder(repo_id=name, folder_path=made, commit_message="Upload a model by ganvas")
    return str(done.commit_url)


def pull(name: str) -> Path:
    """The folder of a model of the Hub, in its library's cache: "USER/NAME". Nothing but the model is fetched.

    Raises:
        UserError: a name that can't be, or no such model there.
    """
    from huggingface_hub import snapshot_download

    _check(name)
    with _asking(name):
        folder = Path(snapshot_download(name, allow_patterns=list(FILES)))
    if missing := [file for file in FILES if not (folder / file).is_file()]:
        raise UserError(f"{PREFIX}{name} is no model of ganvas: it has no {' and no '.join(missing)}.")
    return folder


@contextmanager
def _asking(name: str) -> Iterator[None]:
    """While it lasts, what the Hub refuses is told in a sentence."""
    from huggingface_hub import errors

    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise UserError("nobody is logged in to the Hub: run `hf auth login`, or set HF_TOKEN.") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"{PREFIX}{name} is not on the Hub, or it is private and HF_TOKEN may not read it.") from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{PREFIX}{name}: {lines[0].rstrip('.')}.") from error


def _check(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
        if name.count("/") == 1:
            return
    except HFValidationError:
        pass
    raise UserError(f"{name!r} is no name of a model on the Hub: it takes USER/NAME, letters, digits, - _ and dots.")


def _picture(model: Model, file: Path) -> bool:
    from ganvas.ground import plots

    if "sample" not in model.verbs() or len(model.shape) != 3:
        return False
    plots.save(plots.grid(model.sample(SAMPLES)), file)
    return True


def card(
    model: Model, name: str, run: Run | None, pictured: bool, license: str | None, data_license: str | None
) -> str:
    """The card of a model, in the Hub's form."""
    what = type(model.config).__name__
    numbers = sum(weight.numel() for weight in model.parameters())
    lines = ["---", "library_name: ganvas", f"tags: [ganvas, {what.lower()}, safetensors]"]
    lines += [f"license: {license}"] if license else []
    lines += ["---", "", f"# {name.split('/')[1]}", ""]
    lines += [f"{what} of {' x '.join(map(str, model.shape))}, {numbers:,} parameters, trained by ganvas.", ""]
    lines += ["![samples](samples.png)", ""] if pictured else []
    lines += ["```python", "import ganvas", "", f'model = ganvas.load("{PREFIX}{name}")']
    lines += [line for verb, line in ASKED.items() if verb in model.verbs()]
    lines += ["```", "", f"It can be asked: {', '.join(model.verbs())}.", ""]
    if run is not None:
        lines += _told(run, model)
    lines += [f"Licence of the data: {data_license or 'not stated'}.", ""]
    return "\n".join(lines)


ASKED = {"sample": "images = model.sample(64)", "encode": "codes = model.encode(images)"}


def _told(run: Run, model: Model) -> list[str]:
    """How a run was trained, and its figures."""
    from ganvas.training.watch.faults import changed, command

    data = run.data
    arguments = changed(run.recipe, {})
    # Of a path the last part: where it lay is nobody else's.
    arguments |= {key: Path(arguments[key]).name for key in ("data", "labels") if isinstance(arguments.get(key), str)}
    source = arguments["data"] = arguments["data"].split(":")[0]
    lines = ["## Training", "", "```sh", command(arguments), "```", "", f"Data: {source}; {data['preparation']}", ""]
    figures = run.state.get("test") or {}
    if figures:
        lines += ["## Figures of the test images", "", "| figure | value |", "|---|---|"]
        units = model.figures
        lines += [f"| {key} | {value:.4g} {units.get(key, '')} |" for key, value in figures.items() if key in units]
        lines += [""]
    return lines
