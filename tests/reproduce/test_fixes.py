from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from ganvas.data import Dataset, load, sources
from ganvas.ground import drawing
from ganvas.models.gan import GAN, GANModel
from ganvas.parts.nets.mlp import MLP
from ganvas.reproduce import fixes
from ganvas.reproduce.lab import FIGURES, Lab, Outcome


def numbers(outcome: Outcome) -> dict[str, float]:
    return {measure.name: measure.mean for measure in outcome.measures}


def test_the_papers_game() -> None:
    x, y = torch.tensor([-2.0, 0.0, 0.5, 1.0, 3.0]), torch.tensor([0.5, 2.0, -1.0, 7.0, 1.0])
    expected = [(-2 - 1) * -0.5, -1 * 1, (0.25 - 1) * -2, 0, 0]
    np.testing.assert_allclose(fixes.paper_game(x, y), expected)


def test_the_ways_in_the_bilinear_game_are_the_closed_ones() -> None:
    start, rate = torch.tensor([[1.0, 0.0], [0.3, -2.0]]), 0.05
    for together, step in ((True, [[1, -rate], [rate, 1]]), (False, [[1, -rate], [rate, 1 - rate**2]])):
        way = fixes.descend(fixes.bilinear_game, start, 200, 0.0, rate=rate, together=together)
        assert way.shape == (201, 2, 2)
        expected = np.linalg.matrix_power(np.array(step), 200) @ start.numpy().T
        np.testing.assert_allclose(way[-1].T, expected, rtol=1e-3)
        if together:
            grown = (1 + rate**2) ** 100
            np.testing.assert_allclose(way[-1].norm(dim=1), grown * start.norm(dim=1), rtol=1e-4)


def test_historical_averaging_by_an_independent_recursion() -> None:
    """x' = x - rate (y + 2 w (x - mean x)), and y answers to it; the means are of all that came before."""
    start, rate, weight, steps = np.array([0.7, -0.4]), 0.05, 0.3, 60
    found = fixes.descend(fixes.bilinear_game, torch.tensor(start[None]), steps, weight, rate=rate)[:, 0].numpy()
    (x, y), past = start, [start]
    for _ in range(steps):
        mean_x, mean_y = np.mean(past, 0)
        x = x - rate * (y + 2 * weight * (x - mean_x))
        y = y - rate * (-x + 2 * weight * (y - mean_y))
        past.append(np.array([x, y]))
    np.testing.assert_allclose(found, past, atol=1e-9)


