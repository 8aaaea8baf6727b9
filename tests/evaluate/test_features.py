import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ganvas.data import Dataset, Split, load
from ganvas.data.loader import to_tensor
from ganvas.errors import UserError
from ganvas.evaluate import Classifier, frechet_distance
from ganvas.evaluate.classifier import blurred
from ganvas.evaluate.features import FEATURES, features, principal


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load("digits", progress=False)


@pytest.fixture
def images(digits: Dataset) -> torch.Tensor:
    return to_tensor(digits.splits["test"].images)


def test_every_kind(digits: Dataset, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(FEATURES) == {"pixels", "pca", "classifier", "random"}
    made = Classifier(digits.shape, {"class": 10}, True)
    monkeypatch.setattr("ganvas.evaluate.features.train_classifier", lambda dataset: made)
    for name in FEATURES:
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
    np.testing.assert_array_equal(features("pixels", dataset)(parts["test"]), points)


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
