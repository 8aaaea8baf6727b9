"""Every density against SciPy's, or against its own definition by enumeration."""

import itertools
import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.parts.likelihoods import LIKELIHOODS, Bernoulli, DiscretisedLogistic, Gaussian
from ganvas.parts.nets.mlp import MLP

ALL_2X2 = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.float64).reshape(16, 1, 2, 2)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def sigmoid(x: torch.Tensor) -> np.ndarray:
    return 1 / (1 + np.exp(-x.numpy()))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (kind, shape)
        for kind in sorted(LIKELIHOODS)
        for shape in ((1, 4, 5), (3, 4, 5), (2,))
        if len(shape) == 3 or not LIKELIHOODS[kind].images_only
    ],
)
def test_conformance(kind: str, shape: tuple[int, ...]) -> None:
    likelihood = LIKELIHOODS[kind]()
    x = torch.rand(6, *shape)
    output = normal(7, 6, shape[0] * likelihood.parameters, *shape[1:]).float()
    many = likelihood.log_prob(x, output)
    assert many.shape == (7, 6)
    assert likelihood.mean(output[0]).shape == likelihood.observe(x, Draw(0)).shape == x.shape
    for given, row in zip(many, output, strict=True):
        torch.testing.assert_close(given, likelihood.log_prob(x, row))
    seen = likelihood.measured(x, 256, Draw(0))
    assert torch.equal(seen, x) == (likelihood.mass or len(shape) == 1)
    assert likelihood.protocol(x, 256) and (not likelihood.mass or bool((many <= 0).all()))
    assert all(isinstance(value, float) for value in likelihood.vitals(x, x).values())
    nats = np.array([70.0])
    more = 0 if likelihood.mass or len(shape) == 1 else 8
    assert likelihood.bits(nats, x, 256) == pytest.approx(70 / math.log(2) / math.prod(shape) + more)
    assert likelihood.bits(nats, x, None) == pytest.approx(70 / math.log(2) / math.prod(shape))


def test_a_density_without_levels_bounds_the_probability_of_them() -> None:
    """E_u[-log p((k + u) / L)] + log L is at least -log of the mass of p in [k / L, (k + 1) / L), and near it."""
    levels, scale = 8, 0.2
    output = torch.zeros(1, 1, 1, 1)  # the mean is 1/2
    edges = stats.norm(0.5, scale).cdf(np.arange(levels + 1) / levels)
    for k, mass in enumerate(np.diff(edges)):
        x = torch.full((4000, 1, 1, 1), k / (levels - 1))
        seen = Gaussian(scale=scale).measured(x, levels, Draw(k))
        assert torch.equal((seen * levels).floor(), torch.full_like(x, k))
        bound = -Gaussian(scale=scale).log_prob(seen, output.expand_as(x)).double() + math.log(levels)
        error = float(bound.std()) / math.sqrt(len(x))  # false alarm under 1e-6: 5 of them at 8 levels
        assert -5 * error < float(bound.mean()) + math.log(mass) < 0.1


def test_what_a_figure_is_of() -> None:
    grey, white, points = torch.rand(4, 1, 2, 2), torch.ones(4, 1, 2, 2), torch.rand(4, 2)
    assert Bernoulli().protocol(grey, 256) == "stochastic binarisation"
    assert Bernoulli().protocol(white, 256) == "static binarisation"
    assert Bernoulli(binarise="none").protocol(grey, 256) == "expected over grey levels"
    assert Gaussian().protocol(grey, 65_536) == "density of dequantised images, 65,536 levels"
    assert Gaussian().protocol(grey, None) == "density of values in [0, 1]"
    assert Gaussian().protocol(points, 256) == "density of points"
    assert DiscretisedLogistic(levels=16).protocol(grey, 256) == "probability of 16 levels"


def test_bernoulli_is_scipys() -> None:
    x, output = (normal(5, 2, 3, 4) > 0).double(), 3 * normal(5, 2, 3, 4, seed=1)
    expected = stats.bernoulli.logpmf(x.numpy(), sigmoid(output)).sum((1, 2, 3))
    np.testing.assert_allclose(Bernoulli().log_prob(x, output), expected, rtol=1e-12)
    np.testing.assert_allclose(Bernoulli().mean(output), sigmoid(output), rtol=1e-12)


