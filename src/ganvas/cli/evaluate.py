"""The verbs that measure models, and images of any origin."""

from __future__ import annotations

import contextlib
import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ganvas.cli.models import load_data
from ganvas.cli.shared import DATA, Channels, Device, Range, Size
from ganvas.ground.errors import UserError

if TYPE_CHECKING:
    from ganvas.evaluate.record import Record
    from ganvas.evaluate.subject import Subject

What = Annotated[tuple[Path, ...], "RUN...", "runs, models, or images of any program: a folder, zip, .npy or .npz"]
Evaluated = Annotated[tuple[Path, ...], "RUN...", "runs, or folders in evaluated/"]
SHOWN = 100
METRICS = (  # those of the registry, to read which takes torch
    "probes, conditions, elbo, nll, annealing, posteriors, frechet, kernel, precision, "
    "density, two-sample, memorising, modes, parzen, synthetic"
)


def evaluate(
    runs: What = (),
    /,
    *,
    data: Annotated[str | None, "DATA", f"the real images: {DATA} (default: the run's)"] = None,
    split: Annotated[str, "NAME", "of the real images"] = "test",
    metrics: Annotated[
        tuple[str, ...], "NAME...", f"which of {METRICS} (default: all but parzen, annealing and synthetic)"
    ] = (),
    features: Annotated[tuple[str, ...], "NAME...", "where samples are compared (default: what fits)"] = (),
    n: Annotated[int, "INT", "samples, and real images, at most"] = 10_000,
    k: Annotated[int, "INT", "draws of z for the log P(x) of an image, or temperatures"] = 5000,
    seed: Annotated[int, "INT", "of every draw"] = 0,
    binarise: Annotated[bool, "", "real images of black and white, each pixel drawn once"] = False,
    size: Size = None,
    channels: Channels = None,
    range: Range = None,
    device: Device = "auto",
    out: Annotated[Path | None, "DIR", "where to keep it (default: RUN/evaluation, or evaluated/NAME)"] = None,
) -> None:
    """How good a model is, or a folder of images: likelihood, samples, codes, each figure with its 95 % interval.

    Example:
        ganvas evaluate runs/first
    """
    given = dict(locals())
    if not runs:
        raise UserError("`ganvas evaluate RUN...` takes runs, or folders of images: ganvas evaluate runs/first")
    for word, value in (("-n", n), ("-k", k)):
        if value < 1:
            raise UserError(f"{word} {value}: it takes at least 1.")
    if out and len(runs) > 1:
        raise UserError(f"--out is one folder, and there are {len(runs)} subjects: leave it out.")
    found = {}
    for run in runs:
        subject = _subject(run, data, binarise, size, channels, range, device, n, k, seed, split, features)
        place = out or (run / "evaluation" if subject.model is not None else Path("evaluated") / run.stem)
        found[str(run)] = _measure(run, subject, metrics, place, typed(evaluate, {**given, "runs": (run,)}))
    if len(runs) > 1:
        _show(found)


def compare(
    runs: Evaluated = (),
    /,
    *,
    out: Annotated[Path | None, "FILE", ".md, .html with pictures, .csv or .json"] = None,
) -> None:
    """Runs side by side: the best, and what can't be told apart from it. A run that is not evaluated is evaluated
    first, as `ganvas evaluate RUN` does it.

    Example:
        ganvas compare runs/first runs/second --out table.html
    """
    from ganvas.evaluate import record as records
    from ganvas.evaluate.compare import FORMATS, render
    from ganvas.ground.files import existing, write_text

    if not runs:
        raise UserError("`ganvas compare RUN...` takes runs: ganvas compare runs/first runs/second")
    if out and out.suffix not in FORMATS:
        raise UserError(f"--out {out}: a comparison is written as {', '.join(FORMATS)}.")
    new = [run for run in runs if not records.evaluated(run)]
    for run in new:  # before there is any work
        if not _is_model(existing(run)):
            records.read(run)
    for run in new:
        print(
            f"{run} is not evaluated yet: {shlex.join(['ganvas', 'evaluate', str(run)])}", file=sys.stderr, flush=True
        )
        with contextlib.redirect_stdout(sys.stderr):
            evaluate((run,))
    for run in runs:
        if _outdated(run):
            print(f"{run} has another model since it was evaluated: ganvas evaluate {run}", file=sys.stderr)
    found = {str(run): records.read(run) for run in runs}
    _show(found)
    if out:
        places = ((run, run / inner / "samples.png") for run in runs for inner in (".", "evaluation"))
        pictures = {str(run): path for run, path in places if path.is_file()}
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, render(found, pictures, out.suffix))
        print(out)


def typed(verb: Callable[..., None], values: Mapping[str, Any]) -> str:
    """The command that calls a verb with these values: the flags that differ from their defaults."""
    from ganvas.cli.flags import flags

    words = ["ganvas", verb.__name__]
    for flag in flags(verb):
        value = values[flag.name]
        if flag.positional or value != flag.default:
            parts = value if isinstance(value, tuple) else () if isinstance(value, bool) else (value,)
            words += [*([] if flag.positional else [flag.word]), *map(str, parts)]
    return shlex.join(words)


def _is_model(path: Path) -> bool:
    """Whether a folder is a run or a model, and not images."""
    return any((path / name).exists() for name in ("recipe.json", "config.json", "model/config.json"))


