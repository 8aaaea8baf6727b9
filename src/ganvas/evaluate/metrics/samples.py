"""Of samples, whatever made them: distances from the data, modes, copies."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ganvas.data import load
from ganvas.data.loader import to_tensor
from ganvas.data.sources import GAUSSIANS
from ganvas.evaluate.figures import Figure, NotApplicableError, share, subset_errors
from ganvas.evaluate.measures.checks import Array
from ganvas.evaluate.measures.coverage import density_coverage, precision_recall
from ganvas.evaluate.measures.frechet import frechet_distance
from ganvas.evaluate.measures.kernel import kernel_distance
from ganvas.evaluate.measures.memorising import memorising as nearness
from ganvas.evaluate.measures.modes import captured_classes, captured_modes, stacked_labels
from ganvas.evaluate.measures.parzen import parzen as window
from ganvas.evaluate.measures.two_sample import two_sample_test
from ganvas.evaluate.metrics.registry import METRICS
from ganvas.evaluate.networks.classifier import train_classifier
from ganvas.evaluate.networks.features import features
from ganvas.evaluate.subject import Compared, Subject

GAUSSIAN_SAMPLES, STACKED_SAMPLES = 2500, 26_000  # of the published protocols
PARZEN_SAMPLES, PARZEN_VALIDATION = 10_000, 1000
PAPERS = {"Frechet distance": "FID", "kernel distance": "KID"}  # what they are called over Inception's features alone
ENOUGH = 1000  # samples, for shares that depend on how dense they lie


@METRICS.register
def frechet(subject: Subject) -> Iterator[Figure]:
    """The Frechet distance between normal distributions fitted to the features (Heusel et al. 2017)."""
    for it in subject.compared:
        few = f"takes more than {it.real.shape[1]:,} samples, better 10,000: with {len(it.fake):,} it is far too large"
        singular = min(len(it.fake), len(it.real)) <= it.real.shape[1]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is singular", UserWarning)  # the note says it
            error = subset_errors(_frechet, it.real, it.fake, seed=subject.seed, most=max(2000, 2 * it.real.shape[1]))
            yield Figure(
                _named(it, "Frechet distance"),
                frechet_distance(it.real, it.fake),
                error["frechet"],
                len(it.fake),
                better="lower",
                protocol=_protocol(it),
                note=few if singular else "",
                of_data=_of_data(it, lambda real, train: {"": frechet_distance(real, train)}).get(""),
            )


def _frechet(real: Array, fake: Array) -> dict[str, float]:
    return {"frechet": frechet_distance(real, fake)}


@METRICS.register
def kernel(subject: Subject) -> Iterator[Figure]:
    """The squared maximum mean discrepancy with a cubic kernel, without bias (Binkowski et al. 2018)."""
    for it in subject.compared:
        value, error = kernel_distance(it.real, it.fake)
        of_data = _of_data(it, lambda real, train: {"": kernel_distance(real, train)[0]}).get("")
        yield Figure(
            _named(it, "kernel distance"),
            value,
            error,
            len(it.fake),
            better="lower",
            protocol=_protocol(it),
            of_data=of_data,
        )


@METRICS.register
def precision(subject: Subject) -> Iterator[Figure]:
    """Precision and recall by balls to the 3rd neighbour (Kynkaanniemi et al. 2019)."""
    yield from _shares(subject, precision_recall)


@METRICS.register
def density(subject: Subject) -> Iterator[Figure]:
    """Density and coverage by balls to the 5th neighbour (Naeem et al. 2020)."""
    yield from _shares(subject, density_coverage)


def _shares(subject: Subject, statistic: Callable[[Array, Array], dict[str, float]]) -> Iterator[Figure]:
    for it in subject.compared:
        values, of_data = statistic(it.real, it.fake), _of_data(it, statistic)
        errors = subset_errors(statistic, it.real, it.fake, seed=subject.seed)
        few = f"depends on their number: take at least {ENOUGH:,} samples" if len(it.fake) < ENOUGH else ""
        for name, value in values.items():
            yield Figure(
                name,
                value,
                errors[name],
                len(it.fake),
                better=1.0 if name == "density" else "higher",
                protocol=_protocol(it),
                note=few,
                of_data=of_data.get(name),
            )


@METRICS.register
def two_sample(subject: Subject) -> Iterator[Figure]:
    """How often nearest neighbours tell samples from data: 0.5 if they can't (Lopez-Paz & Oquab 2017)."""
    for it in subject.compared:
        found = two_sample_test(it.real, it.fake, subject.seed)
        of_data = _of_data(it, two_sample_test).get("accuracy")
        protocol = _protocol(it)
        yield share(
            "two-sample accuracy",
            found["accuracy"],
            int(found["n"]),
            better=0.5,  # copies are told from their originals less often than data from data
            protocol=protocol,
            of_data=of_data,
        )
        yield Figure("two-sample p-value", found["p_value"], None, int(found["n"]), better="higher", protocol=protocol)


