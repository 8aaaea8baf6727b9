"""Bounds and likelihoods against a linear-Gaussian model, whose log P(x) is known (Tipping & Bishop 1999).

There x = W z + b + s e, so P(x) = N(b, W W' + s^2 I), and, W having orthogonal columns, P(z given x) is a normal of
diagonal covariance.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from ganvas.errors import UserError
from ganvas.likelihoods import Bernoulli, Gaussian
from ganvas.models.vae import VAE, VAEModel
from ganvas.nets.mlp import MLP
from ganvas.randomness import Draw

W, B, S = np.array([[1.2, 0.3], [-0.8, 0.45]]), np.array([0.5, -1.0]), 0.6
PRECISION = np.eye(2) + W.T @ W / S**2
EXACT = np.linalg.inv(PRECISION)
MARGINAL = stats.multivariate_normal(B, W @ W.T + S**2 * np.eye(2))
X = torch.tensor([[0.0, 0.0], [1.5, -2.0], [-0.7, 0.4]])


def linear_gaussian(shift: float = 0.0, widen: float = 1.0, **settings: Any) -> VAEModel:
    """Q is the exact posterior, its mean moved by `shift` and its standard deviations multiplied by `widen`."""
    config = VAE(latent_dim=2, net=MLP(hidden=()), likelihood=Gaussian(scale=S), **settings)
    model = VAEModel(config, (2,))
    gain = EXACT @ W.T / S**2
    log_variance = np.log(np.diag(EXACT)) + 2 * np.log(widen)
    values = (
        np.concatenate([gain, np.zeros((2, 2))]),
        np.concatenate([shift - gain @ B, log_variance]),
        W,
        B,
    )
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(value))
    return model


def kl_to_exact(shift: float, widen: float) -> float:
    """KL(Q || P(z given x)): what the ELBO lacks."""
    return float(np.sum(0.5 * (widen**2 + shift**2 * np.diag(PRECISION) - 1) - math.log(widen)))


def log_joint(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return stats.norm.logpdf(x, z @ W.T + B, S).sum(-1) + stats.norm.logpdf(z).sum(-1)


def log_q(x: np.ndarray, z: np.ndarray, shift: float, widen: float) -> np.ndarray:
    mean = (x - B) @ W @ EXACT / S**2 + shift
    return stats.norm.logpdf(z, mean, widen * np.sqrt(np.diag(EXACT))).sum(-1)


def image_model(latent_dim: int = 1, **settings: Any) -> VAEModel:
    torch.manual_seed(0)
    return VAEModel(VAE(latent_dim=latent_dim, net=MLP(hidden=(4,)), **settings), (1, 4, 4))


def test_the_posterior_is_diagonal_here() -> None:
    assert abs(EXACT[0, 1]) < 1e-15


@pytest.mark.parametrize("num_samples", [1, 2, 700])
def test_with_the_exact_posterior_every_weight_is_the_likelihood(num_samples: int) -> None:
    model = linear_gaussian()
    np.testing.assert_allclose(model.log_prob(X, num_samples), MARGINAL.logpdf(X), atol=2e-5)
    np.testing.assert_allclose(model.encode(X), (X.numpy() - B) @ W @ EXACT / S**2, atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(model.elbo(X, Draw(0), "sampled")["elbo"], MARGINAL.logpdf(X), atol=2e-5)


@pytest.mark.parametrize("form", ["analytic", "sampled"])
@pytest.mark.parametrize(("shift", "widen"), [(0.0, 1.0), (0.3, 1.0), (0.0, 0.5), (-0.2, 1.5)])
def test_the_elbo_lacks_the_distance_to_the_posterior(form: str, shift: float, widen: float) -> None:
    """Means of 20,000 draws within 5.5 standard errors: false alarm 4e-8 an image, under 1e-6 in all 24."""
    model = linear_gaussian(shift, widen)
    for x, exact in zip(X, MARGINAL.logpdf(X), strict=True):
        with torch.no_grad():
            elbo = model.elbo(x.expand(20_000, 2), Draw(0), form)["elbo"].double()
        error = 5.5 * float(elbo.std()) / math.sqrt(20_000)
        assert float(elbo.mean()) == pytest.approx(exact - kl_to_exact(shift, widen), abs=error + 2e-5)
        if kl_to_exact(shift, widen) > 0.05:
            assert float(elbo.mean()) < exact


@pytest.mark.parametrize("form", ["analytic", "sampled"])
def test_the_elbo_of_one_draw_by_hand(form: str) -> None:
    model, x = linear_gaussian(0.3, 1.5), X.numpy()
    zs = []
    handle = model.decoder.register_forward_pre_hook(lambda _, given: zs.append(given[0].numpy()))
    with torch.no_grad():
        parts = model.elbo(X, Draw(0), form)
    handle.remove()
    (z,) = zs
    np.testing.assert_allclose(parts["elbo"], -(parts["reconstruction"] + parts["kl"]), rtol=1e-6)
    np.testing.assert_allclose(parts["reconstruction"], -stats.norm.logpdf(x, z @ W.T + B, S).sum(1), rtol=1e-4)
    if form == "sampled":
        np.testing.assert_allclose(parts["kl"], log_q(x, z, 0.3, 1.5) - stats.norm.logpdf(z).sum(1), rtol=1e-4)
    else:
        mean, variance = (x - B) @ W @ EXACT / S**2 + 0.3, np.diag(EXACT) * 1.5**2
        np.testing.assert_allclose(parts["kl"], 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(1), rtol=1e-4)


@pytest.mark.parametrize("num_samples", [1, 7, 1000, 1234])
def test_log_prob_is_the_mean_of_exactly_as_many_weights(num_samples: int) -> None:
    model, x = linear_gaussian(0.3, 1.5), X[1]
    zs = []
    model.decoder.register_forward_pre_hook(lambda _, given: zs.append(given[0].numpy().reshape(-1, 2)))
    ours = model.log_prob(x[None], num_samples).item()
    z = np.concatenate(zs)
    assert len(z) == len(np.unique(z, axis=0)) == num_samples
    weights = log_joint(x.numpy(), z) - log_q(x.numpy(), z, 0.3, 1.5)
    assert ours == pytest.approx(np.logaddexp.reduce(weights) - math.log(num_samples), abs=1e-4)


def test_log_prob_of_one_sample_is_the_elbo_in_expectation_and_more_samples_come_closer() -> None:
    """Means of 1000 seeds within 5.5 standard errors, false alarm under 1e-6; the weights are unbiased, and bounded."""
    model = linear_gaussian(0.3, 1.2)
    (exact,) = np.atleast_1d(MARGINAL.logpdf(X[1]))
    one, three = (
        np.array([model.log_prob(X[1:2], num_samples, seed).item() for seed in range(1000)]) for num_samples in (1, 3)
    )
    assert one.mean() == pytest.approx(exact - kl_to_exact(0.3, 1.2), abs=5.5 * one.std() / math.sqrt(1000))
    for estimates in (one, three):
        weights = np.exp(estimates - exact)
        assert weights.mean() == pytest.approx(1, abs=5.5 * weights.std() / math.sqrt(1000))
    assert one.mean() < three.mean() < exact


def test_log_prob_is_each_images_own() -> None:
    """The standard error, from SciPy's densities, is 0.008; 0.06 is over 7 of them: false alarm under 1e-6."""
    model = linear_gaussian(0.1, 1.3)
    np.testing.assert_allclose(model.log_prob(X.repeat(3, 1), 4000), np.tile(MARGINAL.logpdf(X), 3), atol=0.06)
    assert torch.equal(model.log_prob(X, 50, seed=1), model.log_prob(X, 50, seed=1))
    assert not torch.equal(model.log_prob(X, 50, seed=1), model.log_prob(X, 50, seed=2))


