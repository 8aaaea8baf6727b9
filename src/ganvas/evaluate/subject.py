"""What is measured, and beside what; whatever several metrics need is made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from ganvas.data import Dataset, Split
from ganvas.data.loader import to_images, to_tensor
from ganvas.data.store import tracked
from ganvas.evaluate.figures import NotApplicableError
from ganvas.evaluate.measures.checks import Array
from ganvas.evaluate.networks.features import Features, evenly, features, real_features
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import key
from ganvas.models import Model
from ganvas.models.base import Variational

BLOCK = 1000


class Compared(NamedTuple):
    """Features (N, d) of real images, samples and training images, and what they are called."""

    space: str
    real: Array
    fake: Array
    train: Array


@dataclass(frozen=True)
class Subject:
    """A model, or images of any origin, beside a data set.

    Attributes:
        dataset: the real data.
        model: what is measured; None where only its samples are there.
        samples: images that were made by another program, uint8 (N, H, W, C), or points (N, 2); None: the model makes
            `n` of them.
        split: of the data set, that stands for the data.
        n: samples and real images that are compared; fewer where there are fewer.
        draws: K, draws of z for each image.
        seed: of every draw.
        spaces: names of features; none: what fits the data, see `spaces_of`.

    Raises:
        UserError: neither a model nor samples; samples or a model of another shape than the data; numbers below 1.
    """

    dataset: Dataset
    model: Model | None = None
    samples: Array | None = None
    split: str = "test"
    n: int = 10_000
    draws: int = 5000
    seed: int = 0
    spaces: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        if self.split not in self.dataset.splits:
            raise UserError(f"no split {self.split!r}; there are {', '.join(self.dataset.splits)}.")
        for name in ("n", "draws"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it takes at least 1.")
        if self.model is None and self.samples is None:
            raise UserError("nothing to measure: give a model or samples.")
        shape = self.dataset.shape
        if self.model is not None and tuple(self.model.shape) != shape:
            raise UserError(f"the model is of shape {self.model.shape}, the data {self.dataset.name} of {shape}.")
        if self.spaces:
            _ = self.represent  # one that can't be had is refused before there is any work
        if self.samples is not None:
            found = self.samples.shape[1:]
            found = (found[2], *found[:2]) if len(found) == 3 else found
            if found != shape:
                raise UserError(
                    f"samples of shape {found}, real images of {shape}: state one --size and --channels for both."
                )

    @property
    def vae(self) -> Variational:
        """The model, if it has a likelihood and a posterior.

        Raises:
            NotApplicableError: it has not.
        """
        if not isinstance(self.model, Variational):
            raise NotApplicableError(f"{self.kind} has no P(x given z) and Q(z given x): it takes a VAE.")
        return self.model

    @property
    def bounded(self) -> Any:
        """The model, if it has a likelihood and an ELBO.

        Raises:
            NotApplicableError: it has not.
        """
        if not hasattr(type(self.model), "elbo"):
            raise NotApplicableError(f"{self.kind} has no ELBO: it takes a VAE or a VQ-VAE.")
        return self.model

    @property
    def kind(self) -> str:
        """What it is, for messages."""
        return "a folder of images" if self.model is None else f"a model of kind {type(self.model.config).__name__}"

    @cached_property
    def real(self) -> Split:
        """At most `n` rows of the split, evenly spread."""
        return self.rows(self.split)

    def rows(self, split: str) -> Split:
        """At most `n` rows of a split, evenly spread."""
        return spread(self.dataset.splits[split], self.n)

    def draw(self, n: int) -> Array:
        """`n` samples, or as many as there are: bytes (n, H, W, C), which is what image files hold; or points.

        Raises:
            NotApplicableError: the model can't sample.
        """
        if self.samples is not None:
            return self.samples[:n]
        model: Any = self.model
        if not hasattr(model, "sample"):
            raise NotApplicableError(f"{self.kind} draws no samples.")
        starts, parts = range(0, n, BLOCK), []
        for start in tracked(starts, len(starts), "drawing samples", True):
            drawn = model.sample(min(BLOCK, n - start), key(self.seed, "samples", start))
            if not bool(torch.isfinite(drawn).all()):
                raise UserError("the model's samples hold NaN or infinite values: there is nothing to measure.")
            parts.append(to_images(drawn) if drawn.dim() == 4 else drawn.cpu().numpy())
        return np.concatenate(parts)

    @cached_property
    def fake(self) -> Split:
        """As many samples as `real` has rows, if there are so many."""
        return Split(self.draw(len(self.real)), None)

    @cached_property
    def represent(self) -> list[Features]:
        """The spaces in which samples are compared with the data."""
        names = self.spaces or (default_space(self.dataset),)
        return [features(name, self.dataset, "cpu" if self.model is None else self.model.device) for name in names]

    @cached_property
    def compared(self) -> list[Compared]:
        """Real images, samples and training images as features, in each of the spaces."""
        fake, found = self.fake, []
        for space in self.represent:
            real, train = (
                real_features(space, self.dataset, split, min(self.n, len(self.dataset.splits[split])))
                for split in (self.split, "train")
            )
            found.append(Compared(space.name, real, space(fake), train))
        return found

    @cached_property
    def images(self) -> torch.Tensor:
        """`real` as the model takes it."""
        return to_tensor(self.real.images, "cpu" if self.model is None else self.model.device)


def default_space(dataset: Dataset) -> str:
    """The features that fit a data set: of points the plane, a classifier's where there are classes, else PCA."""
    if len(dataset.shape) != 3:
        return "pixels"
    labels = dataset.splits["train"].labels
    return "classifier" if labels is not None and labels.max() > 0 else "pca"


def spread(split: Split, n: int) -> Split:
    """At most `n` rows of a split, evenly spread over it."""
    if len(split) <= n:
        return split
    return split.of(evenly(len(split), n))
