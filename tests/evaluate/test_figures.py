import math

import numpy as np
import pytest
from scipy import stats

from ganvas.evaluate import frechet_distance, precision_recall
from ganvas.evaluate.figures import Figure, mean, share, subset_errors
from ganvas.ground.errors import UserError


def test_the_mean_of_images_has_their_standard_error() -> None:
    each = np.random.default_rng(0).exponential(size=50)
    found = mean("x", each, unit="nats")
    assert (found.value, found.error) == pytest.approx((each.mean(), stats.sem(each)))
    assert found.interval == pytest.approx(stats.norm.interval(0.95, each.mean(), stats.sem(each)), rel=1e-4)
    assert mean("x", [3.0]).interval is None, "one image tells nothing of the others"


def test_a_share_has_an_error_even_where_all_agree() -> None:
    """Agresti and Coull: as if two more of each had been seen."""
    found = share("x", 1.0, 96)
    assert found.error == pytest.approx(math.sqrt(0.98 * 0.02 / 100)) and found.value == 1


@pytest.mark.parametrize(("value", "error"), [(math.nan, 0.1), (math.inf, None), (1.0, math.nan)])
def test_what_is_no_number_is_no_figure(value: float, error: float | None) -> None:
    with pytest.raises(UserError, match="no number to go by"):
        Figure("x", value, error, 10)


def test_subset_errors_of_a_mean_are_its_standard_error() -> None:
    """The standard deviation of 400 numbers is within 15 % of the truth, but for one time in 10,000."""
    rows = np.random.default_rng(0).standard_normal((300, 1))
    for most in (10_000, 60):
        found = subset_errors(lambda x: {"mean": float(x.mean())}, rows, repeats=400, most=most)
        assert found["mean"] == pytest.approx(stats.sem(rows[:, 0]), rel=0.15)


def test_subset_errors_are_the_spread_over_fresh_samples() -> None:
    """Of statistics that a bootstrap spoils: the mean over 4 beside the spread over 40, which is known to 11 %."""

    def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        return random.standard_normal((300, 4)), 0.8 * random.standard_normal((300, 4)) + 0.3

    def both(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        return {**precision_recall(x, y), "frechet": frechet_distance(x, y)}

    fresh = [both(*pair(seed)) for seed in range(40)]
    guessed = [subset_errors(both, *pair(100 + seed), seed=seed) for seed in range(4)]
    for name in fresh[0]:
        truth = np.std([row[name] for row in fresh], ddof=1)
        assert np.mean([row[name] for row in guessed]) == pytest.approx(truth, rel=0.5), name
