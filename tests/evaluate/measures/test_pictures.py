import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio

from ganvas.evaluate import psnr, sharpness
from ganvas.ground.errors import UserError


def test_psnr_against_scikit_image() -> None:
    random = np.random.default_rng(0)
    x, y = random.random((5, 3, 8, 9)), random.random((5, 3, 8, 9))
    expected = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(psnr(x, y), expected, rtol=1e-12)
    np.testing.assert_allclose(psnr(torch.from_numpy(x), y), expected, rtol=1e-12)
    bytes_of = [(255 * z).astype(np.uint8) for z in (x, y)]
    expected = [peak_signal_noise_ratio(a, b) for a, b in zip(*bytes_of, strict=True)]
    np.testing.assert_allclose(psnr(*bytes_of, peak=255), expected, rtol=1e-12)


def test_psnr_by_hand() -> None:
    x = np.zeros((3, 1, 2, 2))
    y = x + np.array([0.1, 0, 1]).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(psnr(x, y), [20, np.inf, 0], atol=1e-12)


def test_sharpness_against_scipy() -> None:
    images = np.random.default_rng(0).random((4, 3, 9, 7))
    expected = [ndimage.laplace(image.mean(0))[1:-1, 1:-1].var() for image in images]
    np.testing.assert_allclose(sharpness(images), expected, rtol=1e-12)


def test_sharpness_of_known_pictures() -> None:
    board = np.indices((8, 8)).sum(0) % 2
    slope = np.linspace(0, 1, 8)[None].repeat(8, 0)
    np.testing.assert_allclose(sharpness(np.stack([board, slope])[:, None].astype(float)), [16, 0], atol=1e-12)


def test_blur_lowers_sharpness() -> None:
    images = np.random.default_rng(0).random((4, 1, 16, 16))
    soft = [ndimage.gaussian_filter(images, (0, 0, s, s)) for s in (0.5, 1, 2)]
    values = [sharpness(x) for x in (images, *soft)]
    assert all((a > b).all() for a, b in itertools.pairwise(values))


def test_refused() -> None:
    x = np.zeros((2, 1, 4, 4))
    bad: list[tuple[Any, Any, str]] = [
        (x, x[:1], "two of one shape"),
        (x, x + 2, r"y: values from 2 to 2; they must lie in \[0, 1\]"),
        (x, x + np.nan, "y: row 0 holds NaN"),
        (np.zeros(3), np.zeros(3), "two of one shape"),
    ]
    for one, other, message in bad:
        with pytest.raises(UserError, match=message):
            psnr(one, other)
    for image, message in ((x[0], "is needed"), (x[..., :2], "at least 3"), (x - 1, r"in \[0, 1\]")):
        with pytest.raises(UserError, match=message):
            sharpness(image)
