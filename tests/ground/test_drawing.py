from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image

from ganvas.ground import drawing


def test_the_style_ends_with_its_block() -> None:
    before = mpl.rcParams["axes.grid"]
    with drawing.style():
        assert mpl.rcParams["axes.grid"] is True
    assert mpl.rcParams["axes.grid"] == before


def test_strips_show_every_image_beside_its_name(tmp_path: Path) -> None:
    with drawing.style():
        figure = drawing.figure(3, 2)
        axes = figure.subplots()
        drawing.strips(axes, {"black": torch.zeros(3, 1, 28, 28), "white": torch.ones(3, 1, 28, 28)})
        (picture,) = axes.get_images()
        shown = np.asarray(picture.get_array())
        names = {label.get_text(): tick for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
        assert shown[int(names["black"]), 20] == 0 and shown[int(names["white"]), 20] == 255
        assert drawing.save(figure, tmp_path / "new" / "a.png").is_file()
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.size == (3 * 150, 2 * 150)


def test_an_array_is_saved_as_it_is(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    with Image.open(drawing.save(picture, tmp_path / "a.png")) as image:
        np.testing.assert_array_equal(np.asarray(image), picture)


def test_images_are_packed_and_unpacked() -> None:
    """Near what they were: WebP loses little of smooth images."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 16), torch.linspace(0, 1, 24), indexing="ij")
    smooth = torch.stack([torch.stack([y, x, (x + y + i) / 4]) for i in range(3)])
    again = drawing.unpacked(drawing.packed(smooth), 3)
    assert again.shape == smooth.shape
    assert (again - smooth).abs().mean() < 0.02
    grey = drawing.unpacked(drawing.packed(smooth[:, :1]), 3)
    assert (grey - smooth[:, :1]).abs().mean() < 0.02
    assert drawing.unpacked(drawing.packed(torch.rand(2, 7, 8, 8)), 2).shape == (2, 3, 8, 8), "the mean of 7 channels"
