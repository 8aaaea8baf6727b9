from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from PIL import Image

from ganvas.plots import grid, rows, save

LINE = 90


def test_every_pixel_of_a_grid_has_its_place() -> None:
    images = torch.rand(5, 3, 60, 58)
    picture = grid(images, columns=2)
    assert picture.shape == (3 * 62 + 2, 2 * 60 + 2, 3) and picture.dtype == np.uint8
    for i, image in enumerate(images):
        top, left = 2 + 62 * (i // 2), 2 + 60 * (i % 2)
        cell = picture[top : top + 60, left : left + 58]
        np.testing.assert_array_equal(cell, np.rint(image.permute(1, 2, 0).numpy() * np.float32(255)))
        cell[:] = LINE
    assert (picture == LINE).all(), "what is no image is line, the sixth cell too"


def test_levels_are_rounded_and_clipped() -> None:
    picture = grid(torch.tensor([-0.5, 0.0, 0.5, 1.0, 2.0]).reshape(1, 1, 1, 5).repeat(1, 1, 60, 12))
    assert picture[2, 2:7, 0].tolist() == [0, 0, 128, 255, 255]


def test_small_images_are_magnified_without_smoothing() -> None:
    image = torch.tensor([[0.0, 1.0], [0.2, 0.4]])
    picture = grid(image[None, None])
    np.testing.assert_array_equal(picture[2:-2, 2:-2, 0], np.kron([[0, 255], [51, 102]], np.ones((28, 28))))


@given(
    st.integers(1, 30), st.sampled_from([1, 3]), st.integers(1, 70), st.integers(1, 70), st.none() | st.integers(1, 9)
)
@settings(deadline=None, max_examples=50)
def test_shape_of_a_grid(n: int, c: int, h: int, w: int, columns: int | None) -> None:
    picture = grid(torch.zeros(n, c, h, w), columns)
    zoom = max(z for z in range(1, 57) if z == 1 or z * max(h, w) <= 56)
    wide = columns or next(side for side in range(1, 31) if side * side >= n)
    high = next(rows for rows in range(1, 31) if rows * wide >= n)
    assert picture.shape == (high * (h * zoom + 2) + 2, wide * (w * zoom + 2) + 2, c)
    assert (picture == 0).sum() == n * c * h * w * zoom**2


def test_batches_under_one_another() -> None:
    """Seven of each in rows of three: the last rows are filled up with white."""
    a, b, white = torch.rand(7, 1, 60, 60), torch.rand(7, 1, 60, 60), torch.ones(2, 1, 60, 60)
    expected = torch.cat([a[:3], b[:3], a[3:6], b[3:6], a[6:], white, b[6:], white])
    np.testing.assert_array_equal(rows(a, b, columns=3), grid(expected, 3))
    np.testing.assert_array_equal(rows(a, b), grid(torch.cat([a, b]), 7))


def test_points_are_dots_with_y_upwards() -> None:
    picture = grid(torch.tensor([[0.0, 0.0], [1.2, 0.0], [0.0, 0.6]]))
    assert picture.shape == (256, 256, 1) and set(np.unique(picture)) == {0, 255}
    # The edge is 1.2 x 1.2 = 1.44 from the centre: 1.2 is 5/6 and 0.6 is 5/12 of 128 pixels away.
    assert {tuple(place) for place in np.argwhere(picture[..., 0] == 0)} == {(127, 128), (127, 234), (74, 128)}


def test_points_at_the_origin_alone_are_drawn() -> None:
    assert (grid(torch.zeros(4, 2)) == 0).sum() == 1


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_saved_picture_reads_back(channels: int, mode: str, tmp_path: Path) -> None:
    picture = grid(torch.rand(4, channels, 9, 7))
    path = save(picture, tmp_path / "new" / "folder" / "grid.png")
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", mode)
        np.testing.assert_array_equal(np.asarray(image).reshape(picture.shape), picture)
    assert [file.name for file in path.parent.iterdir()] == ["grid.png"]
