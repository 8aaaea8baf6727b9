"""One loop plays every game: each player in turn, on a batch and draws that are functions of the step."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas import plots
from ganvas.data.loader import to_tensor
from ganvas.errors import UserError
from ganvas.evaluate import average
from ganvas.models import Model
from ganvas.randomness import Draw
from ganvas.training import checkpoint, peers
from ganvas.training.game import Game
from ganvas.training.interrupts import stop_on_interrupt
from ganvas.training.log import Log
from ganvas.training.run import Run
from ganvas.training.watch import DIVERGED, Watch

CHECKPOINT_SECONDS = 30.0
Report = Callable[[int, int, dict[str, float]], None]


def pictures(game: Game, run: Run, epoch: int, model: Model | None = None) -> dict[str, NDArray[np.uint8]]:
    """Sample and reconstruction grids of an epoch, always from the same z and images; of `model` or the game's own.

    They are saved, and returned by the name of their folder, uint8 (H, W, C).
    """
    model, drawn = model or game.model, {}
    if hasattr(type(model), "sample"):
        drawn["samples"] = plots.grid(model.sample(100 if len(model.shape) == 3 else 2500))
    if hasattr(type(model), "reconstruct") and len(model.shape) == 3:
        images = to_tensor(game.data.splits["validation"].images[:30], model.device)
        seen = [images]
        if hasattr(type(model), "denoise"):
            seen.append(model.corrupt(images, Draw(0)))
        seen.append(model.reconstruct(seen[-1]))
        drawn["reconstructions"] = plots.rows(*seen)
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


def play(game: Game, run: Run, report: Report, *, tensorboard: bool = False) -> str:
    """Play to the end.

    Args:
        game: new or restored.
        run: where it is written down.
        report: called in the main process with (step, steps, figures) at each row of metrics.
        tensorboard: write event files too.

    Returns:
        "finished" or "interrupted".
    """
    training, accelerator = game.recipe.training, game.accelerator
    main = accelerator.is_main_process
    game.model.train()
    # On a GPU, looking at a loss would wait for it: there it is looked at with every row of metrics.
    synchronous = game.model.device.type == "cpu"
    saved = time.monotonic()
    start = saved - game.seconds
    seconds, steps = 0.0, 0  # spent on steps since the last row, without validation and pictures
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        log = stack.enter_context(Log(run, game.step, tensorboard, main))
        asked = stack.enter_context(stop_on_interrupt())
        watch = Watch(game, run, log.write)
        while game.step < game.steps and not game.stopped:
            began = time.monotonic()
            peers.at(game.step)
            parts = game.play()
            row = game.step % game.log_every == 0
            epoch, rest = divmod(game.step, game.epoch_steps)
            if synchronous or row:
                check(parts, game, run)
            means = game.means() if row else {}
            seconds, steps = seconds + time.monotonic() - began, steps + 1
            if row:
                moves = game.longest.moves_before(game.step) - game.longest.moves_before(game.step - steps)
                speed = moves * training.batch_size / seconds
                seconds, steps = 0.0, 0
                log.write(
                    "train", game.step, game.step / game.epoch_steps, {**means, "images_per_second": round(speed, 1)}
                )
                if main:
                    report(game.step, game.steps, {**means, "images/s": speed})
            n = training.snapshots or 0
            if main and game.step * n // game.steps > (game.step - 1) * n // game.steps:
                game.model.save(run.folder("snapshots") / f"step-{game.step:09d}")
            if (rest == 0 and epoch % game.every == 0) or game.step == game.steps:
                if figures := validate(game):
                    with game.model.calibrated(figures) as figures:
                        log.write("validation", game.step, epoch, figures)
                        if "loss" in figures and (game.best is None or figures["loss"] < game.best):
                            game.best, game.best_epoch = figures["loss"], epoch
                            if main:
                                game.model.save(run.folder("checkpoints") / "best")
                if main:
                    log.show(game.step, pictures(game, run, epoch))
                if "loss" in figures and training.patience and epoch - game.best_epoch >= training.patience:
                    game.stopped = True
                    break
            now, stop = time.monotonic(), bool(asked)
            game.seconds = now - start
            due, look = now - saved > CHECKPOINT_SECONDS, watch.due()
            if game.world > 1 and (synchronous or row):
                # All processes stop, save and look at one step.
                flags = torch.tensor([stop, due, look and main], dtype=torch.float32, device=game.model.device)
                stop, due, look = (bool(flag) for flag in accelerator.reduce(flags, "sum"))
            elif game.world > 1:
                stop = due = look = False
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


def validate(game: Game, split: str = "validation", model: Model | None = None) -> dict[str, float]:
    """The averages of a split, shared by all processes; of `model` or the game's own."""
    seed, rank, world = game.recipe.training.seed, game.rank, game.world
    figures = average(model or game.model, game.data.splits[split], seed, rank=rank, world=world)
    if world == 1 or not figures:
        return figures
    sums = game.accelerator.reduce(torch.tensor(list(figures.values()), device=game.model.device), "sum")
    return dict(zip(figures, sums.tolist(), strict=True))
