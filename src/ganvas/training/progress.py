"""What a person sees of a training that goes on."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganvas.training.loop import Report
    from ganvas.training.run import Run


def with_progress(start: Callable[[Report], Run]) -> Run:
    """Train under a progress bar on stderr; where that is no terminal, with a line at each tenth of the way."""
    return (_bar if sys.stderr.isatty() else _lines)(start)


def _lines(start: Callable[[Report], Run]) -> Run:
    tenths = 0

    def report(step: int, steps: int, figures: Mapping[str, float]) -> None:
        nonlocal tenths
        if 10 * step // steps > tenths:
            tenths = 10 * step // steps
            print(f"step {step:,} of {steps:,}  {words(figures)}", file=sys.stderr)

    return start(report)


def _bar(start: Callable[[Report], Run]) -> Run:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Bar(Progress):
        said = ""

        def get_renderables(self) -> Iterator[Any]:
            yield self.make_tasks_table(self.tasks)
            yield from [Text(self.said)] * bool(self.said)

    speed = TextColumn("{task.description}")
    columns = (BarColumn(30), TaskProgressColumn(), MofNCompleteColumn(), TimeRemainingColumn(), speed)
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def report(step: int, steps: int, figures: Mapping[str, float]) -> None:
            bar.said = words({name: value for name, value in figures.items() if name != "images/s"})
            bar.update(task, completed=step, total=steps, description=f"{figures['images/s']:,.0f} images/s")

        run = start(report)
        if run.state["state"] == "finished":  # the last report was of an earlier step
            bar.update(task, completed=run.state["step"], total=run.state["step"])
        return run


def words(figures: Mapping[str, Any]) -> str:
    """{"generator/loss": 0.69, ...} in words, each player named once."""
    said, player = [], ""
    for name, value in figures.items():
        if name in ("images/s", "images_per_second"):
            said.append(f" {value:,.0f} images/s")
            continue
        owner, _, part = name.rpartition("/")
        said += [f" {owner}"] * (owner != player)
        said.append(f"{part} {value:.4g}" if isinstance(value, float) else f"{part} {value}")
        player = owner
    return " ".join(said).strip()


def in_notebook() -> bool:
    """Whether this program runs in a notebook."""
    shell = sys.modules.get("IPython")
    return bool(shell and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell")


@contextmanager
def cell_bar(chosen: Sequence[str]) -> Iterator[Callable[[int, int, Mapping[str, float]], None]]:
    """A report for `train` that moves a bar in a notebook's output, below what was chosen."""
    from IPython import display

    lines = "".join(f"<div>{html.escape(line)}</div>" for line in chosen)
    page: Any = display.HTML
    handle = display.display(page(f"{lines}<progress></progress>"), display_id=True)  # type: ignore[no-untyped-call]

    def report(step: int, steps: int, figures: Mapping[str, float]) -> None:
        end = html.escape(f"step {step:,} of {steps:,}  {words(figures)}")
        handle.update(page(f'{lines}<progress value="{step}" max="{steps}"></progress> {end}'))

    yield report
