import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data.reading import read_rows
from ganvas.errors import UserError

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
