"""Fixed priors against SciPy's distributions; learned ones against mixtures by SciPy and a linear-Gaussian layer."""

import warnings
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.parts.losses import normal_log_prob
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.priors import (
    PRIORS,
    Bimodal,
    Flow,
    Mixture,
    Normal,
    StochasticLayer,
    ToldMixture,
    TruncatedNormal,
    Uniform,
    Vamp,
    fit_mixture,
)
from ganvas.parts.priors import mixture as mixtures

FIXED = ("bimodal", "normal", "truncated-normal", "uniform")


def encode(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A posterior of three dimensions that can be worked out by hand; x (N, 2)."""
    mean = torch.stack([x[:, 0], -x[:, 1], x.sum(1)], 1)
    return mean, -0.5 * mean.abs()


def built(kind: str, latent_dim: int = 3, **settings: Any) -> Any:
    torch.manual_seed(0)
    if kind in ("vamp", "mixture"):
        settings.setdefault("components", 7)
    return PRIORS[kind](**settings).build(latent_dim, (2,), encode)


@pytest.mark.parametrize("kind", sorted(PRIORS))
def test_conformance(kind: str) -> None:
    prior = built(kind)
    z = prior.sample(Draw(0, 1), (6, 3))
    assert z.shape == (6, 3) and z.dtype == torch.float32 and not z.requires_grad
    assert torch.equal(z, prior.sample(Draw(0, 1), (6, 3))) and not torch.equal(z, prior.sample(Draw(0, 2), (6, 3)))
    log_p = prior.log_prob(z, Draw(0))
    assert log_p.shape == (6,) and log_p.dtype == torch.float32 and log_p.isfinite().all()
    assert prior.log_prob(z.reshape(2, 3, 3), Draw(0)).shape == (2, 3)
    with torch.no_grad():
        torch.testing.assert_close(prior.held().log_prob(z, Draw(0)), log_p.detach())
    if prior.exact:  # else two asks draw differently
        assert float(prior.log_prob(z, Draw(1))[0].detach()) == float(log_p[0].detach())
    k, to_code = prior.from_noise(3)
    with torch.no_grad():
        drawn = to_code(Draw(3).normal("noise", (20_000, k)))
        turned, _ = torch.linalg.qr(Draw(4).normal("plane", (3, 2)).double())
        for plane in (None, turned.T):
            mean, deviation = prior.moments(3, plane)
            seen = drawn.double() if plane is None else drawn.double() @ plane.T
            torch.testing.assert_close(seen.mean(0), mean, atol=0.1, rtol=0)
            torch.testing.assert_close(seen.std(0), deviation, atol=0, rtol=0.06)
    mean, log_variance = Draw(5).normal("mean", (1, 3)), Draw(6).normal("log_variance", (1, 3))
    kl = prior.kl_by_dimension(mean, log_variance)
    assert (kl is not None) == PRIORS[kind].closed_form
    if kl is not None:
        q = mean + (0.5 * log_variance).exp() * Draw(7).normal("q", (100_000, 3))
        estimate = normal_log_prob(q, mean, log_variance) - prior.log_prob(q, Draw(0))
        assert float(estimate.mean()) == pytest.approx(float(kl.sum()), abs=0.03)
    if kind not in FIXED:
        log_p.sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in prior.parameters())


@pytest.mark.parametrize(
    ("prior", "cdf"),
    [
        (Normal(), stats.norm.cdf),
        (Uniform(), stats.uniform(-1, 2).cdf),
        (Uniform(bound=2.5), stats.uniform(-2.5, 5).cdf),
        (TruncatedNormal(bound=0.7), stats.truncnorm(-0.7, 0.7).cdf),
        (Bimodal(std=0.3), lambda z: (stats.norm(-1, 0.3).cdf(z) + stats.norm(1, 0.3).cdf(z)) / 2),
    ],
)
def test_samples_have_the_named_distribution(prior, cdf) -> None:
    """Kolmogorov-Smirnov over 40,000 numbers, false alarm 1e-6; dimensions uncorrelated, false alarm 1e-6."""
    z = prior.sample(Draw(0), (20_000, 2)).numpy()
    assert stats.kstest(z.ravel(), cdf).pvalue > 1e-6
    assert stats.pearsonr(*z.T).pvalue > 1e-6


def test_log_prob_of_fixed_priors() -> None:
    z = torch.tensor([[0.3, -2.0], [1.5, 0.9], [0.2, -0.9]])
    np.testing.assert_allclose(Normal().log_prob(z, Draw(0)), stats.norm.logpdf(z).sum(1), rtol=1e-6)
    np.testing.assert_allclose(Uniform().log_prob(z, Draw(0)), stats.uniform(-1, 2).logpdf(z).sum(1), rtol=1e-6)
    cut = stats.truncnorm(-1.6, 1.6).logpdf(z).sum(1)
    np.testing.assert_allclose(TruncatedNormal(bound=1.6).log_prob(z, Draw(0)), cut, rtol=1e-6)
    assert np.isneginf(cut).tolist() == [True, False, False]
    expected = np.log((stats.norm(-1, 0.3).pdf(z) + stats.norm(1, 0.3).pdf(z)) / 2).sum(1)
    np.testing.assert_allclose(Bimodal(std=0.3).log_prob(z, Draw(0)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("prior", "icdf"),
    [
        (Normal(), stats.norm.ppf),
        (Uniform(), stats.uniform(-1, 2).ppf),
        (Uniform(bound=2.5), stats.uniform(-2.5, 5).ppf),
        (TruncatedNormal(bound=0.7), stats.truncnorm(-0.7, 0.7).ppf),
        (TruncatedNormal(bound=4.0), stats.truncnorm(-4, 4).ppf),
    ],
)
def test_inverse_cdf(prior, icdf) -> None:
    p = torch.tensor([[1e-6, 0.02, 0.3], [0.5, 0.9, 1 - 1e-6]], dtype=torch.float64)
    torch.testing.assert_close(prior.icdf(p), torch.from_numpy(icdf(p.numpy())), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["normal", "truncated-normal", "uniform"])
@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, float("nan")])
def test_shares_outside_0_to_1_have_no_inverse(kind: str, p: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        PRIORS[kind]().icdf(torch.tensor([0.5, p]))


PLACES = st.tuples(st.integers(0, 2**63), st.lists(st.integers(0, 10**9), max_size=3).map(tuple))


@pytest.mark.parametrize("kind", sorted(PRIORS))
@given(places=st.lists(PLACES, min_size=2, max_size=2, unique=True), rows=st.integers(1, 4), world=st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_samples_depend_on_seed_and_position_and_not_on_the_processes(kind: str, places, rows: int, world: int) -> None:
    (seed, position), (other_seed, other_position) = places
    prior, n = built(kind), rows * world
    whole = prior.sample(Draw(seed, *position), (n, 3))
    shares = [prior.sample(Draw(seed, *position, rank=rank, world=world), (rows, 3)) for rank in range(world)]
    torch.testing.assert_close(torch.cat(shares), whole)
    assert not torch.equal(whole, prior.sample(Draw(other_seed, *other_position), (n, 3)))


@pytest.mark.parametrize("kind", ["truncated-normal", "uniform"])
@pytest.mark.parametrize("bound", [0, -1.0])
def test_an_empty_interval_is_refused(kind: str, bound: float) -> None:
    with pytest.raises(UserError, match=r"bound: .* greater than 0"):
        PRIORS.parse({"kind": kind, "bound": bound})


def test_only_normals_are_truncated() -> None:
    assert Normal().truncated(0.7) == TruncatedNormal(bound=0.7)
    for kind in sorted(set(PRIORS) - {"normal", "mixture", "vamp"}):
        with pytest.raises(UserError, match=r"P\(z\) is of kind .*: a normal or a mixture of normals can be truncated"):
            built(kind).truncated(0.7)


def test_each_normal_of_a_mixture_is_truncated() -> None:
    mean, deviation, weight = np.array([[-3.0, 0.0], [2.0, 5.0]]), np.array([[1.0, 0.5], [0.1, 2.0]]), [0.3, 0.7]
    whole = mixtures.fixed(*(torch.tensor(part).float() for part in (mean, 2 * np.log(deviation), np.log(weight))))
    narrow = whole.truncated(0.8)
    z = narrow.sample(Draw(1), (2000, 2))
    within = np.abs(z[:, None].numpy() - mean) / deviation
    assert (within.max(2) < 0.8 + 1e-5).sum(1).tolist() == [1] * 2000, "the normals lie apart"
    assert (within.max(2).argmin(1) == 1).mean() == pytest.approx(0.7, abs=0.04)  # four deviations
    drawn = narrow.held().from_noise(2)[1](Draw(2).normal("noise", (2000, 3)))
    assert (np.abs(drawn[:, None].numpy() - mean) / deviation).max(2).min(1).max() < 0.8 + 1e-5
    places = torch.tensor([[-3.2, 0.1], [2.05, 4.0], [2.05, 9.0], [0.0, 0.0]])
    each = [
        stats.truncnorm(-0.8, 0.8, loc=m, scale=s).logpdf(places.numpy()).sum(1) + np.log(w)
        for m, s, w in zip(mean, deviation, weight, strict=True)
    ]
    expected = torch.from_numpy(np.logaddexp.reduce(each)).float()
    assert expected.isinf().tolist() == [False, False, True, True]
    torch.testing.assert_close(narrow.log_prob(places, Draw(0)), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        narrow.held().log_prob(places[:, None].expand(-1, 2, -1), Draw(0)), expected[:, None].expand(-1, 2)
    )
    assert torch.equal(whole.sample(Draw(1), (5, 2)), mixtures.fixed(*whole.components()).sample(Draw(1), (5, 2)))


def densities(z: np.ndarray, mean: np.ndarray, variance: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """log sum_k w_k N(z; m_k, s_k^2) by SciPy, (N,)."""
    each = [
        stats.multivariate_normal(m, np.diag(v)).logpdf(z) + np.log(w)
        for m, v, w in zip(mean, variance, weight, strict=True)
    ]
    return np.logaddexp.reduce(each)


def mixture() -> Any:
    prior = Mixture(components=4).build(2, (2,), encode)
    random = np.random.default_rng(0)
    with torch.no_grad():
        prior.mean.copy_(torch.from_numpy(random.normal(0, 3, (4, 2))))
        prior.log_variance.copy_(torch.from_numpy(random.normal(-2, 1, (4, 2))))
        prior.logit.copy_(torch.from_numpy(random.normal(0, 1, 4)))
    return prior


def test_log_prob_of_a_mixture() -> None:
    prior, z = mixture(), np.random.default_rng(1).normal(0, 3, (50, 2)).astype(np.float32)
    mean, log_variance, logit = (part.detach().double().numpy() for part in prior.parameters())
    expected = densities(z, mean, np.exp(log_variance), np.exp(logit) / np.exp(logit).sum())
    np.testing.assert_allclose(prior.log_prob(torch.from_numpy(z), Draw(0)).detach(), expected, rtol=2e-6)


def test_samples_of_a_mixture() -> None:
    """Each coordinate of 20,000 draws against the mixture's CDF: false alarm 2e-6."""
    prior = mixture()
    mean, log_variance, logit = (part.detach().double().numpy() for part in prior.parameters())
    weight, z = np.exp(logit) / np.exp(logit).sum(), prior.sample(Draw(0), (20_000, 2)).numpy()
    for j in range(2):
        spread = np.exp(0.5 * log_variance[:, j])
        cdf = lambda x, m=mean[:, j], s=spread: stats.norm.cdf(np.asarray(x)[:, None], m, s) @ weight  # noqa: E731
        assert stats.kstest(z[:, j], cdf).pvalue > 1e-6


@pytest.mark.parametrize("shape", [(2,), (1, 1, 2)])
def test_the_vamp_prior_is_the_mean_of_the_pseudo_inputs_posteriors(shape: tuple[int, ...]) -> None:
    """Tomczak & Welling 2018, equation 9; pseudo-inputs of images are cut to [0, 1]."""
    prior = Vamp(components=3).build(3, shape, lambda x: encode(x.reshape(-1, 2)))
    inputs = torch.tensor([[0.2, 0.9], [1.4, 0.1], [0.5, -0.3]])
    prior.prepare(inputs.reshape(3, *shape))
    mean, log_variance = encode(inputs.clamp(0, 1) if len(shape) == 3 else inputs)
    z = np.random.default_rng(0).normal(0, 1, (20, 3)).astype(np.float32)
    expected = densities(z, mean.numpy(), log_variance.exp().numpy(), np.full(3, 1 / 3))
    np.testing.assert_allclose(prior.log_prob(torch.from_numpy(z), Draw(0)).detach(), expected, rtol=2e-6)


def linear_layer() -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """u ~ N(0, I), z = A u + b + s e with A's columns orthogonal, and Q(u given z) the exact posterior."""
    a, b, s = np.array([[1.2, 0.3], [-0.8, 0.45]]), np.array([0.5, -1.0]), 0.6
    prior = StochasticLayer(latent_dim=2, net=MLP(hidden=())).build(2, (2,), encode)
    covariance = np.linalg.inv(np.eye(2) + a.T @ a / s**2)
    gain = covariance @ a.T / s**2
    values = (
        np.concatenate([gain, np.zeros((2, 2))]),
        np.concatenate([-gain @ b, np.log(np.diag(covariance))]),
        np.concatenate([a, np.zeros((2, 2))]),
        np.concatenate([b, np.full(2, 2 * np.log(s))]),
    )
    with torch.no_grad():
        for parameter, value in zip(prior.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(value))
    return prior, a, b, a @ a.T + s**2 * np.eye(2)


def test_with_the_exact_posterior_a_layer_s_estimate_is_the_density() -> None:
    prior, _, b, covariance = linear_layer()
    z = np.random.default_rng(0).normal(0, 2, (20, 2)).astype(np.float32)
    exact = stats.multivariate_normal(b, covariance).logpdf(z)
    for seed in range(3):
        np.testing.assert_allclose(prior.log_prob(torch.from_numpy(z), Draw(seed)).detach(), exact, atol=2e-5)


def test_a_layer_s_estimate_has_the_density_for_its_mean() -> None:
    """The mean weight of 20,000 draws within 5.5 standard errors: false alarm 4e-8."""
    prior, _, b, covariance = linear_layer()
    with torch.no_grad():
        prior.encoder[-1].bias += torch.tensor([0.3, -0.2, 0.2, 0.1])
        z = torch.tensor([[0.7, -0.4]])
        exact = stats.multivariate_normal(b, covariance).logpdf(z[0])
        weights = np.exp(prior.log_prob(z.expand(20_000, 2), Draw(0)).double().numpy() - exact)
    assert weights.std() > 0.1
    assert weights.mean() == pytest.approx(1, abs=5.5 * weights.std() / np.sqrt(20_000))


def test_samples_of_a_layer() -> None:
    """Along three directions: false alarm 3e-6."""
    prior, _, b, covariance = linear_layer()
    z = prior.sample(Draw(0), (20_000, 2)).numpy()
    for way in (np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([0.6, -0.8])):
        assert stats.kstest(z @ way, stats.norm(b @ way, np.sqrt(way @ covariance @ way)).cdf).pvalue > 1e-6


def test_layers_above_layers_draw_numbers_of_their_own() -> None:
    """Equal numbers on two floors would show as a correlation: false alarm under 1e-6."""
    config = StochasticLayer(latent_dim=1, net=MLP(hidden=()), prior=StochasticLayer(latent_dim=1, net=MLP(hidden=())))
    prior = config.build(1, (1,), encode)
    with torch.no_grad():
        for layer in (prior, prior.prior):
            layer.decoder[0].weight.zero_()
            layer.decoder[0].bias.zero_()
    low, high = (part.sample(Draw(0), (20_000, 1)).numpy().ravel() for part in (prior, prior.prior))
    assert stats.pearsonr(low, prior.prior.sample(Draw(0, 1), (20_000, 1)).numpy().ravel()).pvalue > 1e-6
    assert low.std() == pytest.approx(1, abs=0.05) and high.std() == pytest.approx(1, abs=0.05)


def clouds(n: int = 400, d: int = 3) -> np.ndarray:
    """Four clouds of unlike sizes and spreads that overlap a little."""
    random = np.random.default_rng(0)
    means, spreads = random.normal(0, 3, (4, d)), random.uniform(0.3, 2, (4, d))
    which = random.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    return means[which] + spreads[which] * random.normal(size=(n, d))


def mean_log_prob(prior: Any, z: np.ndarray) -> float:
    return float(prior.log_prob(torch.from_numpy(z), Draw(0)).mean())


def unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixtures, "GAIN", -1.0)  # as many steps as are asked for


