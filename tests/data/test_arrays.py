import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data import arrays, describe, load
from ganvas.ground.errors import UserError

grey = np.random.default_rng(0).integers(0, 256, (20, 6, 5), np.uint8)
colour = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), np.uint8)


def sizes(dataset) -> dict[str, int]:
    return {name: len(part) for name, part in dataset.splits.items()}


def rows(dataset) -> set[bytes]:
    return {image.tobytes() for part in dataset.splits.values() for image in part.images}


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (grey, (1, 6, 5)),
        (grey[:, None], (1, 6, 5)),
        (grey[..., None], (1, 6, 5)),
        (colour, (3, 6, 5)),
        (colour.transpose(0, 3, 1, 2), (3, 6, 5)),
        (torch.from_numpy(colour), (3, 6, 5)),
        (grey.astype(np.int64), (1, 6, 5)),
        (grey.astype(">f4"), (1, 6, 5)),
        (grey / 127.5 - 1, (1, 6, 5)),
        (np.where(grey == 255, 1.0000001, grey / 255), (1, 6, 5)),
        (grey / 255, (1, 6, 5)),
        (torch.from_numpy(grey) / 255, (1, 6, 5)),
    ],
)
def test_accepted_arrays_give_the_same_bytes(array, shape):
    dataset = load(array)
    assert (dataset.name, dataset.shape) == ("array", shape)
    assert sizes(dataset) == {"train": 16, "validation": 2, "test": 2}
    assert rows(dataset) == {row.tobytes() for row in (colour if shape[0] == 3 else grey)}


def test_labels_stay_with_their_images():
    images = np.broadcast_to(np.arange(100, 120, dtype=np.uint8)[:, None, None], (20, 4, 4))
    dataset = load(images, labels=np.arange(20) * 2)
    for part in dataset.splits.values():
        assert part.images[:, 0, 0, 0].tolist() == (part.labels + 100).tolist()
    assert dataset.classes == tuple(str(2 * value) for value in range(20))
    assert load(images).fingerprint != dataset.fingerprint


def test_points():
    points = np.random.default_rng(0).normal(size=(30, 2))
    dataset = load(points)
    assert dataset.shape == (2,) and dataset.splits["train"].images.dtype == np.float32
    for wrong in ({"size": 4}, {"channels": 1}, {"binarise": True}):
        with pytest.raises(UserError, match="points, not images"):
            load(points, **wrong)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((20, 20, 3), np.uint8), r"shape \(20, 20, 3\) could be one image or many"),
        (np.zeros((3, 20, 20), np.uint8), r"shape \(3, 20, 20\) could be one image or many"),
        (np.zeros((20, 3, 9, 3), np.uint8), "channels first or last; which cannot be told"),
        (np.zeros((20, 9, 9, 4, 2), np.uint8), r"shape \(20, 9, 9, 4, 2\); accepted are"),
        (grey * 1j, "complex128 values; numbers are needed"),
        (np.where(np.arange(20)[:, None, None] == 7, np.nan, grey / 255), "image 7 has values that are not numbers"),
        (np.zeros((0, 9, 9), np.uint8), "holds nothing"),
        (grey[:2], "2 usable images; at least 3"),
        (["a", object()], "no array of numbers"),
    ],
)
def test_refused_arrays(array, message):
    with pytest.raises(UserError, match=message):
        load(array)


def test_labels_that_do_not_match():
    with pytest.raises(UserError, match=r"have shape \(19,\), but there are 20 images"):
        load(grey, labels=np.arange(19))


def test_npy(tmp_path):
    np.save(tmp_path / "set.npy", grey)
    dataset = load(tmp_path / "set.npy")
    assert dataset.name == "set" and dataset.source == str(tmp_path / "set.npy") and rows(dataset) == rows(load(grey))
    np.save(tmp_path / "set.npy", grey[:10])
    assert sum(sizes(load(tmp_path / "set.npy")).values()) == 10


