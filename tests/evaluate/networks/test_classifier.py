import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d

from ganvas.data import Dataset, Split, load
from ganvas.data.loader import to_tensor
from ganvas.evaluate import Classifier, train_classifier
from ganvas.evaluate.networks import classifier
from ganvas.evaluate.networks.classifier import augmented, blurred, body
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw

SHOWN = 10_000


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def digits(cache: Path) -> Dataset:
    return load("digits", progress=False)


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> Classifier:
    return train_classifier(digits, images=SHOWN, progress=False)


def squares(n: int = 400, labels: bool = True, **changes: Any) -> Dataset:
    """A bright square, left or right, in one of three colours, on 16 x 18 pixels."""
    random = np.random.default_rng(0)
    splits = {}
    for name, count in (("train", n), ("validation", 50), ("test", 100)):
        found = np.stack([random.integers(2, size=count), random.integers(3, size=count)], 1)
        images = random.integers(0, 60, (count, 16, 18, 3), dtype=np.uint8)
        for image, (side, colour) in zip(images, found, strict=True):
            image[5:11, 3 + 8 * side : 8 + 8 * side, colour] = 220
        splits[name] = Split(images, found if labels else None)
    values: dict[str, Any] = {
        "name": "squares", "source": "", "splits": splits, "shape": (3, 16, 18), "classes": None,
        "attributes": ("side", "colour"), "fingerprint": f"squares {n}", "report": (), "preparation": "",
    }  # fmt: skip
    return Dataset(**values | changes)


def test_digits(digits: Dataset, trained: Classifier) -> None:
    test = digits.splits["test"]
    images = to_tensor(test.images)
    found = trained.predict(images)
    assert found.shape == (250,) and found.dtype == np.int64
    assert (
        trained.accuracy == {"class": pytest.approx((found == test.labels).mean())} and trained.accuracy["class"] > 0.9
    )
    probabilities = trained.probabilities(images)["class"]
    assert probabilities.shape == (250, 10) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(1), found)
    np.testing.assert_array_equal(trained.predict(test.images.transpose(0, 3, 1, 2)), found)


def test_features_are_the_last_hidden_layer(digits: Dataset, trained: Classifier) -> None:
    images = to_tensor(digits.splits["test"].images)
    features = trained.features(images)
    assert features.shape == (250, 256) and features.dtype == np.float32 and features.min() == 0 < features.std()
    weight, bias = (tensor.detach().numpy() for tensor in (trained.head.weight, trained.head.bias))
    np.testing.assert_array_equal((features @ weight.T + bias).argmax(1), trained.predict(images))


def test_slight_blur_and_noise_change_little(digits: Dataset, trained: Classifier) -> None:
    images, labels = to_tensor(digits.splits["test"].images), digits.splits["test"].labels
    noise = 0.1 * Draw(0).normal("noise", tuple(images.shape))
    for changed in (blurred(images).lerp(images, 0.5), (images + noise).clamp(0, 1)):
        assert (trained.predict(changed) == labels).mean() > 0.85


