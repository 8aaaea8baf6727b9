"""The threshold without labels: p-values by hand, the Beta interval by scipy, and the rate that is promised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ganvas.evaluate.measures.conformal import needed, p_values, rank, rate_interval
from ganvas.ground.errors import UserError

RATES = st.floats(0.001, 0.999)


def test_p_values_count_the_image_itself_and_ties_against_an_alarm() -> None:
    found = p_values(np.array([0.5, 1.0, 2.0, 2.5, 9.0]), np.array([2.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(found, [5 / 5, 5 / 5, 4 / 5, 2 / 5, 1 / 5])


@given(RATES)
def test_so_many_are_needed_and_one_fewer_is_refused(rate: float) -> None:
    n = needed(rate)
    assert 1 / (n + 1) <= rate and rank(n, rate) >= 1
    if n > 1:
        with pytest.raises(UserError, match=f"it takes {n:,}"):
            rank(n - 1, rate)


@given(RATES, st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(-1, 6))
def test_an_alarm_is_a_score_above_the_threshold(rate: float, calibration: list[int], score: int) -> None:
    known = np.array(calibration, float)
    (p,) = p_values(np.array([float(score)]), known)
    if len(known) < needed(rate):
        assert p > rate
    else:
        assert (p <= rate) == (score > np.sort(known)[len(known) - rank(len(known), rate)])


@given(RATES, st.integers(1, 3000))
@settings(deadline=None)  # a busy machine takes longer
def test_the_interval_is_the_beta_distribution_s(rate: float, n: int) -> None:
    n = max(n, needed(rate))
    k = rank(n, rate)
    np.testing.assert_allclose(rate_interval(n, rate), stats.beta(k, n + 1 - k).ppf([0.025, 0.975]), rtol=1e-6)


def test_the_rate_is_kept_on_average_and_lies_in_the_interval() -> None:
    """2,000 calibrations of 39 normal scores at a rate of 0.1: the chance of a failure below is under 1e-4 each."""
    random, rate, n = np.random.default_rng(0), 0.1, 39
    thresholds = np.sort(random.random((2000, n)), 1)[:, n - rank(n, rate)]
    true = 1 - thresholds  # of uniform scores
    assert abs(true.mean() - 0.1) < 4 * true.std() / np.sqrt(2000)
    low, high = rate_interval(n, rate)
    assert abs(((true >= low) & (true <= high)).mean() - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, float("nan"), "often"])
def test_what_is_no_rate_is_refused(rate: object) -> None:
    with pytest.raises(UserError, match="above 0 and below 1"):
        needed(rate)  # type: ignore[arg-type]
