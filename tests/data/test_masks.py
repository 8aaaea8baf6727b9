"""Which pixels are missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganvas.data.masks import MASKS, read_mask
from ganvas.ground.errors import UserError

SHAPE = (3, 4, 6)
DRAWN = {
    "left": ["###...", "###...", "###...", "###..."],
    "right": ["...###", "...###", "...###", "...###"],
    "top": ["######", "######", "......", "......"],
    "bottom": ["......", "......", "######", "######"],
    "centre": ["......", "..##..", "..##..", "......"],
    "box 1 2 3 1": ["......", "......", ".###..", "......"],
}


def drawn(mask: torch.Tensor) -> list[str]:
    return ["".join(".#"[int(pixel)] for pixel in row) for row in mask]


@pytest.mark.parametrize("name", DRAWN)
def test_named(name: str) -> None:
    assert drawn(read_mask(name, SHAPE)) == DRAWN[name]


def test_all_names_are_drawn() -> None:
    assert {*MASKS} == {name for name in DRAWN if " " not in name}


def test_noise_is_of_its_seed() -> None:
    mask = read_mask("noise", (1, 100, 100))
    assert torch.equal(mask, read_mask("noise", (1, 100, 100), 0))
    assert not torch.equal(mask, read_mask("noise", (1, 100, 100), 1))
    assert abs(float(mask.float().mean()) - 0.5) < 5 * 0.5 / 100  # false alarm under 1e-6
    assert read_mask("noise", (40,)).shape == (40,)


def test_a_file_s_white_pixels_are_missing(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6), np.uint8)
    pixels[0, :2], pixels[3, 5] = (255, 200), 100
    for mode, name in (("L", "a b.png"), ("RGB", "c.png")):
        Image.fromarray(pixels).convert(mode).save(tmp_path / name)
        for path in (tmp_path / name, str(tmp_path / name)):
            assert drawn(read_mask(path, SHAPE)) == ["##....", "......", "......", "......"]


def test_arrays() -> None:
    for mask in (np.eye(4, 6, dtype=bool), torch.eye(4, 6), np.eye(4, 6).tolist()):
        assert torch.equal(read_mask(mask, SHAPE), torch.eye(4, 6, dtype=torch.bool))


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        ("middle", "unknown mask 'middle'.*Known: bottom, box X Y W H, centre.* image file also does"),
        ("left 3", "unknown mask 'left 3'"),
        ("box 1 2 3", "a box takes four whole numbers"),
        ("box 1 2 3 -1", "a box takes four whole numbers"),
        ("box 1 2 3 3", "goes beyond the images, which are 6 wide and 4 high"),
        ("box 1 2 0 2", "has no missing pixel: paint white"),
        ("box 0 0 6 4", "has no visible pixel: paint black"),
        (np.zeros((6, 4)), r"is of 6 x 4 \(height x width\), and the images of 4 x 6"),
        (np.zeros((1, 4, 6)), "is of 1 x 4 x 6"),
        (np.full((4, 6), 255), "other values than 0 and 1"),
        (np.full((4, 6), np.nan), "other values than 0 and 1"),
        (None, "the mask: "),
    ],
)
def test_refusals(mask: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_mask(mask, SHAPE)


def test_files_that_are_no_masks(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 255).save(tmp_path / "small.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match="is of 4 x 4"):
        read_mask(tmp_path / "small.png", SHAPE)
    with pytest.raises(UserError, match=r"text\.png can't be read"):
        read_mask(tmp_path / "text.png", SHAPE)
    with pytest.raises(UserError, match="take noise, or an array"):
        read_mask("left", (7,))
