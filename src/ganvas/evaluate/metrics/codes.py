"""Of models that encode: what simple classifiers read from the codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ganvas.data import Split
from ganvas.data.loader import to_tensor
from ganvas.data.store import tracked
from ganvas.evaluate.figures import Figure, NotApplicableError, mean
from ganvas.evaluate.measures.checks import Array
from ganvas.evaluate.measures.probes import DECAYS, Labels, k_nearest, linear_probe
from ganvas.evaluate.metrics.registry import METRICS
from ganvas.evaluate.networks.features import FITTED, principal
from ganvas.evaluate.subject import BLOCK, Subject, spread


@METRICS.register
def probes(subject: Subject) -> Iterator[Figure]:
    """The share of test labels that logistic regression and 5 nearest neighbours read from the codes; PCA beside."""
    model: Any = subject.model
    if model is None or not hasattr(model, "encode"):
        raise NotApplicableError(f"{subject.kind} has no codes.")
    splits = [*(subject.dataset.splits[name] for name in ("train", "validation")), subject.real]
    if not all(len(split.labelled) for split in splits):
        raise NotApplicableError(f"{subject.dataset.name!r} has no labels to read from codes.")
    d = model.latent_dim
    axes = principal(_flat(np.asarray(spread(splits[0], FITTED).images)), d)
    spaces: dict[str, Callable[[Array], Array]] = {
        "codes": lambda images: model.encode(to_tensor(images, model.device)).flatten(1).cpu().numpy(),
        "PCA": lambda images: (_flat(images) - axes[0]) @ axes[1],
    }
    for what, encode in spaces.items():
        codes = [_codes(split, encode, what)[split.labelled] for split in splits]
        for name, read in (("linear probe", _best_probe), ("5 nearest neighbours", _neighbours)):
            right = np.stack([read(codes, labels) for labels in _columns(splits)], 1)
            protocol = f"{len(codes[0]):,} training codes, {d} numbers each"
            yield mean(f"{name} of {what}", right.mean(1), better="higher", protocol=protocol)


def _columns(splits: list[Split]) -> Iterator[list[Labels]]:
    """The labels of each split, an attribute at a time."""
    labels = [split.labels.reshape(len(split), -1)[split.labelled] for split in splits if split.labels is not None]
    for column in range(labels[0].shape[1]):
        yield [part[:, column] for part in labels]


def _best_probe(codes: list[Array], labels: list[Labels]) -> Array:
    """Whether each test label is read, with the decay that reads most of the validation labels."""
    train, validation, test = codes
    found = [linear_probe(train, labels[0], np.concatenate([validation, test]), decay) for decay in DECAYS]
    best = max(found, key=lambda part: (part[: len(validation)] == labels[1]).mean())
    return np.equal(best[len(validation) :], labels[2])


def _neighbours(codes: list[Array], labels: list[Labels]) -> Array:
    found: Array = np.equal(k_nearest(codes[0], labels[0], codes[2]), labels[2])
    return found


def _codes(split: Split, encode: Callable[[Array], Array], what: str) -> Array:
    starts = range(0, len(split), BLOCK)
    parts = tracked(starts, len(starts), f"{what}", True)
    return np.concatenate([encode(split.images[start : start + BLOCK]) for start in parts])


def _flat(images: Array) -> Array:
    return to_tensor(images).flatten(1).double().numpy()
