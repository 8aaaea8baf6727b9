import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ganvas.ground import drawing
from ganvas.recipes import RECIPES
from ganvas.reproduce import wasserstein
from ganvas.reproduce.lab import Lab, Outcome, row


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasserstein, "HIDDEN", (64, 64))


def test_the_generator_on_the_line_makes_normal_fakes(small: None) -> None:
    from ganvas.ground.randomness import Draw

    model = wasserstein.on_a_line(RECIPES["wgan"](), seed=0)
    fakes = model.generator.fake(20_000, Draw(0), torch.device("cpu")).detach()
    # mean and sd within 5 standard errors: a false alarm in a million
    assert abs(float(fakes.mean()) - 5) < 5 / 20_000**0.5 and abs(float(fakes.std()) - 1) < 5 / 40_000**0.5


def test_the_discriminator_alone_is_trained_and_clipped_after_each_move(small: None) -> None:
    recipe = RECIPES["wgan"]()
    model = wasserstein.on_a_line(recipe, seed=0)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    assert list(wasserstein.moved(model, recipe, (1, 3), seed=0)) == [1, 3]
    changed = {
        name.split(".")[0] for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])
    }
    assert changed == {"discriminator"}
    assert all(float(weight.detach().abs().max()) <= 0.01 for weight in model.discriminator.parameters())


def test_slopes_against_finite_differences(small: None) -> None:
    x, h = torch.linspace(-7, 7, 29)[:, None], 1e-3
    for recipe, squash in ((RECIPES["gan"](loss="minimax"), torch.sigmoid), (RECIPES["wgan"](), lambda logits: logits)):
        model = wasserstein.on_a_line(recipe, seed=1)
        list(wasserstein.moved(model, recipe, (20,), seed=1))
        double = model.discriminator.double()
        with torch.no_grad():
            up, down = (squash(double.head(double.body(x.double() + d)).squeeze(1)) for d in (h, -h))
        expected = -(up - down) / (2 * h)
        found = wasserstein.slope(model, x.double()).double()
        # a kink of the ReLU net between the two points is not a difference of slopes
        assert float((found - expected).abs().median()) < 1e-3 * float(expected.abs().max())


def test_the_minimax_gradient_vanishes_where_d_is_sure_and_the_other_does_not(small: None) -> None:
    model = wasserstein.on_a_line(RECIPES["gan"](loss="minimax"), seed=0)
    model.discriminator.logits = lambda x: -10 * x.squeeze(1)  # the exact D: sigmoid(-10 x)
    fakes = torch.tensor([[5.0], [4.0]])
    exact = np.exp([-50.0, -40.0])
    d = exact / (1 + exact)
    assert wasserstein.generator_gradient(model, "minimax", fakes) == pytest.approx((10 * d).mean(), rel=1e-4)
    assert wasserstein.generator_gradient(model, "non-saturating", fakes) == pytest.approx((10 * (1 - d)).mean())
    assert wasserstein.generator_gradient(model, "wasserstein", fakes) == pytest.approx(10)
    assert wasserstein.slope(model, fakes).numpy() == pytest.approx(10 * d * (1 - d), rel=1e-4)


def test_vanishing_gradients_on_a_small_net(small: None, lab: Lab) -> None:
    outcome = row("vanishing-gradients").make(lab)
    found = {measure.name: measure.mean for measure in outcome.measures}
    assert found["D: slope at the fakes over its steepest"] < 0.05
    assert found["clipped critic: slope at the fakes over its steepest"] > 0.1
    distances = [value for name, value in found.items() if "E f(real)" in name]
    assert len(distances) == 2 and all(1 < value < 10.5 for value in distances), "at most the distance, 10"


def test_the_jensen_shannon_estimate_at_the_best_discriminator() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.1, 0.8])
    d = p / (p + q)
    loss = -(p * np.log(d)).sum() - (q * np.log(1 - d)).sum()
    m = (p + q) / 2
    divergence = ((p * np.log(p / m)).sum() + (q * np.log(q / m)).sum()) / 2
    assert wasserstein.js_estimate(loss) == pytest.approx(divergence)


def test_window_means() -> None:
    rows: list[dict[str, Any]] = [{"step": step, "loss": float(step)} for step in (50, 100, 150, 200)]
    run: Any = SimpleNamespace(metrics=[*rows, {"step": 200, "split": "test"}])
    assert wasserstein.window_means(run, "loss", (100, 200)) == [75.0, 175.0]


BLACK = drawing.packed(torch.zeros(64, 1, 16, 16))


def figure_of(name: str, coverage: dict[str, float], recall: dict[str, float], lab: Lab, patch: Any) -> Outcome:
    """The outcome of a row whose runs have these coverages, by "gan-mlp" and the like."""

    def quality(key: str) -> dict[str, float]:
        return {"precision": 0.5, "recall": recall.get(key, 0.5), "coverage": coverage[key]}

    def trained(lab: Lab, recipe: str, generator: str, seed: int) -> dict[str, Any]:
        return {"steps": 100, "quality": quality(f"{recipe}-{generator}"), "samples": BLACK}

    patch.setattr(wasserstein, "trained", trained)
    patch.setattr(wasserstein, "real_quality", lambda lab: quality("real"))
    return row(name).make(lab)


GOOD = {"real": 0.9, "dcgan-dcgan": 0.8, "wgan-dcgan": 0.7}