def test_no_pickle_is_loaded(tmp_path):
    np.save(tmp_path / "bad.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"bad\.npy cannot be read as a NumPy file without pickled objects"):
        load(tmp_path / "bad.npy")


@pytest.mark.parametrize("pattern", ["{}_images {}_labels", "x_{} y_{}", "{} {}_labels"])
def test_npz_with_splits(tmp_path, pattern):
    images, labels = pattern.split()
    parts = {"train": (grey[:12], np.arange(12) % 3), "test": (grey[12:], np.arange(8) % 3)}
    arrays = {images.format(name): value for name, (value, _) in parts.items()}
    arrays |= {labels.format(name): value[:, None] for name, (_, value) in parts.items()}
    np.savez(tmp_path / "set.npz", **arrays)
    dataset = load(tmp_path / "set.npz")
    assert sizes(dataset) == {"train": 11, "validation": 1, "test": 8} and dataset.classes == ("0", "1", "2")
    assert dataset.splits["test"].images[..., 0].tobytes() == grey[12:].tobytes()


def test_npz_with_one_array_and_wrong_keys(tmp_path):
    np.savez(tmp_path / "one.npz", grey)
    assert sizes(load(tmp_path / "one.npz"))["train"] == 16
    np.savez(tmp_path / "odd.npz", faces=grey, other=grey)
    with pytest.raises(UserError, match=r"cannot tell what 'faces' of \['faces', 'other'\] is"):
        load(tmp_path / "odd.npz")
    np.savez(tmp_path / "both.npz", images=grey, train_images=grey)
    with pytest.raises(UserError, match="either one array of images or one for each split"):
        load(tmp_path / "both.npz")
    np.savez(tmp_path / "short.npz", train=grey, test=grey, train_labels=np.zeros(20, int))
    with pytest.raises(UserError, match="labels for some splits only"):
        load(tmp_path / "short.npz")
    np.savez(tmp_path / "notest.npz", train=grey)
    with pytest.raises(UserError, match="both train and test are needed"):
        load(tmp_path / "notest.npz")


def test_prepared_from_the_same_copy():
    dataset = load(colour, size=(4, 4), channels=1)
    assert dataset.shape == (1, 4, 4)
    assert dataset.preparation.startswith(
        "size as given; 8 bit; then each image scaled (Lanczos) so that it covers 4 x 4"
    )
    assert dataset.source == load(colour).source and dataset.fingerprint != load(colour).fingerprint


def test_binarised_once_and_for_all(cache, monkeypatch, tmp_path):
    levels = np.broadcast_to(np.array([0, 51, 128, 255], np.uint8), (3000, 8, 4))
    one = load(levels, binarise=True)
    images = one.splits["train"].images
    assert set(np.unique(images)) == {0, 255}
    np.testing.assert_allclose(images.mean(axis=(0, 1))[:, 0] / 255, [0, 0.2, 128 / 255, 1], atol=0.02)
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "elsewhere"))
    two = load(levels, binarise=True)
    np.testing.assert_array_equal(two.splits["train"].images, images)
    assert one.fingerprint == two.fingerprint != load(levels).fingerprint


WRONG_LABELS = ["1.5", "1e30", "9223372036854775808", "inf"]
SOURCES = ["amat", "csv", "npz", "npy", "array", "pairs", "metadata", "json", "parquet", "cls"]


@pytest.mark.parametrize("label", WRONG_LABELS)
@pytest.mark.parametrize("source", SOURCES)
def test_labels_are_whole_numbers_whatever_they_are_read_from(label, source, tmp_path):
    load_labelled(source, ["3"] * 5, tmp_path)
    with pytest.raises(UserError, match=rf"the label of row 2 is '?{label[0]}.*; give whole"):
        load_labelled(source, ["3", "3", label, "3", "3"], tmp_path)


@pytest.mark.parametrize("blank", ["nan", ""])
@pytest.mark.parametrize("source", SOURCES)
def test_labels_that_are_not_known(blank, source, tmp_path):
    if not blank and source in ("amat", "npz", "npy", "array", "pairs", "parquet"):
        pytest.skip("numbers alone")
    found = load_labelled(source, ["7", "3", blank, "3", "7"], tmp_path)
    assert found.classes == ("3", "7") and "1 of 5 images have no label" in found.report
    assert dict(describe(found))["classes"] == "3 2, 7 2, not known 1"
    values = np.concatenate([found.splits[name].labels for name in found.splits])
    places = np.concatenate([found.splits[name].order for name in found.splits])
    assert values[np.argsort(places)].tolist() == [1, 0, -1, 0, 1]
    known = [split.labels[split.labelled] for split in found.splits.values()]
    assert np.concatenate(known).min() == 0
    found = load_labelled(source, [blank] * 5, tmp_path)
    assert found.classes is found.splits["train"].labels is None and "no labels: all 5 are blank" in found.report


