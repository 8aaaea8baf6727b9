"""Features by name: what images are compared by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas.data import Dataset, Split
from ganvas.data.loader import to_tensor
from ganvas.errors import UserError
from ganvas.evaluate import checks
from ganvas.evaluate.classifier import body, train_classifier
from ganvas.randomness import order
from ganvas.registry import Registry

FEATURES = Registry("kind of features")
COMPONENTS = 64
FITTED = 3000  # training images that PCA looks at
CHUNK = 500

Array = NDArray[Any]
Function = Callable[[Tensor], Array]


@dataclass(frozen=True)
class Features:
    """A function from images to features, made by `features`.

    Attributes:
        name: "pixels", "pca", "classifier", "random".
        shape: of one image.
        function: of a chunk of images.
    """

    name: str
    shape: tuple[int, ...]
    function: Function

    def __call__(self, images: Any) -> Array:
        """Float features (N, d).

        Args:
            images: float (N, C, H, W) in [0, 1] or uint8, a tensor or an array; points (N, 2); or a whole split.

        Raises:
            UserError: no images, or some of another shape or range, or with NaN.
        """
        source = images.images if isinstance(images, Split) else images
        if not len(source):
            raise UserError("there are no images to take features of.")
        starts = range(0, len(source), CHUNK)
        take = to_tensor if isinstance(images, Split) else lambda rows: rows
        return np.concatenate(
            [self.function(checks.images(take(source[start : start + CHUNK]), self.shape).cpu()) for start in starts]
        )


def features(name: str, dataset: Dataset) -> Features:
    """Features of images like those of a data set.

    Args:
        name: "pixels": the pixels themselves, float32 (N, C H W). "pca": their 64 principal components.
            "classifier": the last hidden layer of `train_classifier(dataset)`, 256; the data set needs labels.
            "random": the same layer of the untrained net (as Naeem et al. 2020 do where no pretrained net fits), 256.
        dataset: whose train split they are fitted to, where they are fitted.

    Raises:
        UserError: an unknown name, or a data set that the features can't be fitted to.
    """
    return Features(name, dataset.shape, FEATURES[name](dataset))


@FEATURES.register
def pixels(dataset: Dataset) -> Function:
    """The pixels, or the coordinates of points."""
    return lambda images: images.flatten(1).numpy()


@FEATURES.register
def pca(dataset: Dataset) -> Function:
    """Projections on the first 64 principal components of the training images, at most as many as there are."""
    split = dataset.splits["train"]
    places = np.sort(order(0, "pca", n=len(split))[:FITTED])
    rows = to_tensor(split.images[places]).flatten(1).double().numpy()
    mean, directions = principal(rows, COMPONENTS)
    return lambda images: (images.flatten(1).double().numpy() - mean) @ directions


def principal(rows: Array, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean (d,) and the first principal directions (d, count) of rows (N, d), by the smaller Gram matrix.

    Fewer, where the rows vary in fewer directions. The largest entry of each is positive.
    """
    mean = rows.mean(0, dtype=np.float64)
    centred = rows - mean
    wide = centred.shape[1] > len(rows)
    values, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    kept = [i for i in np.argsort(-values)[:count] if values[i] > 1e-12 * values[-1]]
    directions = centred.T @ vectors[:, kept] / np.sqrt(values[kept]) if wide else vectors[:, kept]
    signs = np.sign(np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0))
    return mean, directions * signs


@FEATURES.register
def classifier(dataset: Dataset) -> Function:
    """The last hidden layer of a classifier of the labels."""
    return train_classifier(dataset).features


@FEATURES.register
def random(dataset: Dataset) -> Function:
    """The last hidden layer of a net with random weights, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = body(dataset.shape).eval().requires_grad_(False)
    return lambda images: net(images).numpy()