@pytest.mark.parametrize(
    ("name", "coverage", "recall", "holds"),
    [
        ("wgan-and-gan", GOOD, {}, True),
        ("wgan-and-gan", {**GOOD, "wgan-dcgan": 0.44}, {}, False),
        ("without-batch-norm", {**GOOD, "dcgan-constant": 0.1, "wgan-constant": 0.5}, {}, True),
        ("without-batch-norm", {**GOOD, "dcgan-constant": 0.5, "wgan-constant": 0.5}, {}, False),
        ("without-batch-norm", {**GOOD, "dcgan-constant": 0.1, "wgan-constant": 0.3}, {}, False),
        ("mlp-generator", {**GOOD, "dcgan-mlp": 0.1, "wgan-mlp": 0.5}, {"dcgan-mlp": 0.1}, True),
        ("mlp-generator", {**GOOD, "dcgan-mlp": 0.5, "wgan-mlp": 0.5}, {"dcgan-mlp": 0.1}, False),
        ("mlp-generator", {**GOOD, "dcgan-mlp": 0.1, "wgan-mlp": 0.71}, {"dcgan-mlp": 0.1}, False),
        ("mlp-generator", {**GOOD, "dcgan-mlp": 0.1, "wgan-mlp": 0.5}, {"dcgan-mlp": 0.4}, False),
        ("mlp-generator", {**GOOD, "dcgan-mlp": 0.0, "wgan-mlp": 0.0}, {"dcgan-mlp": 0.0, "wgan-mlp": 0.0}, False),
    ],
)
def test_what_decides_of_the_three_generators(
    name: str, coverage: dict[str, float], recall: dict[str, float], holds: bool, lab: Lab, monkeypatch: Any
) -> None:
    outcome = figure_of(name, coverage, recall, lab, monkeypatch)
    assert outcome.holds is holds and ("not so: " in outcome.reason) is not holds


@pytest.mark.parametrize(
    ("falls", "gan_falls", "holds"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_what_decides_of_the_estimate(falls: bool, gan_falls: bool, holds: bool, lab: Lab, monkeypatch: Any) -> None:
    """The Frechet distance falls in both; the estimate does, or rises."""
    steps = range(100, 1100, 100)

    def trained(lab: Lab, recipe: str, generator: str, seed: int) -> dict[str, Any]:
        down = falls if recipe == "wgan" else gan_falls
        values = [(1100 - step if down else step) / 1e3 for step in steps]
        # -Loss_D / 2 is what the Jensen-Shannon estimate falls with
        signs = {"discriminator/wasserstein": 1, "discriminator/loss": -1, "generator/loss": 1}
        twelve = drawing.packed(torch.zeros(12, 1, 16, 16))
        return {
            "steps": 1000,
            "snapshots": [{"step": step, "quality": {"frechet": 2e3 - step}, "samples": twelve} for step in steps],
            "windows": {column: [sign * value for value in values] for column, sign in signs.items()},
        }

    monkeypatch.setattr(wasserstein, "trained", trained)
    outcome = row("wasserstein-estimate").make(lab)
    assert outcome.holds is holds and abs(outcome.measures[0].mean) == pytest.approx(1)


def test_quality_of_real_images_is_that_of_another_split(
    only_blobs: Any, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganvas import data
    from ganvas.evaluate.networks import features

    monkeypatch.setattr(
        features, "features", lambda name, dataset: lambda images: images.mean(3).squeeze(1).numpy()[:, ::4]
    )
    wasserstein.reference.cache_clear()
    lab.pick = lambda *, quick, full: min(quick, 40) if isinstance(quick, int) else quick  # type: ignore[method-assign]
    found = wasserstein.real_quality(lab)
    wasserstein.reference.cache_clear()
    assert set(found) == {"precision", "recall", "density", "coverage", "frechet"}
    assert found["coverage"] > 0.5 and found["frechet"] > 0
    monkeypatch.setattr(data, "load", None)
    assert wasserstein.real_quality(lab) == found, "kept"


def test_what_is_told_of_a_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A WGAN of 8 x 8 digits, with its snapshots; once told, the run is needed no more."""
    monkeypatch.setattr(wasserstein, "images", lambda lab: ("digits", 8))
    monkeypatch.setattr(
        wasserstein, "quality", lambda source, size, n, model: {"frechet": model.sample(n).mean().item()}
    )
    lab.pick = lambda *, quick, full: 3 if quick == 10 else quick  # type: ignore[method-assign]
    told = wasserstein.trained(lab, "wgan", "dcgan", 0)
    assert told["steps"] == told["snapshots"][-1]["step"] and len(told["snapshots"]) == 3
    assert drawing.unpacked(told["samples"], 64).shape == (64, 3, 8, 8)
    assert drawing.unpacked(told["snapshots"][0]["samples"], 12).shape == (12, 3, 8, 8)
    assert len(told["windows"]["discriminator/wasserstein"]) == 3
    assert told["quality"] == told["snapshots"][-1]["quality"]
    (run,) = lab.used
    shutil.rmtree(run)
    again = Lab(quick=True, seeds=(0,), runs=lab.runs)
    again.pick = lab.pick  # type: ignore[method-assign]
    assert wasserstein.trained(again, "wgan", "dcgan", 0) == told
    assert not run.exists() and not again.used and again.summaries[0]["run"] == run.name
