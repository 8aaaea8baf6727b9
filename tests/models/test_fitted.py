"""Models whose P(z) is fitted to their codes: what they give, and that the given ones stay as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.latent import explore
from ganvas.models import Model, load
from ganvas.models.autoencoder import (
    Autoencoder,
    AutoencoderModel,
    DenoisingAutoencoder,
    DenoisingAutoencoderModel,
    FittedAutoencoder,
)
from ganvas.models.base import UnsupportedError
from ganvas.models.fitted import draw_codes, fit_prior
from ganvas.models.gan import GAN, GANModel
from ganvas.models.vae import VAE, VAEModel
from ganvas.parts.likelihoods import Gaussian
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.priors import Mixture, Normal, Vamp

NET = MLP(hidden=())
# Two clouds in the plane, of 600 and 200 points.
POINTS = Draw(0).normal("points", (800, 2)) * 0.2 + torch.tensor([[2.0, 1.0]]) * torch.tensor([1.0, -1, 1, 1])[
    torch.arange(800) % 4
].reshape(-1, 1)


def identity(model: Model, variance: float = 1.0) -> Any:
    """Codes that are the points, and back; with Q's variance, where there is one."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
            if parameter.dim() == 2:
                parameter[:2] = torch.eye(2)
            elif len(parameter) == 4:
                parameter[2:] = float(np.log(variance))
    return model


def vae(variance: float = 0.04, **settings: Any) -> VAEModel:
    made: VAEModel = identity(VAEModel(VAE(latent_dim=2, net=NET, likelihood=Gaussian(scale=0.1), **settings), (2,)))
    with torch.no_grad():
        made.encoder[1].bias[2:] = float(np.log(variance))
    return made


def autoencoder() -> AutoencoderModel:
    made: AutoencoderModel = identity(AutoencoderModel(Autoencoder(latent_dim=2, net=NET), (2,)))
    return made


def test_an_autoencoder_gets_samples_like_its_data() -> None:
    """Each coordinate of 800 samples beside the points: false alarm under 1e-5, the fit being a little off."""
    model = autoencoder()
    fitted = fit_prior(model, POINTS, components=2)
    assert fitted.config == FittedAutoencoder(latent_dim=2, net=NET, components=2)
    assert torch.equal(fitted.reconstruct(POINTS), model.reconstruct(POINTS))
    assert not hasattr(model, "sample") and not hasattr(model, "prior")
    samples = fitted.sample(800, seed=1)
    assert torch.equal(samples, fitted.sample(800, seed=1)) and torch.equal(samples[:5], fitted.sample(5, seed=1))
    for j in range(2):
        assert stats.ks_2samp(samples[:, j], POINTS[:, j]).pvalue > 1e-5
    assert torch.equal(fitted.decode(explore.sample_codes(fitted, 5, seed=1)), samples[:5])
    np.testing.assert_allclose(sorted(fitted.prior.logit.exp()), [0.25, 0.75], atol=0.02)


def test_a_denoising_autoencoder_gets_them_too() -> None:
    model = identity(DenoisingAutoencoderModel(DenoisingAutoencoder(latent_dim=2, net=NET), (2,)))
    fitted = fit_prior(model, POINTS, components=2)
    assert isinstance(fitted.config, FittedAutoencoder) and fitted.sample(3).shape == (3, 2)


def test_a_vae_s_prior_becomes_its_aggregate_posterior() -> None:
    """Q(z) has the points' variance and Q's own; samples are the decoder's means at it."""
    model = vae(warmup=3, free_bits=0.1, beta=2.0)
    fitted: Any = fit_prior(model, POINTS, components=2)
    assert fitted.config == VAE(
        latent_dim=2, net=NET, likelihood=Gaussian(scale=0.1), warmup=3, beta=2.0, prior=Mixture(components=2)
    )
    assert model.config.prior == Normal()
    np.testing.assert_allclose(fitted.prior.log_variance.exp().detach(), 0.2**2 + 0.04, rtol=0.2)
    z = draw_codes(model, POINTS, seed=4)
    assert torch.equal(z, draw_codes(model, POINTS, seed=4)) and not torch.equal(z, draw_codes(model, POINTS, seed=5))
    noise = (z - POINTS).flatten() / 0.2
    assert stats.kstest(noise, "norm").pvalue > 1e-6
    # Where Q(z) was not the prior, the data is more likely under the new one.
    assert fitted.log_prob(POINTS[:50], 500).mean() > model.log_prob(POINTS[:50], 500).mean() + 0.5


@pytest.mark.parametrize("make", [autoencoder, vae, lambda: vae(prior=Vamp(components=3))])
def test_it_is_saved_and_loaded(make: Any, tmp_path: Path) -> None:
    fitted: Any = fit_prior(make(), POINTS, components=3, seed=2)
    again: Any = load(fitted.save(tmp_path))
    assert again.config == fitted.config and torch.equal(again.sample(9), fitted.sample(9))
    assert torch.equal(again.prior.mean, fitted.prior.mean) and not fitted.training


def test_fitting_anew_takes_the_place_of_the_first_fit() -> None:
    once: Any = fit_prior(autoencoder(), POINTS, components=5)
    twice: Any = fit_prior(once, POINTS, components=2)
    assert twice.prior.mean.shape == (2, 2) and once.prior.mean.shape == (5, 2)


def test_what_has_no_fit_is_refused() -> None:
    gan = GANModel(GAN(generator=NET, discriminator=NET), (2,))
    with pytest.raises(UnsupportedError, match="gan has no codes of images; it has sample, decode"):
        fit_prior(gan, POINTS)
    with pytest.raises(UserError, match="10 components take"):
        fit_prior(autoencoder(), POINTS[:19])
    with pytest.raises(UserError, match="NaN"):
        fit_prior(autoencoder(), POINTS * torch.nan)
