"""A data set of two labels, and models of it that need no training."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ganvas.data import Dataset, load
from ganvas.evaluate.metrics import conditions
from ganvas.models.conditions import Attribute
from ganvas.models.vae import VAE, VAEModel
from ganvas.parts.nets.mlp import MLP


@pytest.fixture(scope="package", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="package")
def bars(cache: None) -> Dataset:
    """Grey 6 x 6 images with noise and a bright row, at the top (label 0) or at the bottom (1)."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 600)
    images = random.integers(0, 100, (600, 6, 6), np.uint8)
    images[np.arange(600), 5 * labels] += 120
    return load(images, labels=labels)


@pytest.fixture
def vae() -> VAEModel:
    torch.manual_seed(0)
    return VAEModel(VAE(latent_dim=3, net=MLP(hidden=(16,))), (1, 6, 6)).eval()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> VAEModel:
    """A VAE that is told the label; a classifier of `bars` is which of the two rows is brighter."""

    def predict(images: torch.Tensor) -> np.ndarray:
        return (images[:, 0, 5].mean(1) >= images[:, 0, 0].mean(1)).long().numpy()

    monkeypatch.setattr(conditions, "train_classifier", lambda dataset: SimpleNamespace(predict=predict))
    torch.manual_seed(0)
    label = Attribute(name="class", column=0, values=("0", "1"))
    return VAEModel(VAE(latent_dim=3, net=MLP(hidden=(16,)), condition=(label,)), (1, 6, 6)).eval()