@pytest.mark.parametrize(
    ("given", "classes", "expected"),
    [
        (["a", "", "b"], ("a", "b"), [0, -1, 1]),
        (["a", None, "b"], ("a", "b"), [0, -1, 1]),
        ([2, -1, 5], ("2", "5"), [0, -1, 1]),  # as scikit-learn says it
        ([-1, 1, -1], ("-1", "1"), [0, 1, 0]),  # the two classes of a linear classifier
        ([-1, None, 1], ("-1", "1"), [0, -1, 1]),
        ([-2, -1, 1], ("-2", "-1", "1"), [0, 1, 2]),
        ([3.0, float("nan"), 3.0], ("3",), [0, -1, 0]),
    ],
)
def test_what_stands_for_an_unknown_label(given, classes, expected):
    codes, names, _ = arrays.encode(arrays.whole(np.array(given, object), "labels"))
    assert names == classes and codes.tolist() == expected


@pytest.mark.parametrize("source", SOURCES)
def test_whole_numbers_may_be_written_as_floats(source, tmp_path):
    found = load_labelled(source, ["10.0", "2", "1e1", "2", "10"], tmp_path)
    assert found.classes == ("2", "10")


def load_labelled(source, labels, folder):
    """Five images with these labels."""
    numbers = [int(label) if label.isdigit() else float(label or "nan") for label in labels]
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8)
    path = folder / f"set-{len(list(folder.iterdir()))}"
    if source == "array":
        return load((images, np.array(numbers)))
    if source == "pairs":
        return load(Pairs(list(zip(images, numbers, strict=True))))
    if source == "npy":
        np.save(path.with_suffix(".npy"), np.array(numbers))
        return load(images, labels=path.with_suffix(".npy"))
    if source == "npz":
        np.savez(path.with_suffix(".npz"), images=images, labels=np.array(numbers))
        return load(path.with_suffix(".npz"))
    if source == "amat":
        rows = [" ".join(map(str, [*image.ravel(), label])) for image, label in zip(images, labels, strict=True)]
        path.with_suffix(".amat").write_text("\n".join(rows))
        return load(path.with_suffix(".amat"))
    encoded = [io.BytesIO() for _ in images]
    for image, out in zip(images, encoded, strict=True):
        Image.fromarray(image).save(out, "png")
    pngs = [out.getvalue() for out in encoded]
    if source == "parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        column = pa.array(labels if "9223372036854775808" in labels else numbers)
        pq.write_table(pa.table({"image": pngs, "label": column}), path.with_suffix(".parquet"))
        return load(path.with_suffix(".parquet"))
    if source == "cls":
        with tarfile.open(path.with_suffix(".tar"), "w") as shard:
            for i, (png, label) in enumerate(zip(pngs, labels, strict=True)):
                for kind, content in (("png", png), ("cls", label.encode())):
                    member = tarfile.TarInfo(f"{i}.{kind}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
        return load(path.with_suffix(".tar"))
    path.mkdir()
    for i, png in enumerate(pngs):
        (path / f"{i}.png").write_bytes(png)
    lines = [f"{i}.png,{label}" for i, label in enumerate(labels)]
    if source == "csv":
        table = path.with_suffix(".csv")
        table.write_text("\n".join(lines))
        return load(path, labels=table)
    if source == "json":
        (path / "metadata.jsonl").write_text(
            "\n".join(f'{{"file_name": "{i}.png", "label": "{label}"}}' for i, label in enumerate(labels))
        )
    else:
        (path / "metadata.csv").write_text("\n".join(["file_name,label", *lines]))
    return load(path)


class Pairs:
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]
