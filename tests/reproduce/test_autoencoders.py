from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_tv_chambolle

from ganvas.data import Dataset
from ganvas.evaluate.measures.pictures import psnr
from ganvas.ground import drawing
from ganvas.models.base import FAMILIES
from ganvas.recipes import RECIPES
from ganvas.reproduce import autoencoders
from ganvas.reproduce.autoencoders import Classical
from ganvas.reproduce.lab import FIGURES, Lab


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_pca_is_the_singular_value_decomposition(random: np.random.Generator) -> None:
    train, rows = random.uniform(0.2, 0.8, (50, 6)), random.uniform(0.2, 0.8, (9, 6))
    codes, images = autoencoders.pca(train, rows, 2)
    mean = train.mean(0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:2]
    np.testing.assert_allclose(np.abs(codes), np.abs((rows - mean) @ axes.T), atol=1e-9)
    np.testing.assert_allclose(images, mean + (rows - mean) @ axes.T @ axes, atol=1e-9)
    assert autoencoders.pca(train * 5 - 2, rows * 9 - 4, 2)[1].min() == 0


def test_accuracy_is_of_the_test_rows_and_does_not_depend_on_scale(random: np.random.Generator) -> None:
    labels = np.arange(200) % 2
    features = np.stack([1e6 * labels + random.normal(size=200), random.normal(size=200)], 1)
    train = features[:100], labels[:100]
    assert autoencoders.accuracy(train, (features[100:], labels[100:])) == 1
    assert autoencoders.accuracy(train, (features[100:], 1 - labels[100:])) == 0
    assert autoencoders.accuracy(train, (1e-6 * features[:100], labels[:100])) == 0.5


def test_rows_become_images_again(random: np.random.Generator) -> None:
    images = torch.from_numpy(random.random((3, 2, 4, 5)).astype("float32"))
    assert torch.equal(autoencoders.as_images(images.flatten(1).numpy(), images), images)


@pytest.fixture
def noisy(random: np.random.Generator) -> tuple[Any, Any]:
    clean = np.zeros((3, 16, 16))
    clean[:, 4:12, 5:9] = 1
    return clean, (clean + 0.4 * random.normal(size=clean.shape)).clip(0, 1)


def test_a_classical_denoiser_is_scikit_images_with_a_line_after_it(noisy: tuple[Any, Any]) -> None:
    expected = np.stack([denoise_tv_chambolle(image, weight=0.3) for image in noisy[1]])
    plain, lined = (Classical("total variation", {"weight": 0.3}, *line) for line in ((), (2.0, -0.3)))
    np.testing.assert_allclose(plain(noisy[1]), expected)
    np.testing.assert_allclose(lined(noisy[1]), (2 * expected - 0.3).clip(0, 1))


@pytest.mark.parametrize("name", sorted({*autoencoders.denoisers()} - {autoencoders.BM3D}))
def test_tuning_finds_the_best_of_the_choices(
    name: str, noisy: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    function, choices = autoencoders.denoisers()[name]
    monkeypatch.setattr(autoencoders, "denoisers", lambda: {name: (function, choices[:6])})
    best = autoencoders.tune(name, *noisy)
    for settings in choices[:6]:
        raw = Classical(name, settings).raw(noisy[1])
        slope, offset = np.polyfit(raw.ravel(), noisy[0].ravel(), 1)
        value = psnr(noisy[0], Classical(name, settings, slope, offset)(noisy[1])).mean()
        assert value <= psnr(noisy[0], best(noisy[1])).mean() + 1e-9
        if settings == best.settings:
            assert (best.slope, best.offset) == pytest.approx((slope, offset))
    assert psnr(*noisy).mean() < psnr(noisy[0], best(noisy[1])).mean()


@pytest.mark.parametrize("name", ["codes", "denoising"])
def test_a_row_is_made_from_models_that_are_there(
    name: str, lab: Lab, only_blobs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trained:
        def __init__(self, recipe: str, **settings: Any) -> None:
            made = RECIPES[recipe](**{key: settings[key] for key in {"latent_dim"} & {*settings}}).model
            self.model = FAMILIES[type(made)](made, only_blobs.shape).eval()

    classical = autoencoders.denoisers()
    classical.pop(autoencoders.BM3D, None)  # it takes a second an image
    few = {name: (function, choices[:2]) for name, (function, choices) in classical.items()}
    monkeypatch.setattr(autoencoders, "denoisers", lambda: few)
    monkeypatch.setattr(lab, "train", lambda recipe, **settings: Trained(recipe, **settings))
    lab.seeds = (0, 1)
    with drawing.style():
        outcome = FIGURES[name](lab)
        drawing.save(outcome.figure, tmp_path / "a.png")
    assert not outcome.holds and all(len(measure.values) in (1, 2) for measure in outcome.measures)
    assert "128" in outcome.reason if name == "codes" else "on mnist at level 0.1 " in outcome.reason
