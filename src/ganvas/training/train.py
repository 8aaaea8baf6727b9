"""`train` and `resume`: from a recipe's name to a finished run."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import glob
import logging
import math
import os
import platform
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ganvas.ground import threads
from ganvas.ground.arguments import OutFolder, Source, checked
from ganvas.ground.errors import UserError
from ganvas.ground.files import WriteError, write_text
from ganvas.ground.provenance import machine
from ganvas.ground.registry import Positive, changed, flagged, kind, takes
from ganvas.models import MODELS, Model
from ganvas.models.conditions import conditioned
from ganvas.recipes.base import Data, Recipe, Training, make
from ganvas.recipes.facts import Facts
from ganvas.training import checkpoint, engine, peers, progress
from ganvas.training.callbacks import Callback, trackers
from ganvas.training.game import Game, make_model
from ganvas.training.log import Log
from ganvas.training.loop import Report, pictures, play
from ganvas.training.run import Run, create, load
from ganvas.version import __version__

TRIAL = 5.0  # seconds of steps by which a training's length is planned
TRAINING_SHARE = 0.92  # of the time, beside validation, pictures, checkpoints and the watch
log = logging.getLogger("ganvas")


def quiet(step: int, steps: int, row: dict[str, float]) -> None:
    """Report nothing."""


@checked
@peers.watched
@takes(Training, unchecked=(Data,))
def train(
    recipe: str | Recipe,
    *,
    data: Source = None,
    strict: bool = False,
    minutes: Positive | None = None,
    condition: tuple[str, ...] = (),
    lr: Positive | None = None,
    track: tuple[str, ...] = (),
    out: OutFolder | None = None,
    report: Report | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Run:
    """Train a model and return its run.

    Args:
        recipe: the name of a recipe, see `ganvas recipes`; or a `Recipe`, of which what is not given here is taken.
        data: a named data set, a folder, a file, an array, or what else `ganvas.data.load` takes; "mnist" by default.
        strict: stop at a file that can't be read.
        minutes: how long it may take, instead of epochs: the steps that fit are measured before it starts, and the
            rate falls to 0 by their end. Few images take less: see `Training.longest`.
        condition: labels that the model is told: "class", or names of attributes; see `ganvas.models.conditions`.
        lr: learning rate of every player.
        track: programs that are told too: "tensorboard", "wandb", "mlflow"; also when the run goes on.
        out: the run's folder; by default runs/DATE-RECIPE-DATA-ID. One that a launcher of several processes began and
            starts anew after a death goes on, if it is the same training.
        report: called with (step, steps, figures) as it goes; in a notebook a bar by default, else nothing.
        callbacks: of `ganvas.training.callbacks.Callback`, which are told of rows, pictures and findings.
        settings: how the data are prepared, as for `ganvas.data.load`: size, channels, labels, range, limit, binarise,
            stream; the flags of `ganvas.recipes.Training`, such as epochs, seed or device; the recipe's own arguments,
            and any other field of its model's settings. A net, likelihood, prior or technique may be an object of
            settings of one's own: `train("vae", net=MyNet())`.

    Raises:
        UserError: before training starts, for a setting that can't work; while it goes, for a loss that is not finite.
    """
    how, changes = (
        {name: value for name in flagged(cls) if (value := settings.pop(name, None)) is not None}
        for cls in (Data, Training)
    )
    if minutes is not None and "epochs" in changes:
        both = f"--minutes {minutes:g} and --epochs {changes['epochs']}"
        raise UserError(f"{both} both say how long: leave one of them away.")
    made = _made(recipe, settings)  # refuses what can't be before any data is read
    where = engine.choose_device(changes.get("device", made.training.device))
    accelerator = engine.make_accelerator(where)  # before the data, which may take long: a process that dies is missed
    told = [*trackers(track), *callbacks]
    dataset = made.data.load(data, strict, **how)
    facts = Facts.of(dataset)
    if isinstance(recipe, str):
        made = _made(recipe, settings, facts)
    held = [kind(type(it)) for it in getattr(made.model, "techniques", ()) if it.of_init]
    if held and changes.get("init", made.training.init) is None:
        raise UserError(f"--{held[0]} keeps what a model has learned: say of which one, with --init RUN.")
    if condition:
        made = dataclasses.replace(made, model=conditioned(made.model, dataset, condition))
    if made.training.batch_size > facts.n and "batch_size" not in changes:
        largest = 1 << (facts.n.bit_length() - 1)
        changes["batch_size"] = facts.choose("batch_size", None, largest, f"there are {facts.n} training images")
    if lr is not None:
        changes["turns"] = {
            name: changed(turn, {"optimizer": changed(turn.optimizer, {"lr": lr})})
            for name, turn in made.training.turns.items()
        }
    file = str(Path(labels).absolute()) if isinstance(labels := dataset.how["labels"], str | Path) else None
    asked = {**dataset.how, "source": dataset.source, "labels": file}
    made = dataclasses.replace(made, data=changed(made.data, asked), training=changed(made.training, changes))
    if begun := engine.on_main(accelerator, partial(_begun, made, dataset.name, out, timed=minutes is not None)):
        return resume(begun, report, callbacks=callbacks)
    if minutes is not None:
        steps = plan(Game(make_model(made, dataset, where), made, dataset, accelerator), minutes)
        schedule = changes.get("schedule", "cosine")
        made = dataclasses.replace(made, training=changed(made.training, {**steps, "schedule": schedule}))
    game = Game(make_model(made, dataset, where), made, dataset, accelerator)
    _begin_with(game)
    if minutes is not None:
        why = f"{minutes:g} min"
        if game.recipe.training.epochs == game.recipe.training.longest:
            why = f"less than {why}: longer would only overfit {facts.n:,} images"
        facts.chosen.append(f"length: {game.steps:,} steps, {game.steps / game.epoch_steps:,.1f} epochs ({why})")
    elif "epochs" not in changes:
        facts.chosen.append(f"length: {game.recipe.training.epochs} epochs ({facts.n:,} training images)")
    if accelerator.is_main_process:
        for line in facts.chosen:
            log.info("%s", line)

    claimed: list[Run] = []  # which is claimed already, by the main process

    def start() -> Path:
        stamp, launch = datetime.datetime.now().strftime("%Y%m%d"), peers.launch()
        name = f"{made.name}-{dataset.name}-{launch[:6] if launch else secrets.token_hex(3)}"
        path = Path(out) if out else Path("runs") / f"{stamp}-{name}"
        more = 2
        while not out and path.exists():  # one launch may train more than once
            path, more = path.with_name(f"{stamp}-{name}-{more}"), more + 1
        about = {"fingerprint": dataset.fingerprint, "shape": dataset.shape, "preparation": dataset.preparation}
        own = {"chosen": facts.chosen, "versions": _versions(), "machine": machine(), "launch": launch or ""}
        own |= {"track": track}
        claimed.append(create(path, made, {**about, **own}))
        return claimed[0].path

    path = engine.on_main(game.accelerator, start)
    run = claimed[0] if claimed else Run(path)
    try:
        return _finish(game, run, report, told)
    finally:
        run.leave()


def _begun(made: Recipe, data: str, out: str | os.PathLike[str] | None, *, timed: bool) -> Path | None:
    """The run that this launch has begun before it started its processes anew; None where there is none.

    `timed`: how long it is was measured, and is not compared.
    """
    launch = peers.launch()
    if launch is None:
        return None
    name = glob.escape(f"{made.name}-{data}-{launch[:6]}")
    for path in [Path(out)] if out else sorted(Path("runs").glob(f"*-{name}*")):
        if not (path / "recipe.json").is_file():
            continue
        run = Run(path)
        own = run.recipe
        if timed:
            length = {name: getattr(own.training, name) for name in ("epochs", "steps", "schedule")}
            made = dataclasses.replace(made, training=dataclasses.replace(made.training, **length))
        if run.data.get("launch") == launch and own.to_json() == made.to_json():
            return path
    return None


def _versions() -> dict[str, str]:
    return {"ganvas": __version__, "torch": torch.__version__, "python": platform.python_version()}


def _made(recipe: str | Recipe, settings: dict[str, Any], facts: Facts | None = None) -> Recipe:
    """The recipe of that name with these settings, for data of these facts; or the one that is given.

    Raises:
        UserError: see `make`; a recipe whose model is none, or settings beside a recipe that has its own.
    """
    if isinstance(recipe, Recipe):
        MODELS.parse(recipe.model)
        if settings:
            raise UserError(f"{', '.join(settings)}: a Recipe has its settings; give the name {recipe.name!r} instead.")
        return recipe
    return make(recipe, settings, facts)


def plan(game: Game, minutes: float) -> dict[str, int]:
    """How many steps fit into so many minutes, as settings of `Training`: found by playing a game that is thrown away.

    Whole epochs where there are five of them, so that the last validation is of the model at the end.

    Raises:
        UserError: no time at all.
    """
    if not minutes > 0:
        raise UserError(f"--minutes {minutes:g}: it takes a number above 0.")
    game.model.train()
    clock = partial(engine.on_main, game.accelerator, time.monotonic)  # one clock: all processes stop at one step
    with torch.random.fork_rng(devices=[]):
        game.play()
        began, spent = clock(), 0.0
        while spent < min(TRIAL, 6 * minutes) or game.step < 4:
            game.play()
            spent = clock() - began
    steps = max(1, int(minutes * 60 * TRAINING_SHARE * (game.step - 1) / spent))
    epochs = min(steps / game.epoch_steps, game.recipe.training.longest or math.inf)
    return {"epochs": int(epochs)} if epochs >= 5 else {"epochs": math.ceil(epochs), "steps": steps}


@checked
@peers.watched
def resume(
    path: str | os.PathLike[str],
    report: Report | None = None,
    epochs: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Continue a run from its newest checkpoint, as if it had never stopped; with `epochs` it may be trained longer.

    Training longer continues what is there, and the model that a finished run has stays until there is the new one.
    A rate that falls by a cosine falls to 0 by the new end: it is higher at once, and such a run is another one than
    if it had been that long from the start; with a constant rate it is the same to the last bit. Patience that is at
    its end begins anew.

    Args:
        path: the run. One that is finished is returned as it is, if there are no `epochs`.
        report: called with (step, steps, figures) as it goes.
        epochs: passes over the data, those that are done among them; by default what was planned.
        callbacks: as of `train`. What it was tracked by it is again.

    Raises:
        UserError: the run is being trained now, its data has changed, or it has done more epochs than that.
    """
    run = Run(path)
    if epochs is None and run.state["state"] == "finished":
        return run
    told = [*trackers(run.data.get("track", ())), *callbacks]
    where = engine.choose_device(run.recipe.training.device)
    accelerator = engine.make_accelerator(where)
    engine.on_main(accelerator, run.claim)
    try:
        game = _game(run, where, accelerator, epochs)
        return _finish(game, run, report, told, prolong=epochs is not None)
    finally:
        run.leave()


