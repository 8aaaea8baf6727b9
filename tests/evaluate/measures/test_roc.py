"""The area under the ROC curve, by counting pairs, and its interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganvas.evaluate import auroc
from ganvas.ground.errors import UserError

SCORES = st.lists(st.integers(0, 6), min_size=1, max_size=30)


@given(SCORES, SCORES)
def test_the_area_counts_pairs(strange: list[int], normal: list[int]) -> None:
    pairs = [(s > n) + 0.5 * (s == n) for s in strange for n in normal]
    found = auroc(np.array(strange), np.array(normal))
    assert found.value == pytest.approx(np.mean(pairs)) and 0 <= found.low <= found.value <= found.high <= 1


def test_delong_by_hand() -> None:
    """Placements of the strange 1, 1/2 and of the normal 0, 1/2: variances 1/8 each, over 2 and 2."""
    found = auroc(np.array([3.0, 1.0]), np.array([0.0, 2.0]))
    assert found.value == 0.75
    assert found.high == 1 and found.low == pytest.approx(0.75 - 1.96 * np.sqrt(1 / 8 / 2 + 1 / 8 / 2))


def test_all_in_order_says_how_little_few_images_tell() -> None:
    assert auroc(np.arange(5, 10), np.arange(5)) == pytest.approx((1, 0.025 ** (1 / 5), 1))
    assert auroc(np.arange(5), np.arange(5, 10)) == pytest.approx((0, 0, 1 - 0.025 ** (1 / 5)))
    assert auroc(np.array([9]), np.arange(5)) == (1, 0, 1)


def test_the_interval_covers() -> None:
    """Normal scores a standard deviation apart, area 0.7602; 600 draws of 40 and 60: fails by chance below 1e-4."""
    random, held = np.random.default_rng(1), 0
    for _ in range(600):
        found = auroc(random.normal(1, 1, 40), random.normal(0, 1, 60))
        held += found.low <= 0.76025 <= found.high
    assert held / 600 > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 600)


def test_nan_is_refused() -> None:
    with pytest.raises(UserError, match="NaN"):
        auroc(np.array([np.nan]), np.array([1.0]))
