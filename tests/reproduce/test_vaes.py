import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.decomposition import PCA

from ganvas.data import Dataset
from ganvas.ground import drawing
from ganvas.ground.randomness import Draw
from ganvas.models.vae import VAE, VAEModel
from ganvas.parts import losses
from ganvas.parts.nets.mlp import MLP
from ganvas.reproduce import quadrature, reparametrisation, vaes
from ganvas.reproduce.lab import FIGURES, Lab


def vae(latent_dim: int = 2, shape: tuple[int, ...] = (1, 2, 2)) -> VAEModel:
    """An untrained one, whose decoder's weights are large enough to give each z images of its own."""
    torch.manual_seed(0)
    model = VAEModel(VAE(latent_dim=latent_dim, net=MLP(hidden=(8,), activation="tanh")), shape)
    with torch.no_grad():
        for weights in model.decoder.parameters():
            weights.mul_(3)
    return model.eval()


@pytest.fixture
def x() -> torch.Tensor:
    return (torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def test_log_joint_is_that_of_the_model(x: torch.Tensor) -> None:
    model, nodes = vae(), torch.randn(7, 2, generator=torch.Generator().manual_seed(1))
    found = quadrature.log_joint(model, x, nodes)
    with torch.no_grad():
        p = model.decoder(nodes).sigmoid().flatten(1).double().numpy()
    pixels = x.flatten(1).numpy()
    expected = (
        stats.bernoulli.logpmf(pixels[None], p[:, None]).sum(-1) + stats.norm.logpdf(nodes.numpy()).sum(-1)[:, None]
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_the_grids_integral_is_log_p(x: torch.Tensor) -> None:
    model = vae()
    joint = quadrature.log_joint(model, x, quadrature.square(0.05))
    found = quadrature.integrate(joint, 0.05)

    def density(b: float, a: float) -> float:
        return float(quadrature.log_joint(model, x[:1], torch.tensor([[a, b]])).exp())

    expected, _ = integrate.dblquad(density, -6, 6, -6, 6, epsabs=1e-5, epsrel=1e-4)
    assert float(found[0]) == pytest.approx(math.log(expected), abs=1e-3)
    assert (quadrature.integrate(quadrature.coarser(joint), 0.1) - found).abs().max() < 1e-4
    np.testing.assert_array_equal(quadrature.coarser(quadrature.square(0.5)).numpy(), quadrature.square(1.0).numpy())


def test_a_finer_grid_where_the_mass_is(x: torch.Tensor) -> None:
    """What lies 15 nats below the highest node, or more, is left out: of the square, less than 144 / 0.2^2 e^-15."""
    model, nodes = vae(), quadrature.square(0.2)
    found = quadrature.refined(model, x, nodes, quadrature.log_joint(model, x, nodes), 0.2, 5)
    fine = quadrature.square(0.04)
    np.testing.assert_allclose(found, quadrature.integrate(quadrature.log_joint(model, x, fine), 0.04), atol=2e-3)


def test_the_encoders_density(x: torch.Tensor) -> None:
    model, nodes = vae(), torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mean, log_variance = (part.double().numpy() for part in model.posterior(x))
    expected = stats.norm.logpdf(nodes.numpy()[:, None], mean, np.exp(log_variance / 2)).sum(-1)
    np.testing.assert_allclose(quadrature.log_encoder(model, x, nodes).numpy(), expected, atol=1e-5)


def test_the_divergence_of_two_normals() -> None:
    nodes = quadrature.square(0.05).double()
    log_p = losses.normal_log_prob(nodes, torch.tensor([0.3, -0.2]), torch.tensor([-1.0, -0.5]))[:, None]
    log_q = losses.normal_log_prob(nodes)[:, None]
    expected = losses.kl_by_dimension(torch.tensor([[0.3, -0.2]]), torch.tensor([[-1.0, -0.5]])).sum(-1)
    assert float(quadrature.divergence(log_p, log_q, 0.05)) == pytest.approx(float(expected), abs=1e-5)
    assert float(quadrature.divergence(log_p, log_p, 0.05)) == 0


def test_elbo_and_divergence_to_the_posterior_make_log_p(x: torch.Tensor) -> None:
    model, nodes = vae(), quadrature.square(0.05)
    joint, log_q = quadrature.log_joint(model, x, nodes), quadrature.log_encoder(model, x, nodes)
    exact = quadrature.integrate(joint, 0.05)
    elbo = (log_q.exp() * (joint - log_q)).sum(0) * 0.05**2
    np.testing.assert_allclose(elbo + quadrature.divergence(log_q, joint - exact, 0.05), exact, atol=1e-4)
    with model.asked():
        drawn = torch.stack([model.elbo(x, Draw(0, m))["elbo"] for m in range(4000)]).double()
    # Five means: a false alarm in 3,000.
    assert ((drawn.mean(0) - elbo) / (drawn.std(0) / math.sqrt(len(drawn)))).abs().max() < 4


def test_pooled_estimates() -> None:
    log_p, error = quadrature.pooled(torch.log(torch.tensor([[1.0, 5.0], [3.0, 5.0]], dtype=torch.float64)))
    np.testing.assert_allclose(log_p.exp(), [2, 5])
    np.testing.assert_allclose(error, [math.sqrt(2) / 2 / math.sqrt(2), 0], atol=1e-12)


def test_the_z_score() -> None:
    values = torch.tensor([1.0, 2.0, 4.0])
    assert quadrature.z_score(values) == pytest.approx(stats.ttest_1samp(values.numpy(), 0).statistic, rel=1e-6)


@pytest.fixture
def images() -> torch.Tensor:
    mix = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    z = torch.randn(600, 4, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(600, 12, generator=torch.Generator().manual_seed(2))
    return (z @ mix + 0.5 * noise + 3).reshape(600, 1, 3, 4)


def test_probabilistic_pca_has_the_density_of_its_parameters(images: torch.Tensor) -> None:
    model = quadrature.linear_gaussian(images, 3)
    points = images.flatten(1)
    found = quadrature.linear_gaussian_log_prob(model, points)
    w, mean = model.decoder[0].weight.detach().numpy(), model.decoder[0].bias.detach().numpy()
    covariance = w @ w.T + model.config.likelihood.scale**2 * np.eye(12)
    np.testing.assert_allclose(found, stats.multivariate_normal(mean, covariance).logpdf(points.numpy()), atol=1e-3)
    theirs = PCA(3).fit(points.numpy()).score(points.numpy())
    # scikit-learn divides by n - 1, which is not the maximum.
    assert theirs < float(found.mean()) < theirs + 1e-3


def test_with_the_true_posterior_one_draw_is_exact(images: torch.Tensor) -> None:
    points = images.flatten(1)[:20]
    model = quadrature.linear_gaussian(images, 3, widening=1.0)
    exact = quadrature.linear_gaussian_log_prob(model, points)
    np.testing.assert_allclose(model.log_prob(points, 1), exact, atol=1e-3)
    wide = quadrature.linear_gaussian(images, 3)
    assert (wide.log_prob(points, 1) - exact).abs().max() > 0.05
    assert (wide.log_prob(points, 20_000) - exact).abs().max() < 0.05


def test_gradient_estimates_have_the_known_mean_and_order_of_variance() -> None:
    mean, log_variance = torch.tensor([[0.5, -1.0]]), torch.tensor([[-0.5, 0.3]])
    a = torch.tensor([2.0, 0.7])
    eps = Draw(0).normal("test", (40_000, 1, 2))
    baseline = torch.tensor([10 - float((a * (mean**2 + log_variance.exp())).sum() / 2)])
    found = reparametrisation.gradient_estimates(
        lambda z: 10 - (a * z * z).sum(-1) / 2, mean, log_variance, eps, baseline
    )
    expected = torch.cat([-a * mean, -0.5 * a * log_variance.exp()], -1)
    for estimates in found:
        # Twelve means in all: a false alarm in 1,300.
        z = (estimates.mean(0) - expected) / (estimates.std(0) / math.sqrt(len(eps)))
        assert z.abs().max() < 4
    plain, score, lowered = (float(part.var(0).sum()) for part in found)
    assert plain < lowered < score


def test_the_reparametrised_estimate_is_what_training_uses(x: torch.Tensor) -> None:
    model = vae().requires_grad_(False)
    kept: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.requires_grad_())
        return output

    handle = model.encoder.register_forward_hook(keep)
    log_p = -model.elbo(x, Draw(3))["reconstruction"].sum()
    (expected,) = torch.autograd.grad(log_p, kept[0])
    handle.remove()
    mean, log_variance = model.posterior(x)
    eps = Draw(3).normal("posterior", (len(x), 2))[None]
    found = reparametrisation.gradient_estimates(
        lambda z: model.config.likelihood.log_prob(x, model.decoder(z[0]))[None],
        mean,
        log_variance,
        eps,
        torch.zeros(5),
    )
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-6)


def test_gradient_moments_are_those_of_the_draws(x: torch.Tensor) -> None:
    model = vae()
    mean, variance = reparametrisation.gradient_moments(model, x, seed=5, blocks=3, rows=4)
    center, log_variance = model.posterior(x)

    def log_p(z: torch.Tensor) -> torch.Tensor:
        return torch.stack([model.config.likelihood.log_prob(x, model.decoder(one)) for one in z])

    pilot, *draws = (Draw(5, block).normal("reparametrisation", (4, 5, 2)) for block in range(4))
    baseline = log_p(center + torch.exp(0.5 * log_variance) * pilot).mean(0)
    found = reparametrisation.gradient_estimates(log_p, center, log_variance, torch.cat(draws), baseline)
    found = torch.cat([found, found[1:] - found[:1]])
    np.testing.assert_allclose(mean, found.mean(1), atol=1e-5)
    np.testing.assert_allclose(variance, found.var(1), rtol=1e-4, atol=1e-6)


def test_steps_between_neighbours_and_all_pairs() -> None:
    images = torch.tensor([0.0, 1.0, 3.0, 7.0]).reshape(4, 1, 1, 1)
    near, pairs = vaes.steps_between(images, 2)
    assert sorted(near.tolist()) == [1, 3, 4, 6] and sorted(pairs.tolist()) == [1, 2, 3, 4, 6, 7]


def test_binary_images_keep_the_mean(only_blobs: Dataset) -> None:
    images = quadrature.binary_images(40)
    assert images.shape == (40, 1, 28, 28) and set(images.unique().tolist()) == {0, 1}
    # 31,360 pixels: the standard deviation of their mean is below 0.003.
    assert float(images.mean()) == pytest.approx(only_blobs.splits["test"].images.mean() / 255, abs=0.012)
    assert torch.equal(images[:7], quadrature.binary_images(7))


@pytest.mark.parametrize("name", ["latent-variable-model", "elbo", "reparametrisation", "manifold", "latent-size"])
def test_a_row_is_made_from_models_that_are_there(
    name: str, lab: Lab, only_blobs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trained:
        def __init__(self, latent_dim: int) -> None:
            self.model = vae(latent_dim, (1, 28, 28))
            self.state = {"test": {"elbo": -100.0 + latent_dim}}

        @property
        def recipe(self) -> Any:
            from ganvas.recipes import RECIPES

            return RECIPES["vae"]()

    monkeypatch.setattr(vaes, "trained", lambda lab, latent_dim, seed: Trained(latent_dim))
    monkeypatch.setattr(vaes, "of_faces", lambda lab, seed: Trained(2))
    monkeypatch.setattr(quadrature, "square", lambda step, square=quadrature.square: square(0.25))
    lab.seeds = (0, 1)
    with drawing.style():
        outcome = FIGURES[name](lab)
        drawing.save(outcome.figure, tmp_path / "a.png")
    assert all(len(measure.values) in (1, 2) for measure in outcome.measures)
    if name == "latent-size":
        assert outcome.holds and [part.values for part in outcome.measures[4:]] == [[3, 3], [5, 5], [10, 10]]
    if name == "manifold":
        assert not outcome.holds, "an untrained decoder shows no ten classes"
