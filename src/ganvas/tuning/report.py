"""What came of a search: the best settings, beside the default, and what can't be told apart; tune.md, tune.png."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ganvas.evaluate.figures import Z
from ganvas.ground.files import write_text
from ganvas.training.watch.faults import command
from ganvas.tuning.search import Measured, Search, mean, measured
from ganvas.tuning.space import shown, words
from ganvas.tuning.told import Floats, Row, Told, tell, warped

SHOWN = 10  # settings in the table
PANELS = 3  # of the picture, beside one another


@dataclasses.dataclass(frozen=True, repr=False)
class Tuned:
    """The outcome.

    Attributes:
        best: the settings with the best mean over their seeds, of those that were trained longest.
        default: the recipe's own.
        told: what is known of each setting.
        command: that trains with the best settings.
        lines: all of it in words, names and values.
    """

    best: Mapping[str, Any]
    default: Mapping[str, Any]
    told: list[Told]
    command: str
    lines: list[tuple[str, str]]

    def __repr__(self) -> str:
        return "\n".join(f"{name:<16} {value}" for name, value in self.lines)


def report(search: Search) -> Tuned:
    """Read a search's figures, and write tune.md and tune.png into its folder."""
    asked, trials, longest = search.question, search.trials, search.longest()
    rows = [
        Row(trial.params, asked.rungs[rung], found.value) for trial in trials for rung, found in measured(trial).items()
    ]
    first = next(iter(longest))
    best, default = trials[first].params, trials[0].params
    told = tell(asked.over, rows, best, asked.seed)
    taken = {name: float(shown(value)) if isinstance(value, float) else value for name, value in best.items()}
    source = None if asked.source.startswith("array:") else asked.source
    how = {"recipe": asked.recipe, "data": source, **asked.fixed, **taken, "minutes": float(shown(asked.rungs[-1]))}
    lines = _lines(search, longest, told, command(how))
    _draw(search, rows, told)
    write_text(search.folder / "tune.md", _page(search, longest, lines))
    return Tuned(best, default, told, command(how), lines)


def _lines(
    search: Search, longest: Mapping[int, Sequence[Measured]], told: Sequence[Told], typed: str
) -> list[tuple[str, str]]:
    asked, trials = search.question, search.trials
    first, (spread, freedom) = next(iter(longest)), noise(longest.values())
    tried = sum("of" not in trial.user_attrs for trial in trials)
    lines = [
        ("settings tried", f"{tried:,}, {_rungs(search)}"),
        ("best", f"{words(trials[first].params)}: {asked.by} {figure(longest[first], spread)}"),
    ]
    if first == 0:
        lines.append(("", "which is the recipe's default"))
    else:
        lines.append(("default", f"{words(trials[0].params)}: {asked.by} {figure(longest[0], spread)}"))
        lines.append(("difference", difference(longest[0], longest[first], spread, freedom)))
    lines += [("" if i else "can be told", str(each)) for i, each in enumerate(told)]
    return [*lines, ("train", typed), ("written", str(search.folder / "tune.md"))]


def _rungs(search: Search) -> str:
    """How many trainings of each length there were."""
    counts = [0] * len(search.question.rungs)
    for trial in search.trials:
        for rung in measured(trial):
            counts[rung] += 1
    each = zip(counts, search.question.rungs, strict=True)
    return "trainings: " + ", ".join(f"{n} of {minutes:.2g} min" for n, minutes in each)


def noise(groups: Iterable[Sequence[Measured]]) -> tuple[float, int]:
    """The standard deviation of a figure over seeds, pooled over all settings that have several; degrees of freedom."""
    several = [[each.value for each in found] for found in groups if len(found) > 1]
    freedom = sum(len(values) - 1 for values in several)
    squares = sum(float(np.var(values, ddof=1)) * (len(values) - 1) for values in several)
    return (math.sqrt(squares / freedom), freedom) if freedom else (math.nan, 0)


def figure(found: Sequence[Measured], spread: float) -> str:
    """The mean over seeds and its standard error, by their pooled spread; without one by the images that it is of."""
    n, middle = len(found), mean(found)
    seeds = f"{n} seed{'s' * (n > 1)}"
    if math.isnan(spread):
        own = found[0].error
        return f"{middle:.4g}" + f" ± {own:.1g} ({seeds}; the error of its images alone)" * bool(own)
    return f"{middle:.4g} ± {spread / math.sqrt(n):.1g} ({seeds})"


