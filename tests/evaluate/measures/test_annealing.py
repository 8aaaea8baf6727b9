"""Annealed importance sampling on linear-Gaussian decoders, whose P(x) and P(z given x) are known, from both sides."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from ganvas.evaluate.measures.annealing import annealed, estimate, temperatures
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.parts.losses import normal_log_prob

W, B, S = torch.tensor([[1.2, 0.3], [-0.8, 0.45], [0.1, 2.0]]), torch.tensor([0.5, -1.0, 0.0]), 0.3
X = torch.tensor([[0.0, 0.0, 0.0], [1.5, -2.0, 1.0], [-0.7, 0.4, -3.0]])
EXACT = stats.multivariate_normal(B.numpy(), (W @ W.T + S**2 * torch.eye(3)).double().numpy()).logpdf(X.numpy())


def likelihood(chains: int):
    x = X.repeat(chains, 1)
    return lambda z: normal_log_prob(x, z @ W.T + B, torch.tensor(2 * math.log(S)))


def posterior(chains: int, seed: int) -> torch.Tensor:
    """Exact draws (chains, 3, 2) from P(z given x)."""
    covariance = torch.linalg.inv(torch.eye(2) + W.T @ W / S**2)
    mean = (X - B) @ W @ covariance / S**2
    return mean + Draw(seed).normal("exact", (chains, 3, 2)) @ torch.linalg.cholesky(covariance).T


def test_temperatures() -> None:
    betas = temperatures(10)
    assert betas[0] == 0 and betas[-1] == 1 and (betas.diff() > 0).all() and len(betas) == 11
    np.testing.assert_allclose(betas + betas.flip(0), 1, atol=1e-12)
    with pytest.raises(UserError, match="0 temperatures"):
        temperatures(0)


def test_one_step_is_importance_sampling_from_the_prior() -> None:
    z = Draw(0).normal("prior", (5, 3, 2))
    found = annealed(normal_log_prob, likelihood(5), z, temperatures(1))
    np.testing.assert_allclose(found, likelihood(5)(z.reshape(-1, 2)).reshape(5, 3), rtol=1e-6)


def test_the_mean_weight_is_the_likelihood() -> None:
    """2,000 chains; within 6 standard errors: false alarm under 1e-8."""
    z = Draw(1).normal("prior", (2000, 3, 2))
    weights = torch.exp(annealed(normal_log_prob, likelihood(2000), z, temperatures(30)) - torch.from_numpy(EXACT))
    error = weights.std(0) / math.sqrt(2000)
    assert (error < 0.1).all() and (error > 1e-4).all()
    assert ((weights.mean(0) - 1).abs() < 6 * error).all()


def test_from_both_sides_the_bounds_meet() -> None:
    """Bidirectional Monte Carlo (Grosse et al. 2015): below from the prior, above from exact posterior draws.

    Means of 400 chains within 6 standard errors of a bound that holds: false alarm under 1e-7.
    """
    gaps = []
    for steps in (20, 300):
        z, betas = Draw(2).normal("prior", (400, 3, 2)), temperatures(steps)
        below = annealed(normal_log_prob, likelihood(400), z, betas, seed=3) - torch.from_numpy(EXACT)
        back = annealed(normal_log_prob, likelihood(400), posterior(400, 4), betas.flip(0), seed=5)
        above = -back - torch.from_numpy(EXACT)
        assert (below.mean(0) < 6 * below.std(0) / 20).all() and (above.mean(0) > -6 * above.std(0) / 20).all()
        gaps.append(float((above.mean(0) - below.mean(0)).max()))
    assert gaps[1] < 0.5 and gaps[1] < gaps[0] / 4, gaps
    assert estimate(below).abs().max() < 6 * 0.05


def test_the_moves_leave_the_posterior_as_it_is() -> None:
    """Chains that start at the posterior and stay at beta = 1: Kolmogorov-Smirnov, false alarm 1e-6 a coordinate."""
    from ganvas.evaluate.measures.annealing import _look, _move

    z = posterior(3000, 6).reshape(-1, 2)
    start, state, moved = z, _look(normal_log_prob, likelihood(3000), z), 0.0
    for t in range(5):
        z, state, accepted = _move(
            normal_log_prob, likelihood(3000), z, state, 1.0, torch.full((9000, 1), 0.15), Draw(7, t)
        )
        moved += float(accepted.float().mean()) / 5
    assert 0.3 < moved < 1 and float((z - start).abs().mean()) > 0.05
    again = posterior(3000, 8).reshape(-1, 2)
    for image in range(3):
        for j in range(2):
            assert stats.ks_2samp(z[image::3, j], again[image::3, j]).pvalue > 1e-6


def test_a_start_outside_the_density_is_refused() -> None:
    with pytest.raises(UserError, match="starts where the density is 0"):
        annealed(normal_log_prob, likelihood(1), torch.full((1, 3, 2), 1e30), temperatures(2))