def _outdated(run: Path) -> bool:
    """Whether a run's model was written after its evaluation: it has trained on since."""
    from ganvas.evaluate import record as records
    from ganvas.training import stored

    figures, models = run / "evaluation" / records.FILE, stored.files(run)
    return bool(models) and figures.is_file() and models[0].stat().st_mtime > figures.stat().st_mtime


def _subject(
    path: Path,
    data: str | None,
    binarise: bool,
    size: int | tuple[int, int] | None,
    channels: int | None,
    range: tuple[float, float] | None,
    device: str,
    n: int,
    k: int,
    seed: int,
    split: str,
    features: Sequence[str],
) -> Subject:
    """What lies at a path, beside the real images."""
    import numpy as np

    from ganvas.data import load
    from ganvas.evaluate.subject import Subject
    from ganvas.training.engine import choose_device
    from ganvas.training.run import load as load_model

    how: dict[str, Any] = {"n": n, "draws": k, "seed": seed, "split": split, "spaces": features}
    if _is_model(path):
        model = load_model(path, choose_device(device))
        return Subject(load_data(path, model, data, binarise, range), model, **how)
    if not path.exists():
        raise UserError(f"there is no {str(path)!r}; give a run, a model's folder, or images.")
    if data is None:
        raise UserError(f"{path} is no run, but images: say with --data beside which real ones to hold them.")
    real = load(data, size=size, channels=channels, range=range, binarise=binarise)
    made = load(path, size=size, channels=channels).splits.values()
    return Subject(real, samples=np.concatenate([part.images for part in made]), **how)


def _picture(subject: Subject, place: Path) -> None:
    """samples.png, where there are samples."""
    from ganvas.data.loader import to_tensor
    from ganvas.evaluate.figures import NotApplicableError
    from ganvas.ground import plots

    try:
        plots.save(plots.grid(to_tensor(subject.draw(SHOWN))), place / "samples.png")
    except NotApplicableError:
        return


def _measure(run: Path, subject: Subject, metrics: Sequence[str], place: Path, command: str) -> list[Record]:
    """Measure, and print and keep each record as it is made."""
    from ganvas.evaluate import record as records
    from ganvas.evaluate.verdict import verdict

    before: list[str] = []

    def keep(record: Record) -> None:
        records.write(place, record)
        if not before:
            print(f"{run}: {len(subject.real):,} {subject.split} images of {subject.dataset.name}")
        before[:] = _print(record, before)

    found, left_out = records.evaluate(subject, metrics, command=command, begun=_say_begun, done=keep)
    _picture(subject, place)
    print()
    for note, names in _notes(found).items():
        print(f"  * {', '.join(names)}: {note}")
    for name, why in left_out.items():
        print(f"  without {name}: {why}")
    if said := verdict(found):
        print(f"\n{textwrap.fill(said, 110)}")
    print(f"\n{place}\n")
    return found


def _say_begun(metric: str) -> None:
    """A line on stderr; a terminal has progress bars there."""
    if not sys.stderr.isatty():
        print(f"measuring {metric}", file=sys.stderr, flush=True)


def _notes(found: Sequence[Record]) -> dict[str, list[str]]:
    """The names of the figures that have a note, by the note."""
    notes: dict[str, list[str]] = {}
    for it in (figure for record in found for figure in record.figures if figure.note):
        notes.setdefault(it.note, []).append(it.name)
    return {note: list(dict.fromkeys(names)) for note, names in notes.items()}


def _print(record: Record, before: Sequence[str]) -> list[str]:
    """A record's figures, below their protocol where it is not the one before; returns the last protocol."""
    from ganvas.evaluate.compare import spread

    for it in record.figures:
        if [it.protocol] != before:
            print(f"\n  {it.protocol}")
        before = [it.protocol]
        beside = f"(training images: {it.of_data:.3g})" if it.of_data is not None else ""
        print(f"    {it.name:<30} {spread(it) + ' *' * bool(it.note):<20} {it.unit} {beside}".rstrip())
    sys.stdout.flush()
    return list(before)


def _show(evaluations: Mapping[str, Sequence[Record]]) -> None:
    """The comparison as a table for the terminal."""
    from rich.console import Console
    from rich.table import Table

    from ganvas.evaluate.compare import LEGEND, by_protocol, compare, notes, said

    rows = compare(evaluations)
    table = Table("", *(Path(name).name for name in evaluations), box=None, pad_edge=False)
    for protocol, part in by_protocol(rows):
        table.add_row(f"[dim]{protocol}[/dim]")
        for row in part:
            cells = (said(row, name, "**") for name in evaluations)
            styled = (f"[bold]{cell.replace('**', '')}[/bold]" if "**" in cell else cell for cell in cells)
            table.add_row(f"  {row.name} [dim]{row.unit}[/dim]", *styled)
    console = Console() if sys.stdout.isatty() else Console(width=200)
    with console.capture() as text:  # rich would end the process where nobody reads on
        console.print(table)
        console.print(f"± half a 95 % interval; {LEGEND}.", *notes(rows), sep="\n", markup=False, highlight=False)
    print(text.get(), end="")


HELP = """\
  evaluate RUN...               how good a model, or a folder of images, is
  compare RUN...                runs side by side
"""
VERBS: dict[str, Callable[..., None]] = {"evaluate": evaluate, "compare": compare}
