"""Images from a part of their pixels: exactly where the posterior is known, and sentences where it can't be had."""

import logging
import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from helpers import settings_of
from hypothesis import given, settings
from scipy import stats

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models import MODELS
from ganvas.models.base import FAMILIES
from ganvas.models.completion import langevin, resampled
from ganvas.models.gan import GAN, GANModel
from ganvas.models.vae import VAE, VAEModel
from ganvas.parts.likelihoods import LIKELIHOODS, Gaussian
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.priors import Mixture, StochasticLayer

D, SIDE, SCALE = 3, 8, 0.5
LINEAR = MLP(hidden=())
MISSING = torch.tensor([1, 0, 0, 0, 1, 0, 0, 0], dtype=torch.bool)


def linear(**how: Any) -> tuple[VAEModel, np.ndarray]:
    """x = W z + 0.5 e, and W; the encoder is whatever it is."""
    torch.manual_seed(0)
    w = np.random.default_rng(0).standard_normal((SIDE, D))
    model = VAEModel(VAE(latent_dim=D, net=LINEAR, likelihood=Gaussian(scale=SCALE), **how), (SIDE,))
    with torch.no_grad():
        for parameter, value in zip(model.decoder.parameters(), (w, np.zeros(SIDE)), strict=True):
            parameter.copy_(torch.from_numpy(value))
    return model, w


def test_completions_have_the_conditional_mean_and_covariance() -> None:
    """Of 600 independent ones. Three tests, each with a false alarm of 1e-5.

    What is drawn is E[x_m given z]: its covariance is that of x_m given the visible numbers, less the noise's.
    """
    n, (model, w) = 600, linear()
    x = torch.from_numpy(w @ [1.0, -0.5, 2.0]).float()
    found = model.completed(x.expand(n, -1), MISSING, n=1).images[:, 0]
    assert torch.equal(found[:, ~MISSING], x.expand(n, -1)[:, ~MISSING])
    missing = MISSING.numpy()
    whole = w @ w.T + SCALE**2 * np.eye(SIDE)
    gain = np.linalg.solve(whole[np.ix_(~missing, ~missing)], whole[np.ix_(~missing, missing)]).T
    mean = gain @ x.numpy()[~missing]
    covariance = whole[np.ix_(missing, missing)] - gain @ whole[np.ix_(~missing, missing)] - SCALE**2 * np.eye(2)
    white = np.linalg.solve(np.linalg.cholesky(covariance), (found[:, MISSING].double().numpy() - mean).T)
    assert stats.chi2(2).sf(n * np.square(white.mean(1)).sum()) > 1e-5
    assert 0.5e-5 < stats.chi2(2 * n).sf(np.square(white).sum()) < 1 - 0.5e-5
    assert stats.pearsonr(*white).pvalue > 1e-5


