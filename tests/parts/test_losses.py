"""Every loss against NumPy, SciPy or numerical integration."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import integrate, stats
from scipy.spatial.distance import jensenshannon

from ganvas.ground.errors import UserError
from ganvas.parts.losses import (
    GAN_LOSSES,
    generator_sees_real,
    kl_by_dimension,
    normal_log_prob,
    reparametrised,
    squared_error,
)

MEANS, LOG_VARIANCES = st.floats(-1e3, 1e3), st.floats(-20, 10)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (0.7, -0.9), (-2.0, 1.3), (0.0, -4.0)])
def test_kl_is_the_integral(mean: float, log_variance: float) -> None:
    q = stats.norm(mean, math.exp(log_variance / 2))
    low, high = q.ppf([1e-15, 1 - 1e-15])
    expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), low, high, limit=200)
    assert kl_by_dimension(double(mean), double(log_variance)).sum(-1).item() == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(MEANS, LOG_VARIANCES), min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_kl_is_never_negative_and_adds_over_dimensions(pairs: list[tuple[float, float]]) -> None:
    mean, log_variance = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    whole = float(kl_by_dimension(mean, log_variance).sum(-1))
    parts = [float(kl_by_dimension(m[None], v[None]).sum(-1)) for m, v in zip(mean, log_variance, strict=True)]
    assert min(parts) >= -1e-12 and whole == pytest.approx(sum(parts), rel=1e-12, abs=1e-12)


def test_normal_log_prob_is_scipys() -> None:
    random = np.random.default_rng(0)
    z, mean, log_variance = random.normal(size=(3, 6, 4))
    expected = [stats.multivariate_normal.logpdf(*row) for row in zip(z, mean, np.exp(log_variance), strict=True)]
    ours = normal_log_prob(*map(torch.from_numpy, (z, mean, log_variance)))
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    np.testing.assert_allclose(normal_log_prob(torch.from_numpy(z)), stats.norm.logpdf(z).sum(1), rtol=1e-12)


def test_a_reparametrised_draw_is_scipys_quantile() -> None:
    p, mean, log_variance = np.random.default_rng(0).random((3, 6, 4))
    ours = reparametrised(*map(torch.from_numpy, (mean, log_variance, stats.norm.ppf(p))))
    np.testing.assert_allclose(ours, stats.norm(mean, np.exp(log_variance / 2)).ppf(p), rtol=1e-12)


def test_squared_error_is_a_sum_over_the_values_of_each_image() -> None:
    x, y = np.random.default_rng(0).random((2, 4, 3, 5, 6))
    ours = squared_error(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_allclose(ours, np.linalg.norm((x - y).reshape(4, -1), axis=1) ** 2, rtol=1e-12)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def cross(d: np.ndarray, target: float) -> float:
    """Binary cross-entropy of probabilities."""
    return float(-(target * np.log(d) + (1 - target) * np.log(1 - d)).mean())


BY_HAND = {
    "minimax": lambda r, f: (cross(sigmoid(r), 1) + cross(sigmoid(f), 0), -cross(sigmoid(f), 0)),
    "non-saturating": lambda r, f: (cross(sigmoid(r), 1) + cross(sigmoid(f), 0), cross(sigmoid(f), 1)),
    "wasserstein": lambda r, f: (-(r.mean() - f.mean()), -f.mean()),
    "hinge": lambda r, f: (-np.minimum(0, r - 1).mean() - np.minimum(0, -f - 1).mean(), -f.mean()),
    "least-squares": lambda r, f: (np.mean((r - 1) ** 2) / 2 + np.mean(f**2) / 2, np.mean((f - 1) ** 2) / 2),
    "relativistic": lambda r, f: (cross(sigmoid(r - f), 1), cross(sigmoid(f - r), 1)),
    "relativistic-average": lambda r, f: (
        cross(sigmoid(r - f.mean()), 1) + cross(sigmoid(f - r.mean()), 0),
        cross(sigmoid(r - f.mean()), 0) + cross(sigmoid(f - r.mean()), 1),
    ),
}


@pytest.mark.parametrize("name", sorted(GAN_LOSSES))
def test_both_costs_by_hand(name: str) -> None:
    real, fake = double(0.5, 2.0, -1.0), double(-0.3, 1.0, 4.0)
    expected = BY_HAND[name](real.detach().numpy(), fake.detach().numpy())
    for ours, theirs in zip(GAN_LOSSES[name](real, fake), expected, strict=True):
        assert ours.item() == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("name", sorted(GAN_LOSSES))
def test_the_players_want_the_opposite_of_the_fakes_logits(name: str) -> None:
    real, fake = double(0.2, 0.4), double(0.3, 0.1)
    slopes = [torch.autograd.grad(cost, fake)[0] for cost in GAN_LOSSES[name](real, fake)]
    assert (slopes[0] > 0).all() and (slopes[1] < 0).all()


@pytest.mark.parametrize("name", sorted(GAN_LOSSES))
def test_only_relativistic_generators_look_at_real_images(name: str) -> None:
    assert generator_sees_real(GAN_LOSSES[name]) == name.startswith("relativistic")


def test_the_best_discriminator_is_the_ratio_of_densities() -> None:
    """Goodfellow et al. 2014, proposition 1 and theorem 1: D = p / (p + q) and a value of -log 4 + 2 JSD."""
    p, q = np.array([1, 2, 5]), np.array([4, 3, 1])
    logits = torch.tensor(np.log(p / q), requires_grad=True)
    loss, _ = GAN_LOSSES["minimax"](
        logits.repeat_interleave(torch.tensor(p)), logits.repeat_interleave(torch.tensor(q))
    )
    assert loss.item() == pytest.approx(math.log(4) - 2 * jensenshannon(p, q) ** 2, rel=1e-12)
    loss.backward()
    np.testing.assert_allclose(logits.grad, 0, atol=1e-15)


def test_only_the_minimax_generator_saturates_when_the_discriminator_wins() -> None:
    slopes = {}
    for name in ("minimax", "non-saturating"):
        fake = double(-12.0)
        GAN_LOSSES[name](double(0.0), fake)[1].backward()
        slopes[name] = fake.grad.item()
    assert -1e-5 < slopes["minimax"] < 0 and -1 < slopes["non-saturating"] < -0.9999


@pytest.mark.parametrize("name", sorted(GAN_LOSSES))
@pytest.mark.parametrize("logit", [-500.0, 500.0])
def test_certain_discriminators_leave_losses_and_gradients_finite(name: str, logit: float) -> None:
    real, fake = double(logit), double(logit)
    sum(GAN_LOSSES[name](real, fake)).backward()
    assert math.isfinite(fake.grad.item()) and (real.grad is None or math.isfinite(real.grad.item()))


def test_an_unknown_loss_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"unknown GAN loss 'minmax'\. Did you mean 'minimax'"):
        GAN_LOSSES["minmax"]


def test_a_loss_with_other_parameters() -> None:
    """Pearson's divergence: with the best D, twice G's cost is the integral of (2 fake - (real + fake))^2 over
    real + fake (Mao et al. 2017, section 3.2.2)."""
    real, fake = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    best = torch.from_numpy((real - fake) / (real + fake))
    loss = GAN_LOSSES["least-squares(a=-1, b=1, c=0)"]
    logits = [best.repeat_interleave(torch.tensor(np.rint(share * 10).astype(int))) for share in (real, fake)]
    _, cost = loss(*logits)
    _, other = loss(logits[1], logits[0])  # both expectations of the divergence, of which G moves one
    chi = (((2 * fake - (real + fake)) ** 2) / (real + fake)).sum()
    assert float(2 * (cost + other)) == pytest.approx(chi, rel=1e-12)
    assert float(GAN_LOSSES["hinge(margin=2)"](double(1.5).detach(), double(-3.0).detach())[0]) == 0.5


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hinge(margin=wide)", r'write "hinge\(margin=1\)" with other numbers'),
        ("hinge(slope=1)", r'write "hinge\(margin=1\)"'),
        ("hinge()", "is not how the loss hinge is written"),
        ("hinge(margin=1", "is not how the loss hinge is written"),
        ("minimax(a=1)", "it has no parameters"),
        ("hing(margin=1)", "unknown GAN loss 'hing'. Did you mean 'hinge'"),
    ],
)
def test_what_is_no_parameter_of_a_loss_is_refused(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        GAN_LOSSES[name]
