"""The loop: a step of the game, and after it what is due: a row, a model, a validation, a look, a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas.data.loader import to_tensor
from ganvas.ground import plots
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models import Model
from ganvas.training import checkpoint, peers
from ganvas.training.game import Game
from ganvas.training.interrupts import stop_on_interrupt
from ganvas.training.log import Log
from ganvas.training.run import Run
from ganvas.training.watch import DIVERGED, Watch

CHECKPOINT_SECONDS = 30.0
Report = Callable[[int, int, dict[str, float]], None]


def play(game: Game, run: Run, report: Report, log: Log) -> str:
    """Play to the end.

    Args:
        game: new or restored.
        run: where it is written down.
        report: called in the main process with (step, steps, figures) at each row of metrics.
        log: what is written to.

    Returns:
        "finished" or "interrupted".
    """
    game.model.train()
    main, saved = game.accelerator.is_main_process, time.monotonic()
    start = saved - game.seconds
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        asked = stack.enter_context(stop_on_interrupt())
        rows, watch = Rows(game, run, log, report), Watch(game, run, log.write, log.find)
        while game.step < game.steps and not game.stopped:
            rows.step()
            if main and snapshot_due(game):
                game.model.save(run.folder("snapshots") / f"step-{game.step:09d}")
            if validation_due(game):
                validate(game, run, log)
            if game.stopped:
                break
            now = time.monotonic()
            game.seconds = now - start
            # What depends on a clock, or on a person, all processes do at one step.
            stop, due, look = agreed(game, bool(asked), now - saved > CHECKPOINT_SECONDS, main and watch.due())
            if look:
                watch.look()
            if stop or due:
                save(game, run)
                saved = now
                if main:
                    run.note(state="interrupted" if stop else "running", **game.progress())
            if stop:
                return "interrupted"
        save(game, run)
    return "finished"


class Rows:
    """A row of metrics now and then: the means of the losses since the last one, and images a second.

    Args:
        game: whose steps are counted.
        run: where it is written down.
        log: what is written to.
        report: is told too.
    """

    def __init__(self, game: Game, run: Run, log: Log, report: Report) -> None:
        self.game, self.run, self.log, self.report = game, run, log, report
        self.seconds, self.since = 0.0, game.step  # spent on steps, without what is due after them; and from which on

    def step(self) -> None:
        """Play a step, and write a row where one is due.

        Raises:
            UserError: a loss is not finite.
        """
        game, began = self.game, time.monotonic()
        peers.at(game.step)
        parts = game.play()
        due = row_due(game)
        if due or game.synchronous:
            check(parts, game, self.run)
        means = game.means() if due else {}
        self.seconds += time.monotonic() - began
        if due:
            moves = game.longest.moves_before(game.step) - game.longest.moves_before(self.since)
            speed = moves * game.recipe.training.batch_size / self.seconds
            self.seconds, self.since = 0.0, game.step
            figures = {**means, "images_per_second": round(speed, 1)}
            self.log.write("train", game.step, game.step / game.epoch_steps, figures)
            if game.accelerator.is_main_process:
                self.report(game.step, game.steps, {**means, "images/s": speed})


def row_due(game: Game) -> bool:
    """Every `log_every` steps."""
    return game.step % game.log_every == 0


def snapshot_due(game: Game) -> bool:
    """Evenly spaced, the last one at the end."""
    n = game.recipe.training.snapshots or 0
    return game.step * n // game.steps > (game.step - 1) * n // game.steps


def validation_due(game: Game) -> bool:
    """At the end of an epoch, or of some that are short; and at the end."""
    epoch, rest = divmod(game.step, game.epoch_steps)
    return (rest == 0 and epoch % game.every == 0) or game.step == game.steps


def agreed(game: Game, *wanted: bool) -> list[bool]:
    """Whether any process wants each of these; asked at each step, but where a GPU would be waited for, at each row."""
    if game.world == 1:
        return list(wanted)
    if not (game.synchronous or row_due(game)):
        return [False] * len(wanted)
    flags = torch.tensor(wanted, dtype=torch.float32, device=game.model.device)
    return [bool(flag) for flag in game.accelerator.reduce(flags, "sum")]


def validate(game: Game, run: Run, log: Log) -> None:
    """Figures of the validation images, the best model so far, pictures, and whether patience has ended."""
    main, epoch = game.accelerator.is_main_process, game.step // game.epoch_steps
    if figures := game.averages("validation"):
        with game.model.calibrated(figures) as figures:
            log.write("validation", game.step, epoch, figures)
            if "loss" in figures and (game.best is None or figures["loss"] < game.best):
                game.best, game.best_epoch = figures["loss"], epoch
                if main:
                    game.model.save(run.folder("checkpoints") / "best")
    if main:
        log.show(game.step, pictures(game, run, epoch))
    patience = game.recipe.training.patience
    game.stopped = "loss" in figures and patience is not None and epoch - game.best_epoch >= patience


def pictures(game: Game, run: Run, epoch: int, model: Model | None = None) -> dict[str, NDArray[np.uint8]]:
    """Sample and reconstruction grids of an epoch, always from the same z and images; of `model` or the game's own.

    They are saved, and returned by the name of their folder, uint8 (H, W, C).
    """
    model, drawn = model or game.model, {}
    if hasattr(type(model), "sample"):
        drawn["samples"] = plots.grid(model.sample(100 if len(model.shape) == 3 else 2500))
    if len(model.shape) == 3:
        images = to_tensor(game.data.splits["validation"].images[:30], model.device)
        if hasattr(type(model), "denoise"):
            noisy = model.corrupt(images, Draw(0))
            drawn["reconstructions"] = plots.rows(images, noisy, model.denoise(noisy))
        elif hasattr(type(model), "reconstruct"):
            drawn["reconstructions"] = plots.rows(images, model.reconstruct(images))
    for name, picture in drawn.items():
        plots.save(picture, run.folder(name) / f"epoch-{epoch:04d}.png")
    return drawn


def save(game: Game, run: Run) -> None:
    """Write a checkpoint; refused where a weight is not finite."""
    tensors, facts = game.state()
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point()):
        raise UserError(f"{DIVERGED}a weight is no longer finite at step {game.step}{_last_good(run)}.")
    if game.accelerator.is_main_process:
        checkpoint.save(run.folder("checkpoints"), tensors, facts)


def check(parts: dict[str, Tensor], game: Game, run: Run) -> None:
    """Stop at once where a part is not finite.

    Raises:
        UserError: with the step, the part and the last good checkpoint.
    """
    if bool(torch.isfinite(torch.stack(list(parts.values()))).all()):
        return
    bad = next(name for name, value in parts.items() if not bool(torch.isfinite(value)))
    when = f"at step {game.step}"
    if game.model.device.type != "cpu":
        when = f"in the {game.log_every} steps before {game.step}"
    raise UserError(
        f"{DIVERGED}{bad} became {float(parts[bad]):g} {when}{_last_good(run)}. The usual remedy is a smaller --lr"
        + (" or --precision float32." if game.bfloat16 else ".")
    )


def _last_good(run: Run) -> str:
    path = run.checkpoint
    return f"; the last good checkpoint is {path}" if path else "; there is no checkpoint before it"