class Folded(torch.nn.Module):
    """z -> |z_1|, z_2: the sign can't be known."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.cat([z[:, :1].abs(), z[:, 1:]], 1)


def test_both_modes_are_found() -> None:
    """z is 1.5 or -1.5, thirty deviations from each other: of 400 images half have either; false alarm 1e-6."""
    model = VAEModel(VAE(latent_dim=2, net=LINEAR, likelihood=Gaussian(scale=0.1)), (2,))
    with torch.no_grad():
        model.decoder[0].weight.copy_(torch.eye(2))
        model.decoder[0].bias.zero_()
    model.decoder = torch.nn.Sequential(Folded(), model.decoder)
    codes = model.completed(torch.tensor([1.5, 0.0]).expand(400, 2), torch.tensor([0, 1]), n=1).codes[:, 0, 0]
    assert torch.allclose(codes.abs(), torch.tensor(1.5), atol=0.6)
    assert stats.binomtest(int((codes > 0).sum()), 400).pvalue > 1e-6
    one = model.completed(torch.tensor([[1.5, 0.0]]), torch.tensor([0, 1]), n=20).codes[0, :, 0]
    assert one.min() < 0 < one.max(), "completions of one image are of both, too"


def test_langevin_moves_keep_a_density_that_is_not_normal() -> None:
    """Logistic numbers stay logistic (false alarm 1e-5), with steps so large that two in five are refused."""
    u = Draw(0).uniform("start", (1, 5000, 2)).clamp(1e-6, 1 - 1e-6)
    z = langevin(lambda z: (-z - 2 * torch.nn.functional.softplus(-z)).sum(-1), u.logit(), torch.full((1, 2), 2.0),
                 Draw(1), 30)  # fmt: skip
    assert not torch.allclose(z, u.logit(), atol=0.5)
    assert min(stats.kstest(column, "logistic").pvalue for column in z[0].T.numpy()) > 0.5e-5


def test_langevin_moves_reach_a_density_from_elsewhere() -> None:
    scale = torch.tensor([[0.1, 1.0, 10.0]])
    start = 3 * scale.expand(1, 2000, 3)
    z = langevin(lambda z: -0.5 * (z / scale).square().sum(-1), start, scale, Draw(0), 200)[0] / scale
    assert z.mean(0).abs().max() < 5 / math.sqrt(2000) and (z.std(0) - 1).abs().max() < 5 / math.sqrt(4000)


@given(weights=st.lists(st.floats(0.01, 1), min_size=1, max_size=9), n=st.integers(1, 30), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=100)
def test_resampling_takes_each_as_often_as_its_weight_says(weights: list[float], n: int, seed: int) -> None:
    """To within one, whatever the seed."""
    log_weights = torch.tensor([weights]).log() - 500
    counts = resampled(log_weights, n, Draw(seed))[0].bincount(minlength=len(weights)).numpy()
    assert (np.abs(counts - n * np.array(weights) / sum(weights)) < 1 + 1e-4).all()


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("shape", [(1, 4, 3), (3, 2, 2), (5,)])
def test_the_pixels_likelihoods_make_up_the_image_s(name: str, shape: tuple[int, ...]) -> None:
    likelihood = LIKELIHOODS[name]()
    if len(shape) == 1 and likelihood.images_only:
        pytest.skip("of images alone")
    x = Draw(0).uniform("x", (4, *shape))
    for lead in ((4,), (7, 4), (7, 1)):
        output = Draw(1).normal("output", (*lead, shape[0] * likelihood.parameters, *shape[1:]))
        each = likelihood.log_prob_each(x, output)
        assert each.shape == (*lead[:-1], 4, *shape[-2:])
        whole = likelihood.log_prob(x, output.expand(*lead[:-1], 4, *output.shape[len(lead) :]))
        torch.testing.assert_close(each.flatten(len(lead)).sum(-1), whole, rtol=1e-4, atol=1e-3)


def made(kind: str, shape: tuple[int, ...] = (1, 4, 4)) -> Any:
    torch.manual_seed(0)
    return FAMILIES[MODELS[kind]](settings_of(kind, latent_dim=3), shape)


COMPLETING = [kind for kind, config in MODELS.items() if hasattr(FAMILIES[config], "complete")]


@pytest.mark.parametrize("kind", COMPLETING)
def test_what_every_family_keeps(kind: str) -> None:
    """Visible pixels, whatever the missing ones hold; the same for the same seed, and for images in company."""
    model = made(kind)
    # Samples: the codes nearest to an image that a GAN can't make all lie in one corner of a bounded P(z).
    x = model.sample(3, seed=1)
    found = model.completed(x, "left", n=2, seed=5)
    assert found.images.shape == (3, 2, 1, 4, 4) and found.codes.shape == (3, 2, model.latent_dim)
    assert torch.equal(found.images[..., 2:], x[:, None, :, :, 2:].expand(-1, 2, -1, -1, -1))
    assert torch.allclose(found.images[..., :2], model.decode(found.codes.flatten(0, 1)).unflatten(0, (3, 2))[..., :2])
    away = (model.decode(found.codes.flatten(0, 1)).unflatten(0, (3, 2)) - x[:, None])[..., 2:]
    assert torch.allclose(found.distances, away.flatten(2).square().mean(2).sqrt(), atol=1e-6)
    other = x[:1].clone()
    other[..., :2] = 0.7
    assert torch.allclose(model.complete(other, "left", n=2, seed=5), found.images[:1], atol=1e-3)
    assert not torch.equal(model.complete(x[:1], "left", n=2, seed=6), found.images[:1])


def test_completions_differ_under_another_prior() -> None:
    """The mixture's, whose modes lie far from 0: codes go there."""
    model, w = linear(prior=Mixture(components=2))
    with torch.no_grad():
        model.prior.mean.copy_(torch.tensor([[8.0, 0, 0], [-8.0, 0, 0]]))
        model.prior.log_variance.zero_()
    x = torch.from_numpy(np.stack([w @ [8.0, 0, 0], w @ [-8.0, 0, 0]])).float()
    codes = model.completed(x, MISSING, n=5).codes
    assert (codes[0, :, 0] > 6).all() and (codes[1, :, 0] < -6).all()


