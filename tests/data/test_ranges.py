import numpy as np
import pytest

from ganvas.data import load, ranges
from ganvas.ground.errors import UserError

random = np.random.default_rng(0)
UNIT = random.random((20, 4, 4))


def images(dataset) -> np.ndarray:
    return np.concatenate([part.images for part in dataset.splits.values()])


@pytest.mark.parametrize(
    ("array", "span", "levels", "dtype"),
    [
        (random.integers(0, 256, (20, 4, 4), np.uint8), (0, 255), 256, np.uint8),
        (random.integers(0, 17, (20, 4, 4), np.uint8), (0, 16), 17, np.uint8),
        (random.integers(0, 17, (20, 4, 4)) * 1.0, (0, 16), None, np.uint16),
        (random.integers(-1000, 3000, (20, 40, 40)).astype(np.int16), (-1000, 2999), 4000, np.uint16),
        (UNIT, (0, 1), None, np.uint16),
        (UNIT * 2 - 1, (-1, 1), None, np.uint16),
        (UNIT * 255, (0, 255), None, np.uint16),
        (UNIT > 0.5, (0, 1), 2, np.uint8),
        (np.zeros((20, 4, 4), np.uint8), (0, 255), 256, np.uint8),
    ],
)
def test_the_range_is_the_datas(array, span, levels, dtype):
    dataset = load(array)
    assert (dataset.range, dataset.levels, images(dataset).dtype) == (span, levels, dtype)
    order = np.concatenate([part.order for part in dataset.splits.values()])
    top = np.iinfo(dtype).max
    back = images(dataset)[..., 0] / top * (span[1] - span[0]) + span[0]
    np.testing.assert_allclose(back, array[order].astype(float), atol=0.51 * (span[1] - span[0]) / top)


def test_an_asked_range_clips_and_is_kept_apart():
    dataset = load(UNIT * 100, range=(0, 50))
    assert dataset.range == (0, 50) and images(dataset).max() == 65535
    assert "as asked" in dataset.report[0] and load(UNIT * 100).fingerprint != dataset.fingerprint


@pytest.mark.parametrize(
    ("span", "says"),
    [
        ((5, 5), r"the first number must be the smaller"),
        ((9, 2), r"the first number must be the smaller"),
        ((7, 9), r"--range 7 9 holds none of its values"),
        ((0, float("nan")), "give two numbers"),
        ("ab", "give two numbers"),
    ],
)
def test_wrong_ranges(span, says):
    with pytest.raises(UserError, match=says):
        load(UNIT, range=span)
    with pytest.raises(UserError, match="rows of numbers"):
        load(np.ones((20, 5)), range=(0, 1))


@pytest.mark.parametrize(
    ("shape", "found"),
    [((20, 9, 9, 4), (4, 9, 9)), ((20, 5, 9, 8), (5, 9, 8)), ((20, 9, 8, 7), (7, 9, 8)), ((20, 784), (784,))],
)
def test_any_number_of_channels_and_rows(shape, found):
    dataset = load(random.integers(0, 256, shape, np.uint8))
    assert dataset.shape == found
    assert len(found) == 3 or images(dataset).dtype == np.float32
    assert any("channels, which come" in line for line in dataset.report) == (found[0] in (5, 7))


