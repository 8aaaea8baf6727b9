"""Which modes of the data the samples reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ganvas.evaluate.measures import checks
from ganvas.evaluate.measures.checks import Array
from ganvas.evaluate.measures.distances import nearest
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count, Positive


@checked
def captured_modes(points: Any, centres: Any, std: Positive) -> dict[str, float]:
    """Modes of a mixture of Gaussians in the plane that samples reach, by the protocol of VEEGAN and PacGAN.

    Each sample belongs to the nearest mode and is good if it lies within 3 standard deviations of it; a mode is
    captured if at least one good sample belongs to it (Srivastava et al. 2017, https://arxiv.org/abs/1705.07761,
    section 5; Lin et al. 2018, https://arxiv.org/abs/1712.04086, section 4.1, with 2,500 samples).

    Args:
        points: samples (N, 2).
        centres: of the modes (M, 2); for a named set `ganvas.data.sources.GAUSSIANS[name]` has centres and std.
        std: of each mode, along each axis.

    Returns:
        "modes": how many are captured. "good": the share of good samples; 1 - exp(-9 / 2) = 0.989 of the data itself.
        "kl": KL(shares of the modes, uniform) in nats, over all samples, the bad ones too; PacGAN's "reverse KL".

    Raises:
        UserError: NaN, shapes that do not fit, a std that is not positive.
    """
    points, centres = checks.features(points=points, centres=centres)
    squared, places = (found[:, 0] for found in nearest(points, centres))
    good = squared <= (3 * std) ** 2
    shares = np.bincount(places, minlength=len(centres)) / len(points)
    uniform = np.full(len(centres), 1 / len(centres))
    return {"modes": len(np.unique(places[good])), "good": float(good.mean()), "kl": _kl(shares, uniform)}


@checked
def captured_classes(labels: Any, classes: Count, expected: Any = None) -> dict[str, float]:
    """Classes that samples reach, by the labels that a classifier gives them.

    The protocol of stacked MNIST takes 26,000 samples and 1,000 classes (Metz et al. 2017, Srivastava et al. 2017).

    Args:
        labels: whole numbers (N,), 0 to classes - 1.
        classes: how many there are.
        expected: labels of real data, or counts or shares of the classes (classes,); uniform by default.

    Returns:
        "modes": how many occur. "kl": KL(shares of the classes, expected shares) in nats; infinite where the samples
        have a class that is not expected.

    Raises:
        UserError: labels that are none, or expected shares that are none.
    """
    counts = _counts(labels, classes, "labels")
    if expected is None:
        shares = np.full(classes, 1 / classes)
    else:
        shares = checks.finite(expected, "expected").astype(np.float64)
        if shares.shape != (classes,) or shares.min() < 0 or shares.sum() <= 0:
            raise UserError(f"expected: {classes} counts or shares are needed, none negative; not {expected!r}.")
        shares = shares / shares.sum()
    return {"modes": int((counts > 0).sum()), "kl": _kl(counts / counts.sum(), shares)}


@checked
def stacked_labels(predict: Callable[[Tensor], NDArray[np.int64]], images: Tensor) -> NDArray[np.int64]:
    """The labels 100 a + 10 b + c (N,) of stacked MNIST's images (N, 3, 28, 28), from a classifier of single digits.

    Args:
        predict: labels (N,) of images (N, 1, 28, 28), as of `train_classifier(load("mnist"))`.
        images: in [0, 1].
    """
    if images.dim() != 4 or images.shape[1] != 3:
        raise UserError(f"images of shape {tuple(images.shape)}: stacked digits are (N, 3, H, W).")
    hundreds, tens, ones = (predict(images[:, i : i + 1]) for i in range(3))
    return 100 * hundreds + 10 * tens + ones


def _counts(labels: Any, classes: int, what: str) -> NDArray[np.int64]:
    labels = checks.array(labels)
    if labels.ndim != 1 or not len(labels) or labels.dtype.kind not in "iu":
        raise UserError(f"{what}: shape {labels.shape} of {labels.dtype}; whole numbers (N,) are needed.")
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(f"{what} from {labels.min()} to {labels.max()}; with {classes} classes: 0 to {classes - 1}.")
    return np.bincount(labels, minlength=classes)


def _kl(shares: Array, expected: Array) -> float:
    """KL in nats; 0 log 0 = 0."""
    seen = shares > 0
    with np.errstate(divide="ignore"):
        return max(0.0, float((shares[seen] * np.log(shares[seen] / expected[seen])).sum()))