def test_a_gan_completes_its_own_samples_and_says_what_is_none(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(1)
    model = GANModel(GAN(latent_dim=4, generator=MLP(hidden=(32,)), discriminator=LINEAR, output="tanh"), (1, 4, 4))
    with torch.no_grad():
        for weight in model.generator.parameters():
            weight.mul_(3)
    x = model.sample(3, 7)
    with caplog.at_level(logging.WARNING, "ganvas"):
        found = model.completed(x, "left", n=2)
        assert not caplog.records
        assert found.distances[:, 0].max() < 0.1 * found.apart
        assert (found.images[:, 0] - x).abs().mean() < 0.1
        assert (found.distances[:, 0] <= found.distances[:, 1]).all()
        model.complete(torch.cat([x, (torch.arange(16).reshape(1, 1, 4, 4) % 2).float()]), "left")
    (record,) = caplog.records
    assert record.getMessage().startswith("1 of 4 images are doubtful (3): this model has none like them.")


def test_noise_that_the_likelihood_knows_is_no_doubt(caplog: pytest.LogCaptureFixture) -> None:
    """Black and white images are far from grey means; of all values turned over the model has none."""
    torch.manual_seed(1)
    model = VAEModel(VAE(latent_dim=2, net=LINEAR), (1, 8, 8))
    with torch.no_grad():
        model.decoder[0].bias.copy_(torch.linspace(-4, 4, 64))
    x = model.simulated(Draw(0).normal("z", (20, 2)), Draw(1)).detach()
    with caplog.at_level(logging.WARNING, "ganvas"):
        model.complete(x, "noise", n=2)
        assert not caplog.records
        model.complete(torch.cat([x[:1], 1 - x[:1]]), "noise", n=2)
    assert caplog.records[0].getMessage().startswith("1 of 2 images are doubtful (1)")


def test_two_stochastic_layers_are_refused() -> None:
    model, _ = linear(prior=StochasticLayer(latent_dim=2))
    with pytest.raises(UserError, match="with two stochastic layers"):
        model.complete(torch.zeros(1, SIDE), MISSING)


def test_a_likelihood_that_is_far_too_sharp_comes_to_an_end() -> None:
    torch.manual_seed(0)
    model = VAEModel(VAE(latent_dim=2, net=LINEAR, likelihood=Gaussian(scale=1e-4)), (1, 4, 4))
    assert bool(torch.isfinite(model.complete(torch.rand(2, 1, 4, 4), "top", n=2)).all())


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"mask": "lefft"}, "unknown mask 'lefft'. Did you mean 'left'"),
        ({"mask": "left", "n": 0}, "n: 0 is refused"),
        ({"mask": torch.zeros(4, 4)}, "no missing pixel"),
        ({"mask": "left", "images": torch.full((1, 1, 4, 4), math.nan)}, "NaN"),
        ({"mask": "left", "images": torch.zeros(1, 1, 5, 4)}, "shape"),
        ({"mask": "left", "n": 10**9}, "of memory"),
    ],
)
def test_refusals(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        made("vae").complete(**{"images": torch.zeros(1, 1, 4, 4), **asked})


@pytest.mark.parametrize("kind", ["autoencoder", "denoising-autoencoder", "denoiser"])
def test_families_without_a_prior_say_who_completes(kind: str) -> None:
    with pytest.raises(UserError, match=r"has no complete; .*Kinds with complete: .*fitted-autoencoder.*vae"):
        made(kind, (1, 8, 8)).complete(torch.zeros(1, 1, 8, 8), "left")
