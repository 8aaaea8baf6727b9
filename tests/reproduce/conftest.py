"""A cache of its own, a row that trains in a moment, and a data set of the shape of MNIST."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ganvas import data
from ganvas.data import Dataset, load
from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome
from ganvas.training.run import Run


@pytest.fixture(scope="package", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


Train = Callable[..., Run]


@pytest.fixture(scope="package")
def train() -> Train:
    """A run of a second: train(lab, seed, epochs)."""

    def run(lab: Lab, seed: int = 0, epochs: int = 2) -> Run:
        settings = {"data": "digits", "latent_dim": 2, "epochs": epochs, "batch_size": 64, "device": "cpu"}
        return lab.train("autoencoder", seed=seed, precision="float32", **settings)

    return run


@pytest.fixture(scope="package")
def tiny(train: Train) -> Iterator[Callable[[Lab], Outcome]]:
    """A row "tiny" of the lecture's L3: an autoencoder on digits, trained with each seed."""

    def make(lab: Lab) -> Outcome:
        """L3, L26: a tiny | row.

        Claim: the loss is below the limit.
        It is measured.

        More for the reader.
        """
        losses = [train(lab, seed, epochs=1).state["test"]["loss"] for seed in lab.seeds]
        measures = [Measure("test | loss", losses, "", "below 100"), Measure("limit", [100.0], "units", error=0.5)]
        return Outcome(measures, max(losses) < 100, "a reason", np.full((4, 6, 3), 200, np.uint8))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FIGURES, "tiny", make)
        yield make


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(quick=True, seeds=(0,), runs=tmp_path / "runs")


@pytest.fixture(scope="package")
def blobs(cache: None) -> Dataset:
    """400 bars on images of MNIST's shape, in ten labelled directions: 320 / 40 / 40."""
    random = np.random.default_rng(0)
    labels = np.arange(400) % 10
    y, x = np.mgrid[-13.5:14, -13.5:14]
    angle = (labels * np.pi / 10)[:, None, None] + random.normal(0, 0.05, (400, 1, 1))
    distance = np.abs(x * np.sin(angle) - y * np.cos(angle)) + np.maximum(0, np.hypot(x, y) - 9)
    levels = np.clip(1.5 - distance / random.uniform(1, 3, (400, 1, 1)), 0, 1)
    return load(np.round(levels * 255).astype(np.uint8)[..., None], labels=labels)


@pytest.fixture
def only_blobs(blobs: Dataset, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Whatever a row loads, it gets the blobs. Trainings do not: they hold the true `load`, imported before."""
    from ganvas.training import train, watch  # noqa: F401  (first imported later, they would keep the false one for good)

    monkeypatch.setattr(data, "load", lambda *_, **__: blobs)
    return blobs


@pytest.fixture
def small() -> Callable[[Lab], Lab]:
    """Makes a lab's quick version smaller still: at most 40 of whatever is counted."""

    def shrink(lab: Lab) -> Lab:
        lab.pick = lambda *, quick, full: min(quick, 40) if isinstance(quick, int) else quick  # type: ignore[method-assign]
        return lab

    return shrink