def difference(default: Sequence[Measured], best: Sequence[Measured], spread: float, freedom: int) -> str:
    """Whether the best is better than the default, by a t test with the pooled spread."""
    less = mean(default) - mean(best)
    if not freedom:
        return f"{less:.3g} less, of one seed each: whether it is more than chance takes more --minutes"
    from scipy import stats  # type: ignore[import-untyped]  # which scikit-learn brings

    half = float(stats.t.ppf(0.975, freedom)) * spread * math.sqrt(1 / len(default) + 1 / len(best))
    said = f"{less:.3g} less, 95 % from {less - half:.2g} to {less + half:.2g}"
    return said + ("" if less > half else ": they can't be told apart")


def _page(search: Search, longest: Mapping[int, Sequence[Measured]], lines: Sequence[tuple[str, str]]) -> str:
    asked, (spread, _) = search.question, noise(longest.values())
    head = [f"# {asked.recipe} on {asked.source}, tuned", "", "| | |", "|---|---|"]
    head += [f"| {name} | {value} |" for name, value in lines]
    names = [axis.name for axis in asked.over]
    table = ["", f"Trained for {asked.rungs[-1]:.2g} minutes, the best first; {asked.by}, the less the better:", ""]
    table += [f"| run | {' | '.join(names)} | {asked.by} |", "|" + "---|" * (len(names) + 2)]
    for number, found in list(longest.items())[:SHOWN]:
        cells = [shown(search.trials[number].params[name]) for name in names]
        name = "default" if number == 0 else f"{number:04}"
        table.append(f"| {name} | {' | '.join(cells)} | {figure(found, spread)} |")
    about = [
        "",
        "![what each setting does](tune.png)",
        "",
        "Each training is a point, the longer the darker. The line is the best model with a value of the setting, by a",
        "Gaussian process over all trainings, and its band 95 %, relative to the best of all: it touches 0 where a",
        "value can't be told from the best. At 1 is about the median training; beyond it grows as a logarithm.",
        "",
    ]
    return "\n".join([*head, *table, *about])


def _draw(search: Search, rows: Sequence[Row], told: Sequence[Told]) -> None:
    """A panel for each setting."""
    if not told:
        return
    from ganvas.ground import drawing

    heights, longest = warped(rows), search.question.rungs[-1]
    columns = min(PANELS, len(told))
    down = -(-len(told) // columns)
    with drawing.style():
        figure = drawing.figure(3.2 * columns, 2.8 * down)
        panels = figure.subplots(down, columns, sharey=True, squeeze=False)
        for axes in panels.flat[len(told) :]:
            axes.remove()
        for axes, each in zip(panels.flat, told, strict=False):
            _panel(axes, each, rows, heights, longest)
        figure.supylabel(f"{search.question.by}: worse than the best", fontsize=9)
        drawing.save(figure, search.folder / "tune.png")


def _panel(axes: Any, told: Told, rows: Sequence[Row], heights: Floats, longest: float) -> None:
    """What a setting does: each training, and the best model with each value."""
    from ganvas.ground import drawing

    text = any(isinstance(value, str) for value in told.values)
    at = {value: i for i, value in enumerate(told.values)} if text else {}
    x = [at.get(value, value) for value in told.values]
    if text:
        axes.errorbar(x, told.worse, Z * told.error, fmt="s", color=drawing.COLOURS[0])
        axes.set_xticks(x, told.values)
    else:
        low, high = told.worse - Z * told.error, told.worse + Z * told.error
        axes.plot(x, told.worse, color=drawing.COLOURS[0])
        axes.fill_between(x, low, high, color=drawing.COLOURS[0], alpha=0.2, linewidth=0)
        if told.axis.logarithmic:
            axes.set_xscale("log")
        ticks = told.axis.grid(4)
        axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.minorticks_off()
    for row, height in zip(rows, heights, strict=True):
        value = row.settings[told.axis.name]
        shade = 1 + 0.8 * math.log(row.minutes / longest) / math.log(100)
        axes.plot(at.get(value, value), height, "o", color=drawing.INK, alpha=max(0.15, shade), ms=3)
    axes.axvline(at.get(told.best, told.best), color=drawing.GREY, linewidth=0.8, linestyle=":")
    axes.set_xlabel(told.axis.name)