def test_tables(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("width,height\n" + "".join(f"{i},{i / 2}\n" for i in range(10)))
    dataset = load(path)
    assert dataset.columns == ("width", "height") and dataset.shape == (2,) and dataset.range is None
    (tmp_path / "table.tsv").write_text(path.read_text().replace(",", "\t"))
    assert (images(load(tmp_path / "table.tsv")) == images(dataset)).all()
    for row, says in (("1,red", "line 2: column 'b' is 'red', no number"), ("1,", "line 2: column 'b' is empty")):
        path.write_text(f"a,b\n{row}\n")
        with pytest.raises(UserError, match=says):
            load(path)
    for text, says in (("1,2\n3,4\n", "no header"), ("a,b\n", "no rows"), ("a,b\n1\n", "has 1 cells")):
        path.write_text(text)
        with pytest.raises(UserError, match=says):
            load(path)


def test_limit_takes_a_share_evenly_over_the_classes():
    labels = np.repeat([0, 1], [150, 50])
    dataset = load(random.integers(0, 256, (200, 4, 4), np.uint8), labels=labels, limit=80)
    assert {name: len(part) for name, part in dataset.splits.items()} == {"train": 80, "validation": 10, "test": 10}
    assert abs(int(dataset.splits["train"].labels.sum()) - 20) <= 2
    assert all((labels[part.order] == part.labels).all() for part in dataset.splits.values())
    with pytest.raises(UserError, match="limit: 0 is refused"):
        load(UNIT, limit=0)


def test_a_dev_set_is_the_validation_set_and_says_its_size(tmp_path):
    parts = {f"{name}_images": UNIT for name in ("train", "dev", "test")}
    np.savez(tmp_path / "set.npz", **parts)
    assert len(load(tmp_path / "set.npz").splits["validation"]) == 20
    np.savez(tmp_path / "set.npz", **parts | {"dev_images": UNIT[:, :3]})
    with pytest.raises(UserError, match="the splits differ in shape"):
        load(tmp_path / "set.npz")


def test_a_set_is_printed_on_a_line():
    dataset = load(UNIT)
    assert repr(dataset) == "<Dataset array: 1 x 4 x 4; train 16, validation 2, test 2>"
    assert repr(dataset.splits["test"]) == "<Split of 2: uint16 (4, 4, 1)>"


@pytest.mark.parametrize(
    ("low", "high", "kind", "known", "span"),
    [
        (0, 255, "u1", None, (0, 255)),
        (0, 255, "u1", (0, 255), (0, 255)),
        (0, 220, "u1", (50, 200), (50, 200)),  # as asked in training: what is outside is cut
        (0, 3, "u1", (0, 255), (0, 255)),
        (0, 200, "u1", (0, 4095), (0, 255)),  # a picture of bytes, for a model of 12 bits
        (0, 200, "u1", (-1000, 3000), (0, 255)),
        (0, 16, "u1", (0, 16), (0, 16)),
        (0, 18, "u1", (0, 16), (0, 16)),  # an edge that rings after scaling
        (0, 255, "u1", (0, 16), (0, 255)),
        (0, 1, "u1", (0, 1), (0, 1)),
        (0, 255, "u1", (0, 1), (0, 255)),
        (0, 0, "u1", (-1, 1), (0, 255)),
        (0, 4095, "u2", None, (0, 65535)),
        (0, 100, "u2", (0, 4095), (0, 4095)),
        (0, 65535, "u2", (1000, 3000), (1000, 3000)),
        (0, 65535, "u2", (0, 255), (0, 65535)),
        (0, 255, "u2", (0, 255), (0, 255)),
        (0, 60000, "u2", (-1, 1), (0, 65535)),
        (-2000, 9000, "i", (-1000, 3000), (-1000, 3000)),
        (0, 255, "i", None, (0, 255)),
        (0, 1, "i", None, (0, 1)),
        (0, 1, "i", (-1, 1), (-1, 1)),
        (0, 255, "i", (-1, 1), (0, 255)),
        (-5, 255, "i", None, None),
        (0, 300, "i", (0, 1), None),
        (0, 1, "f", (-1000, 3000), (0, 1)),
        (-1000, 3000, "f", (-1000, 3000), (-1000, 3000)),
        (-1000, 3001, "f", (-1000, 3000), None),
        (-2.1, 2.6, "f", (0, 255), None),  # normalised in another way
        (0, 255, "f", (0, 255), (0, 255)),
        (0, 16, "f", (0, 255), None),  # might as well be levels of their own
        (-1, 1, "f", (-1, 1), (-1, 1)),
        (0, 255, "f", None, None),
    ],
)
def test_the_range_that_a_model_reads_values_in(low, high, kind, known, span):
    assert ranges.read_in(low, high, kind, known) == span
    if span is None:
        with pytest.raises(UserError, match=rf"image values from {low:g} to {high:g}"):
            ranges.told(low, high, kind, known)