@pytest.mark.parametrize("components", [1, 4, 6])
@pytest.mark.parametrize("steps", [1, 7, 60])
def test_a_fit_is_scikit_learn_s_from_the_same_start(
    components: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbounded(monkeypatch)
    z = clouds()
    scale = z.std(0, ddof=1)
    start = mixtures._apart(torch.from_numpy((z - z.mean(0)) / scale), components, 3)
    mean, variance, weight = *(part.numpy() for part in start), np.full(components, 1 / components)
    theirs = GaussianMixture(
        components, covariance_type="diag", tol=0, reg_covar=0, max_iter=steps,
        means_init=mean * scale + z.mean(0), precisions_init=1 / (variance * scale**2), weights_init=weight,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(z)
    ours = fit_mixture(torch.from_numpy(z), components, 3, steps)
    assert mean_log_prob(ours, z) == pytest.approx(theirs.score(z), abs=2e-6)
    np.testing.assert_allclose(ours.mean, theirs.means_, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.log_variance.exp(), theirs.covariances_, rtol=1e-4)
    np.testing.assert_allclose(ours.logit.exp(), theirs.weights_, rtol=1e-4, atol=1e-6)


def test_the_likelihood_never_falls_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    unbounded(monkeypatch)
    z = clouds(150)
    found = [mean_log_prob(fit_mixture(torch.from_numpy(z), 5, 1, steps), z) for steps in range(1, 40)]
    assert (np.diff(found) > -1e-6).all() and found[-1] > found[0] + 0.01
    monkeypatch.setattr(mixtures, "BLOCK", 37)
    assert mean_log_prob(fit_mixture(torch.from_numpy(z), 5, 1, 20), z) == pytest.approx(found[19], abs=1e-6)


def test_a_fit_finds_the_clouds_and_ends_by_itself() -> None:
    """Among ten starts the best one is as likely as the truth; from each, more steps add next to nothing."""
    z = clouds(2000)
    random = np.random.default_rng(0)
    means, spreads = random.normal(0, 3, (4, 3)), random.uniform(0.3, 2, (4, 3))
    truth = densities(z, means, spreads**2, np.array([0.4, 0.3, 0.2, 0.1])).mean()
    fits = [fit_mixture(torch.from_numpy(z), 4, seed) for seed in range(10)]
    assert max(mean_log_prob(fit, z) for fit in fits) >= truth
    assert mean_log_prob(fits[0], z) == mean_log_prob(fit_mixture(torch.from_numpy(z), 4, 0, 10_000), z)
    assert len({mean_log_prob(fit, z) for fit in fits}) > 1


def test_codes_that_are_one_value_in_a_dimension_or_far_from_0_have_a_fit() -> None:
    z = clouds() * np.array([1.0, 0.0, 20.0]) + np.array([0.0, 5.0, 1e4])
    fit = fit_mixture(torch.from_numpy(z), 3)
    np.testing.assert_allclose(fit.mean[:, 1], 5)
    _, log_variance, _ = fit.components()
    np.testing.assert_allclose(log_variance, fit.log_variance)
    assert np.isfinite(mean_log_prob(fit, z)) and fit.sample(Draw(0), (9, 3)).isfinite().all()


def test_weights_by_labels_are_those_of_each_class_fitted_alone() -> None:
    """Three clouds, of which two classes have shares that are known; a third kind of row is told nothing."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[-6.0, 0.0], [6.0, 0.0], [0.0, 9.0]])
    shares = {(1.0, 0.0): (0.7, 0.3, 0.0), (0.0, 1.0): (0.1, 0.1, 0.8), (0.0, 0.0): (0.4, 0.2, 0.4)}
    codes, told = [], []
    for row, share in shares.items():
        for centre, part in zip(centres, share, strict=True):
            n = round(1000 * part)
            codes.append(centre + torch.randn(n, 2, generator=generator))
            told.append(torch.tensor(row).expand(n, 2))
    found = fit_mixture(torch.cat(codes), 3, told=torch.cat(told))
    assert isinstance(found, ToldMixture)
    place = [int((found.mean - centre).square().sum(1).argmin()) for centre in centres]
    assert sorted(place) == [0, 1, 2]
    for row, share in shares.items():
        log_weight = found.of(torch.tensor([row])).components()[2]
        torch.testing.assert_close(log_weight.exp()[place], torch.tensor(share), atol=0.015, rtol=0)
    torch.testing.assert_close(found.log_variance.exp(), torch.ones(3, 2), atol=0.15, rtol=0)


def test_codes_with_weights_of_their_own_are_asked_and_drawn_by_them() -> None:
    torch.manual_seed(0)
    mixture = ToldMixture.of_parts(torch.randn(4, 3), torch.zeros(4, 3), torch.randn(4), torch.randn(2, 4))
    assert mixture.truncated(0.3).of(torch.randn(5, 2)).noise == TruncatedNormal(bound=0.3)
    told, z = torch.randn(5, 2), torch.randn(5, 6, 3)
    each = mixture.of(told)
    for i in range(5):
        one = mixture.of(told[i : i + 1])
        torch.testing.assert_close(each.log_prob(z, Draw(0))[i], one.log_prob(z[i], Draw(0)))
        torch.testing.assert_close(each.log_prob(z[:, 0], Draw(0))[i], one.log_prob(z[i, :1], Draw(0))[0])
    sharp = ToldMixture.of_parts(torch.eye(3) * 50, torch.zeros(3, 3), torch.zeros(3), torch.eye(3) * 99)
    drawn = sharp.of(torch.eye(3)).sample(Draw(0), (3, 3))
    assert drawn.argmax(1).tolist() == [0, 1, 2]


def test_a_normal_does_not_shrink_onto_one_code() -> None:
    z = np.concatenate([np.random.default_rng(0).normal(size=(40, 2)), [[1e3, 1e3]]])
    fit = fit_mixture(torch.from_numpy(z), 2)
    assert fit.logit.exp().min() == pytest.approx(1 / 41, rel=1e-3)
    np.testing.assert_allclose(fit.log_variance[fit.logit.argmin()].exp(), 1e-4 * z.var(0, ddof=1), rtol=1e-4)


@pytest.mark.parametrize(
    ("codes", "components", "says"),
    [
        (torch.zeros(7, 2), 4, r"shape \(7, 2\): 4 components take \(N, d\), N at least 8"),
        (torch.zeros(50), 4, r"shape \(50,\)"),
        (torch.zeros(50, 2), 0, "0 components"),
        (torch.full((50, 2), float("nan")), 4, "NaN"),
        (torch.tensor([[0.0], [1.0], [2.0]]).repeat(9, 1), 4, "only 3 different values"),
        (1e4 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), 2, "standard deviation .* up to 148"),
    ],
)
def test_codes_without_a_fit_are_refused(codes: torch.Tensor, components: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        fit_mixture(codes, components)


def bent(latent_dim: int = 5) -> Any:
    """A flow whose layers do something."""
    torch.manual_seed(1)
    flow = Flow(layers=4, hidden=16).build(latent_dim, (2,), encode)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return flow


@pytest.mark.parametrize("latent_dim", [2, 3, 8])
def test_flow_is_the_change_of_variables(latent_dim: int) -> None:
    """log P(f(e)) = log N(e) - log |det df/de|, the Jacobian by autograd."""
    flow = bent(latent_dim).double()
    for noise in torch.randn(5, latent_dim, dtype=torch.float64):
        z = flow.bent(noise[None])
        jacobian = torch.autograd.functional.jacobian(lambda e: flow.bent(e[None])[0], noise)
        expected = stats.norm.logpdf(noise.numpy()).sum() - np.linalg.slogdet(jacobian.numpy())[1]
        assert float(flow.log_prob(z, Draw(0)).detach()) == pytest.approx(expected, abs=1e-4)


def test_a_flow_starts_as_the_normal_and_moves_every_dimension() -> None:
    flow = Flow().build(6, (2,), encode)
    noise = torch.randn(4, 6)
    torch.testing.assert_close(flow.bent(noise), noise)
    torch.testing.assert_close(flow.log_prob(noise, Draw(0)), Normal().log_prob(noise, Draw(0)))
    assert (bent(6).bent(noise) != noise).all()
    with pytest.raises(UserError, match="latent_dim is 1"):
        Flow().build(1, (2,), encode)


def test_a_flow_learns_a_ring() -> None:
    """Samples of a flow fitted to a ring of radius 3: its mean radius within 0.15, few at the centre."""
    torch.manual_seed(0)
    angle = 2 * np.pi * torch.rand(2000)
    z = 3 * torch.stack([angle.cos(), angle.sin()], 1) + 0.2 * torch.randn(2000, 2)
    flow = Flow(layers=6, hidden=32).build(2, (2,), encode)
    optimizer = torch.optim.Adam(flow.parameters(), 5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        (-flow.log_prob(z, Draw(0)).mean()).backward()
        optimizer.step()
    radius = flow.sample(Draw(0), (1000, 2)).norm(dim=1)
    assert abs(float(radius.mean()) - 3) < 0.15 and float((radius < 1.5).float().mean()) < 0.1


@given(st.integers(1, 300), st.floats(0.01, 100))
def test_typical_codes_of_a_normal_have_its_length_and_direction(d: int, length: float) -> None:
    z = Draw(3).normal("z", (1, d))
    z = z / z.norm() * length
    moved = Normal().typical(z)
    low, high = max(0.0, d**0.5 - 1.4), d**0.5 + 1.4
    assert low - 1e-3 <= float(moved.norm()) <= high * 1.0001
    assert torch.allclose(moved / moved.norm(), z / z.norm(), atol=1e-5)
    if low < length < high:
        assert torch.allclose(moved, z)


def test_nearly_all_draws_are_typical() -> None:
    for d in (1, 2, 10, 100):
        z = Normal().sample(Draw(1), (4000, d))
        share = float((Normal().typical(z) - z).abs().amax(1).lt(1e-5).float().mean())
        assert 0.92 < share < 0.99  # 95 in 100; of 4,000 draws the deviation is 0.35 in 100
    u = torch.tensor([[-3.0, 0.2, 1.5]])
    assert torch.equal(Uniform(bound=1.5).typical(u), torch.tensor([[-1.5, 0.2, 1.5]]))
    assert torch.equal(TruncatedNormal(bound=1.5).typical(u), torch.tensor([[-1.5, 0.2, 1.5]]))
    assert torch.equal(Bimodal().typical(u), u)
