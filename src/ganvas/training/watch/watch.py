"""The watch over a run: when to look, and what is said of what it sees."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ganvas.ground.errors import UserError
from ganvas.ground.files import read_json, write_text
from ganvas.training import stored
from ganvas.training.finding import Finding
from ganvas.training.watch.faults import Row, findings, looks
from ganvas.training.watch.measure import LOOK, Probe, probe, vitals

if TYPE_CHECKING:
    from ganvas.training.game import Game
    from ganvas.training.run import Run

SHARE = 0.025  # of the training's time that looks may take
FIRST, GROWTH, MOST = 100, 1.25, 20  # first look's step; each next one so much later, but at least so many in a run
FIXED = 0.1  # seconds of a look that do not depend on the model, to guess the first one's cost by
log = logging.getLogger("ganvas")


class Watch:
    """Looks at a model now and then while it trains, names what is wrong, and takes a small share of the time.

    Steps for looks grow geometrically, to a twentieth of the run; a look that would cost more than its share of the
    time so far waits. Looks change nothing of the run: they have draws of their own.

    Args:
        game: that is played, new or restored.
        run: where it is written down; the rows there say where an interrupted watch was.
        write: adds a row to the metrics: (split, step, epoch, figures).
        find: is told of what is found, the first time: (step, finding).
    """

    def __init__(
        self,
        game: Game,
        run: Run,
        write: Callable[[str, int, float, dict[str, float]], None],
        find: Callable[[int, Finding], None] = lambda _step, _finding: None,
    ) -> None:
        self.game, self.run, self.write, self.find = game, run, write, find
        looked = [int(row["step"]) for row in run.metrics if row["split"] == "watch"]
        self.next = self._after(looked[-1]) if looked else min(FIRST, -(-game.steps // MOST))
        self.said: set[str] = set()
        with contextlib.suppress(OSError, UserError, TypeError, KeyError):  # without it, or damaged, all is said again
            self.said = {finding["name"] for finding in read_json(run.path / "findings.json")}
        self.probe: Probe | None = None
        self.began, self.first = time.monotonic(), game.step
        self.spent, self.cost = 0.0, 0.0

    def _after(self, step: int) -> int:
        return max(step + 1, int(min(step * GROWTH, step + self.game.steps / MOST)))

    def due(self) -> bool:
        """Whether to look now."""
        game = self.game
        if game.step < self.next or game.step == game.steps:
            return game.step == game.steps  # the end is always looked at
        trained = time.monotonic() - self.began - self.spent
        cost = self.cost
        if not cost:  # about as much as training on so many images; steps of few images take longer an image
            cost = FIXED + trained / (game.step - self.first) * LOOK / max(64, game.recipe.training.batch_size)
        return self.spent + cost <= SHARE * trained

    def look(self) -> None:
        """Measure, write it down, and say what is wrong since now."""
        began, game = time.monotonic(), self.game
        if self.probe is None:
            self.probe = probe(game.data, game.recipe.training.batch_size, game.model.device)
        figures = vitals(game.model, self.probe)
        self.cost = time.monotonic() - began
        self.write("watch", game.step, game.step / game.epoch_steps, {**figures, "seconds": round(self.cost, 3)})
        if game.accelerator.is_main_process:
            self._tell()
        self.next = self._after(game.step)
        self.spent += time.monotonic() - began

    def _tell(self) -> None:
        """Write down what is wrong, and say what is new."""
        found = findings(self.run.metrics, self.game.recipe, self.game.data.shape)
        text = json.dumps([dataclasses.asdict(finding) for finding in found], indent=2) + "\n"
        write_text(self.run.path / "findings.json", text)
        for finding in found:
            if finding.name not in self.said:
                log.warning("%s", finding)
                self.find(self.game.step, finding)
            self.said.add(finding.name)


def examine(run: Run) -> tuple[list[Finding], list[dict[str, Any]]]:
    """The findings on a run, finished or not, and the looks that they rest on.

    Where its watch has written nothing down, `Run.model` is measured now.
    """
    rows: list[Row] = list(run.metrics)
    if not any(row["split"] == "watch" for row in rows):
        rows += _measured(run)
    recipe = run.recipe
    return findings(rows, recipe, run.data["shape"], run.state), looks(rows, recipe)


def _measured(run: Run) -> list[Row]:
    if not stored.files(run.path):
        return []
    recipe, state = run.recipe, run.state
    epoch = recipe.training.epochs * state["step"] / state["steps"]
    figures = vitals(run.model, probe(run.dataset(), recipe.training.batch_size))
    return [{"step": state["step"], "epoch": epoch, "split": "watch", **figures}]
