import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data.reading import read_rows
from ganvas.ground.errors import UserError

colour = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), np.uint8)
wanted = torch.from_numpy(colour).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize(
    "x",
    [
        colour,
        torch.from_numpy(colour),
        colour.transpose(0, 3, 1, 2),
        (colour / 255).astype(">f4"),
        (colour / 255).astype(np.float64),
        wanted,
        colour.astype(np.uint16) * 257,
        colour.astype(">u2") * np.uint16(257),
        torch.from_numpy(colour.astype(np.uint16) * 257),
        colour.astype(np.int64),
        list(colour),
        [Image.fromarray(image) for image in colour],
        list(wanted),
    ],
)
def test_all_kinds_give_the_same_rows(x):
    rows = read_rows(x, (3, 6, 8))
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows, wanted, atol=1e-6, rtol=0)


def test_one_image_grey_images_and_a_range():
    torch.testing.assert_close(read_rows(colour[0], (3, 6, 8)), wanted[:1])
    torch.testing.assert_close(read_rows(Image.fromarray(colour[0]), (3, 6, 8)), wanted[:1])
    grey = colour[..., 0]
    for x in (grey, grey[0], grey[..., None], grey[:, None]):
        assert (read_rows(x, (1, 6, 8)) == wanted[: len(read_rows(x, (1, 6, 8))), :1]).all()
    assert read_rows(np.array([[[-100, 100], [0, 300]]]), (1, 2, 2), (-100, 100)).flatten().tolist() == [0, 1, 0.5, 1]
    assert read_rows(np.arange(6).reshape(2, 3), (3,)).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_files_and_folders(tmp_path):
    for i, image in enumerate(colour):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    torch.testing.assert_close(read_rows(tmp_path, (3, 6, 8)), wanted)
    torch.testing.assert_close(read_rows(str(tmp_path / "2.png"), (3, 6, 8)), wanted[2:3])
    torch.testing.assert_close(read_rows([tmp_path / "2.png", tmp_path / "0.png"], (3, 6, 8)), wanted[[2, 0]])


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.zeros((2, 5, 5)), r"images of shape \(2, 5, 5\): this model takes \(N, 3, 6, 8\), or \(N, 6, 8, 3\)"),
        ([], "the list is empty"),
        ("nowhere.png", "there is no 'nowhere.png'"),
        (np.array(["a"]), "numbers are needed"),
        (wanted * 255, "floats must be in"),
        (wanted * float("nan"), "NaN"),
    ],
)
def test_what_can_be_no_rows(x, says):
    with pytest.raises(UserError, match=says):
        read_rows(x, (3, 6, 8))


DEEP = np.linspace(-1000, 3000, 5 * 6 * 8).reshape(5, 6, 8).round().astype(np.int16)
TWELVE = np.random.default_rng(1).integers(0, 4096, (5, 6, 8)).astype(np.uint16)


@pytest.mark.parametrize(
    ("x", "known"),
    [
        (DEEP, (-1000, 3000)),
        (DEEP.astype(np.int64), (-1000, 3000)),
        (DEEP.astype(np.float32), (-1000, 3000)),
        (torch.from_numpy(DEEP), (-1000, 3000)),
        (list(DEEP), (-1000, 3000)),
        (TWELVE, (0, 4095)),
        (TWELVE.astype(">u2"), (0, 4095)),
        ([Image.fromarray(image) for image in TWELVE], (0, 4095)),
        ((TWELVE % 17).astype(np.uint8), (0, 16)),
    ],
)
def test_raw_values_are_read_in_the_range_of_the_training(x, known):
    given = np.stack([np.asarray(part) for part in x]).astype(np.float64)
    expected = (given - known[0]) / (known[1] - known[0])
    found = read_rows(x, (1, 6, 8), known=known)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-4)
    np.testing.assert_array_equal(found, read_rows(found, (1, 6, 8), known=known))  # and again, as a model has them


def test_files_are_read_in_the_range_of_the_training(tmp_path):
    for i, image in enumerate(TWELVE):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    expected = torch.from_numpy(TWELVE[:, None] / 4095).float()
    one = tmp_path / "2.png"
    for x, rows in ((tmp_path, expected), (one, expected[2:3]), (one.read_bytes(), expected[2:3])):
        torch.testing.assert_close(read_rows(x, (1, 6, 8), known=(0, 4095)), rows, atol=1e-4, rtol=0)
    Image.fromarray(colour[0]).save(one)  # bytes beside wider ones: 0 to 255
    torch.testing.assert_close(read_rows(one, (3, 6, 8), known=(0, 4095)), wanted[:1])
    torch.testing.assert_close(read_rows(colour, (3, 6, 8), known=(50, 200)), ((wanted * 255 - 50) / 150).clamp(0, 1))


def test_bytes_that_are_no_image():
    with pytest.raises(UserError, match="this image can't be read"):
        read_rows(b"no image", (1, 6, 8))


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.zeros((4, 5)), r"rows of shape \(4, 5\): this model takes \(N, 3\)"),
        ([[1.0, 2.0, 3.0], [1.0, float("nan"), 3.0]], "row 1, column 1, holds NaN"),
        ([["a", "b", "c"]], "numbers are needed"),
        ([[1.0, 2.0, 3.0], [1.0, 2.0]], "a list whose 2 parts differ in shape"),
    ],
)
def test_what_can_be_no_rows_of_numbers(x, says):
    with pytest.raises(UserError, match=says):
        read_rows(x, (3,))
