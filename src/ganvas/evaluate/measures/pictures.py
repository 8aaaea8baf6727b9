"""Measures of single images."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganvas.evaluate.measures import checks
from ganvas.evaluate.measures.checks import Floats
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.registry import Positive


@checked
def psnr(x: Any, y: Any, peak: Positive = 1.0) -> Floats:
    """Peak signal-to-noise ratio of each pair of images in dB: 10 log10(peak^2 / mean squared error).

    Args:
        x: images (N, ...) from 0 to `peak`.
        y: images of the same shape, whichever is the noisy one.
        peak: the largest possible value: 1 for floats, 255 for bytes.

    Returns:
        (N,); infinite where the two are equal.

    Raises:
        UserError: different shapes, NaN, values outside [0, peak].
    """
    x, y = checks.within(x, "x", peak), checks.within(y, "y", peak)
    if x.shape != y.shape or x.ndim < 2:
        raise UserError(f"images of shape {x.shape} and {y.shape}: two of one shape (N, ...) are needed.")
    error = ((x - y) ** 2).reshape(len(x), -1).mean(1)
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(peak**2 / error))


def sharpness(images: Any) -> Floats:
    """The variance of each image's Laplacian (Pech-Pacheco et al. 2000): the higher, the sharper.

    Of the grey image (the mean of the channels), with the kernel [[0, 1, 0], [1, -4, 1], [0, 1, 0]], without the
    border. Noise raises it too, so compare its mean with that of real images, as Tolstikhin et al. 2018 do
    (https://arxiv.org/abs/1711.01558).

    Args:
        images: (N, C, H, W) in [0, 1], sides of at least 3.

    Returns:
        (N,), from 0 (a linear slope) to 16 (a board of black and white pixels).

    Raises:
        UserError: another shape, NaN, values outside [0, 1].
    """
    images = checks.within(images, "images")
    if images.ndim != 4 or min(images.shape[2:]) < 3:
        raise UserError(f"images of shape {images.shape}: (N, C, H, W) with sides of at least 3 is needed.")
    grey = images.mean(1)
    middle = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return np.asarray((around - 4 * middle).var((1, 2)))
