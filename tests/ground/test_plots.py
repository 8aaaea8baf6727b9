from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from PIL import Image

from ganvas.ground.errors import UserError
from ganvas.ground.plots import YELLOW, captioned, equation, film, grid, rows, save, save_each, suffix

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


@pytest.mark.parametrize("channels", [2, 5, 7])
def test_images_of_other_channels_are_shown_by_their_mean(channels: int, tmp_path: Path) -> None:
    images = torch.rand(4, channels, 9, 7)
    mean = images.mean(1, keepdim=True)
    np.testing.assert_array_equal(grid(images), grid(mean))
    np.testing.assert_array_equal(rows(images, images), rows(mean, mean))
    np.testing.assert_array_equal(captioned(images, ["a"] * 4, 2), captioned(mean, ["a"] * 4, 2))
    with pytest.raises(UserError, match=f"1, 3 or 4 channels, and these images {channels}: give a name in .npy"):
        save_each([images], 4, tmp_path / "out")


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_saved_picture_reads_back(channels: int, mode: str, tmp_path: Path) -> None:
    picture = grid(torch.rand(4, channels, 9, 7))
    path = save(picture, tmp_path / "new" / "folder" / "grid.png")
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", mode)
        np.testing.assert_array_equal(np.asarray(image).reshape(picture.shape), picture)
    assert [file.name for file in path.parent.iterdir()] == ["grid.png"]


def test_framed_images_have_yellow_lines_round_them() -> None:
    images = torch.rand(5, 1, 60, 58)
    plain, framed = grid(images, 2), grid(images, 2, framed=[1, 4])
    assert framed.shape == (*plain.shape[:2], 3)
    yellow = np.zeros(plain.shape[:2], bool)
    yellow[0:64, 60:122] = yellow[124:188, 0:62] = True
    for top, left in ((2, 2), (2, 62), (64, 2), (64, 62), (126, 2)):
        yellow[top : top + 60, left : left + 58] = False
    assert (framed[yellow] == YELLOW).all()
    np.testing.assert_array_equal(framed[~yellow], np.repeat(plain[~yellow], 3, -1))


def test_an_equation() -> None:
    """Columns with their average below, signs between them, then 3 x 3, then one image; each whole and in its place."""
    levels = np.linspace(50, 200, 21).round().astype(np.uint8)
    levels[levels == LINE] += 1
    images = torch.from_numpy(levels)[:, None, None, None].expand(21, 1, 60, 58) / 255
    terms, result, pixels = images[:11].split((4, 3, 4)), images[11:20], images[20]
    picture = equation(terms, result, pixels)[..., 0]
    assert picture.dtype == np.uint8

    places = [np.argwhere(picture == level) for level in levels]
    corners = np.array([place.min(0) for place in places])
    for place in places:
        assert len(place) == 60 * 58 and (np.ptp(place, 0) == [59, 57]).all()
    y, x = corners.T
    for column in (slice(0, 4), slice(4, 7), slice(7, 11)):
        *between, last = np.diff(y[column])
        assert set(x[column]) == {x[column][0]} and set(between) == {62} and last > 62, "the average stands apart"
    assert (np.diff(x[11:20].reshape(3, 3)) == 60).all() and (np.diff(y[11:20].reshape(3, 3), axis=0) == 62).all()
    assert abs((y[0] + y[3]) - (y[11] + y[19])) <= 2 and abs(y[15] - y[20]) <= 1, "one middle"

    # Between the blocks, at their middle: one bar, a cross, two bars, nothing.
    strips = [picture[:, x[a] + 61 : x[b] - 3] == 0 for a, b in ((0, 4), (4, 7), (7, 11), (19, 20))]
    bars = [np.diff(strip[:, strip.any(0).argmax()].astype(int)).clip(0).sum() for strip in strips]
    assert bars == [1, 1, 2, 0]
    assert [len(np.unique(strip.sum(0))) for strip in strips] == [2, 3, 2, 1], "the plus has a bar down, too"


def moving(channels: int, n: int = 7) -> list[np.ndarray]:
    """A bright square that wanders over a picture with odd sides."""
    pictures = np.full((n, 41, 63, channels), 40, np.uint8)
    for i, picture in enumerate(pictures):
        picture[8:30, 6 * i : 6 * i + 20] = 210
    return list(pictures)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gif_reads_back(channels: int, tmp_path: Path) -> None:
    path = film(moving(channels), tmp_path / "new" / "film.gif", rate=25)
    assert [file.name for file in path.parent.iterdir()] == ["film.gif"]
    with Image.open(path) as image:
        assert (image.format, image.n_frames, image.info["duration"], image.info["loop"]) == ("GIF", 7, 40, 0)
        for i, picture in enumerate(moving(channels)):
            image.seek(i)
            frame = np.asarray(image.convert("RGB")).astype(int)
            assert np.abs(frame - picture).max() <= 2


@pytest.mark.parametrize("channels", [1, 3])
def test_an_mp4_reads_back(channels: int, tmp_path: Path) -> None:
    """Lossy, and with even sides: what was there to a few levels on average, the edge repeated."""
    av = pytest.importorskip("av")
    path = film(moving(channels), tmp_path / "new" / "film.MP4", rate=25)
    assert [file.name for file in path.parent.iterdir()] == ["film.MP4"]
    with av.open(str(path)) as file:
        assert file.streams.video[0].average_rate == 25 and file.streams.video[0].pix_fmt == "yuv420p"
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in file.decode(video=0)]
    assert len(frames) == 7
    for frame, picture in zip(frames, moving(channels), strict=True):
        assert frame.shape == (42, 64, 3)
        assert np.abs(frame[:41, :63] - picture).mean() < 3 and np.abs(frame[41] - frame[40]).mean() < 3


def test_a_film_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    path.write_text("old")
    with pytest.raises(TypeError):
        film([*moving(1), np.full((4, 4, 7), 0.5)], path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_names_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [suffix(Path(name)) for name in ("a.png", "b.GIF", "c.mp4")] == [".png", ".gif", ".mp4"]
    for name in ("a.avi", "gif", "a.jpg"):
        with pytest.raises(UserError, match=r"a name that ends in \.png, \.gif or \.mp4"):
            suffix(Path(name))
    with pytest.raises(UserError, match=r"a film is a \.gif or \.mp4"):
        film(moving(1), tmp_path / "a.png")
    monkeypatch.setattr("ganvas.ground.plots.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs PyAV: pip install 'ganvas\[video\]', or take \.gif"):
        suffix(Path("a.mp4"))
    assert suffix(Path("a.gif")) == ".gif"


def test_rows_of_numbers_are_dots_by_the_first_two() -> None:
    rows = torch.tensor([[3.0, 1.0, 9e9], [-2.0, 0.5, 1.0]])
    assert (grid(rows) == grid(rows[:, :2])).all()
    assert (grid(rows[:, :1]) == grid(rows[:, :2] * torch.tensor([1.0, 0.0]))).all()