@METRICS.register
def memorising(subject: Subject) -> Iterator[Figure]:
    """Whether samples are nearer to the training images than held-out ones are (Meehan et al. 2020)."""
    space = features("pca" if len(subject.dataset.shape) == 3 else "pixels", subject.dataset)
    train, held_out = space(subject.dataset.splits["train"]), space(subject.real)
    found = nearness(space(subject.fake), train, held_out)
    n, protocol = len(subject.fake), f"{space.name} features"
    yield share("close to a training image", found["close"], n, better=0.01, protocol=protocol, of_data=0.01)
    yield share("copies of a training image", found["copies"], n, better="lower", protocol=protocol, of_data=0.0)
    yield Figure("rank statistic z", found["z"], 1.0, n, better=0.0, protocol=protocol, of_data=0.0)


@METRICS.register
def modes(subject: Subject) -> Iterator[Figure]:
    """Modes that samples reach, their KL from the data's, and the share of good ones: ring, grid, stacked MNIST."""
    name = subject.dataset.name
    if name in GAUSSIANS:
        points = subject.draw(GAUSSIAN_SAMPLES)
        found, wanted = captured_modes(points, *GAUSSIANS[name]), GAUSSIAN_SAMPLES
        total, protocol = len(GAUSSIANS[name][0]), f"{len(points):,} samples, good within 3 sigma (PacGAN)"
    elif name == "stacked-mnist":
        points, wanted = subject.draw(STACKED_SAMPLES), STACKED_SAMPLES
        judge = train_classifier(load("mnist"))
        found = captured_classes(stacked_labels(judge.predict, to_tensor(points)), 1000)
        total, protocol = 1000, f"{len(points):,} samples, digits by a classifier of MNIST"
    else:
        raise NotApplicableError(f"the modes of {name!r} are not known: it takes ring, grid or stacked-mnist.")
    n = len(points)
    note = f"the protocol takes {wanted:,} samples, there are {n:,}" if n < wanted else ""
    yield Figure("modes", found["modes"], None, n, f"of {total}", "higher", protocol, note)
    if "good" in found:
        yield share("good samples", found["good"], n, better="higher", protocol=protocol, note=note, of_data=0.989)
    yield Figure("KL of the modes", found["kl"], None, n, "nats", "lower", protocol, note)


@METRICS.register
def parzen(subject: Subject) -> Iterator[Figure]:
    """The log-likelihood of test images under a Gaussian window on the samples (Goodfellow et al. 2014)."""
    if len(subject.dataset.shape) != 3:
        raise NotApplicableError("a Parzen window takes images; for points there are the modes.")
    samples = subject.draw(PARZEN_SAMPLES)
    validation = subject.dataset.splits["validation"].images[:PARZEN_VALIDATION]
    found = window(
        *(rows / np.iinfo(rows.dtype).max for rows in (samples, validation, np.asarray(subject.real.images)))
    )
    note = f"the protocol takes {PARZEN_SAMPLES:,} samples" if len(samples) < PARZEN_SAMPLES else ""
    protocol = f"sigma {found['sigma']:.2g} chosen on {len(validation):,} validation images"
    value, error = found["log_likelihood"], found["standard_error"]
    yield Figure("Parzen log-likelihood", value, error, len(samples), "nats per image", "higher", protocol, note)


def _named(it: Compared, measure: str) -> str:
    return PAPERS[measure] if it.space == "inception" else measure


def _protocol(it: Compared) -> str:
    return f"{it.space} features; {len(it.fake):,} samples, {len(it.real):,} real"


def _of_data(it: Compared, statistic: Callable[[Array, Array], Mapping[str, float]]) -> Mapping[str, float]:
    """The statistic of as many training images in the samples' place; nothing, where there are not so many."""
    return statistic(it.real, it.train[: len(it.fake)]) if len(it.train) >= len(it.fake) else {}
