"""Of conditional models: whether samples are of what the model was told, and whether labels make images likelier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ganvas.data.loader import to_tensor
from ganvas.evaluate.figures import Figure, NotApplicableError, mean, share, subset_errors
from ganvas.evaluate.measures.coverage import density_coverage
from ganvas.evaluate.measures.frechet import frechet_distance
from ganvas.evaluate.metrics.registry import METRICS
from ganvas.evaluate.networks.classifier import train_classifier
from ganvas.evaluate.subject import Subject, spread
from ganvas.ground.randomness import key

LEAST, CLASSIFIED = 20, 1000  # real images of a value, for its coverage; images that P(x given c) classifies
LABEL_DRAWS = 50


@METRICS.register
def conditions(subject: Subject) -> Iterator[Figure]:
    """Samples that a classifier says are of the told label; coverage and Frechet distance of the label whose are the
    worst; log P(x) with and without the label."""
    model: Any = subject.model
    condition = getattr(getattr(model, "config", None), "condition", ())
    if not condition:
        raise NotApplicableError(f"{subject.kind} is told nothing: it takes one that was trained with --condition.")
    if hasattr(model, "sample"):
        judge = train_classifier(subject.dataset)
        for attribute in condition:
            if not attribute.number:
                yield from _sampled(subject, attribute, judge)
    if hasattr(model, "log_prob"):
        yield from _given(subject)


def _sampled(subject: Subject, attribute: Any, judge: Any) -> Iterator[Figure]:
    """Of samples of each value of one attribute."""
    model: Any = subject.model
    labels = _labels(subject)[:, attribute.column]
    images, known = to_tensor(subject.real.images), labels >= 0
    of = judge.predict(images).reshape(len(labels), -1)[:, attribute.column]
    space = subject.represent[0]
    each = max(1, subject.n // len(attribute.values))
    right: dict[str, float] = {}
    covered: dict[str, tuple[float, float]] = {}
    far: dict[str, tuple[float, float]] = {}
    for label, value in enumerate(attribute.values):
        samples = model.sample(each, key(subject.seed, attribute.name, label), condition={attribute.name: value})
        said = judge.predict(samples.cpu()).reshape(each, -1)[:, attribute.column]
        right[value] = float((said == label).mean())
        real = images[labels == label]
        if len(real) >= LEAST:
            n = min(len(real), each)
            pair = space(real[:n]), space(samples[:n].cpu())
            covered[value] = _coverage(*pair)[""], subset_errors(_coverage, *pair, seed=subject.seed)[""]
            if n > 2 * pair[0].shape[1]:  # half of them have a covariance, too
                far[value] = _frechet(*pair)[""], subset_errors(_frechet, *pair, seed=subject.seed)[""]
    protocol = f"{each:,} samples of each of {len(right)}, by a classifier of {subject.dataset.name}"
    n = each * len(right)
    total, worst = float(np.mean([*right.values()])), min(right, key=lambda value: right[value])
    note = f"the worst is {worst}, {right[worst]:.1%}"
    facts: dict[str, Any] = {"better": "higher", "protocol": protocol, "of_data": float((of == labels)[known].mean())}
    yield share(f"samples of the told {attribute.name}", total, n, note=note, **facts)
    facts = {"protocol": f"{space.name} features; {protocol}"}
    if covered:
        worst = min(covered, key=lambda value: covered[value])
        name = f"coverage of the {attribute.name} {worst}, the least"
        yield Figure(name, *covered[worst], each, better="higher", **facts)
    if far:
        worst = max(far, key=lambda value: far[value])
        name = f"Frechet distance of the {attribute.name} {worst}, the largest"
        yield Figure(name, *far[worst], each, better="lower", **facts)


def _coverage(real: Any, fake: Any) -> dict[str, float]:
    return {"": density_coverage(real, fake)["coverage"]}


def _frechet(real: Any, fake: Any) -> dict[str, float]:
    return {"": frechet_distance(real, fake)}


def _given(subject: Subject) -> Iterator[Figure]:
    """log P(x given c) beside log P(x), both by K draws, and how often the label is the one that makes x likeliest."""
    model: Any = subject.model
    labels, rows = _labels(subject), spread(subject.real, CLASSIFIED)
    own = labels_of(rows)
    images = to_tensor(rows.images, model.device)
    draws = min(subject.draws, 500)
    facts = {"unit": "nats per image", "better": "lower", "protocol": f"{len(images):,} images, K = {draws}"}
    told = model.log_prob(images, draws, subject.seed, condition=own).cpu().numpy()
    yield mean("NLL given the labels", -told, **facts)
    yield mean("NLL of the same, told nothing", -model.log_prob(images, draws, subject.seed).cpu().numpy(), **facts)
    if len(model.config.condition) == 1 and not (attribute := model.config.condition[0]).number:
        given = ({attribute.name: value} for value in attribute.values)
        scores = [model.log_prob(images, LABEL_DRAWS, subject.seed, "encoder", condition=one).cpu() for one in given]
        truth, known = own.reshape(len(own), -1)[:, attribute.column], labels[:, attribute.column]
        right = float((np.stack(scores).argmax(0) == truth)[truth >= 0].mean())
        chance = float(np.bincount(known[known >= 0]).max() / (known >= 0).sum())
        protocol = f"the label with the largest log P(x given it), K = {LABEL_DRAWS}; the commonest is {chance:.1%}"
        n = int((truth >= 0).sum())
        yield share(f"{attribute.name} by log P(x)", right, n, better="higher", protocol=protocol)


def _labels(subject: Subject) -> Any:
    """(N, A) of the images that are measured."""
    own = labels_of(subject.real)
    return own.reshape(len(own), -1)


def labels_of(split: Any) -> Any:
    """The labels of a split.

    Raises:
        NotApplicableError: it has none.
    """
    if not len(split.labelled):
        raise NotApplicableError("these images have no labels: what the model is to be told is not known.")
    return split.labels