def test_log_prob_of_black_and_white_is_the_integral_over_z() -> None:
    """Within 6 standard errors, 0.0008 by 40 seeds: false alarm under 1e-6."""
    model = image_model()
    x = (torch.arange(16).reshape(1, 1, 4, 4) % 3 == 0).float()
    z = np.linspace(-8, 8, 4001)
    p = model.decode(torch.from_numpy(z)[:, None].float()).double().numpy()
    joint = stats.bernoulli.logpmf(x.numpy(), p).sum((1, 2, 3)) + stats.norm.logpdf(z)
    exact = math.log(integrate.simpson(np.exp(joint), x=z))
    assert model.log_prob(x, 5000).item() == pytest.approx(exact, abs=0.005)


def test_grey_levels_are_drawn_as_black_and_white_where_the_likelihood_says_so() -> None:
    """Equal levels kept have one log P(x), within 6 standard errors, 0.003 by 40 seeds: false alarm under 1e-6."""
    grey = torch.full((3, 1, 4, 4), 0.5)
    drawn = image_model().log_prob(grey, 300)
    assert len(set(drawn.tolist())) == 3 and torch.equal(drawn, image_model().log_prob(grey, 300))
    kept = image_model(likelihood=Bernoulli(binarise="none")).log_prob(grey, 3000)
    assert float(kept.max() - kept.min()) < 0.025