def test_bernoulli_of_many_draws_is_not_rounded_by_autocast() -> None:
    x, output = (normal(5, 1, 3, 4) > 0).float(), normal(9, 5, 1, 3, 4, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = Bernoulli().log_prob(x, output)
    expected = stats.bernoulli.logpmf(x.numpy(), sigmoid(output)).sum((2, 3, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_bernoulli_sums_to_1_over_all_images() -> None:
    output = normal(1, 1, 2, 2).expand(16, 1, 2, 2)
    assert float(Bernoulli().log_prob(ALL_2X2, output).exp().sum()) == pytest.approx(1, rel=1e-12)


def test_bernoulli_of_a_grey_level_is_the_expectation_over_its_binarisations() -> None:
    grey, output = torch.rand(1, 1, 2, 2, dtype=torch.float64), normal(1, 1, 2, 2)
    chances = stats.bernoulli.pmf(ALL_2X2.numpy(), grey.numpy()).prod((1, 2, 3))
    expected = chances @ Bernoulli().log_prob(ALL_2X2, output.expand(16, 1, 2, 2)).numpy()
    assert float(Bernoulli(binarise="none").log_prob(grey, output)) == pytest.approx(expected, rel=1e-12)


def test_bernoulli_survives_certainty() -> None:
    output = torch.tensor([[[[200.0, -200.0]]]], requires_grad=True)
    right, wrong = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    assert float(Bernoulli().log_prob(right, output.detach())) == 0
    loss = Bernoulli().log_prob(wrong, output).sum()
    loss.backward()
    assert loss.item() == -400
    assert output.grad is not None and output.grad.flatten().tolist() == [-1, 1]


def test_binarisation_is_as_often_white_as_the_level_is_high() -> None:
    """False alarm under 1e-6: exact binomial tests, p > 1e-7 each, at 9 levels."""
    x = torch.linspace(0, 1, 11).expand(20_000, 11)[:, None, None]
    drawn = Bernoulli().observe(x, Draw(0))
    assert set(drawn.unique().tolist()) == {0.0, 1.0} and drawn.dtype == x.dtype
    white = drawn.sum((0, 1, 2)).long().tolist()
    assert (white[0], white[-1]) == (0, 20_000)
    for level in range(1, 10):
        assert stats.binomtest(white[level], 20_000, level / 10).pvalue > 1e-7
    assert torch.equal(drawn, Bernoulli().observe(x, Draw(0)))
    assert not torch.equal(drawn, Bernoulli().observe(x, Draw(1)))
    assert torch.equal(Bernoulli().observe(drawn, Draw(2)), drawn)


@pytest.mark.parametrize("likelihood", [Bernoulli(binarise="none"), Gaussian(), Gaussian(scale=0.1)])
def test_other_likelihoods_see_the_data_as_it_is(likelihood: Any) -> None:
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(likelihood.observe(x, Draw(0)), x)


@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_gaussian_of_fixed_scale_is_scipys(scale: float) -> None:
    x, output = normal(4, 3), normal(4, 3, seed=1)
    likelihood = Gaussian(scale=scale)
    np.testing.assert_allclose(likelihood.log_prob(x, output), stats.norm.logpdf(x, output, scale).sum(1), rtol=1e-12)
    assert torch.equal(likelihood.mean(output), output) and likelihood.parameters == 1
    x, output = normal(4, 3, 2, 2), normal(4, 3, 2, 2, seed=1)
    expected = stats.norm.logpdf(x, sigmoid(output), scale).sum((1, 2, 3))
    np.testing.assert_allclose(likelihood.log_prob(x, output), expected, rtol=1e-12)
    np.testing.assert_allclose(likelihood.mean(output), sigmoid(output), rtol=1e-12)


def test_gaussian_of_learned_scale_is_scipys() -> None:
    x, mean, log_scale = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)
    expected = stats.norm.logpdf(x, mean, log_scale.exp()).sum(1)
    np.testing.assert_allclose(Gaussian().log_prob(x, torch.cat([mean, log_scale], 1)), expected, rtol=1e-12)
    x, mean, log_scale = normal(4, 3, 2, 2), normal(4, 3, 2, 2, seed=1), normal(4, 3, 2, 2, seed=2)
    output = torch.cat([mean, log_scale], 1)
    expected = stats.norm.logpdf(x, sigmoid(mean), log_scale.exp()).sum((1, 2, 3))
    np.testing.assert_allclose(Gaussian().log_prob(x, output), expected, rtol=1e-12)
    np.testing.assert_allclose(Gaussian().mean(output), sigmoid(mean), rtol=1e-12)


@pytest.mark.parametrize(("output", "kept"), [(-50.0, -5.0), (50.0, 5.0)])
def test_a_runaway_scale_is_held(output: float, kept: float) -> None:
    given = Gaussian().log_prob(torch.zeros(1, 1), torch.tensor([[0.0, output]]))
    assert float(given) == pytest.approx(stats.norm.logpdf(0, 0, np.exp(kept)))


@pytest.mark.parametrize("value", [0, -1.0])
def test_a_scale_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(UserError, match=r"scale: .* is refused: should be greater than 0"):
        LIKELIHOODS.parse({"kind": "gaussian", "scale": value})


def test_one_learned_scale_of_all_values() -> None:
    """The density is SciPy's at that scale, and maximum likelihood finds the root of the mean squared error."""
    likelihood, shape = Gaussian(scale="shared"), (3, 4, 5)
    torch.manual_seed(0)
    net = likelihood.decoder(MLP(hidden=(8,)), 2, shape)
    z, x = torch.randn(6, 2), torch.rand(6, *shape)
    scale = float(torch.exp(net.QUICK * net.log_scale.detach()))
    assert scale == pytest.approx(0.3)
    mean = sigmoid(net.net(z).detach())
    expected = stats.norm(mean, scale).logpdf(x.numpy()).sum((1, 2, 3))
    np.testing.assert_allclose(likelihood.log_prob(x, net(z)).detach(), expected, rtol=1e-5)
    optimizer = torch.optim.Adam([net.log_scale], 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        (-likelihood.log_prob(x, net(z)).mean()).backward()
        optimizer.step()
    rmse = float(np.sqrt(((x.numpy() - mean) ** 2).mean()))
    assert float(torch.exp(net.QUICK * net.log_scale.detach())) == pytest.approx(rmse, rel=1e-3)


def exact_logistic(level: int, levels: int, mean: float, log_scale: float) -> float:
    """log of the difference of distribution functions, by 60 digits; above the mean of 1 less them, which are small."""
    with mpmath.workdps(60):
        top, scale = levels - 1, mpmath.exp(mpmath.mpf(log_scale))
        side = -1 if level / top > mean else 1

        def within(edge: float) -> Any:
            return 1 / (1 + mpmath.exp(-side * (mpmath.mpf(edge) / top - mpmath.mpf(mean)) / scale))

        ends = [within(level - 0.5) if level > 0 else mpmath.mpf(side < 0)]
        ends += [within(level + 0.5) if level < top else mpmath.mpf(side > 0)]
        return float(mpmath.log(abs(ends[1] - ends[0])))


def given_logistic(likelihood: DiscretisedLogistic, mean: float, log_scale: float, dtype: Any) -> torch.Tensor:
    """The output (1, 2, 1, 1) that has this mean and scale."""
    floor = -math.log(likelihood.levels - 1) - 4
    raw = floor + math.log(math.expm1(log_scale - floor)) if log_scale - floor < 30 else log_scale
    return torch.tensor([mean - 0.5, raw], dtype=dtype).reshape(1, 2, 1, 1)


CASES = list(itertools.product((256, 65536, 5), (0.0, 0.31, 1.0, -3.0, 4.0), (-9.0, -4.0, -1.0, 3.0)))


@pytest.mark.parametrize(("levels", "mean", "log_scale"), [c for c in CASES if c[2] > -math.log(c[0] - 1) - 4])
def test_discretised_logistic_is_a_difference_of_distribution_functions(levels, mean, log_scale) -> None:
    likelihood = DiscretisedLogistic(levels=levels)
    top = levels - 1
    for level in sorted({0, 1, top // 3, top // 2, top - 1, top}):
        expected = exact_logistic(level, levels, mean, log_scale)
        for dtype, rtol in ((torch.float64, 1e-8), (torch.float32, 2e-3)):
            x = torch.full((1, 1, 1, 1), level / top, dtype=dtype)
            found = float(likelihood.log_prob(x, given_logistic(likelihood, mean, log_scale, dtype)))
            assert found == pytest.approx(expected, rel=rtol, abs=1e-3 if dtype == torch.float32 else 1e-9)


def test_the_exact_one_is_scipys() -> None:
    edges = (np.arange(1, 256) - 0.5) / 255
    below = stats.logistic.cdf(edges, 0.4, 0.1)
    expected = np.log(np.diff(np.concatenate([[0.0], below, [1.0]])))
    found = [exact_logistic(level, 256, 0.4, math.log(0.1)) for level in range(256)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("levels", [2, 17, 256, 4096, 65536])
@pytest.mark.parametrize(
    ("mean", "raw"), [(0.0, -2.0), (0.3, -9.0), (-2.0, 0.0), (9.0, -1.0), (0.0, -40.0), (0.5, 7.0)]
)
def test_the_probabilities_of_all_levels_sum_to_1(levels: int, mean: float, raw: float) -> None:
    x = (torch.arange(levels, dtype=torch.float64) / (levels - 1)).reshape(-1, 1, 1, 1)
    output = torch.tensor([mean, raw], dtype=torch.float64).reshape(1, 2, 1, 1).expand(levels, 2, 1, 1)
    log_p = DiscretisedLogistic(levels=levels).log_prob(x, output)
    assert float(log_p.exp().sum()) == pytest.approx(1, rel=1e-9) and float(log_p.max()) <= 0


@pytest.mark.parametrize("levels", [256, 65536])
@pytest.mark.parametrize("raw", [-1e4, -100.0, -20.0, -5.0, 0.0, 6.0])
def test_there_is_a_way_back_from_everywhere(levels: int, raw: float) -> None:
    for mean, level in itertools.product((-1e3, -3.0, 0.1, 3.0, 1e3), (0.0, 0.5, 1.0)):
        output = torch.tensor([mean, raw]).reshape(1, 2, 1, 1).requires_grad_()
        log_p = DiscretisedLogistic(levels=levels).log_prob(torch.full((1, 1, 1, 1), level), output)
        log_p.sum().backward()
        assert bool(torch.isfinite(log_p).all()) and output.grad is not None and bool(torch.isfinite(output.grad).all())
        right = (level == 0 and mean <= -0.5) or (level == 1 and mean >= 0.5)
        if not right and abs(mean) >= 3:  # far away the mean is drawn back, whatever the scale
            assert math.copysign(1, output.grad[0, 0, 0, 0].item()) == math.copysign(1, level - 0.5 - mean)
            assert abs(output.grad[0, 0, 0, 0].item()) > 0.1 * math.exp(-2 * max(raw, 0))
        if not right and -50 < raw < 0 and abs(mean) >= 3:
            assert output.grad[0, 1, 0, 0].item() > 0


def test_the_mean_and_samples_of_a_discretised_logistic() -> None:
    likelihood = DiscretisedLogistic(levels=17)
    x = (torch.arange(17, dtype=torch.float64) / 16).reshape(-1, 1, 1, 1)
    for mean, log_scale in ((0.2, -2.0), (0.9, -1.0), (-0.5, 0.0), (0.5, -3.0)):
        output = given_logistic(likelihood, mean, log_scale, torch.float64)
        p = likelihood.log_prob(x, output.expand(17, 2, 1, 1)).exp()
        expected = float((p * x.flatten()).sum())
        assert float(likelihood.mean(output)) == pytest.approx(expected, abs=3e-3)
        drawn = likelihood.sample(output.expand(20000, 2, 1, 1).float(), Draw(0)).flatten()
        counts = np.bincount((drawn * 16).round().int().numpy(), minlength=17) / 20000
        np.testing.assert_allclose(counts, p.numpy(), atol=0.015)


def test_a_scale_for_each_channel_is_learned_beside_the_net() -> None:
    net = DiscretisedLogistic().decoder(MLP(hidden=(4,)), 3, (3, 2, 2))
    assert net.log_scale.shape == (3, 1, 1) and net(torch.zeros(5, 3)).shape == (5, 6, 2, 2)
    with torch.no_grad():
        net.log_scale.copy_(torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1) / net.QUICK)
    assert net(torch.zeros(5, 3))[2, 3:, 1, 1].tolist() == pytest.approx([1, 2, 3])
    own = DiscretisedLogistic(scale=None).decoder(MLP(hidden=(4,)), 3, (3, 2, 2))
    assert own(torch.zeros(5, 3)).shape == (5, 6, 2, 2)
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        DiscretisedLogistic(levels=1)


def test_what_the_watch_looks_at() -> None:
    x = torch.rand(20, 1, 8, 8)
    edges = float(((x <= 0.05) | (x >= 0.95)).float().mean())
    assert Bernoulli().vitals(x, x) == {"black_and_white": pytest.approx(edges)}
    assert Gaussian(scale=0.6).vitals(x, x + 0.2) == {"scale_over_error": pytest.approx(3, rel=1e-5)}
    assert Gaussian(scale="shared").vitals(x, x) == Gaussian().vitals(x, x) == DiscretisedLogistic().vitals(x, x) == {}


@pytest.mark.parametrize("leading", [(), (1,), (3,)])
def test_the_gradient_of_a_bernoulli(leading: tuple[int, ...]) -> None:
    """By finite differences, by the output and by x, and of the gradient too."""
    x, output = torch.rand(2, 1, 2, 2, dtype=torch.float64), normal(*leading, 2, 1, 2, 2)
    given = (x.requires_grad_(), output.requires_grad_())
    assert torch.autograd.gradcheck(Bernoulli().log_prob, given)
    assert torch.autograd.gradgradcheck(Bernoulli().log_prob, given)
