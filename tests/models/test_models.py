"""One conformance test walks every model with every net; then every bound against an independent calculation."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from ganvas.errors import UserError
from ganvas.likelihoods import Bernoulli, Gaussian
from ganvas.losses import GAN_LOSSES, kl_to_standard_normal, normal_log_prob
from ganvas.models import MODELS, Model, load
from ganvas.models.autoencoder import corrupt
from ganvas.models.base import FAMILIES, VERBS, UnsupportedError
from ganvas.models.vae import VAE, VAEModel
from ganvas.nets.dcgan import DCGAN
from ganvas.nets.mlp import MLP
from ganvas.randomness import Draw


def make(kind: str, shape: tuple[int, ...] = (1, 8, 8), **settings: Any) -> Model:
    torch.manual_seed(0)
    return FAMILIES[MODELS[kind]](MODELS[kind](**settings), shape)


@pytest.mark.parametrize("kind", sorted(MODELS))
@pytest.mark.parametrize("net", ["mlp", "dcgan"])
def test_conformance(kind: str, net: str, tmp_path: Path) -> None:
    chosen = MLP(hidden=(16,)) if net == "mlp" else DCGAN(filters=4)
    nets = {"generator": chosen, "discriminator": chosen} if kind == "gan" else {"net": chosen}
    model = make(kind, latent_dim=3, **nets)
    images = torch.rand(6, 1, 8, 8)
    for name, player in model.players().items():
        for other, opponent in model.players().items():
            opponent.requires_grad_(other == name)
        loss = player(images, Draw(0, 1))["loss"]
        assert loss.shape == () and torch.equal(loss, player(images, Draw(0, 1))["loss"])
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in player.parameters())
    model.save(tmp_path)
    again = load(tmp_path)
    assert again.config == model.config and not again.training and model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    if hasattr(type(model), "encode"):
        codes = model.encode(images)
        assert codes.shape == (6, 3) and torch.equal(codes, again.encode(images))
        assert torch.equal(again.reconstruct(images), again.decode(codes))
        assert again.reconstruct((images * 255).byte().numpy()).shape == images.shape
    if hasattr(type(model), "sample"):
        samples = again.sample(5, seed=3)
        assert samples.shape == (5, 1, 8, 8) and samples.min() >= 0 and samples.max() <= 1
        assert torch.equal(samples, model.sample(5, seed=3)) and not torch.equal(samples, model.sample(5, seed=4))
    assert model.training


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_a_verb_that_is_missing_is_named_with_the_models_that_have_it(kind: str) -> None:
    model = make(kind)
    for verb in VERBS:
        if not hasattr(type(model), verb):
            with pytest.raises(UnsupportedError, match=f"has no {verb}.*Models with {verb}: "):
                getattr(model, verb)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.rand(2, 1, 9, 9), "takes \\(N, 1, 8, 8\\)"),
        (torch.full((2, 1, 8, 8), 255.0), "255"),
        (torch.full((2, 1, 8, 8), math.nan), "NaN"),
    ],
)
def test_wrong_images_are_refused(images: torch.Tensor, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make("vae").encode(images)


@pytest.mark.parametrize(("side", "out"), [(16, 16), (28, 28), (48, 48), (64, 64)])
@pytest.mark.parametrize("kernel", [4, 5])
def test_dcgan_makes_any_size_that_halves_down(side: int, out: int, kernel: Any) -> None:
    net = DCGAN(filters=2, kernel=kernel)
    assert net.decoder(5, (3, side, side))(torch.zeros(2, 5)).shape == (2, 3, out, out)
    assert net.encoder((3, side, side), 7)(torch.zeros(2, 3, side, side)).shape == (2, 7)
    with pytest.raises(UserError, match="50 x 50"):
        net.decoder(5, (3, 50, 50))


def test_log_probabilities_are_scipys() -> None:
    random = np.random.default_rng(0)
    x, out = random.integers(0, 2, (4, 1, 3, 3)), random.normal(size=(4, 1, 3, 3))
    ours = Bernoulli().log_prob(torch.tensor(x, dtype=torch.float64), torch.tensor(out))
    np.testing.assert_allclose(ours, stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-out))).sum((1, 2, 3)), rtol=1e-9)
    y, mean = random.normal(size=(4, 2)), random.normal(size=(4, 2))
    fixed = Gaussian(scale=0.3).log_prob(torch.tensor(y), torch.tensor(mean))
    np.testing.assert_allclose(fixed, stats.norm.logpdf(y, mean, 0.3).sum(1), rtol=1e-9)
    log_scale = random.normal(size=(4, 2))
    learned = Gaussian().log_prob(torch.tensor(y), torch.tensor(np.concatenate([mean, log_scale], 1)))
    np.testing.assert_allclose(learned, stats.norm.logpdf(y, mean, np.exp(log_scale)).sum(1), rtol=1e-9)


def test_kl_is_the_difference_of_two_expectations_by_quadrature() -> None:
    mean, log_variance = 0.7, -0.9
    z = np.linspace(-12, 12, 200001)
    q = stats.norm.pdf(z, mean, math.exp(log_variance / 2))
    expected = np.trapezoid(q * (stats.norm.logpdf(z, mean, math.exp(log_variance / 2)) - stats.norm.logpdf(z)), z)
    ours = kl_to_standard_normal(torch.tensor([[mean]]), torch.tensor([[log_variance]]))
    assert float(ours) == pytest.approx(expected, rel=1e-6)
    log_q = normal_log_prob(torch.tensor([[0.3]]), torch.tensor(mean), torch.tensor(log_variance))
    assert float(log_q) == pytest.approx(stats.norm.logpdf(0.3, mean, math.exp(log_variance / 2)), rel=1e-6)


def test_gan_losses_are_numpys() -> None:
    real, fake = np.array([0.5, 2.0, -1.0]), np.array([-0.3, 1.0, 0.2])
    d = lambda logit: 1 / (1 + np.exp(-logit))  # noqa: E731
    cost = -np.log(d(real)).mean() - np.log(1 - d(fake)).mean()
    generators = {"minimax": np.log(1 - d(fake)).mean(), "non-saturating": -np.log(d(fake)).mean()}
    for name, generator in generators.items():
        loss = GAN_LOSSES[name]
        assert float(loss.discriminator(torch.tensor(real), torch.tensor(fake))) == pytest.approx(cost)
        assert float(loss.generator(torch.tensor(fake))) == pytest.approx(generator)


def test_both_forms_of_the_elbo_agree_and_bound_log_prob() -> None:
    """Means of 4,000 draws within 5 standard errors: under one false alarm in a million seeds."""
    model = make("vae", latent_dim=2, net=MLP(hidden=(8,)))
    assert isinstance(model, VAEModel) and isinstance(model.config, VAE)
    image = (torch.rand(1, 1, 8, 8) > 0.5).float()
    with torch.no_grad():
        many = image.expand(4000, 1, 8, 8)
        analytic, sampled = model.elbo(many, Draw(1))["elbo"], model.elbo(many, Draw(2), "sampled")["elbo"]
    error = math.hypot(analytic.std() / math.sqrt(4000), sampled.std() / math.sqrt(4000))
    assert abs(float(analytic.mean() - sampled.mean())) < 5 * error
    assert float(model.log_prob(image, 3000)) > float(analytic.mean()) - 5 * error


def test_log_prob_is_the_integral_over_a_grid_and_takes_the_samples_asked() -> None:
    model = make("vae", latent_dim=1, net=MLP(hidden=(4,)))
    image = (torch.rand(1, 1, 8, 8) > 0.5).float()
    z = torch.linspace(-8, 8, 8001)[:, None]
    with torch.no_grad():
        joint = Bernoulli().log_prob(image.expand(8001, 1, 8, 8), model.decoder(z)) + normal_log_prob(z)
    exact = float(torch.logsumexp(joint.double(), 0)) + math.log(16 / 8000)
    assert float(model.log_prob(image, 5000)) == pytest.approx(exact, abs=0.05)
    asked = []
    model.decoder.register_forward_hook(lambda _, given, __: asked.append(len(given[0])))
    model.log_prob(torch.cat([image, image]), 1234)
    assert sum(asked) == 2 * 1234
    with pytest.raises(UserError, match="num_samples is 0"):
        model.log_prob(image, 0)


def test_corruption_does_what_it_names() -> None:
    x = torch.full((50, 1, 28, 28), 0.5)
    masked, salted = corrupt(x, "masking", 0.3, Draw(0)), corrupt(x, "salt-and-pepper", 0.4, Draw(0))
    assert float((masked == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert set(masked.unique().tolist()) == {0.0, 0.5}
    assert float((salted == 1).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert float((salted == 0).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert float((corrupt(x, "gaussian", 0.25, Draw(0)) - x).std()) == pytest.approx(0.25, rel=0.02)
