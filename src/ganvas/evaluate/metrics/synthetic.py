"""Whether samples can stand for data: a classifier learns from them alone, and is tested on real images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ganvas.data import Split
from ganvas.data.loader import to_images, to_tensor
from ganvas.evaluate.figures import Figure, NotApplicableError, share
from ganvas.evaluate.metrics.conditions import labels_of
from ganvas.evaluate.metrics.registry import METRICS
from ganvas.evaluate.networks.classifier import train_on
from ganvas.evaluate.networks.features import evenly
from ganvas.evaluate.subject import Subject
from ganvas.ground.randomness import key


@METRICS.register
def synthetic(subject: Subject) -> Iterator[Figure]:
    """Accuracy on real images of a classifier that learned from samples alone, beside that of one that learned from as
    many training images (classification accuracy score, Ravuri & Vinyals 2019)."""
    model: Any = subject.model
    told = [it for it in getattr(getattr(model, "config", None), "condition", ()) if not it.number]
    if not told or not hasattr(model, "sample") or len(subject.dataset.shape) != 3:
        raise NotApplicableError(f"{subject.kind} has no images of a class: it takes one trained with --condition.")
    columns = [it.column for it in told]
    train, test = (_labelled(split, subject.n) for split in (subject.dataset.splits["train"], subject.real))
    real, truth = (labels_of(rows).reshape(len(rows), -1)[:, columns] for rows in (train, test))
    made = samples_of(model, [it.name for it in told], [it.values for it in told], real, subject.seed)
    values = {it.name: len(it.values) for it in told}
    right = []
    for images in (made, train.images):
        judge = train_on(subject.dataset.shape, values, Split(images, real), seed=subject.seed)
        said = judge.predict(to_tensor(test.images)).reshape(len(truth), -1)
        right.append((said == truth).mean(0))
    for it, by_samples, by_images in zip(told, *right, strict=True):
        protocol = f"a classifier of {len(made):,} samples, labelled as training images are; {len(truth):,} real images"
        facts: dict[str, Any] = {"better": "higher", "protocol": protocol, "of_data": float(by_images)}
        yield share(f"accuracy in {it.name} by samples", float(by_samples), len(truth), **facts)


def _labelled(split: Split, n: int) -> Split:
    """At most n of the images whose labels are known."""
    rows = split.labelled
    return split.of(rows[evenly(len(rows), n)])


def samples_of(model: Any, names: list[str], values: list[tuple[str, ...]], labels: Any, seed: int) -> Any:
    """A sample for each row of labels (N, A), bytes (N, H, W, C)."""
    rows, which = np.unique(labels, axis=0, return_inverse=True)
    made: Any = None
    for number, row in enumerate(rows):
        here = np.flatnonzero(which.reshape(-1) == number)
        condition = {name: value[label] for name, value, label in zip(names, values, row, strict=True)}
        some = to_images(model.sample(len(here), key(seed, "synthetic", number), condition=condition))
        made = np.empty((len(labels), *some.shape[1:]), np.uint8) if made is None else made
        made[here] = some
    return made
