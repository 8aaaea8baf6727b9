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

from ganvas.ground.errors import UserError
from ganvas.ground.files import existing, read_json
from ganvas.ground.randomness import key
from ganvas.tuning.space import Axis, words

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

ETA = 3  # of as many settings one goes on, and is trained as many times as long
MOST_RUNGS = 4
ENOUGH = 0.7  # of a training's time, that has to be left for it to begin
SHORTEST = 15 / 60  # minutes of the shortest training: what is shorter says nothing of the settings
FAILED = 0.1  # of a training's time, that one takes at least which fails: what fails at once is not tried for ever
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
        source: the data, as `ganvas.data.load` takes it.
        fixed: settings of all trainings.
        over: what varies.
        by: the metric that decides, or "loss".
        minutes: of all processes together.
        rungs: minutes of a training at each rung.
        seed: of what is tried.
    """

    recipe: str
    source: str
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
        if self.left <= repeats and (longest := self.longest()):
            if self.left < rungs[-1] * ENOUGH:
                return None
            again = self._again(longest)
            self.study.enqueue_trial(again.params, user_attrs={"of": again.number})
        elif self.left < rungs[0] * ENOUGH:
            return None
        elif not self.trials:
            self.study.enqueue_trial({axis.name: axis.start for axis in self.question.over})
        trial = self.study.ask({axis.name: axis.distribution() for axis in self.question.over})
        lock = self._lock(trial.number)
        assert lock  # nobody else knows of it
        return trial, lock

    def longest(self) -> dict[int, list[Measured]]:
        """What the longest trainings came to, each seed, by the number of the first trial of their settings; the best
        mean first."""
        found: dict[int, list[Measured]] = {}
        for trial in self.trials:
            if last := measured(trial).get(len(self.question.rungs) - 1):
                found.setdefault(trial.user_attrs.get("of", trial.number), []).append(last)
        return dict(sorted(found.items(), key=lambda item: mean(item[1])))

    def _again(self, longest: dict[int, list[Measured]]) -> FrozenTrial:
        """Of the best, the default and the second best the one with the fewest seeds."""
        first, *others = longest
        chosen = [first, *(number for number in others if number == 0), *others[:1]]
        return self.trials[min(chosen, key=lambda number: len(longest[number]))]

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
            if rung < top and (trial.should_prune() or math.isinf(found.value) or self.left < rungs[rung + 1] * ENOUGH):
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
            found = Measured(math.inf, 0.0, max(time.monotonic() - began, FAILED * 60 * minutes), trial.number)
        log.info("%4d  %5.2g min  %-10.4g  %s", trial.number, minutes, found.value, words(trial.params))
        return found


def measured(trial: Any) -> dict[int, Measured]:
    """What a trial came to, by rung."""
    return {
        int(name.removeprefix("rung ")): Measured(*value)
        for name, value in trial.user_attrs.items()
        if name.startswith("rung ")
    }


def mean(found: Sequence[Measured]) -> float:
    """Over seeds."""
    return sum(each.value for each in found) / len(found)


def needed() -> None:
    """Whether a search can be made here.

    Raises:
        UserError: what it takes is not installed.
    """
    if find_spec("optuna") is None or find_spec("sklearn") is None:
        raise UserError("`ganvas tune` needs the extra: pip install 'ganvas[tune]'.")


def _study(folder: Path, question: Question, worker: int) -> Study:
    """Optuna's study of a folder."""
    needed()
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
