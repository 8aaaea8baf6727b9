import math
from pathlib import Path
from typing import Any

import pytest

from ganvas.evaluate.metrics.likelihood import weighed
from ganvas.evaluate.subject import Subject
from ganvas.reproduce import papers
from ganvas.reproduce.lab import FIGURES, Lab, find
from ganvas.training.run import Run

TINY: dict[str, Any] = {"data": "digits", "latent_dim": 2, "precision": "float32", "device": "cpu"}


@pytest.mark.parametrize(("nll", "holds"), [(60.0, True), (5.0, False)])
def test_a_row_trains_measures_and_says_what_it_misses(lab: Lab, nll: float, holds: bool) -> None:
    aims = {
        "one": papers.Aim(nll, {**TINY, "k": 1, "bound": "elbo", "warmup": 2}, 9),
        "two": papers.Aim(100.0, {**TINY, "k": 2}, 9, "one"),
    }
    outcome = papers.likelihoods(lab, aims)
    first, units, *_ = outcome.measures
    run = Run(lab.used[0])
    assert run.recipe.training.epochs == 2 and run.recipe.model.bound == "elbo"
    # The figure is that of draws from Q alone, as the papers have it, of the run's own test images.
    each = -weighed(Subject(run.dataset(), run.model, n=200, draws=50), "encoder").log_prob.double()
    assert first.values == [pytest.approx(float(each.mean()))]
    assert first.error == pytest.approx(float(each.std()) / math.sqrt(200))
    assert Run(lab.used[1]).recipe.training.init == str(run.path.absolute())
    assert 5 < first.mean < 60 and 0 <= units.mean <= 2
    assert outcome.holds is holds and ("one is" in outcome.reason) is not holds
    assert ("after 2 epochs" in outcome.reason) is not holds
    assert len(outcome.figure.axes) == 3
    x, y = papers.curve(run)
    assert list(x) == [1, 2] and all(value < 0 for value in y)


@pytest.mark.parametrize("it", find(["papers"]), ids=lambda it: it.name)
def test_the_recipes_take_what_the_rows_ask(it: Any, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained: each row's settings are held against those of its recipe and of `train`."""
    asked = []

    class StoppedError(Exception):
        pass

    def seen(self: Lab, recipe: str, *, seed: int, data: Any = "mnist", **settings: Any) -> None:
        asked.append(self._folder(recipe, seed, "digits", settings))
        raise StoppedError

    monkeypatch.setattr(Lab, "train", seen)
    for quick in (True, False):
        with pytest.raises(StoppedError):
            FIGURES[it.name](Lab(quick=quick, seeds=(0,), runs=Path("nowhere")))
    assert len(set(asked)) == 2
