import inspect
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import ganvas
from ganvas import sklearn as estimators
from ganvas.ground.errors import UserError
from ganvas.recipes import RECIPES

ROUNDED = "float32: a row's last digits depend on how many others are computed with it"
# Checks that compare to 1e-7 what float32 can't give to 1e-7.
FAILED = {"check_methods_subset_invariance": ROUNDED, "check_methods_sample_order_invariance": ROUNDED}


def small(name: str = "VAE", **values: Any) -> Any:
    return getattr(estimators, name)(**{"latent_dim": 2, "epochs": 1, "random_state": 0, **values})


@parametrize_with_checks([small("Autoencoder"), small("VAE")], expected_failed_checks=lambda _: FAILED)
def test_scikit_learn_s_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    """Rows (60, 5) of different units; the first two columns are one number but for noise."""
    random = np.random.default_rng(0)
    one = random.standard_normal((60, 1))
    rows = np.hstack([one, 100 * one + random.standard_normal((60, 1)), random.standard_normal((60, 3))])
    return rows * [1, 1, 2, 3, 4] + [0, 0, 5, 50, 500]


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """uint8 (90, 8, 8), 0 to 240."""
    return (load_digits().images[:90] * 15).astype(np.uint8)


def test_every_recipe_that_needs_no_labels_has_one() -> None:
    labelled = {"semisupervised-gan"}
    of_images, of_points = {"denoiser"}, {"clustered-gan"}
    assert set(estimators.NAMES) == set(RECIPES) - labelled - of_images - of_points
    assert set(estimators.__all__) == {*estimators.NAMES.values(), "load"}


@pytest.mark.parametrize("name", estimators.NAMES.values())
def test_every_estimator_fits_images(name: str, digits: np.ndarray) -> None:
    """And each of its methods gives what is in the form of the images, or one number for each."""
    made = getattr(estimators, name)(epochs=1, random_state=0).fit(digits)
    assert made.history_ and made.score_samples(digits[:3]).shape == (3,)
    if hasattr(made, "sample"):
        assert made.sample(2, 0).shape == (2, 8, 8)
    if hasattr(made, "transform"):
        assert made.inverse_transform(made.transform(digits[:3])).shape == (3, 8, 8)


def test_codes_and_reconstructions_are_those_of_the_model(table: np.ndarray) -> None:
    made = small().fit(table)
    codes = made.model_.encode(table.astype(np.float32)).numpy()
    np.testing.assert_allclose(made.transform(table), codes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made.inverse_transform(codes), made.model_.decode(codes).numpy())
    assert made.score(table) == pytest.approx(float(made.model_.score_samples(table).mean()), rel=1e-5)


def test_it_learns(table: np.ndarray) -> None:
    """More passes bring rows back more nearly than the mean of each column does."""
    made = small("Autoencoder", epochs=60, latent_dim=3).fit(table)
    error = ((made.inverse_transform(made.transform(table)) - table) / table.std(0)) ** 2
    assert error.mean() < 0.7


def test_images_come_back_as_they_were_given(digits: np.ndarray) -> None:
    deep = small().fit(digits)
    flat = small(image_shape=(8, 8)).fit(digits.reshape(90, 64))
    assert deep.transform(digits).shape == (90, 2)
    np.testing.assert_array_equal(deep.transform(digits), flat.transform(digits.reshape(90, 64)))
    made = deep.inverse_transform(deep.transform(digits[:3]))
    assert made.shape == (3, 8, 8) and 20 < made.mean() < 120, "in the units of the images"
    assert flat.sample(4, random_state=0).shape == (4, 64)
    np.testing.assert_array_equal(deep.sample(4, 0).reshape(4, 64), flat.sample(4, 0))
    colour = np.stack([digits] * 3, -1)
    assert small().fit(colour).sample(2).shape == (2, 8, 8, 3)


def test_a_gan_samples_and_does_not_encode(table: np.ndarray) -> None:
    made = small("GAN").fit(table)
    assert made.sample(7, random_state=1).shape == (7, 5)
    assert not hasattr(made, "transform")


def test_pipelines_searches_and_frames(digits: np.ndarray) -> None:
    flat, labels = digits.reshape(90, 64), load_digits().target[:90]
    search = GridSearchCV(small(image_shape=(8, 8)), {"latent_dim": [2, 3], "beta": [0.5, 1.0]}, cv=2)
    assert search.fit(flat).best_params_.keys() == {"latent_dim", "beta"}
    model = make_pipeline(small(image_shape=(8, 8), latent_dim=8), LogisticRegression())
    assert model.fit(flat, labels).predict(flat).shape == (90,)
    frame = small(image_shape=(8, 8)).set_output(transform="pandas").fit_transform(flat)
    assert list(frame.columns) == ["vae0", "vae1"]


def test_saved_and_loaded_without_a_pickle(table: np.ndarray, tmp_path: Path) -> None:
    made = small(beta=0.5).fit(table)
    found = estimators.load(made.save(tmp_path / "kept"))
    assert found.get_params() == made.get_params() and found.n_features_in_ == 5
    np.testing.assert_array_equal(found.transform(table), made.transform(table))
    np.testing.assert_array_equal(found.sample(3, 0), made.sample(3, 0))
    assert list(found.get_feature_names_out()) == ["vae0", "vae1"]
    ganvas.load(tmp_path / "kept")  # it is a model's folder, too
    with pytest.raises(UserError, match="no estimator"):
        estimators.load(tmp_path)
    (tmp_path / "kept" / "estimator.json").write_text(json.dumps({"estimator": "os"}))
    with pytest.raises(UserError, match="is no estimator's"):
        estimators.load(tmp_path / "kept")


def test_fitting_leaves_nothing_behind(table: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    small().fit(table)
    assert not list(tmp_path.iterdir())


def test_parameters_are_the_flags_of_the_recipe() -> None:
    made = estimators.VAE(beta=4.0, fit_prior=0)  # type: ignore[attr-defined]
    assert clone(made).get_params()["beta"] == 4.0
    assert "lr" in inspect.signature(estimators.GAN).parameters  # type: ignore[attr-defined]
    pickle.loads(pickle.dumps(made))
    with pytest.raises(TypeError, match="takes no colour"):
        small(colour=True)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"validation_fraction": 0}, "validation_fraction is 0"),
        ({"image_shape": (2, 2)}, r"\(2, 2\) has 4 numbers, and a row of X 5"),
        ({"beta": -1}, "beta: -1"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_what_can_t_work_is_refused(table: np.ndarray, values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**values).fit(table)


def test_an_estimator_that_was_not_fitted_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        small().save(tmp_path / "kept")


def test_a_random_state_object_is_not_saved(table: np.ndarray, tmp_path: Path) -> None:
    made = small(random_state=np.random.RandomState(0)).fit(table)
    with pytest.raises(UserError, match="not JSON serializable"):
        made.save(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_the_page_s_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs" / "sklearn.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.S)
    names: dict[str, Any] = {}
    exec(example.replace("epochs=20", "epochs=2"), names)
    assert names["codes"].shape == (1797, 8) and names["strange"].shape == (5, 64)
    assert 5 < names["rows"].max() < 17 and names["made"].shape == (10, 64)
    np.testing.assert_allclose(names["again"].transform(names["images"]), names["codes"], rtol=1e-4, atol=1e-5)
