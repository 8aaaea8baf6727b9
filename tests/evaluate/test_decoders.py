"""log P(x) of models whose P(x) is known: linear ones of points, and by quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from ganvas.evaluate.decoders import Decoder, below, best_scale, both_bounds, decoder_of, weights
from ganvas.evaluate.figures import NotApplicableError
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models.autoencoder import Autoencoder, AutoencoderModel, FittedAutoencoder, FittedAutoencoderModel
from ganvas.models.gan import GAN, GANModel
from ganvas.models.vae import VAE, VAEModel
from ganvas.parts.likelihoods import Bernoulli, Gaussian
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.priors import Mixture, StochasticLayer, Uniform

W, B = torch.tensor([[1.2, 0.3], [-0.8, 0.45]]), torch.tensor([0.5, -1.0])
LINEAR, FEW = MLP(hidden=()), MLP(hidden=(4,))
X = torch.tensor([[0.0, 0.0], [1.5, -2.0], [-0.7, 0.4]])


def linear(net: nn.Module) -> None:
    layer = next(part for part in net.modules() if isinstance(part, nn.Linear))
    with torch.no_grad():
        layer.weight.copy_(W)
        layer.bias.copy_(B)


def gan(**settings: object) -> GANModel:
    model = GANModel(GAN(latent_dim=2, generator=LINEAR, discriminator=FEW, **settings), (2,))
    linear(model.generator)
    return model


def exact(scale: float, variance: tuple[float, float] = (1.0, 1.0), mean: torch.Tensor = B) -> np.ndarray:
    spread = W @ torch.diag(torch.tensor(variance)) @ W.T + scale**2 * torch.eye(2)
    return stats.multivariate_normal(mean.numpy(), spread.double().numpy()).logpdf(X.numpy())


def test_a_vae_s_own_likelihood() -> None:
    """16 chains of 200 temperatures on three points: within 0.2 nats, as in ten other seeds (at most 0.09)."""
    model = VAEModel(VAE(latent_dim=2, net=LINEAR, likelihood=Gaussian(scale=0.3)), (2,))
    linear(model.decoder)
    np.testing.assert_allclose(below(decoder_of(model, X, 5), X, 200), exact(0.3), atol=0.2)
    assert all(part.requires_grad for part in model.parameters()) and model.training, "it is as it was"


def test_a_vae_around_its_mean_with_another_scale() -> None:
    model = VAEModel(VAE(latent_dim=2, net=LINEAR, likelihood=Gaussian(scale=0.3)), (2,))
    linear(model.decoder)
    np.testing.assert_allclose(below(Decoder(model, 0.5), X, 200), exact(0.5), atol=0.2)


def test_a_learned_prior() -> None:
    model = VAEModel(VAE(latent_dim=2, net=LINEAR, likelihood=Gaussian(scale=0.3), prior=Mixture(components=1)), (2,))
    linear(model.decoder)
    with torch.no_grad():
        model.prior.mean.copy_(torch.tensor([[0.5, -0.2]]))
        model.prior.log_variance.copy_(torch.tensor([[math.log(0.25), 0.0]]))
    expected = exact(0.3, (0.25, 1.0), B + W @ torch.tensor([0.5, -0.2]))
    np.testing.assert_allclose(below(Decoder(model), X, 200), expected, atol=0.2)


def test_a_gan_with_a_uniform_prior_has_no_edge() -> None:
    side = (torch.arange(2000) + 0.5) / 1000 - 1
    z = torch.cartesian_prod(side, side)
    log_p = stats.norm(0, 0.2).logpdf((X[:, None] - (z @ W.T + B)[None]).numpy()).sum(-1)
    quadrature = np.logaddexp.reduce(log_p, 1) - math.log(len(z))
    decoder = Decoder(gan(prior=Uniform()), 0.2)
    u = decoder.start(Draw(0), 4000)
    z = decoder.model.prior.bound * torch.erf(u / math.sqrt(2))
    assert stats.kstest(z.numpy().ravel(), stats.uniform(-1, 2).cdf).pvalue > 1e-6
    np.testing.assert_allclose(below(decoder, X, 300), quadrature, atol=0.2)


def test_from_both_sides() -> None:
    """Of 30 simulated points the mean of either bound is on its side, within 6 standard errors; the gap closes."""
    gaps = []
    for steps in (5, 100):
        low, high = both_bounds(Decoder(gan(), 0.3), 30, steps, chains=8)
        gaps.append(high - low)
        assert gaps[-1].mean() > -6 * gaps[-1].std() / math.sqrt(30)
    assert gaps[1].mean() < min(0.1, gaps[0].mean() / 4), gaps


def test_an_autoencoder_with_a_fitted_prior() -> None:
    model = FittedAutoencoderModel(FittedAutoencoder(latent_dim=2, net=LINEAR, components=1), (2,))
    linear(model.decoder)
    np.testing.assert_allclose(below(Decoder(model, 0.3), X, 200), exact(0.3), atol=0.2)


def test_the_scale_that_validation_data_choose() -> None:
    """A line in the plane, with noise beside it: sigma is its standard deviation, within 4 standard errors of it."""
    model = GANModel(GAN(latent_dim=1, generator=LINEAR, discriminator=FEW), (2,))
    x = model.decode(2 * Draw(1).uniform("z", (400, 1)) - 1) + 0.2 * Draw(2).normal("x", (400, 2))
    assert best_scale(model, x, 30, scales=(0.05, 0.1, 0.2, 0.4, 0.8)) == pytest.approx(0.2, rel=4 / math.sqrt(800))
    with pytest.raises(UserError, match=r"best sigma is 0\.1, at the end"):
        best_scale(model, x, 5, scales=(0.02, 0.05, 0.1))


@pytest.mark.parametrize("shape", [(2,), (1, 6, 6)])
def test_data_as_the_likelihood_sees_it(shape: tuple[int, ...]) -> None:
    model = GANModel(GAN(latent_dim=2, generator=FEW, discriminator=FEW), shape)
    bytes_ = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (50, *shape)))
    x = Decoder(model, 0.1).observe(bytes_.float() / 255, Draw(0))
    if len(shape) == 1:
        assert torch.equal(x, bytes_.float() / 255)
        return
    assert torch.equal((x * 256).floor().long(), bytes_) and ((x * 256) % 1).std() > 0.2
    vae = VAEModel(VAE(latent_dim=2, net=FEW, likelihood=Bernoulli()), shape)
    x = Decoder(vae).observe(bytes_.float() / 255, Draw(0))
    assert set(x.unique().tolist()) == {0, 1}
    drawn = Decoder(vae).simulate(torch.zeros(500, 2), Draw(1))
    torch.testing.assert_close(drawn.mean(0), vae.decode(torch.zeros(1, 2))[0], atol=0.15, rtol=0)


def test_images_are_taken_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.evaluate.decoders.ROWS", 8)
    decoder = Decoder(gan(), 0.3)
    start = decoder.start(Draw(0), 12).reshape(4, 3, 2)
    found = weights(decoder, X, start, torch.tensor([0.0, 1.0]).double(), 0)
    expected = torch.stack([decoder.log_likelihood(X, u) for u in start])
    torch.testing.assert_close(found.float(), expected.detach())


def test_what_can_not_be_annealed() -> None:
    with pytest.raises(NotApplicableError, match="fit-prior"):
        Decoder(AutoencoderModel(Autoencoder(net=FEW), (2,)), 0.1)
    with pytest.raises(NotApplicableError, match="two stochastic layers"):
        Decoder(VAEModel(VAE(net=FEW, prior=StochasticLayer(), likelihood=Gaussian()), (2,)))
    with pytest.raises(UserError, match="takes a scale"):
        Decoder(gan())
    with pytest.raises(UserError, match="of a probability of levels"):
        Decoder(VAEModel(VAE(net=FEW, likelihood=Bernoulli()), (1, 6, 6)), 0.1)
    with pytest.raises(UserError, match="positive"):
        Decoder(gan(), -0.1)
