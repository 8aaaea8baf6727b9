"""Figures of posteriors against torch.distributions, NumPy's sums and cases solved by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch.distributions import Independent, Normal, kl_divergence

from ganvas.evaluate.measures import posteriors
from ganvas.evaluate.measures.posteriors import active_units, figures, mutual_information
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.parts import priors
from ganvas.parts.nets.mlp import MLP


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return Draw(seed).normal("test", shape)


# Two modes in one dimension, the prior in the other: KL(N(+-2, 1) || N(0, 1)) = 2 nats.
MODES = torch.tensor([[2.0, 0.0], [-2.0, 0.0]] * 50)


@pytest.mark.parametrize("block", [1, 60, 10**9])
@pytest.mark.parametrize("seed", [0, 3])
def test_mutual_information_is_numpys_sum_in_blocks_of_any_size(
    block: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posteriors, "BLOCK", block)
    mean, log_variance = 2 * normal(12, 3), normal(12, 3, seed=1)
    scale = np.exp(0.5 * log_variance.double().numpy())
    z = mean.numpy() + scale * Draw(seed).normal("mutual information", (12, 3)).numpy()
    each = norm.logpdf(z[:, None], mean.numpy()[None], scale[None]).sum(-1)
    expected = (np.diag(each) - logsumexp(each, 1) + math.log(12)).mean()
    assert mutual_information(mean, log_variance, seed) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("apart", "expected"), [(0.0, 0.0), (100.0, math.log(40))])
def test_mutual_information_has_its_bounds(apart: float, expected: float) -> None:
    mean = apart * torch.arange(40.0)[:, None].expand(40, 2)
    assert mutual_information(mean, torch.zeros(40, 2)) == pytest.approx(expected, abs=1e-9)


def test_figures_beside_the_standard_normal() -> None:
    mean, log_variance = normal(30, 4) * torch.tensor([2.0, 0.05, 0.2, 0.0]), -0.3 * normal(30, 4, seed=1).abs()
    log_variance[:, 3] = 0
    q, p = Independent(Normal(mean, torch.exp(0.5 * log_variance)), 1), Normal(torch.zeros(4), torch.ones(4))
    found = figures(mean, log_variance, priors.Normal())
    assert found["kl"] == pytest.approx(float(kl_divergence(q, Independent(p, 1)).mean()), rel=1e-5)
    each = kl_divergence(q.base_dist, p).mean(0)
    assert found["unused_dimensions"] == float((each < 0.01).float().mean()) > 0
    assert found["active_units"] == int((np.var(mean.numpy(), 0, ddof=1) > 0.01).sum()) == 2
    assert found["aggregate_kl"] == pytest.approx((found["kl"] - found["mutual_information"]) / 4, rel=1e-12)


def test_figures_of_two_modes() -> None:
    found = figures(MODES, torch.zeros(100, 2), priors.Normal())
    assert found["active_units"] == active_units(MODES) == 1 and found["unused_dimensions"] == 0.5
    assert found["kl"] == pytest.approx(2)
    # z tells which of two modes, but for the overlap: I < log 2; and Q(z) is not N(0, I).
    assert 0.5 < found["mutual_information"] < math.log(2)
    assert found["aggregate_kl"] == pytest.approx((2 - found["mutual_information"]) / 2)


def test_beside_a_prior_that_is_the_aggregate_all_of_the_kl_is_information() -> None:
    prior: Any = priors.Mixture(components=2).build(2, (2,), lambda x: (x, x))
    with torch.no_grad():
        prior.mean.copy_(MODES[:2])
    found = figures(MODES, torch.zeros(100, 2), prior)
    assert found["active_units"] == 1 and "unused_dimensions" not in found
    assert found["kl"] == pytest.approx(found["mutual_information"], abs=1e-6)
    assert found["aggregate_kl"] == pytest.approx(0, abs=1e-6)


def test_beside_a_layer_above() -> None:
    """Its draws are float32's: the KL is that of the same draws by torch.distributions."""
    torch.manual_seed(0)
    layer = priors.StochasticLayer(latent_dim=2, net=MLP(hidden=(3,))).build(2, (2,), lambda x: (x, x))
    z = MODES + Draw(0).normal("mutual information", (100, 2))
    q = Independent(Normal(MODES, torch.ones(100, 2)), 1)
    with torch.no_grad():
        expected = float((q.log_prob(z) - layer.log_prob(z, Draw(0))).mean())
    assert figures(MODES, torch.zeros(100, 2), layer)["kl"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("mean", "log_variance", "says"),
    [
        (torch.tensor([[0.0], [math.nan]]), torch.zeros(2, 1), "mean: row 1 holds NaN"),
        (torch.zeros(2, 1), torch.tensor([[math.inf], [0.0]]), "log_variance: row 0 holds"),
        (torch.zeros(1, 3), torch.zeros(1, 3), r"means \(1, 3\).* with M > 1"),
        (torch.zeros(4, 3), torch.zeros(5, 3), r"means \(4, 3\) and log-variances \(5, 3\)"),
        (torch.zeros(4), torch.zeros(4), r"features are \(N, d\)"),
    ],
)
def test_what_is_no_posterior_is_refused(mean: torch.Tensor, log_variance: torch.Tensor, says: str) -> None:
    with pytest.raises(UserError, match=says):
        mutual_information(mean, log_variance)
    with pytest.raises(UserError, match=says):
        figures(mean, log_variance, priors.Normal())


def test_units_of_numbers_that_are_none_are_not_counted() -> None:
    with pytest.raises(UserError, match="row 1 holds NaN"):
        active_units(torch.tensor([[0.0], [math.nan]]))
