from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ganvas.data import Dataset
from ganvas.ground import drawing
from ganvas.models.vae import VAEModel
from ganvas.recipes import RECIPES
from ganvas.reproduce import failures
from ganvas.reproduce.lab import FIGURES, Lab

COLLAPSE = ("posterior collapse", "latent loss too high")
WELL = {"active_units": 5, "kl": 12.0, "mutual_information": 4.0, "aggregate_kl": 0.2, "told_from_reconstructions": 0.6}
DEAD = WELL | {"active_units": 0, "kl": 0.001, "mutual_information": 0.0}
FAR = WELL | {"aggregate_kl": 10.0, "told_from_reconstructions": 0.97}


class Trained:
    """A run of a VAE as it lies on disk: what the watch saw, one dictionary a look, and a model of our own."""

    def __init__(self, beta: float, looks: Sequence[dict[str, float]], model: Any = None) -> None:
        self.recipe, self.model = RECIPES["vae"](beta=beta, latent_dim=2), model
        self.data = {"shape": [1, 28, 28]}
        self.metrics = [
            {"split": "watch", "step": 100 * n, "epoch": 100 * n / 195, "seconds": 0.1, **figures}
            for n, figures in enumerate(looks, 1)
        ]
        self.state = {"step": 100 * len(looks), "state": "finished", "test": {"kl": looks[-1]["kl"]}}


def test_the_step_is_that_of_the_first_warning() -> None:
    broken: Any = Trained(100.0, [WELL] * 4 + [DEAD] * 6)
    step, finding = failures.named(broken, COLLAPSE) or (0, None)
    # Steps up to 585 are of the warm-up; the look after it shows it, since a fifth of the steps so far.
    assert finding is not None and (finding.name, finding.since) == ("posterior collapse", 500)
    assert step == 700
    assert finding.arguments["beta"] == 1.0 and finding.arguments["recipe"] == "vae"
    assert failures.named(broken, ("reconstruction loss weighted too high",)) is None


def test_what_has_passed_is_not_named() -> None:
    passed: Any = Trained(1.0, [DEAD] * 6 + [WELL] * 4)
    assert failures.named(passed, COLLAPSE) is None


def test_spread_is_the_mean_distance() -> None:
    assert failures.spread(torch.ones(3, 1, 2, 2)) == 0
    images = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]).reshape(3, 1, 1, 2)
    assert failures.spread(images) == pytest.approx((5 + 5 + 10) / 3)


def decoder(scale: float) -> VAEModel:
    """An untrained VAE, whose decoder's weights are that much larger."""
    torch.manual_seed(0)
    model = VAEModel(RECIPES["vae"](latent_dim=2).model, (1, 28, 28))
    with torch.no_grad():
        for weights in model.decoder.parameters():
            weights.mul_(scale)
    return model.eval()


@pytest.mark.parametrize("cured", [True, False])
def test_broken_named_mended(
    cured: bool, lab: Lab, only_blobs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def train(recipe: str, **settings: Any) -> Trained:
        asked.append((recipe, settings))
        broken = settings["beta"] == 100 or not cured
        return Trained(settings["beta"], [DEAD if broken else WELL] * 10, decoder(0.1 if broken else 8.0))

    monkeypatch.setattr(lab, "train", train)
    lab.seeds = (3, 4)
    with drawing.style():
        outcome = FIGURES["latent-loss"](lab)
        drawing.save(outcome.figure, tmp_path / "a.png")
    found = {measure.name: list(measure.values) for measure in outcome.measures}
    assert [(recipe, one["beta"], one["seed"]) for recipe, one in asked] == [
        ("vae", 100.0, 3), ("vae", 1.0, 3), ("vae", 100.0, 4), ("vae", 1.0, 4)
    ]  # fmt: skip
    assert found["trainings in which the watch names posterior collapse or latent loss too high"] == [2]
    assert found["faults left after its remedy"] == ([0, 0] if cured else [1, 1])
    assert outcome.holds == cured
    assert "ganvas train vae --data mnist --beta 1." in outcome.reason


@pytest.mark.filterwarnings("ignore:.*singular")
def test_a_fault_that_is_not_named_does_not_hold(
    lab: Lab, only_blobs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "train", lambda recipe, **settings: Trained(settings["beta"], [WELL] * 10, decoder(1.0)))
    with drawing.style():
        outcome = FIGURES["reconstruction-loss"](lab)
        drawing.save(outcome.figure, tmp_path / "a.png")
    assert not outcome.holds and "1 of 1 not named or not mended" in outcome.reason


def test_far_codes_are_named_by_the_other_row() -> None:
    broken: Any = Trained(0.001, [FAR] * 10)
    step, finding = failures.named(broken, ("reconstruction loss weighted too high",)) or (0, None)
    assert finding is not None and finding.arguments["beta"] == 1.0 and 200 < step < 1000
