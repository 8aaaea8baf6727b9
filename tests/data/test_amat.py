from pathlib import Path

import numpy as np
import pytest

from ganvas.data import load, mnist, sources
from ganvas.ground.errors import UserError

DRAW = np.random.default_rng(0)


def written(path: Path, n: int = 5, side: int = 4, label: int | None = None) -> np.ndarray:
    rows = DRAW.integers(0, 2, (n, side * side))
    table = rows if label is None else np.column_stack([rows, np.full(n, label)])
    path.write_text("".join(" ".join(map(str, row)) + " \n" for row in table.tolist()))
    return rows.reshape(n, side, side).astype(np.uint8) * 255


def test_a_folder_of_three_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    made = {
        name: written(folder / f"binarized_mnist_{name}.amat", n)
        for name, n in (("train", 7), ("valid", 3), ("test", 2))
    }
    dataset = load(folder)
    assert dataset.shape == (1, 4, 4) and dataset.classes is None
    for name, split in (("train", "train"), ("valid", "validation"), ("test", "test")):
        np.testing.assert_array_equal(dataset.splits[split].images[..., 0], made[name])
    assert load(folder / "binarized_mnist_train.amat").splits["train"].images.shape == (5, 4, 4, 1)


def test_a_table_with_labels_and_levels(tmp_path, monkeypatch):
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "mnist_rotation.amat"
    path.write_text("0.0 0.5 1.0 0.25 3\n" * 4)
    dataset = load(path)
    assert dataset.classes == ("3",) and dataset.splits["train"].labels.tolist() == [0, 0]
    assert dataset.splits["test"].images[0].ravel().tolist() == [0, 32768, 65535, 16384]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 1 0\n", "1 lines of 3 numbers: a square image a line"),
        ("0 1 x 1\n", "no table of numbers"),
        ("0 1 1 1\n0 1\n", "no table of numbers"),
        ("nan 0 1 1\n" * 4, "not numbers"),
    ],
)
def test_what_is_no_table_of_images(text, says, tmp_path, monkeypatch):
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "bad.amat"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        load(path)


def test_names_that_do_not_tell_the_split(tmp_path, monkeypatch):
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    for name in ("train", "other"):
        written(tmp_path / f"{name}.amat")
    with pytest.raises(UserError, match=r"other\.amat: which split it is cannot be told"):
        load(tmp_path)


def test_static_mnist_is_fetched_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    asked = []

    def download(mirrors, files, progress):
        asked.append((mirrors, files))
        return {name: (tmp_path / name).read_bytes() for name in files}

    made = [written(tmp_path / name, 4 + place) for place, name in enumerate(sources._STATIC_FILES)]
    monkeypatch.setattr(mnist, "download", download)
    dataset = load("static-mnist")
    assert asked == [(sources._STATIC_MIRRORS, sources._STATIC_FILES)] and dataset.splits["train"].labels is None
    for images, split in zip(made, dataset.splits.values(), strict=True):
        np.testing.assert_array_equal(split.images[..., 0], images)
    assert load("static-mnist", channels=3).shape == (3, 4, 4)


def test_static_mnist_without_network(tmp_path, monkeypatch):
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mnist, "_alive", lambda mirrors, name: [])
    with pytest.raises(
        UserError, match=r"Give a folder that holds binarized_mnist_train\.amat.*--data mnist --binarise"
    ):
        load("static-mnist")
