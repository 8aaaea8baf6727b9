from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from ganvas.data import load
from ganvas.ground.errors import UserError

random = np.random.default_rng(0)
images = random.integers(0, 256, (20, 6, 5, 3), np.uint8)
labels = np.arange(20) % 2
table = np.arange(60.0).reshape(20, 3)


def ragged() -> np.ndarray:
    """Images of one and of three channels in one array, which NumPy takes for objects."""
    parts = np.empty(2, object)
    parts[0], parts[1] = images[0], images[0][..., :1]
    return parts


class Pairs:
    """A map-style data set."""

    def __init__(self, rows: list) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> object:
        return self.rows[i]


def tensors() -> TensorDataset:
    import torch

    return TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))


def pictures() -> list[Image.Image]:
    return [Image.fromarray(image) for image in images]


def rows(dataset) -> set[bytes]:
    return {image.tobytes() for part in dataset.splits.values() for image in part.images}


@pytest.mark.parametrize(
    "make",
    [
        lambda: (images, labels),
        lambda: {"train": (images[:15], labels[:15]), "test": (images[15:], labels[15:])},
        tensors,
        lambda: DataLoader(tensors(), batch_size=3, shuffle=True),
        lambda: Pairs(list(zip(pictures(), labels.tolist(), strict=True))),
        lambda: Pairs([{"image": p, "label": k} for p, k in zip(pictures(), labels.tolist(), strict=True)]),
    ],
)
def test_images_with_labels(make):
    dataset = load(make())
    assert dataset.shape == (3, 6, 5) and dataset.classes == ("0", "1") and rows(dataset) == rows(load(images))
    for part in dataset.splits.values():
        for image, label in zip(part.images, part.labels, strict=True):
            assert labels[[(image == other).all() for other in images].index(True)] == label
    assert rows(load(dataset)) == rows(dataset) and load(dataset.source).fingerprint == dataset.fingerprint


def test_lists_and_frames(tmp_path):
    pandas = pytest.importorskip("pandas")
    assert rows(load(pictures())) == rows(load(list(images))) == rows(load(images))
    paths = [tmp_path / f"{i:02d}.png" for i in range(20)]
    for path, picture in zip(paths, pictures(), strict=True):
        picture.save(path)
    dataset = load(paths)
    assert rows(dataset) == rows(load(images)) and dataset.splits["test"].names[0] in map(str, paths)
    frame = pandas.DataFrame({"a": np.arange(9.0), "b": 1, "c": 2.5})
    assert load(frame).columns == ("a", "b", "c") and load(frame).shape == (3,)
    with pytest.raises(UserError, match=r"column 'd' of the data frame is .*, no numbers"):
        load(frame.assign(d="word"))
    with pytest.raises(UserError, match="column 'a' of the data frame is empty in row 0"):
        load(frame.replace({"a": {0.0: np.nan}}))


def test_labels_of_an_array_in_a_csv(tmp_path):
    np.save(tmp_path / "x.npy", images)
    (tmp_path / "y.csv").write_text("row,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(20)))
    assert load(tmp_path / "x.npy", labels=tmp_path / "y.csv").classes == ("a", "b")
    (tmp_path / "y.csv").write_text("label\n" + "a\n\n" * 9 + "b\nb\n\n\n")  # the last two lines are the end
    found = load(tmp_path / "x.npy", labels=tmp_path / "y.csv")
    assert found.classes == ("a", "b") and "9 of 20 images have no label" in found.report


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ([], "the list is empty"),
        ({}, "the dict of splits is empty"),
        ({"holdout": images}, "split 'holdout'"),
        (["nowhere.png"], "there is no file"),
        ([images[0], images[0, :3]], "all must have one"),
        (Pairs([]), "is empty"),
        (Pairs([{"text": "a"}]), "none holds images"),
        (Pairs([(image, 1.0) for image in images[1:]] + [(images[0], 0.5)]), "the label of row 19 is 0.5"),
        ([images[0], images[0][..., :1]], r"shapes \[\(6, 5, 1\), \(6, 5, 3\)\]: all must have one"),
        (ragged(), r"2 parts of shapes \[\(6, 5, 1\), \(6, 5, 3\)\]: all must have one, channels too"),
        ({"train": images, "test": images[..., :1]}, r"the splits differ in shape .*\(20, 6, 5, 1\)"),
        ({"train": images, "test": images[:0]}, r"test: shape \(0, 6, 5, 3\) holds nothing"),
        ({"train": images[:0], "test": images}, r"train: shape \(0, 6, 5, 3\) holds nothing"),
        ({"train": images, "dev": images[:, :4], "test": images}, r"'validation': \(20, 4, 5, 3\)"),
        ({"train": table, "dev": table[:, :2], "test": table}, r"the splits differ in shape .*\(20, 2\)"),
        (np.where(table == 7, np.nan, table), "row 2, column 1, has values that are not numbers"),
        (np.array([["a", "b"]] * 5), "numbers are needed"),
    ],
)
def test_what_is_no_data(source, says):
    with pytest.raises(UserError, match=says):
        load(source)


class Published(Pairs):
    """A Hugging Face data set whose labels have names."""

    def __init__(self, rows, names):
        super().__init__(rows)
        self.features = {"image": object(), "label": SimpleNamespace(names=names)}


@pytest.mark.parametrize("kind", [np.asarray, Image.fromarray])
def test_names_of_classes_that_a_data_set_states(kind):
    rows = [{"image": kind(image), "label": i % 3} for i, image in enumerate(images)]
    found = load(Published(rows, ["dog", "ant", "cat"]))
    assert found.classes == ("ant", "cat", "dog")
    for part in found.splits.values():
        assert [found.classes[i] for i in part.labels] == [("dog", "ant", "cat")[k % 3] for k in part.order]
    assert load(Published(rows, None)).classes == ("0", "1", "2")

    def changed(label):
        return Published([*rows[:4], {**rows[4], "label": label}, *rows[5:]], ["dog", "ant", "cat"])

    for wrong in (-2, 3):
        with pytest.raises(UserError, match=f"row 4 of the data set has label {wrong}, no class"):
            load(changed(wrong))
    for blank in (-1, None, np.float64("nan")):
        assert sum((part.labels == -1).sum() for part in load(changed(blank)).splits.values()) == 1
    unlabelled = [{**row, "label": None} for row in rows]
    for test in (Pairs(unlabelled), Published(unlabelled, ["x", "y", "z"])):
        found = load({"train": Published(rows, ["x", "y", "z"]), "test": test})
        assert (found.splits["test"].labels == -1).all() and found.classes == ("x", "y", "z")
    both = {"train": Published(rows, ["x", "y", "z"]), "test": Published(rows[:4], ["x", "y", "z"])}
    assert load(both).classes == ("x", "y", "z")


def test_deep_pictures_in_splits_have_one_range():
    deep = np.random.default_rng(0).integers(0, 4096, (9, 6, 5)).astype(np.uint16)
    deep[8] *= 15  # one beyond 12 bits: alone it would be read in another range than the others
    split = {"train": [Image.fromarray(one) for one in deep[:5]], "test": [Image.fromarray(one) for one in deep[5:]]}
    found = load(split)
    assert found.range == (deep.min(), deep.max())
    low, high = found.range
    test = found.splits["test"].images[..., 0] / 65535 * (high - low) + low
    np.testing.assert_allclose(test, deep[5:], atol=1)
    for values in (deep[0].astype(np.float32), deep[0].astype(np.int32) - 5000):
        with pytest.raises(UserError, match=r"an image of samples from .* in a dict of splits: give arrays"):
            load({**split, "test": [Image.fromarray(values)]})
