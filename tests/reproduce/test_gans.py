from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ganvas.data import Dataset
from ganvas.ground import drawing
from ganvas.ground.randomness import Draw
from ganvas.models.gan import GAN, GANModel
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.nets.summary import Layer
from ganvas.reproduce import gans
from ganvas.reproduce.lab import FIGURES, Lab


def test_both_losses_gradients_at_one_fake() -> None:
    """d/dl of -softplus(l) is -D, of softplus(-l) it is -(1 - D): their ratio is (1 - D) / D."""
    torch.manual_seed(0)
    net = MLP(hidden=(4,), activation="tanh")
    model = GANModel(GAN(latent_dim=3, generator=net, discriminator=net), (1, 2, 2))
    found = gans.gradient_norms(model, 1, seed=5)
    fake = model.generator.fake(1, Draw(5), torch.device("cpu"))
    d = float(model.discriminator.logits(fake).sigmoid().detach())
    assert found["D(G(z))"] == pytest.approx(d)
    assert found["non-saturating"] / found["minimax"] == pytest.approx((1 - d) / d, rel=1e-4)
    assert all(weight.grad is None for weight in model.parameters())


def test_weights_of_the_published_nets_by_hand() -> None:
    assert gans.weights_of(gans.PUBLISHED["GAN generator"]) == 100 * 1200 + 1200 + 1200**2 + 1200 + 1200 * 784 + 784
    assert gans.weights_of(gans.PUBLISHED["GAN discriminator"]) == 784 * 1200 + 1200 + 240 * 1200 + 1200 + 240 + 1
    up = 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    norms = 2 * (1024 + 512 + 256 + 128)
    assert gans.weights_of(gans.PUBLISHED["DCGAN generator"]) == 100 * 16384 + up + norms + 3
    down = 25 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024)
    norms = 2 * (1024 + 512 + 256)
    assert gans.weights_of(gans.PUBLISHED["DCGAN discriminator"]) == down + norms + 128 + 16384 + 1


def test_the_shapes_on_the_way_through_a_net() -> None:
    layers = [("Flatten", (12,)), ("Linear", (12,)), ("ReLU", (12,)), ("Unflatten", (3, 2, 2)), ("Conv2d", (3, 1, 1))]
    found = gans.path((3, 2, 2), [Layer(name, shape, 0) for name, shape in layers])
    assert found == [(3, 2, 2), (3, 2, 2), (3, 1, 1)]


class Trained:
    """A run whose model has its first weights, or samples what it is told."""

    def __init__(self, model: Any, epochs: int = 1) -> None:
        self.model, self.epochs = model, epochs
        self.path, self.snapshots = Path("nowhere"), {2: None, 4: None}
        self.metrics = [
            {"split": "train", "epoch": part / 3, "discriminator/loss": 1.3, "step": part} for part in range(1, 4)
        ]

    @property
    def recipe(self) -> Any:
        from ganvas.recipes import RECIPES

        recipe = RECIPES["gan"](paper=True)
        object.__setattr__(recipe.training, "epochs", self.epochs)
        return recipe


class Sampler:
    """Samples that are noise, or copies of images."""

    def __init__(self, images: torch.Tensor | None = None) -> None:
        self.images, self.average = images, "another generator"

    def sample(self, n: int, seed: int = 0) -> torch.Tensor:
        return Draw(seed).uniform("x", (n, 1, 28, 28)) if self.images is None else self.images[:n]


@pytest.mark.filterwarnings("ignore:.*singular")
def test_algorithm_1(
    only_blobs: Dataset, lab: Lab, small: Callable[[Lab], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gans, "published", lambda lab, seed, **_: Trained(Sampler()))
    with drawing.style():
        outcome = FIGURES["algorithm-1"](small(lab))
    assert isinstance(outcome.figure, Figure) and not outcome.holds and "does not get that far" in outcome.reason
    found = {measure.name: measure.values for measure in outcome.measures}
    assert found["value of the game at the end; -1.386 where D can't tell"] == [-1.3]
    test = gans.images_of("mnist", "test")
    monkeypatch.setattr(gans, "published", lambda lab, seed, **_: Trained(Sampler(test)))
    found = {measure.name: measure.values for measure in FIGURES["algorithm-1"](lab).measures}
    assert found["distance over the untrained generator's"][0] < 1e-6


def test_gan_samples(
    only_blobs: Dataset, lab: Lab, small: Callable[[Lab], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = gans.images_of("mnist", "train")
    for images, copied in ((None, False), (train, True)):
        sampler = Sampler(images)
        monkeypatch.setattr(gans, "published", lambda lab, seed, sampler=sampler: Trained(sampler))
        monkeypatch.setattr(lab, "model", lambda run, step: run.model)
        monkeypatch.setattr(lab, "cache", lambda name, about, measure: measure())
        with drawing.style():
            outcome = FIGURES["gan-samples"](small(lab))
        close = next(measure for measure in outcome.measures if measure.expected == "below 0.02")
        assert (close.mean > 0.9) == copied and ("no copies" in outcome.reason) != copied
    parzen, *_, training, _, _ = outcome.measures
    assert parzen.mean == pytest.approx(training.mean), "copies of training images have their likelihood"


def test_the_nets_are_the_published(lab: Lab) -> None:
    with drawing.style():
        outcome = FIGURES["nets"](lab)
    assert outcome.holds and [measure.values for measure in outcome.measures] == [[0]] * 4


def test_another_net_is_not_the_published(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    published = gans.PUBLISHED | {"DCGAN generator": [(100,), (512, 4, 4), (256, 8, 8), (128, 16, 16), (64, 32, 32)]}
    monkeypatch.setattr(gans, "PUBLISHED", published)
    outcome = FIGURES["nets"](lab)
    assert not outcome.holds and outcome.reason == "it is another net: DCGAN generator."


@pytest.mark.filterwarnings("ignore:.*singular")
def test_dcgan_epochs(
    only_blobs: Dataset, lab: Lab, small: Callable[[Lab], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 1 epoch and after 5 the first grid of samples is the same: it is one training."""
    train = lab.train

    def on_blobs(recipe: str, *, data: Any, **settings: Any) -> Any:
        return train(recipe, data=only_blobs.source, batch_size=160, device="cpu", **{**settings, "filters": 2})

    monkeypatch.setattr(lab, "train", on_blobs)
    with drawing.style():
        outcome = FIGURES["dcgan-epochs"](small(lab))
    first, last, ratio, differ = outcome.measures
    assert ratio.values == [pytest.approx(last.mean / first.mean)] and differ.values == [0]
    assert outcome.holds == (ratio.mean < 1) and np.isfinite(ratio.mean)
