from typing import Any

import pytest

from ganvas.evaluate.figures import Figure
from ganvas.evaluate.measures.parzen import parzen
from ganvas.evaluate.metrics import METRICS
from ganvas.evaluate.subject import Subject
from ganvas.reproduce import papers_gans
from ganvas.reproduce.gans import images_of
from ganvas.reproduce.lab import FIGURES, Lab
from ganvas.training.run import Run


def test_modes_are_the_metrics_and_a_missed_one_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "pick", lambda *, quick, full: 1)
    outcome = FIGURES["ring-and-grid"](lab)
    runs = [Run(path) for path in lab.used]
    assert [run.recipe.model.techniques[0].weight for run in runs] == [papers_gans.RING_R1, papers_gans.GRID_R1]
    for place, run in enumerate(runs):
        expected = [it.value for it in METRICS["modes"](Subject(run.dataset(), run.model))]
        measures = outcome.measures[3 * place : 3 * place + 3]
        assert [measure.values for measure in measures] == [[value] for value in expected]
        assert (f"on the {run.dataset().name} 1 of 1 trainings miss a mode" in outcome.reason) == (
            expected[0] < (8, 25)[place]
        )
    assert not outcome.holds and "are good" in outcome.reason
    assert len(outcome.figure.axes) == 3


@pytest.mark.parametrize(("wrong", "holds"), [(0.009, True), (0.02, False)])
def test_hundred_labels(wrong: float, holds: bool, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Lab.train

    def train(self: Lab, recipe: str, *, seed: int, data: Any, epochs: int) -> Run:
        settings = {"labels_per_class": 2, "data": "digits", "batch_size": 64, "device": "cpu", "precision": "float32"}
        run = real(self, recipe, seed=seed, epochs=1, **settings)
        monkeypatch.setattr(Run, "state", {**run.state, "test": {"error": wrong}})
        return run

    monkeypatch.setattr(Lab, "train", train)
    outcome = FIGURES["hundred-labels"](lab)
    assert outcome.measures[0].values == [pytest.approx(10_000 * wrong)]
    assert outcome.holds is holds and ("107 errors more after 2 of 300 epochs" in outcome.reason) is not holds
    assert [len(line.get_xdata()) for line in outcome.figure.axes[0].lines] == [1, 2]


@pytest.mark.parametrize(("published", "holds"), [(-1e6, True), (1e6, False)])
@pytest.mark.usefixtures("only_blobs")
def test_parzen_window(published: float, holds: bool, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Lab.train

    def train(self: Lab, recipe: str, *, seed: int, data: Any, epochs: int, **asked: Any) -> Run:
        trained.append(asked)
        settings = {**asked, "data": "digits", "epochs": 1, "latent_dim": 2, "device": "cpu", "precision": "float32"}
        return real(self, recipe, seed=seed, **settings)

    trained: list[dict[str, Any]] = []

    class Samples:
        average: Any = "another generator"

        def sample(self, n: int, seed: int = 0) -> Any:
            return images_of("mnist", "train", 64)

    monkeypatch.setattr(Lab, "train", train)
    samples = Samples()
    monkeypatch.setattr(Lab, "model", lambda self, run: samples)
    monkeypatch.setattr(papers_gans, "PUBLISHED_PARZEN", published)
    outcome = FIGURES["parzen-window"](lab)
    images = [images_of("mnist", split, n) for split, n in (("train", 64), ("validation", 1000), ("test", 2000))]
    expected = parzen(*images)
    assert outcome.measures[0].values == [pytest.approx(expected["log_likelihood"])]
    assert outcome.measures[0].error == pytest.approx(expected["standard_error"])
    assert outcome.measures[1].values == [expected["sigma"]]
    assert outcome.measures[2].values == outcome.measures[0].values, "the samples are the same here"
    assert outcome.measures[0].expected and not outcome.measures[2].expected, "only one is held to the figure"
    assert trained[0]["ema"] == 0.999 and trained[1] == {"paper": True, "ema": 0.999, "snapshots": 10}
    assert samples.average is None, "the released code has none"
    assert outcome.holds is holds and ("below after 2 epochs" in outcome.reason) is not holds
    assert len(outcome.figure.axes[0].lines) == 2


@pytest.mark.parametrize(("modes", "kl", "holds"), [(1000, 0.05, True), (999, 0.05, False), (1000, 0.07, False)])
def test_stacked_digits(modes: int, kl: float, holds: bool, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Lab.train

    def train(self: Lab, recipe: str, *, seed: int, **asked: Any) -> Run:
        settings = {"data": "digits", "batch_size": 512, "device": "cpu", "precision": "float32", "filters": 2}
        return real(self, recipe, seed=seed, **(asked | settings))

    measured = []

    def metric(subject: Subject) -> list[Figure]:
        measured.append(subject.model.sample(1))
        return [Figure("modes", modes, None, 1), Figure("KL of the modes", kl, None, 1)]

    monkeypatch.setattr(Lab, "train", train)
    monkeypatch.setitem(METRICS, "modes", metric)
    outcome = FIGURES["stacked-digits"](lab)
    assert [measure.values for measure in outcome.measures] == [[modes], [kl]]
    assert outcome.holds is holds and ("miss a mode" in outcome.reason) is (modes < 1000)
    assert ("above 0.06 after 1 of 50 epochs" in outcome.reason) is (kl > 0.06)
    final, middle, last = measured
    assert final.equal(last) and not middle.equal(last), "the course is of the snapshots"
    course, paper = outcome.figure.axes[0].lines
    assert list(course.get_xdata()) == [pytest.approx(0.5, abs=0.3), 1.0] and list(paper.get_ydata()) == [0.06] * 2
