"""What came of a search: the best settings, beside the default, and what can't be told apart; tune.md, tune.png."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ganvas.evaluate.figures import Z
from ganvas.files import write_text
from ganvas.tuning.search import Measured, Search, means_of, measured
from ganvas.tuning.told import Floats, Row, Told, tell

SHOWN = 10  # settings in the table
PANELS = 3  # of the picture, beside one another


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The outcome.

    Attributes:
        best: the settings with the best mean over their seeds, of those that were trained longest.
        default: the recipe's own.
        values: figures of the longest trainings, by settings in the order of `settings`.
        settings: that were trained longest, the best first.
        told: what is known of each setting.
        command: that trains with the best settings.
        trials: how many settings were tried.
    """

    best: Mapping[str, Any]
    default: Mapping[str, Any]
    values: list[list[Measured]]
    settings: list[Mapping[str, Any]]
    told: list[Told]
    command: str
    trials: int
    lines: list[tuple[str, str]]

    def __repr__(self) -> str:
        return "\n".join(f"{name:<16} {value}" for name, value in self.lines)


def report(search: Search) -> Tuned:
    """Read a search's figures, and write tune.md and tune.png into its folder."""
    asked, trials = search.question, search.trials
    top = len(asked.rungs) - 1
    rows = [
        Row(trial.params, asked.rungs[rung], found.value) for trial in trials for rung, found in measured(trial).items()
    ]
    groups: dict[int, list[Measured]] = {}
    for trial in trials:
        if found := measured(trial).get(top):
            groups.setdefault(trial.user_attrs.get("of", trial.number), []).append(found)
    means = means_of(trials, top + 1)
    order = sorted(groups, key=lambda number: means[number])
    params = {trial.number: trial.params for trial in trials}
    best = params[order[0]]
    told = tell(asked.over, rows, best, asked.seed)
    source = asked.source if asked.source is None or not asked.source.startswith("array:") else None
    command = _command(asked.recipe, source, {**asked.fixed, **best}, asked.rungs[-1])
    lines = _lines(search, groups, order, told, command)
    tuned = Tuned(
        best=best,
        default=params[0],
        values=[groups[number] for number in order],
        settings=[params[number] for number in order],
        told=told,
        command=command,
        trials=len([trial for trial in trials if "of" not in trial.user_attrs]),
        lines=lines,
    )
    _draw(search, rows, told)
    write_text(search.folder / "tune.md", _page(search, tuned, params, groups, order))
    return tuned


def _lines(
    search: Search, groups: Mapping[int, Sequence[Measured]], order: Sequence[int], told: Sequence[Told], command: str
) -> list[tuple[str, str]]:
    asked, params = search.question, {trial.number: trial.params for trial in search.trials}
    first, (spread, freedom) = order[0], noise(groups.values())
    lines = [
        ("settings tried", f"{len([t for t in search.trials if 'of' not in t.user_attrs]):,}, {_rungs(search)}"),
        ("best", f"{words(params[first])}: {asked.by} {figure(groups[first], spread)}"),
    ]
    if first != 0:
        lines.append(("default", f"{words(params[0])}: {asked.by} {figure(groups[0], spread)}"))
        lines.append(("difference", difference(groups[0], groups[first], spread, freedom)))
    else:
        lines.append(("", "which is the recipe's default"))
    lines += [("" if i else "can be told", str(each)) for i, each in enumerate(told)]
    return [*lines, ("train", command), ("written", str(search.folder / "tune.md"))]


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
    n, mean = len(found), sum(each.value for each in found) / len(found)
    seeds = f"{n} seed{'s' * (n > 1)}"
    if math.isnan(spread):
        own = found[0].error
        return f"{mean:.4g}" + f" ± {own:.1g} ({seeds}; the error of its images alone)" * bool(own)
    return f"{mean:.4g} ± {spread / math.sqrt(n):.1g} ({seeds})"


def difference(default: Sequence[Measured], best: Sequence[Measured], spread: float, freedom: int) -> str:
    """Whether the best is better than the default, by a t test with the pooled spread."""
    less = sum(each.value for each in default) / len(default) - sum(each.value for each in best) / len(best)
    if not freedom:
        return f"{less:.3g} less, of one seed each: whether it is more than chance takes more --minutes"
    from scipy import stats  # type: ignore[import-untyped]  # which scikit-learn brings

    half = float(stats.t.ppf(0.975, freedom)) * spread * math.sqrt(1 / len(default) + 1 / len(best))
    said = f"{less:.3g} less, 95 % from {less - half:.2g} to {less + half:.2g}"
    return said + ("" if less > half else ": they can't be told apart")


def words(settings: Mapping[str, Any]) -> str:
    """Settings in words."""
    said = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in settings.items()}
    return ", ".join(f"{name} {value}" for name, value in said.items())


def _command(recipe: str, source: str | None, settings: Mapping[str, Any], minutes: float) -> str:
    said = ["ganvas", "train", recipe, *(["--data", source] if source else [])]
    for name, value in settings.items():
        flag = "-" + name if len(name) == 1 else "--" + name.replace("_", "-")
        if value is True:
            said.append(flag)
        elif value is not False:
            parts = value if isinstance(value, list) else [value]
            said += [flag, *(f"{each:.4g}" if isinstance(each, float) else str(each) for each in parts)]
    return shlex.join([*said, "--minutes", f"{minutes:.3g}"])


def _page(
    search: Search,
    tuned: Tuned,
    params: Mapping[int, Mapping[str, Any]],
    groups: Mapping[int, Sequence[Measured]],
    order: Sequence[int],
) -> str:
    asked, (spread, _) = search.question, noise(groups.values())
    head = [f"# {asked.recipe} on {asked.source}, tuned", "", "| | |", "|---|---|"]
    head += [f"| {name} | {value} |".replace("`", "") for name, value in tuned.lines]
    names = [axis.name for axis in asked.over]
    table = ["", f"Trained for {asked.rungs[-1]:.2g} minutes, the best first; {asked.by}, the less the better:", ""]
    table += [f"| run | {' | '.join(names)} | {asked.by} |", "|" + "---|" * (len(names) + 2)]
    for number in order[:SHOWN]:
        values = (params[number][name] for name in names)
        cells = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
        name = "default" if number == 0 else f"{number:04}"
        table.append(f"| {name} | {' | '.join(cells)} | {figure(groups[number], spread)} |")
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
    from ganvas.reproduce import drawing
    from ganvas.tuning.told import warped

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
    from ganvas.reproduce import drawing

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
