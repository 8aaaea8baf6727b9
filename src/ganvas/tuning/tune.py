"""`tune`: the settings of a recipe that make the best model of a data set in some minutes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganvas.evaluate.metrics import METRICS
from ganvas.evaluate.record import evaluate
from ganvas.evaluate.subject import Subject
from ganvas.ground import threads
from ganvas.ground.arguments import OutFolder, Source, checked
from ganvas.ground.errors import UserError
from ganvas.ground.files import vacant, write_text
from ganvas.ground.registry import Count, Positive, as_json, flagged, parameters, takes
from ganvas.models.base import FAMILIES
from ganvas.recipes.base import RECIPES, Data, Training, make
from ganvas.recipes.facts import Facts
from ganvas.training.run import Run
from ganvas.training.train import resume, train
from ganvas.tuning.report import Tuned, report
from ganvas.tuning.search import FILE, Measured, Question, Search, needed, rungs_of
from ganvas.tuning.space import axes

if TYPE_CHECKING:
    from ganvas.data import Dataset

PATIENCE = 30.0  # seconds for a process that was interrupted to end
JUDGED = 2000  # validation images, and samples, that a model is measured by
TRAINS = ("condition", "lr", "strict", "track")  # what `train` takes, and no recipe
log = logging.getLogger("ganvas")


@checked
@takes(Training, unchecked=(Data,))
def tune(
    recipe: str,
    *,
    minutes: Positive,
    data: Source = None,
    over: tuple[str, ...] = (),
    by: str | None = None,
    jobs: Count = 1,
    out: OutFolder | None = None,
    **settings: Any,
) -> Tuned:
    """Search the settings of a recipe that make the best model in the time that a training has.

    Args:
        recipe: its name.
        minutes: of the whole search, by the clock; the longest trainings take a twelfth of all processes' minutes.
        data: as `ganvas.train` takes it.
        over: settings that vary: "latent_dim", "lr=1e-4..1e-2", "net=mlp,residual"; none: those that matter most of
            which the recipe has a default.
        by: the metric of `ganvas evaluate` that decides, on validation images; "loss": the validation loss. By default
            the kernel distance of samples, or the loss of models that draw none.
        jobs: processes that train at once.
        out: the search's folder; by default runs/tune-RECIPE-DATA.
        settings: of all trainings, as `ganvas.train` takes them; `seed` is that of what is tried.

    Raises:
        UserError: before anything is trained, for what can't be searched; the default fails itself.
    """
    needed()
    usual = {name: item.default for name, item in parameters(RECIPES[recipe]).items()}
    given = {name: value for name, value in settings.items() if value not in (None, ())}
    switches = {name for name in given if name not in usual and given[name] is False}
    fixed = {name: value for name, value in given.items() if name not in switches and usual.get(name) != value}
    seed = fixed.pop("seed", 0)
    if "epochs" in fixed:
        raise UserError("--epochs: the search gives each training its length, from --minutes.")
    rungs = rungs_of(minutes * jobs)
    own = {name: value for name, value in fixed.items() if name not in (*flagged(Data), *flagged(Training), *TRAINS)}
    axes(recipe, make(recipe, own), over, fixed)  # what is refused is before the data are read
    dataset = _loaded(data, fixed)
    made = make(recipe, own, Facts.of(dataset))
    draws = hasattr(FAMILIES[type(made.model)], "sample")
    by = by or ("kernel" if draws else "loss")
    if by != "loss":
        _ = METRICS[by]
    question = Question(
        recipe=recipe,
        source=dataset.source,
        fixed=json.loads(json.dumps(as_json(fixed))),
        over=axes(recipe, made, over, fixed),
        by=by,
        minutes=minutes * jobs,
        rungs=rungs,
        seed=seed,
    )
    folder = Path(out) if out else Path("runs") / f"tune-{recipe}-{dataset.name}"
    vacant(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FILE, json.dumps(dataclasses.asdict(question), indent=2) + "\n")
    return go_on(folder, jobs)


@checked
def go_on(folder: str | os.PathLike[str], jobs: Count = 1, minutes: Positive | None = None) -> Tuned:
    """Continue a search that was stopped; another process may do so at the same time, and shares the work.

    Args:
        folder: of the search.
        jobs: processes that train at once.
        minutes: of the search by the clock, in all, to search longer.

    Raises:
        UserError: no search, or its data are not to be had any more.
    """
    search = Search(folder)
    if minutes is not None:
        question = dataclasses.replace(search.question, minutes=minutes * jobs)
        if minutes * jobs <= search.spent:
            raise UserError(f"--minutes {minutes:g}: the search has taken {search.spent / jobs:.1f} already.")
        write_text(search.folder / FILE, json.dumps(dataclasses.asdict(question), indent=2) + "\n")
        search = Search(folder)
    asked = search.question
    lengths = ", ".join(f"{each:.2g}" for each in asked.rungs)
    log.info("varied: %s", ", ".join(f"{axis.name} {axis.words}" for axis in asked.over))
    log.info("trainings of %s minutes, by %s; each with its number, minutes, figure, settings", lengths, asked.by)
    if jobs == 1:
        work(search.folder, 0, 1)
    else:
        _together(search.folder, jobs)
    return report(Search(folder))


def _together(folder: Path, jobs: int) -> None:
    """As many processes as there are jobs, of which none goes on alone when one fails.

    Raises:
        UserError: one failed; what it said is above.
    """
    context = multiprocessing.get_context("spawn")  # CUDA can't be forked
    workers = [context.Process(target=_worker, args=(folder, number, jobs), daemon=True) for number in range(jobs)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:
        for worker in workers:  # a terminal interrupts them too; what they train keeps a checkpoint meanwhile
            worker.join(PATIENCE)
        raise
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
    if any(worker.exitcode for worker in workers):
        raise UserError(f"a process of the search ended with an error. Go on with: ganvas tune --resume {folder}")


class Trained:
    """Trains settings for some minutes, and measures the model by validation images.

    Args:
        question: what is searched.
        dataset: what is trained on.
    """

    def __init__(self, question: Question, dataset: Dataset) -> None:
        self.question, self.dataset = question, dataset
        if question.by != "loss":
            log.info("what samples are measured by is made ready")
            own = dataset.splits["validation"].images[:JUDGED]
            with contextlib.suppress(UserError):  # of a figure that takes a model
                evaluate(Subject(dataset, samples=own, split="validation", n=JUDGED), (question.by,))

    def __call__(self, settings: dict[str, Any], minutes: float, seed: int, place: Path) -> Measured:
        """Train in a run's folder, or go on there.

        Raises:
            UserError: the training fails.
            KeyboardInterrupt: it was stopped.
        """
        asked = self.question
        with _silent():  # what a recipe chooses, and the watch finds, of every training
            if (place / "recipe.json").is_file():
                run = resume(place)
            else:
                settings = {**asked.fixed, **settings, "minutes": minutes, "seed": seed, "out": place}
                run = train(asked.recipe, data=self.dataset, **settings)
        if run.state["state"] == "interrupted":
            raise KeyboardInterrupt
        value, error = _judged(run, self.dataset, asked.by)
        shutil.rmtree(run.path / "checkpoints", ignore_errors=True)  # nobody trains on there
        return Measured(value, error, float(run.state["seconds"]), seed)


def _judged(run: Run, dataset: Dataset, by: str) -> tuple[float, float]:
    """By how much a run's model falls short, and the standard error; the less the better.

    Raises:
        UserError: its model can't have that figure.
    """
    if by == "loss":
        return min(row["loss"] for row in run.metrics if row["split"] == "validation"), 0.0
    records, _ = evaluate(Subject(dataset, run.model, split="validation", n=JUDGED), (by,))
    figure = next(each for each in records[0].figures if each.better in ("lower", "higher"))
    return figure.value * (1 if figure.better == "lower" else -1), figure.error or 0.0


def work(folder: Path, worker: int, jobs: int) -> None:
    """What each of several processes does: its share of the cores, and a GPU of its own where there are some."""
    import torch

    _speak()
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    # No more than were chosen for this process: where others use the cores, threads would wait for each other.
    torch.set_num_threads(max(1, min(torch.get_num_threads(), threads.granted() // jobs)))
    search = Search(folder, worker)
    fixed = search.question.fixed
    if "device" not in fixed and torch.cuda.device_count() > 1:
        fixed["device"] = f"cuda:{worker % torch.cuda.device_count()}"
    search.work(Trained(search.question, _loaded(search.question.source, fixed)))


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _worker(folder: Path, worker: int, jobs: int) -> None:
    """`work`, in a process of its own: it says what ends it in a line."""
    try:
        work(folder, worker, jobs)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except UserError as error:
        raise SystemExit(f"ganvas: {error}") from None


def _follow(parent: BaseProcess) -> None:
    """When the process that began this one is killed, this one stops as by Ctrl-C: its training keeps a checkpoint."""
    parent.join()
    os.kill(os.getpid(), signal.SIGINT)


def _speak() -> None:
    """A process of its own says on stderr what the first one does."""
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
        log.setLevel(logging.INFO)


def _loaded(source: Any, fixed: Mapping[str, Any]) -> Dataset:
    """The data, prepared as the settings say."""
    how: dict[str, Any] = {name: fixed.get(name) for name in flagged(Data)}
    return Data().load(source, **how)
