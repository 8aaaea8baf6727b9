from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ganvas.data import Dataset, Split, load
from ganvas.data.loader import to_tensor
from ganvas.evaluate import Classifier, frechet_distance
from ganvas.evaluate.measures.kernel import kernel_distance
from ganvas.evaluate.networks.classifier import blurred
from ganvas.evaluate.networks.features import FEATURES, Features, features, principal, real_features
from ganvas.ground.errors import UserError


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load("digits", progress=False)


@pytest.fixture
def images(digits: Dataset) -> torch.Tensor:
    return to_tensor(digits.splits["test"].images)


def test_every_kind(digits: Dataset, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(FEATURES) == {"pixels", "pca", "classifier", "random", "inception", "dinov2"}
    made = Classifier(digits.shape, {"class": 10}, True)
    monkeypatch.setattr("ganvas.evaluate.networks.features.train_classifier", lambda dataset: made)
    for name in ("pixels", "pca", "classifier", "random"):
        extract = features(name, digits)
        found = extract(images)
        assert extract.name == name and len(found) == 250 and found.ndim == 2 and found.dtype.kind == "f"
        np.testing.assert_allclose(extract(digits.splits["test"]), found, rtol=1e-6)
        np.testing.assert_allclose(extract(images[7:9]), found[7:9], rtol=1e-3, atol=1e-5)


def test_pixels(digits: Dataset, images: torch.Tensor) -> None:
    np.testing.assert_array_equal(features("pixels", digits)(images), images.flatten(1).numpy())


def test_points() -> None:
    points = np.random.default_rng(0).standard_normal((30, 2)).astype(np.float32)
    parts = {name: Split(points, None) for name in ("train", "validation", "test")}
    dataset = Dataset("points", "", parts, (2,), None, None, "", (), "")
    np.testing.assert_allclose(
        features("pixels", dataset)(parts["test"]), (points - points.mean(0)) / points.std(0), rtol=1e-5
    )
    named = replace(dataset, source="ring")
    np.testing.assert_array_equal(features("pixels", named)(parts["test"]), points)


def test_a_column_in_large_units_hides_no_other() -> None:
    """A table of grams and metres is as far from another as one of tons and metres."""
    rows = np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32)

    def distance(scale: np.ndarray, name: str) -> float:
        parts = {part: Split(rows * scale, None) for part in ("train", "validation", "test")}
        space = features(name, Dataset("table", "", parts, (5,), None, None, "", (), ""))
        return kernel_distance(space(parts["test"]), space(torch.from_numpy((rows[:50] + 0.5) * scale)))[0]

    for name in ("pixels", "pca"):
        small = distance(np.ones(5, np.float32), name)
        assert distance(np.float32([1, 1e6, 1, 1e-3, 1]), name) == pytest.approx(small, rel=1e-3) and small > 0.1


def test_pca_against_scikit_learn(digits: Dataset, images: torch.Tensor) -> None:
    train = to_tensor(digits.splits["train"].images).flatten(1).double().numpy()
    fitted = PCA(20, svd_solver="full").fit(train)
    expected = fitted.transform(images.flatten(1).double().numpy())
    found = features("pca", digits)(images)
    assert found.shape[1] == np.linalg.matrix_rank(train - train.mean(0)) < 64  # some of the 64 pixels never vary
    signs = np.sign((found[:, :20] * expected).sum(0))
    np.testing.assert_allclose(found[:, :20] * signs, expected, atol=1e-8)


@pytest.mark.parametrize("shape", [(40, 9), (9, 40)])
def test_principal_directions(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).standard_normal(shape) + 5
    mean, directions = principal(rows, 6)
    variances = np.linalg.svd(rows - rows.mean(0), compute_uv=False)[:6]
    np.testing.assert_allclose(directions.T @ directions, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm((rows - mean) @ directions, axis=0), variances)
    assert (np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0) > 0).all()
    assert principal(rows[:3], 6)[1].shape[1] == 2


def test_random_features_are_the_same_each_time_and_see_damage(digits: Dataset, images: torch.Tensor) -> None:
    state = torch.get_rng_state()
    extract = features("random", digits)
    assert torch.equal(torch.get_rng_state(), state)
    train = to_tensor(digits.splits["train"].images)
    np.testing.assert_array_equal(features("random", digits)(images), extract(images))
    real, other = extract(train[:600]), extract(train[600:1200])
    slight, strong = (extract(train[600:1200].lerp(blurred(train[600:1200]), a)) for a in (0.3, 0.9))
    assert frechet_distance(real, other) < frechet_distance(real, slight) < frechet_distance(real, strong)