def _game(run: Run, where: torch.device, accelerator: Accelerator, epochs: int | None) -> Game:
    """A run's game at its newest sound checkpoint, as long as it was to be or is to be now.

    Raises:
        UserError: its data has changed, or it is finished and nothing is left to train on from.
    """
    recipe, newest = run.recipe, engine.on_main(accelerator, run.sound)
    if run.state["state"] == "finished" and not newest:
        raise UserError(
            f"{run.path} has no checkpoint to train on from; a new run may begin with its weights: "
            f"ganvas train {recipe.name} --init {run.path}"
        )
    if epochs is not None:
        recipe = dataclasses.replace(recipe, training=changed(recipe.training, {"epochs": epochs, "steps": None}))
    # Sums over other numbers of threads differ in their last digits; more threads than cores only slow each other.
    began_with = run.data.get("machine", {}).get("threads")
    if began_with and threads.chosen is None:
        torch.set_num_threads(min(began_with, threads.granted()))
    dataset = run.dataset()
    if dataset.fingerprint != run.data["fingerprint"]:
        raise UserError(f"the data of {run.path} has changed: {recipe.data.source} is not what it was trained on.")
    game = Game(make_model(recipe, dataset, where), recipe, dataset, accelerator)
    if newest:
        game.restore(*checkpoint.load(newest))
    else:
        _begin_with(game)
    return game


