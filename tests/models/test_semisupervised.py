"""Semi-supervised GAN: its costs, its labelled examples, its average."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

import ganvas
from ganvas.data import Dataset, Split, load
from ganvas.data.loader import Batch, to_tensor
from ganvas.evaluate import average
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models.semisupervised import (
    GaussianNoise,
    SemisupervisedGAN,
    SemisupervisedGANModel,
    WeightNormLinear,
    discriminator_cost,
)
from ganvas.recipes import RECIPES

SMALL = {"hidden": (20, 15), "generator_hidden": (12,), "latent_dim": 5}
FAST = {"data": "digits", "device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def prepared(dataset: Dataset, seed: int = 0, **settings: Any) -> SemisupervisedGANModel:
    torch.manual_seed(seed)
    model = SemisupervisedGANModel(SemisupervisedGAN(**{**SMALL, **settings}), dataset.shape)
    model.prepare(dataset, seed)
    return model


def test_the_cost_is_that_of_a_classifier_with_one_class_more() -> None:
    """Section 5: the probability of "fake" is a softmax over K + 1 logits, the last of them 0."""
    random = np.random.default_rng(0)
    labelled, real, fake = (3 * random.normal(size=(n, 4)) for n in (5, 7, 6))
    labels = np.array([0, 3, 1, 1, 2])

    def extended(logits: np.ndarray) -> np.ndarray:
        return softmax(np.concatenate([logits, np.zeros((len(logits), 1))], 1), axis=1)

    given_real = extended(labelled)[np.arange(5), labels] / (1 - extended(labelled)[:, 4])
    expected = (
        -np.log(given_real).mean(),
        -0.5 * np.log(1 - extended(real)[:, 4]).mean() - 0.5 * np.log(extended(fake)[:, 4]).mean(),
    )
    tensors = (torch.from_numpy(part) for part in (labelled, labels, real, fake))
    assert [float(part) for part in discriminator_cost(*tensors)] == pytest.approx(expected, rel=1e-12)


def test_the_cost_is_finite_where_the_discriminator_is_sure() -> None:
    sure = torch.full((3, 2), 1e4)
    parts = discriminator_cost(sure, torch.zeros(3, dtype=torch.int64), -sure, sure)
    assert all(torch.isfinite(part) for part in parts)


def test_weight_norm_has_the_norm_of_its_scale_and_starts_normalised() -> None:
    torch.manual_seed(0)
    layer, x = WeightNormLinear(6, 4), 2 + 3 * torch.randn(500, 6)
    layer.initialise(x)
    output = layer(x)
    assert output.mean(0).abs().max() < 1e-5 and (output.std(0) - 1).abs().max() < 1e-5
    weight = layer(torch.eye(6)) - layer.bias
    np.testing.assert_allclose(weight.norm(dim=0).detach(), layer.scale, rtol=1e-5)
    before = layer(x).detach()
    with torch.no_grad():
        layer.v *= 7
    np.testing.assert_allclose(layer(x).detach(), before, atol=1e-4, err_msg="only the direction of v counts")
    assert [name for name, _ in layer.named_parameters()] == ["v", "bias"]
    assert [name for name, _ in WeightNormLinear(6, 4, True).named_parameters()] == ["v", "bias", "scale"]


def test_noise_is_of_its_level_and_in_training_alone() -> None:
    torch.manual_seed(0)
    noise, x = GaussianNoise(0.5), torch.ones(100_000)
    assert float((noise(x) - x).std()) == pytest.approx(0.5, rel=0.02)  # 9 standard errors
    assert torch.equal(noise.eval()(x), x)


def test_as_many_examples_of_each_class_drawn_by_the_seed(digits: Dataset) -> None:
    model = prepared(digits, labels_per_class=7)
    assert model.labels.bincount().tolist() == [7] * 10
    split = digits.splits["train"]
    images = to_tensor(split.images).flatten(1)
    for image, label in zip(model.labelled.flatten(1), model.labels, strict=True):
        same = (images == image).all(1)
        assert same.any() and (split.labels[same.numpy()] == int(label)).all()
    assert torch.equal(model.labelled, prepared(digits, labels_per_class=7).labelled)
    assert not torch.equal(model.labelled, prepared(digits, seed=1, labels_per_class=7).labelled)


def test_images_without_a_label_are_not_among_the_examples_and_are_not_judged(digits: Dataset) -> None:
    split = digits.splits["train"]
    partly = Split(split.images, np.where(np.arange(len(split)) % 3, -1, np.asarray(split.labels)))
    data = dataclasses.replace(digits, splits=digits.splits | {"train": partly})
    model = prepared(data, labels_per_class=7)
    assert model.labels.bincount().tolist() == [7] * 10
    error = average(model, partly, seed=0)["error"]
    assert error == average(model, Split(split.images[::3], np.asarray(split.labels)[::3]), seed=0)["error"] < 1


def test_refusals(digits: Dataset) -> None:
    split = digits.splits["train"]
    few = int(np.bincount(split.labels).min())
    prepared(digits, labels_per_class=few)
    with pytest.raises(UserError, match=f"{few + 1} labels per class .* has {few} training images"):
        prepared(digits, labels_per_class=few + 1)
    with pytest.raises(UserError, match="has 10 classes: give --classes 10"):
        prepared(digits, classes=9)
    points = load(np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32))
    with pytest.raises(UserError, match="needs one"):
        prepared(points)
    for wrong in ({"noise": -0.1}, {"averaging": 1.0}, {"labels_per_class": 0}, {"unlabelled_weight": -1}):
        with pytest.raises(UserError):
            ganvas.models.MODELS.parse({"kind": "semisupervised-gan", **wrong})


def test_a_player_moves_itself_alone(digits: Dataset) -> None:
    model = prepared(digits)
    images = to_tensor(digits.splits["train"].images[:30])
    for name, player in model.players().items():
        for other in model.players().values():
            other.requires_grad_(other is player)
        parts = player(Batch(images), Draw(0))
        parts["loss"].backward()
        assert all((p.grad is not None) == key.startswith(f"{name}.") for key, p in model.named_parameters()), name
        model.zero_grad(set_to_none=True)


@torch.no_grad()
def test_the_costs_of_the_players_by_hand(digits: Dataset) -> None:
    model = prepared(digits, noise=0.0, input_noise=0.0, unlabelled_weight=0.5)
    images, draw = to_tensor(digits.splits["train"].images[:200]), Draw(3, 4)
    net = model.discriminator.net
    fake = model.generator.fake(200, draw, torch.device("cpu"))
    supervised, unsupervised = discriminator_cost(net(model.labelled), model.labels, net(images), net(fake))
    parts = model.discriminator(Batch(images), draw)
    assert float(parts["supervised"]) == pytest.approx(float(supervised), rel=1e-4), "all the labelled, whatever order"
    assert float(parts["loss"]) == pytest.approx(float(supervised + 0.5 * unsupervised), rel=1e-4)
    means = [net.features(x).numpy().astype(np.float64).mean(0) for x in (images, fake)]
    expected = ((means[0] - means[1]) ** 2).mean()
    assert float(model.generator(Batch(images), draw)["loss"]) == pytest.approx(expected, rel=1e-3)


@torch.no_grad()
def test_a_batch_smaller_than_the_labelled_sees_others_at_each_step(digits: Dataset) -> None:
    model = prepared(digits, noise=0.0, input_noise=0.0)
    images = to_tensor(digits.splits["train"].images[:10])
    costs = {float(model.discriminator(Batch(images), Draw(0, step))["supervised"]) for step in range(5)}
    assert len(costs) == 5


def test_the_classifier_that_answers_is_the_average(digits: Dataset) -> None:
    model = prepared(digits, averaging=0.5)
    images = to_tensor(digits.splits["test"].images)
    first = copy.deepcopy(model.discriminator.net)
    with torch.no_grad():
        for weight in model.discriminator.net.parameters():
            weight += torch.randn_like(weight)
    model.moved("generator")
    np.testing.assert_allclose(model.classify(images), first.eval()(images).log_softmax(1).detach(), atol=1e-5)
    model.moved("discriminator")
    now = dict(model.discriminator.net.named_parameters())
    share = 9 / 11  # the first weights go out soon, see MovingAverage
    for name, weight in first.named_parameters():
        with torch.no_grad():
            weight += share * (now[name] - weight)
    found = model.classify(images)
    np.testing.assert_allclose(found, first(images).log_softmax(1).detach(), atol=1e-4)
    np.testing.assert_allclose(found.exp().sum(1), 1, rtol=1e-5)
    wrong = float((found.argmax(1).numpy() != digits.splits["test"].labels).mean())
    assert average(model, digits.splits["test"], 0)["error"] == pytest.approx(wrong, abs=1e-6)


def test_it_learns_and_is_read_again(digits: Dataset, tmp_path: Path) -> None:
    run = ganvas.train("semisupervised-gan", epochs=6, patience=1, out=tmp_path / "run", **FAST)
    errors = [row["error"] for row in run.metrics if row["split"] == "validation"]
    assert len(errors) == 6 and errors[-1] < 0.4, "no early stopping by labels; chance is 0.9"
    assert not (run.path / "checkpoints" / "best").exists(), "the validation labels choose nothing"
    model: Any = ganvas.load(run.path)
    images = to_tensor(digits.splits["test"].images)
    wrong = float((model.classify(images).argmax(1).numpy() != digits.splits["test"].labels).mean())
    assert run.state["test"]["error"] == pytest.approx(wrong, abs=0.01)
    assert (
        model.sample(3).shape == (3, 1, 8, 8) and 0 <= float(model.sample(3).min()) <= float(model.sample(3).max()) <= 1
    )
    assert torch.equal(model.sample(2, seed=4), model.sample(2, seed=4))
    for images in (torch.rand(2, 1, 7, 8), torch.full((1, 1, 8, 8), torch.nan)):
        with pytest.raises(UserError):
            model.classify(images)


def test_a_broken_run_ends_as_an_unbroken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas.training import loop
    from ganvas.training.game import Game

    whole = ganvas.train("semisupervised-gan", epochs=2, out=tmp_path / "whole", **FAST)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    played = Game.play

    def play(game: Game) -> Any:
        if game.step == 15 and not getattr(game, "again", False):
            raise RuntimeError("killed")
        return played(game)

    monkeypatch.setattr(Game, "play", play)
    with pytest.raises(RuntimeError):
        ganvas.train("semisupervised-gan", epochs=2, out=tmp_path / "broken", **FAST)
    monkeypatch.setattr(Game, "play", played)
    broken = ganvas.resume(tmp_path / "broken")
    assert broken.state["test"] == whole.state["test"]
    assert all(
        torch.equal(a, b)
        for a, b in zip(broken.model.state_dict().values(), whole.model.state_dict().values(), strict=True)
    )


def test_the_recipe_is_the_released_codes() -> None:
    """Nets, noise, Adam with 1e-8 under the root, batches of 100 for 300 epochs (Salimans et al. 2016)."""
    recipe = RECIPES["semisupervised-gan"](labels_per_class=2, classes=4)
    assert (recipe.model.labels_per_class, recipe.model.classes, recipe.data.labelled) == (2, 4, True)
    assert (recipe.training.batch_size, recipe.training.epochs) == (100, 300)
    model = SemisupervisedGANModel(recipe.model, (1, 28, 28))
    widths = {
        name: [len(layer.v) for layer in player.modules() if isinstance(layer, WeightNormLinear)]
        for name, player in model.players().items()
    }
    assert widths == {"discriminator": [1000, 500, 250, 250, 250, 4], "generator": [784]}
    levels = [layer.level for layer in model.discriminator.modules() if isinstance(layer, GaussianNoise)]
    assert levels == [0.3, *[0.5] * 5]
    for name, turn in recipe.training.turns.items():
        made = turn.optimizer.make(model.players()[name]).defaults
        assert (made["lr"], made["betas"], made["eps"]) == (3e-3, (0.5, 0.999), 1e-4)