def test_refused(digits: Dataset, images: torch.Tensor) -> None:
    with pytest.raises(UserError, match=r"unknown kind of features 'pixel'. Did you mean 'pixels'\?"):
        features("pixel", digits)
    for bad, message in ((images - 1, r"in \[0, 1\]"), (images[:, :, 1:], "is needed"), (images[:0], "are no images")):
        with pytest.raises(UserError, match=message):
            features("pca", digits)(bad)
    for name, message in (
        ("pixels:net.onnx", "pixels takes no file; leave ':net.onnx' out"),
        ("dinov2", "dinov2 needs its file, ONNX or TorchScript: dinov2:PATH"),
        ("nets/none.onnx", "'nets/none.onnx' can't be read"),
        ("inception:none.pth", "no file 'none.pth'"),
    ):
        with pytest.raises(UserError, match=message):
            features(name, digits)
    for name in ("inception", "dinov2:net.onnx", "net.onnx"):
        with pytest.raises(UserError, match=r"shape \(2,\); .* takes images of 1 or 3 channels"):
            features(name, replace(digits, shape=(2,)))


def test_inception(digits: Dataset, images: torch.Tensor, accepted: Path) -> None:
    extract = features(f"inception:{accepted}", digits)
    found = extract(images[:3])
    assert extract.name == "inception" and found.shape == (3, 2048) and found.dtype == np.float32
    as_bytes = (255 * images[1:3]).round().to(torch.uint8).expand(-1, 3, -1, -1)
    colour = features(f"inception:{accepted}", replace(digits, shape=(3, 8, 8)))
    np.testing.assert_allclose(colour(as_bytes), found[1:], rtol=1e-3, atol=1e-5)


class Counted:
    """The pixels, and how many images they were asked of."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, images: torch.Tensor) -> Any:
        self.images += len(images)
        return images.flatten(1).numpy()


def test_real_features_are_kept(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    count = Counted()
    dear = Features("dear", digits.shape, count, "1")
    found = real_features(dear, digits, "train", 600)
    rows = {row.tobytes() for row in features("pixels", digits)(digits.splits["train"])}
    assert found.shape == (600, 64) and all(row.tobytes() in rows for row in found) and count.images == 600
    again = real_features(dear, digits, "train", 600)
    assert isinstance(again, np.memmap) and not again.flags.writeable and count.images == 600
    np.testing.assert_array_equal(again, found)
    assert frechet_distance(again, found) == pytest.approx(0, abs=1e-9)
    whole = real_features(dear, digits)
    np.testing.assert_array_equal(whole, features("pixels", digits)(digits.splits["test"]))
    for other in (
        lambda: real_features(dear, digits, "train", 599),
        lambda: real_features(dear, digits, "validation", 100),
        lambda: real_features(replace(dear, version="2"), digits),
        lambda: real_features(dear, replace(digits, fingerprint="other")),
    ):
        before = count.images
        other()
        assert count.images > before
    assert len(list((tmp_path / "features").iterdir())) == 6


def test_cheap_features_are_not_kept(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    made = [features(name, digits) for name in ("pixels", "pca", "random")]
    assert not any(extract.version for extract in made)
    assert real_features(made[0], digits, n=7).shape == (7, 64) and not (tmp_path / "features").exists()


def test_other_weights_are_other_features(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    nets = [Classifier(digits.shape, {"class": 10}, True) for _ in range(2)]
    versions = []
    for net in (nets[0], nets[0], nets[1]):
        monkeypatch.setattr("ganvas.evaluate.networks.features.train_classifier", lambda dataset, net=net: net)
        versions.append(features("classifier", digits).version)
    assert versions[0] == versions[1] != versions[2]


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_damaged_features_are_computed_again(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    count = Counted()
    dear = Features("dear", digits.shape, count, "1")
    found = np.array(real_features(dear, digits))
    (file,) = (tmp_path / "features").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:-40] + b"x" + content[-39:] if damage is None else damage)  # one byte, or all
    np.testing.assert_array_equal(real_features(dear, digits), found)
    assert count.images == 500 and file.read_bytes() == content
    file.write_bytes(content[:-1000])
    np.testing.assert_array_equal(real_features(dear, digits), found)
    assert count.images == 750


def test_real_features_refused(digits: Dataset) -> None:
    pixels = features("pixels", digits)
    for split, n, message in (
        ("tests", None, "unknown split 'tests'. Did you mean 'test'"),
        ("test", 251, "n is 251; the test split of 'digits' has 250 images"),
        ("test", 0, "n: 0 is refused"),
    ):
        with pytest.raises(UserError, match=message):
            real_features(pixels, digits, split, n)