def _begin_with(game: Game) -> None:
    """Take the weights of `Training.init`; what counts moves starts at 0.

    Raises:
        UserError: there is no model, or it has other weights.
    """
    init = game.recipe.training.init
    if init is None:
        return
    theirs, own = load(init), game.model
    weights, counts = theirs.state_dict(), {name: own.get_buffer(name) for name in own.counters}
    for counter in theirs.counters:
        del weights[counter]
    weights = own.inherit(weights)
    here, there = ({name: tuple(t.shape) for name, t in part.items()} for part in (own.state_dict(), weights | counts))
    name = next((name for name in {**here, **there} if here.get(name) != there.get(name)), None)
    if name:
        raise UserError(
            f"--init {init}: its {name} is {there.get(name, 'missing')}, and {here.get(name, 'missing')} in the model "
            "that would be trained: --init takes a model of the same nets, latent size and image shape."
        )
    own.load_state_dict(weights | counts)


def _prolonged(game: Game, run: Run) -> Callable[[], None]:
    """Give a restored game its new length; what is returned writes it down.

    Raises:
        UserError: it is shorter than what was played, or no longer in a run that is finished.
    """
    finished, patient = run.state["state"] == "finished", game.stopped
    if game.steps < game.step + finished:
        epochs, done = game.recipe.training.epochs, game.step / game.epoch_steps
        raise UserError(
            f"--epochs {epochs}: {run.path} has done {done:,.4g} epoch{'s' * (done != 1)} already; "
            f"it takes {'more than that' if finished else 'that many, or more'}."
        )
    if patient:
        game.stopped, game.best_epoch = False, game.step // game.epoch_steps

    def write() -> None:
        # Killed between any two of these, it resumes: to where it was finished before, or as it is asked to now.
        run.note(**{**run.state, "state": "interrupted"})
        if patient:
            checkpoint.save(run.folder("checkpoints"), *game.state())
        write_text(run.path / "recipe.json", game.recipe.to_json())

    return write