def test_the_second_call_loads(digits: Dataset, trained: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("ganvas.evaluate.networks.classifier._train", never)
    again = train_classifier(digits, images=SHOWN)
    images = to_tensor(digits.splits["validation"].images)
    np.testing.assert_array_equal(again.features(images), trained.features(images))
    assert again.accuracy == trained.accuracy and again.values == {"class": 10} and again.single
    for other in ({"images": SHOWN - 1}, {"images": SHOWN, "seed": 1}):
        with pytest.raises(AssertionError, match="trained again"):
            train_classifier(digits, **other)


def test_several_attributes_and_a_damaged_cache(cache: Path) -> None:
    made = train_classifier(squares(), images=3200, progress=False)
    test = squares().splits["test"]
    found = made.predict(to_tensor(test.images))
    assert found.shape == (100, 2) and made.values == {"side": 2, "colour": 3}
    assert test.labels is not None
    assert [*made.accuracy.values()] == pytest.approx((found == test.labels).mean(0).tolist())
    assert min(made.accuracy.values()) > 0.95
    assert {name: p.shape for name, p in made.probabilities(to_tensor(test.images)).items()} == {
        "side": (100, 2),
        "colour": (100, 3),
    }
    newest = max((cache / "classifiers").iterdir(), key=lambda path: path.stat().st_mtime)
    for file, content in (("config.json", b"{"), ("model.safetensors", b"none")):
        (newest / file).write_bytes(content)
        again = train_classifier(squares(), images=3200, progress=False)
        # Trained anew from the same seed: the same weights.
        np.testing.assert_array_equal(again.predict(to_tensor(test.images)), found)
        assert (newest / file).read_bytes() != content


def test_images_without_a_label_teach_nothing_and_are_not_judged(digits: Dataset) -> None:
    split = digits.splits["train"]
    labels = np.where(np.arange(len(split)) % 3 == 0, np.asarray(split.labels), -1)
    partly = Split(split.images, labels)
    [one, two] = [
        classifier.train_on(digits.shape, {"class": 10}, part, 3000, progress=False, single=True)
        for part in (partly, partly.of(partly.labelled))
    ]
    x = to_tensor(split.images)
    np.testing.assert_array_equal(one.features(x), two.features(x))
    right = (one.predict(x) == split.labels)[::3].mean()
    assert classifier._accuracy(one, partly) == {"class": pytest.approx(right)} and right > 0.5
    with pytest.raises(UserError, match="1 training images with labels, which go up to 9; at least 2 images"):
        labels = np.where(np.arange(len(split)) == 0, 9, -1)
        classifier._values(dataclasses.replace(digits, splits=digits.splits | {"train": Split(split.images, labels)}))


def test_the_test_split_is_never_trained_on() -> None:
    plain = squares(n=64)
    other = squares(n=64)
    other.splits["test"].images[:] = 0
    other.splits["validation"].images[:] = 0
    x = to_tensor(plain.splits["train"].images)
    one = train_classifier(plain, images=128, progress=False)
    two = train_classifier(Dataset(**vars(other) | {"fingerprint": "dark"}), images=128, progress=False)
    np.testing.assert_array_equal(one.features(x), two.features(x))
    assert one.accuracy != two.accuracy


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 40), (1, 8, 8), (2, 1, 90), (3, 150, 100), (1, 29, 31)])
def test_any_size(shape: tuple[int, ...]) -> None:
    assert body(shape).eval()(torch.rand(2, *shape)).shape == (2, 256)


def test_blur_against_scipy() -> None:
    images = np.random.default_rng(0).random((3, 2, 6, 7))
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    expected = convolve1d(convolve1d(images, kernel, 2, mode="nearest"), kernel, 3, mode="nearest")
    np.testing.assert_allclose(blurred(torch.from_numpy(images).float()), expected, rtol=1e-5)


def test_augmentation_is_mild_and_drawn_from_the_step() -> None:
    images = torch.rand(64, 1, 32, 32)
    found = augmented(images, Draw(0, 1))
    assert torch.equal(found, augmented(images, Draw(0, 1))) and not torch.equal(found, augmented(images, Draw(0, 2)))
    # The last quarter is only shifted, by at most 2 pixels.
    middle = found[-8:, :, 2:-2, 2:-2]
    shifts = [images[-8:, :, 2 + y : 30 + y, 2 + x : 30 + x] for y in range(-2, 3) for x in range(-2, 3)]
    assert sum(torch.equal(middle, shifted) for shifted in shifts) == 1
    assert found.shape == images.shape and (found - images).abs().max() > 0


def test_refused(trained: Classifier, digits: Dataset) -> None:
    for dataset, message in (
        (squares(labels=False), "'squares' has no labels to learn: .* pixels, pca"),
        (squares(shape=(2,)), "'squares' is points.*captured_modes"),
        (
            squares(splits={"train": Split(squares().splits["train"].images, np.zeros(400, np.int64))}),
            "400 training images with labels, which go up to 0",
        ),
    ):
        with pytest.raises(UserError, match=message):
            train_classifier(dataset)
    images = to_tensor(digits.splits["test"].images)
    for bad, message in (
        (images * 2 - 1, r"in \[0, 1\]"),
        (images[:, :, 1:], r"\(N, 1, 8, 8\) is needed"),
        (images * torch.nan, "NaN"),
    ):
        with pytest.raises(UserError, match=message):
            trained.predict(bad)


def test_a_training_that_diverges_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.evaluate.networks.classifier.RATE", 1e12)
    with pytest.raises(UserError, match="diverged"):
        train_classifier(squares(n=64), images=640, progress=False)
