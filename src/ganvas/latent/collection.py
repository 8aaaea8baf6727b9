"""A data set as a model sees it: the images that are like a given one, and those that are there more than once.

What is near is looked for among codes, and what is the same is settled by pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from ganvas.data import Dataset, Split
from ganvas.data.loader import to_tensor
from ganvas.data.store import tracked
from ganvas.evaluate.measures.distances import nearest
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import order
from ganvas.ground.registry import Count
from ganvas.models import Model
from ganvas.models.base import CHUNK

NEAR = 5  # nearest codes, and nearest spectra, of each image, whose pixels are looked at
LOW = 4  # the highest frequency of a spectrum, in periods an image
ALIKE = 0.985  # correlation from which on two images are one
SHIFT = 1  # pixels, either way, by which they may be apart
PAIRS = 2**22  # numbers of the images that are compared at a time

Places = NDArray[np.int64]
Share = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class Collection:
    """A data set, its splits one after the other, and its codes.

    Attributes:
        dataset: the images.
        codes: means of Q(z given x) over `spread`, float32 (N, latent_dim).
        spread: the standard deviation in each dimension of codes as P(z) should give them, (latent_dim,): of all draws
            from Q(z given x). A dimension that says nothing of the image has a small share of it, and counts as little.
    """

    dataset: Dataset
    codes: NDArray[np.float32]
    spread: Tensor

    def __len__(self) -> int:
        return len(self.codes)

    def located(self, places: Places) -> Iterator[tuple[str, Split, NDArray[np.bool_], Places]]:
        """For each split that has some of places (n,): its name, itself, which ones those are, and their rows."""
        end = 0
        for name, split in self.dataset.splits.items():
            start, end = end, end + len(split)
            if (here := (start <= places) & (places < end)).any():
                yield name, split, here, places[here] - start

    def images(self, places: Places) -> Tensor:
        """Of places (n,): (n, *shape)."""
        found = torch.empty(len(places), *self.dataset.shape)
        for _, split, here, rows in self.located(places):
            found[torch.from_numpy(here)] = to_tensor(split.images[rows])
        return found

    def names(self, places: Places) -> list[str]:
        """Of places (n,): their files, or else the split and the row."""
        found = np.empty(len(places), object)
        for name, split, here, rows in self.located(places):
            found[here] = [f"{name}:{row}" if split.names is None else str(split.names[row]) for row in rows.tolist()]
        return found.tolist()

    def splits(self, places: Places) -> list[str]:
        """Of places (n,): the names of their splits."""
        found = np.empty(len(places), object)
        for name, _, here, _ in self.located(places):
            found[here] = name
        return found.tolist()

    def apart(self, seed: int = 0) -> float:
        """The median distance of two codes."""
        some = self.codes[np.sort(order(seed, "apart", n=len(self))[: 2 * CHUNK])]
        one, other = np.array_split(some[order(seed, "pairs", n=len(some))][: len(some) // 2 * 2], 2)
        return float(np.median(np.linalg.norm(one - other, axis=1))) if len(one) else 0.0


@checked
def collect(model: Model, dataset: Dataset, progress: bool = False) -> Collection:
    """The codes of all images of a data set; memory holds the codes, and some images at a time.

    Raises:
        UserError: the model does not encode.
    """
    posterior = model.posterior
    parts, variance = [], torch.zeros(model.latent_dim, dtype=torch.float64)
    for name, split in dataset.splits.items():
        starts = range(0, len(split), CHUNK)
        for start in tracked(starts, len(starts), f"encoding {name}", progress):
            x = to_tensor(split.images[start : start + CHUNK], model.device)
            mean, log_variance = model.chunks(lambda part: torch.cat(posterior(part), 1), x).cpu().chunk(2, 1)
            parts.append(mean.numpy())
            variance += log_variance.double().exp().sum(0)
    codes = np.concatenate(parts)
    spread = (torch.from_numpy(codes.var(0, dtype=np.float64)) + variance / len(codes)).sqrt().float()
    spread[spread == 0] = 1
    return Collection(dataset, codes / spread.numpy(), spread)


@checked
def similar(collection: Collection, model: Model, images: Any, k: Count = 8) -> tuple[NDArray[np.float64], Places]:
    """The k images of a collection whose codes are nearest to those of each image.

    Args:
        collection: where to look.
        model: that has encoded it.
        images: (N, *shape), as `encode` takes them.
        k: how many.

    Returns:
        Distances (N, k), the smallest first, and places (N, k).

    Raises:
        UserError: images of another shape or range, or fewer than k in the collection.
    """
    if k > len(collection):
        raise UserError(f"{k} nearest of {len(collection):,} images: it takes from 1 to {len(collection):,}.")
    codes = model.encode(images).flatten(1).cpu() / collection.spread
    squared, places = nearest(codes.numpy(), collection.codes, k)
    return np.sqrt(squared), places


@dataclass(frozen=True)
class Group:
    """Images that are one.

    Attributes:
        places: in the collection, the first one first, (n,).
        alike: of each, the correlation of its pixels with those of the first, aligned; 1 where they are equal, (n,).
        exact: which are the first to the last bit, (n,).
    """

    places: Places
    alike: NDArray[np.float64]
    exact: NDArray[np.bool_]


@checked
def duplicates(collection: Collection, alike: Share = ALIKE, progress: bool = False) -> list[Group]:
    """Images that are there more than once, as groups: those with the most copies first, then the most alike.

    Equal pixels are found by their digests. Of the others an image is held against those with the five nearest codes,
    and with the five nearest spectra, which a shift does not change: two are one if their pixels have a correlation of
    at least `alike`, where one may be shifted by a pixel. A correlation does not see brightness or contrast. Who is one
    with the same image is in one group.

    Args:
        collection: of at least two images.
        alike: the correlation from which on two are one.
        progress: show a bar where stderr is a terminal.
    """
    if len(collection.dataset.shape) != 3:
        raise UserError("duplicates are of images, and these are rows of numbers.")
    of, spectra = _looked_at(collection, progress)
    single = np.unique(of)
    joined = {int(place): int(place) for place in single}

    def leader(place: int) -> int:
        while joined[place] != place:
            place = joined[place] = joined[joined[place]]
        return place

    k = min(NEAR, len(single) - 1)
    found = [nearest(rows[single], k=k)[1].ravel() for rows in (collection.codes, spectra) if k]
    ends = np.stack([np.tile(np.repeat(np.arange(len(single)), k), len(found)), np.concatenate([[], *found])], 1)
    pairs = np.unique(np.sort(ends.astype(np.int64), 1), axis=0)
    size = max(1, PAIRS // int(np.prod(collection.dataset.shape)))
    starts = range(0, len(pairs), size)
    for start in tracked(starts, len(starts), "comparing pixels", progress):
        some = single[pairs[start : start + size]]
        used, where = np.unique(some, return_inverse=True)
        images, (first, second) = collection.images(used), torch.from_numpy(where.reshape(some.shape)).unbind(1)
        same = correlation(images[first], images[second]) >= alike
        for one, other in some[same.numpy()].tolist():
            one, other = sorted((leader(one), leader(other)))
            joined[other] = one
    groups: dict[int, list[int]] = {}
    for place, first in enumerate(of.tolist()):
        groups.setdefault(leader(first), []).append(place)
    several = [_group(collection, places, of) for places in groups.values() if len(places) > 1]
    return sorted(several, key=lambda group: (-len(group.places), -group.alike[1:].mean(), group.places[0]))


def _looked_at(collection: Collection, progress: bool) -> tuple[Places, NDArray[np.float32]]:
    """Of each image the first place of one that is equal to it, (N,), and its `spectrum`, (N, d)."""
    firsts: dict[bytes, int] = {}
    of: list[int] = []
    spectra = []
    for name, split in collection.dataset.splits.items():
        starts = range(0, len(split), CHUNK)
        for start in tracked(starts, len(starts), f"reading {name}", progress):
            images = np.asarray(split.images[start : start + CHUNK])
            digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
            of += [firsts.setdefault(digest, len(of) + i) for i, digest in enumerate(digests)]
            spectra.append(spectrum(to_tensor(images)).numpy())
    return np.array(of), np.concatenate(spectra)


def spectrum(images: Tensor) -> Tensor:
    """How strong the low frequencies of images (N, C, H, W) are, of length 1: neither place nor brightness is in it."""
    grey = images.mean(1)
    found = torch.fft.rfft2(grey - grey.mean((1, 2), keepdim=True)).abs()
    low = torch.cat([found[:, : LOW + 1, : LOW + 1], found[:, max(LOW + 1, found.shape[1] - LOW) :, : LOW + 1]], 1)
    return normalize(low.flatten(1))


def _group(collection: Collection, places: list[int], of: Places) -> Group:
    images, exact = collection.images(np.array(places)), of[places] == of[places[0]]
    alike = correlation(images[:1].expand_as(images), images).double().numpy()
    return Group(np.array(places), np.where(exact, 1.0, alike), exact)


def correlation(one: Tensor, other: Tensor, shift: int = SHIFT) -> Tensor:
    """The largest correlation of the pixels of images (N, C, H, W) over shifts of the other by up to so many pixels.

    Of what the two have in common then, less a margin of as many pixels; an image of one value has none: 0.
    """
    height, width = one.shape[2:]
    if min(height, width) < 2 * shift + 2:
        shift = 0
    best = torch.full((len(one),), -1.0)
    inner = slice(shift, height - shift), slice(shift, width - shift)
    a = _standard(one[:, :, *inner])
    for y in range(2 * shift + 1):
        for x in range(2 * shift + 1):
            b = _standard(other[:, :, y : y + height - 2 * shift, x : x + width - 2 * shift])
            best = best.maximum((a * b).sum(1))
    return best


def _standard(images: Tensor) -> Tensor:
    """Pixels (N, d), of mean 0 and length 1; 0 where they are all one value."""
    flat = images.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    length = flat.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-4, flat / length.clamp(min=1e-4), 0.0)