def _finish(game: Game, run: Run, report: Report | None, callbacks: Sequence[Callback], prolong: bool = False) -> Run:
    """Play a game of a claimed run to the end, then measure the best model and store it."""
    if report is None and progress.in_notebook():
        with progress.cell_bar(run.data.get("chosen", ())) as shown:
            return _finish(game, run, shown, callbacks, prolong)
    main, on_main = game.accelerator.is_main_process, partial(engine.on_main, game.accelerator)
    write_length = _prolonged(game, run) if prolong else lambda: None

    def begin() -> None:
        write_length()
        run.truncate_metrics(game.step)
        run.begin(game.step, {"machine": machine(), "versions": _versions(), "processes": game.world})
        run.note(state="running", **game.progress())

    def failed(message: str) -> None:
        if main:
            with contextlib.suppress(UserError, OSError):  # where nothing can be written, the lock tells that it ended
                run.note(state="failed", **game.progress(), message=message)

    def lost(message: str) -> str:
        failed(message)
        return peers.remedy(run.path)

    peers.on_loss(lost)
    game.accelerator.wait_for_everyone()  # nobody reads any more what the main process writes now
    on_main(begin)
    try:
        with Log(run, game.step, callbacks, main) as written:
            written.state = play(game, run, report or quiet, written)
            if written.state == "interrupted":
                return run
            written.state = "failed"  # unless the rest succeeds
            kept = _kept(game, on_main(lambda: run.path) / "checkpoints" / "best")
            model = kept.finished(game.data, game.recipe.training.seed)
            if main and model is not kept:  # the last pictures are of what is stored
                pictures(game, run, math.ceil(game.step / game.epoch_steps), model)
            figures = game.averages("test", model)
            if main:
                model.save(run.folder("model"))
                write_text(run.path / "model" / "README.md", _card(game, figures))
                run.note(state="finished", **game.progress(), test=figures)
            written.tested(game.step, game.step / game.epoch_steps, figures)
            written.state = "finished"
    except BaseException as it:
        error = peers.explained(it)
        message = str(error) or type(error).__name__
        failed(message)
        if isinstance(error, WriteError):
            error.args = (f"{message} Then go on with: ganvas train --resume {run.path}",)
        if isinstance(error, peers.LostError):
            error.args = (f"{message} {peers.remedy(run.path)}",)
        if error is it:
            raise
        raise error from it
    game.accelerator.wait_for_everyone()
    return run


def _kept(game: Game, best: Path) -> Model:
    """The model that a run ends with: the best one that was validated, or where there is none the last one."""
    game.accelerator.wait_for_everyone()
    if best.is_dir():
        try:
            return load(best, game.model.device)
        except UserError as error:
            log.warning("%s The model of the last step is kept instead.", error)
    return game.model


def _card(game: Game, figures: dict[str, float]) -> str:
    lines = [f"# {game.recipe.name} on {game.data.name}", "", f"{type(game.model).__name__}, {game.step} steps.", ""]
    for name, value in figures.items():
        unit = game.model.figures.get(name, "")
        lines.append(f"- test {name}: {value:.3f}" + f" ({unit})" * bool(unit))
    lines += ["", "```python", "import ganvas", 'model = ganvas.load("this folder")', "```", ""]
    return "\n".join(lines)
