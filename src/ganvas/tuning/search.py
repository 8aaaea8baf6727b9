"""Successive halving: many settings are trained briefly, a third of them longer, and the best with other seeds too.

The engine is Optuna's: what to try next (TPE) and what goes on (asynchronous successive halving, Li et al. 2020). Its
journal is a file, which any number of processes share, and from which a search that was killed goes on.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock, Timeout

from ganvas.errors import UserError
from ganvas.files import existing, read_json
from ganvas.randomness import key
from ganvas.tuning.space import Axis

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

ETA = 3  # of as many settings one goes on, and is trained as many times as long
MOST_RUNGS = 4
SHORTEST = 15 / 60  # minutes of the shortest training: what is shorter says nothing of the settings
FILE, JOURNAL, TRIALS = "tune.json", "journal.log", "trials"
log = logging.getLogger("ganvas")


class Measured(NamedTuple):
    """What a training came to.

    Attributes:
        value: the less the better; infinite where it failed.
        error: its standard error, of the images that it was measured by; 0 where it is not known.
        seconds: that it took, with its measurement.
        seed: of it.
    """

    value: float
    error: float
    seconds: float
    seed: int


Measure = Callable[[dict[str, Any], float, int, Path], Measured]  # of settings, minutes, a seed and the run's folder


@dataclasses.dataclass(frozen=True)
class Question:
    """What is searched; tune.json.

    Attributes:
        recipe: that is trained.
        source: the data; None where they are objects of a program.
        fixed: settings of all trainings.
        over: what varies.
        by: the metric that decides, or "loss".
        minutes: of all processes together.
        rungs: minutes of a training at each rung.
        seed: of what is tried.
    """

    recipe: str
    source: str | None
    fixed: dict[str, Any]
    over: list[Axis]
    by: str
    minutes: float
    rungs: list[float]
    seed: int = 0


def rungs_of(minutes: float) -> list[float]:
    """Minutes of a training at each rung, each `ETA` times the one before.

    All rungs, and the repeats of the best, take equal parts of the time; the last rung has three trainings.

    Raises:
        UserError: there is no time for six of the shortest.
    """
    for n in range(MOST_RUNGS, 0, -1):
        longest = minutes / (n + 1) / ETA
        if longest / ETA ** (n - 1) >= SHORTEST:
            return [longest / ETA ** (n - 1 - i) for i in range(n)]
    least = 2 * ETA * SHORTEST
    raise UserError(
        f"--minutes {minutes:g}: a search takes {least:g} minutes or more, {2 * ETA} trainings of {SHORTEST * 60:g} "
        "seconds; many times that, to be of use."
    )


class Search:
    """A search's folder: its question, its journal, and a run for each training.

    Args:
        folder: where it is.
        worker: its number among the processes, for what each draws.

    Raises:
        UserError: there is none, or Optuna is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], worker: int = 0) -> None:
        self.folder = existing(folder)
        if not (self.folder / FILE).is_file():
            raise UserError(f"{self.folder} is no search: it has no {FILE}.")
        try:
            values = read_json(self.folder / FILE)
            over = [Axis(**{**axis, "choices": tuple(axis["choices"])}) for axis in values.pop("over")]
            self.question = Question(over=over, **values)
        except (TypeError, KeyError) as error:
            raise UserError(f"{self.folder / FILE} is damaged: {error}.") from error
        self.study = _study(self.folder, self.question, worker)

    def asked(self) -> FileLock:
        """Held while a process takes a trial."""
        return FileLock(self.folder / ".lock")

    @property
    def spent(self) -> float:
        """Minutes of all trainings so far."""
        return sum(each.seconds for trial in self.trials for each in measured(trial).values()) / 60

    @property
    def trials(self) -> list[FrozenTrial]:
        """All that was begun."""
        return self.study.get_trials(deepcopy=False)

    @property
    def left(self) -> float:
        """Minutes that are left."""
        return self.question.minutes - self.spent

    def work(self, measure: Measure) -> None:
        """Take trial after trial until the time is over.

        Args:
            measure: trains and measures; a UserError says that these settings fail.
        """
        while True:
            with self.asked():
                if not (taken := self._abandoned() or self._next()):
                    return
                trial, lock = taken
            try:
                self._run(trial, measure)
            finally:
                lock.release()

    def _abandoned(self) -> tuple[Trial, FileLock] | None:
        """A trial whose process died."""
        from optuna.trial import Trial, TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if lock := self._lock(trial.number):
                return Trial(self.study, trial._trial_id), lock
        return None

    def _next(self) -> tuple[Trial, FileLock] | None:
        """A new trial: of other settings, or at the end of the best ones with another seed; None: the time is over."""
        rungs = self.question.rungs
        repeats = self.question.minutes / (len(rungs) + 1)
        if self.left <= repeats and self._tops():
            if self.left < rungs[-1] * 0.7:
                return None
            again = self._again()
            self.study.enqueue_trial(again.params, user_attrs={"of": again.number})
        elif self.left < rungs[0] * 0.7:
            return None
        elif not self.trials:
            self.study.enqueue_trial({axis.name: axis.start for axis in self.question.over})
        trial = self.study.ask({axis.name: axis.distribution() for axis in self.question.over})
        lock = self._lock(trial.number)
        assert lock  # nobody else knows of it
        return trial, lock

    def _tops(self) -> list[FrozenTrial]:
        """Those at the last rung, the best first, each once."""
        top, means = len(self.question.rungs) - 1, means_of(self.trials, len(self.question.rungs))
        found = [trial for trial in self.trials if top in measured(trial) and "of" not in trial.user_attrs]
        return sorted(found, key=lambda trial: means[trial.number])

    def _again(self) -> FrozenTrial:
        """Of the two best and the default the one with the fewest seeds."""
        tops, counts = self._tops(), [trial.user_attrs.get("of") for trial in self.trials]
        default = [trial for trial in tops if trial.number == 0]
        chosen = {trial.number: trial for trial in [*tops[:1], *default, *tops[:2]]}
        return min(chosen.values(), key=lambda trial: counts.count(trial.number))

    def _lock(self, number: int) -> FileLock | None:
        """The trial's lock, held; None where another process has it."""
        (self.folder / TRIALS).mkdir(exist_ok=True)
        lock = FileLock(self.folder / TRIALS / f".{number:04}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _run(self, trial: Trial, measure: Measure) -> None:
        """Train at one rung after the other, as far as it deserves."""
        from optuna.trial import TrialState

        rungs = self.question.rungs
        repeat, done, top = "of" in trial.user_attrs, measured(trial), len(rungs) - 1
        for rung in [top] if repeat else range(top + 1):
            if rung not in done:
                place = self.folder / TRIALS / f"{trial.number:04}-{rung}"
                done[rung] = self._measured(trial, rungs[rung], place, measure)
                trial.set_user_attr(f"rung {rung}", list(done[rung]))
            found = done[rung]
            if repeat:
                continue
            if ETA**rung not in self.trials[trial.number].intermediate_values:
                trial.report(found.value, ETA**rung)
            if trial.number == 0:  # the default, which all else is held against, goes to the end
                if math.isinf(found.value):
                    raise UserError(f"the default itself fails: {trial.user_attrs['failed']}")
                continue
            if rung < top and (trial.should_prune() or math.isinf(found.value) or self.left < rungs[rung + 1] * 0.7):
                self.study.tell(trial.number, state=TrialState.PRUNED)
                return
        value = done[top].value
        if math.isinf(value):
            self.study.tell(trial.number, state=TrialState.FAIL)
        else:
            self.study.tell(trial.number, value)

    def _measured(self, trial: Trial, minutes: float, place: Path, measure: Measure) -> Measured:
        began = time.monotonic()
        try:
            found = measure(trial.params, minutes, trial.number, place)
            found = found._replace(seconds=max(found.seconds, time.monotonic() - began))
        except UserError as error:
            trial.set_user_attr("failed", str(error))
            found = Measured(math.inf, 0.0, time.monotonic() - began, trial.number)
        said = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
        log.info("%4d  %5.2g min  %-10.4g  %s", trial.number, minutes, found.value, said)
        return found


def measured(trial: Any) -> dict[int, Measured]:
    """What a trial came to, by rung."""
    return {
        int(name.removeprefix("rung ")): Measured(*value)
        for name, value in trial.user_attrs.items()
        if name.startswith("rung ")
    }


def means_of(trials: Sequence[FrozenTrial], rungs: int) -> dict[int, float]:
    """The mean value over the seeds at the last rung, by the number of the trial that was repeated."""
    values: dict[int, list[float]] = {}
    for trial in trials:
        if found := measured(trial).get(rungs - 1):
            values.setdefault(trial.user_attrs.get("of", trial.number), []).append(found.value)
    return {number: sum(each) / len(each) for number, each in values.items()}


def _study(folder: Path, question: Question, worker: int) -> Study:
    """Optuna's study of a folder.

    Raises:
        UserError: Optuna is not installed.
    """
    if find_spec("optuna") is None or find_spec("sklearn") is None:
        raise UserError("`ganvas tune` needs the extra: pip install 'ganvas[tune]'.")
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA)
    study = optuna.create_study(storage=storage, study_name="tune", pruner=pruner, load_if_exists=True)
    drawn = key(question.seed, "tune", worker, len(study.trials)) % 2**31
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.TPESampler(seed=drawn, multivariate=True)
    return study


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
