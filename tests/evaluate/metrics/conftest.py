"""A data set of two labels, and models of it that need no training."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ganvas.data import Dataset, load
from ganvas.models.vae import VAE, VAEModel
from ganvas.nets.mlp import MLP


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
