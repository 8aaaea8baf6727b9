import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from scipy import stats

from ganvas.errors import UserError
from ganvas.priors import PRIORS, Normal, Uniform
from ganvas.randomness import Draw


@pytest.mark.parametrize("kind", sorted(PRIORS))
def test_conformance(kind: str) -> None:
    prior = PRIORS[kind]()
    z = prior.sample(Draw(0, 1), (6, 3))
    assert z.shape == (6, 3) and z.dtype == torch.float32
    assert torch.equal(z, prior.sample(Draw(0, 1), (6, 3))) and not torch.equal(z, prior.sample(Draw(0, 2), (6, 3)))


@pytest.mark.parametrize(
    ("prior", "cdf"),
    [
        (Normal(), stats.norm.cdf),
        (Uniform(), stats.uniform(-1, 2).cdf),
        (Uniform(bound=2.5), stats.uniform(-2.5, 5).cdf),
    ],
)
def test_samples_have_the_named_distribution(prior, cdf) -> None:
    """Kolmogorov-Smirnov over 40,000 numbers, false alarm 1e-6; dimensions uncorrelated, false alarm 1e-6."""
    z = prior.sample(Draw(0), (20_000, 2)).numpy()
    assert stats.kstest(z.ravel(), cdf).pvalue > 1e-6
    assert stats.pearsonr(*z.T).pvalue > 1e-6


@pytest.mark.parametrize(
    ("prior", "icdf"),
    [
        (Normal(), stats.norm.ppf),
        (Uniform(), stats.uniform(-1, 2).ppf),
        (Uniform(bound=2.5), stats.uniform(-2.5, 5).ppf),
    ],
)
def test_inverse_cdf(prior, icdf) -> None:
    p = torch.tensor([[1e-6, 0.02, 0.3], [0.5, 0.9, 1 - 1e-6]], dtype=torch.float64)
    torch.testing.assert_close(prior.icdf(p), torch.from_numpy(icdf(p.numpy())), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", sorted(PRIORS))
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
    prior, n = PRIORS[kind](), rows * world
    whole = prior.sample(Draw(seed, *position), (n, 8))
    shares = [prior.sample(Draw(seed, *position, rank=rank, world=world), (rows, 8)) for rank in range(world)]
    assert torch.equal(torch.cat(shares), whole)
    assert not torch.equal(whole, prior.sample(Draw(other_seed, *other_position), (n, 8)))


@pytest.mark.parametrize("bound", [0, -1.0])
def test_an_empty_interval_is_refused(bound: float) -> None:
    with pytest.raises(UserError, match=r"bound: .* greater than 0"):
        PRIORS.parse({"kind": "uniform", "bound": bound})
