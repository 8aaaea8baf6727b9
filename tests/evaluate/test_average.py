import numpy as np
import pytest
import torch

from ganvas.data import Split
from ganvas.evaluate import average
from ganvas.models.autoencoder import Autoencoder, AutoencoderModel
from ganvas.models.gan import GAN, GANModel
from ganvas.models.vae import VAE, VAEModel
from ganvas.parts.nets.mlp import MLP

SHAPE = (1, 4, 4)
NET = MLP(hidden=(8,))


@pytest.fixture(scope="module")
def split() -> Split:
    return Split(np.random.default_rng(0).integers(0, 256, (2300, 4, 4, 1), dtype=np.uint8), None)


def test_an_autoencoder_s_loss_is_its_mean_squared_error(split: Split) -> None:
    model = AutoencoderModel(Autoencoder(latent_dim=2, net=NET), SHAPE)
    images = torch.from_numpy(split.images).permute(0, 3, 1, 2) / 255
    error = (model.reconstruct(images) - images).double().pow(2).sum((1, 2, 3)).mean()
    assert average(model, split, seed=0) == {"loss": pytest.approx(float(error), rel=1e-6)}


@pytest.mark.parametrize("world", [2, 5])
def test_what_the_processes_measure_adds_up(split: Split, world: int) -> None:
    model = VAEModel(VAE(latent_dim=2, net=NET), SHAPE)
    whole = average(model, split, seed=3)
    parts = [average(model, split, seed=3, rank=rank, world=world) for rank in range(world)]
    assert set(whole) == {"loss", "elbo", "reconstruction", "kl"}
    assert {name: sum(part[name] for part in parts) for name in whole} == pytest.approx(whole)
    assert whole["elbo"] == pytest.approx(-whole["reconstruction"] - whole["kl"])


def test_a_model_is_left_as_it_was(split: Split) -> None:
    model = VAEModel(VAE(latent_dim=2, net=NET), SHAPE).train()
    assert average(model, split, seed=0) == average(model, split, seed=0) != average(model, split, seed=1)
    assert model.training


def test_a_gan_has_no_loss_of_its_own(split: Split) -> None:
    assert average(GANModel(GAN(latent_dim=2, generator=NET, discriminator=NET), SHAPE), split, seed=0) == {}