def test_historical_averaging(lab: Lab, small: Callable[[Lab], Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    with drawing.style():
        outcome = FIGURES["historical-averaging"](lab)
    assert outcome.holds and len(outcome.measures) == 8
    assert not FIGURES["historical-averaging"](small(lab)).holds, "in 40 steps nothing settles"


@given(st.integers(0, 1000), st.integers(2, 12))
def test_calibration_is_scikit_learns(seed: int, bins: int) -> None:
    random = np.random.default_rng(seed)
    real, fake = random.beta(3, 2, 300), random.beta(2, 3, 300)
    gap, curve = fixes.calibration(torch.from_numpy(real), torch.from_numpy(fake), bins)
    truth, judged = np.repeat([1, 0], 300), np.concatenate([real, fake])
    shares, levels = calibration_curve(truth, judged, n_bins=bins)
    np.testing.assert_allclose(curve, np.stack([levels, shares], 1), atol=1e-6)
    counts = np.histogram(judged, bins, (0, 1))[0]
    assert gap == pytest.approx(np.average(abs(levels - shares), weights=counts[counts > 0]), abs=1e-6)


def test_calibration_at_the_ends() -> None:
    gap, curve = fixes.calibration(torch.ones(4), torch.zeros(4))
    assert gap == 0 and curve.tolist() == [[0, 0], [1, 1]]
    assert fixes.calibration(torch.zeros(4), torch.ones(4))[0] == 1


def test_mean_distance_is_in_standard_deviations() -> None:
    random = np.random.default_rng(0)
    real = random.normal(size=(100_000, 4)) * [1, 2, 3, 4]
    assert fixes.mean_distance(real, real + np.array([3, 0, 4, 0])) == pytest.approx(
        5 / np.sqrt(1 + 4 + 9 + 16), rel=0.01
    )
    assert fixes.mean_distance(real, real) == 0


class Trained:
    """A run of an untrained GAN on MNIST's shape, or of a model that is given."""

    def __init__(self, model: Any = None) -> None:
        net = MLP(hidden=(16,))
        torch.manual_seed(0)
        self.model = model or GANModel(GAN(latent_dim=4, generator=net, discriminator=net), (1, 28, 28))


@pytest.mark.filterwarnings("ignore:.*singular")
def test_feature_matching(
    only_blobs: Dataset, lab: Lab, small: Callable[[Lab], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples that are the test images themselves are nearer than an untrained generator's."""
    real = Trained()
    real.model.sample = lambda n, seed=0: fixes.images_of("mnist", "test", n)
    for model_with, model_without, holds in ((real, Trained(), True), (Trained(), real, False), (real, real, False)):
        monkeypatch.setattr(fixes, "trained", lambda lab, seed, a=model_with, b=model_without, **on: a if on else b)
        with drawing.style():
            outcome = FIGURES["feature-matching"](small(lab))
        assert outcome.holds == holds
        found = numbers(outcome)
        assert (found["distance of means, pca features, with"] < 1e-6) == (model_with is real)


def test_label_smoothing(
    only_blobs: Dataset, lab: Lab, small: Callable[[Lab], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A discriminator whose logits are doubled is surer."""

    def made(scale: float) -> Trained:
        run = Trained()
        with torch.no_grad():
            run.model.discriminator.head.weight.zero_()
            run.model.discriminator.head.bias.fill_(2 * scale)
        return run

    strong = {"none": 1.0, "one side": 0.6, "both": 0.001}
    pulls = {str(targets): strong[side] for side, targets in fixes.SIDES.items()}
    monkeypatch.setattr(fixes, "pull_on_fakes", lambda seed, targets, moves: pulls[str(targets)])
    monkeypatch.setattr(fixes, "trained", lambda lab, seed, **on: made(1.0 if on else 2.0))
    with drawing.style():
        outcome = FIGURES["label-smoothing"](small(lab))
    found = numbers(outcome)
    assert found["share of test images with D(x) > 0.95, without"] == 1
    assert found["share of test images with D(x) > 0.95, with"] == 0
    d = 1 / (1 + np.exp(-2))
    assert found["mean D(x) of test images, with"] == pytest.approx(d)
    assert found["gap of calibration, with"] == pytest.approx(d - 0.5, abs=1e-6), "half of the images are real"
    assert outcome.holds
    assert found["pull on fakes over that without smoothing, one side smoothed"] == 0.6
    pulls[str(fixes.SIDES["both"])] = 0.02
    assert not FIGURES["label-smoothing"](lab).holds
    pulls[str(fixes.SIDES["both"])] = 0.001
    monkeypatch.setattr(fixes, "trained", lambda lab, seed, **on: made(2.0 if on else 1.0))
    assert not FIGURES["label-smoothing"](lab).holds


def test_smoothing_both_sides_leaves_fakes_where_they_are() -> None:
    """The best logit for fakes alone is log(0.1 / 0.9) wherever they lie, so it has no slope."""
    none, one_side, both = (fixes.pull_on_fakes(0, targets, 80) for targets in fixes.SIDES.values())
    assert one_side == pytest.approx(none, rel=0.2)
    assert both < 0.2 * none


@pytest.mark.parametrize("better", [fixes.WITH, fixes.WITHOUT, None])
def test_minibatch_discrimination(better: str | None, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data itself reaches every mode, the half of it on one side half of them."""

    class Points:
        def __init__(self, data: str, whole: bool) -> None:
            points = torch.from_numpy(np.array(load(data).splits["test"].images))
            self.points = points if whole else points[points[:, 0] > 0.5]

        def sample(self, n: int, seed: int = 0) -> torch.Tensor:
            return self.points[:n]

    def train(recipe: str, *, data: str, **settings: Any) -> Any:
        name = fixes.WITH if "minibatch_discrimination" in settings else fixes.WITHOUT
        return Trained(Points(data, better in (name, None)))

    monkeypatch.setattr(lab, "train", train)
    with drawing.style():
        outcome = FIGURES["minibatch-discrimination"](lab)
    found = numbers(outcome)
    for data, (centres, _) in sources.GAUSSIANS.items():
        reached = [found[f"{data}: modes reached, {name}"] for name in (fixes.WITHOUT, fixes.WITH)]
        half = (centres[:, 0] > 0.5).sum()
        assert reached == [len(centres) if better in (name, None) else half for name in (fixes.WITHOUT, fixes.WITH)]
    assert outcome.holds == (better == fixes.WITH)


@pytest.mark.parametrize(("wrong", "holds"), [(0.04, True), (0.06, False)])
def test_semi_supervised(wrong: float, holds: bool, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(recipe: str, *, unlabelled_weight: float = 1.0, epochs: int, **settings: Any) -> Any:
        run: Any = Trained()
        run.state = {"test": {"error": wrong if unlabelled_weight else 0.2}}
        run.metrics = [{"split": "validation", "epoch": epoch + 1, "error": 0.3} for epoch in range(epochs)]
        return run

    monkeypatch.setattr(lab, "train", train)
    with drawing.style():
        outcome = FIGURES["semi-supervised"](lab)
    assert outcome.holds == holds
    assert [measure.mean for measure in outcome.measures] == pytest.approx([2000, 10_000 * wrong, 93])