@pytest.mark.parametrize("form", ["analytic", "sampled"])
@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_the_loss_weighs_the_kl(form: Any, beta: float) -> None:
    model = linear_gaussian(0.3, 1.5, elbo=form, beta=beta)
    parts, elbo = model(X, Draw(0)), model.elbo(X, Draw(0), form)
    assert {"reconstruction", "kl"} < parts.keys()
    for name in parts.keys() - {"loss"}:
        assert parts[name].item() == elbo[name].mean().item()
    assert parts["loss"].item() == pytest.approx(parts["reconstruction"].item() + beta * parts["kl"].item(), rel=1e-6)


def test_both_forms_have_the_same_gradient_in_expectation() -> None:
    """The difference over 50 batches is within 7 standard errors (Student's t): false alarm under 1e-6 in all."""
    model = linear_gaussian(0.3, 1.5)
    batches = []
    for i in range(50):
        gradients = []
        for form in ("analytic", "sampled"):
            model.zero_grad()
            (-model.elbo(X[1].expand(2000, 2), Draw(0, i), form)["elbo"].mean()).backward()
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]).double())
        batches.append(gradients[0] - gradients[1])
    difference = torch.stack(batches)
    error = difference.std(0) / math.sqrt(50)
    assert (difference.mean(0).abs() <= 7 * error + 1e-5).all()


def test_a_runaway_posterior_stays_finite() -> None:
    model = linear_gaussian()
    for bias in (1e4, -1e4):
        with torch.no_grad():
            model.encoder[1].bias[2:] = bias
        assert model.elbo(X, Draw(0))["elbo"].isfinite().all() and model.log_prob(X, 5).isfinite().all()


def test_samples_are_means_at_normal_codes() -> None:
    """Kolmogorov-Smirnov in both directions of the plane, false alarm under 1e-6."""
    samples = linear_gaussian().sample(5000, seed=1).double().numpy()
    z = (samples - B) @ np.linalg.inv(W).T
    assert all(stats.kstest(column, "norm").pvalue > 5e-7 for column in z.T)


def test_what_can_t_be_is_refused() -> None:
    with pytest.raises(UserError, match="num_samples is 0: it takes at least 1"):
        linear_gaussian().log_prob(X, 0)
    with pytest.raises(UserError, match=r"Bernoulli .* needs images .* shape \(2,\): take --likelihood gaussian"):
        VAEModel(VAE(), (2,))
