import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm
from sklearn.cluster import KMeans

from ganvas.evaluate.measures.memorising import _k_means, memorising, rank_score
from ganvas.ground.errors import UserError


@given(st.integers(2, 40), st.integers(2, 40), st.integers(2, 12), st.integers(0, 2**31))
def test_rank_score_against_scipy(n: int, m: int, levels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = random.integers(levels, size=n) + 1.0, random.integers(levels, size=m) / 1.0
    if len({*x, *y}) == 1:
        assert rank_score(x, y) == 0
        return
    lower = mannwhitneyu(x, y, alternative="less", method="asymptotic", use_continuity=False).pvalue
    assert norm.cdf(rank_score(x, y)) == pytest.approx(lower, rel=1e-9)


def test_rank_score_by_hand() -> None:
    # U = 0 of 6, mean 3, variance 2 * 3 * 6 / 12 = 3
    assert rank_score(np.array([1.0, 2]), np.array([3.0, 4, 5])) == pytest.approx(-3 / np.sqrt(3))


@pytest.fixture
def rows() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    centres = 8 * random.standard_normal((4, 5))
    return {
        name: centres[random.integers(4, size=n)] + random.standard_normal((n, 5))
        for name, n in {"train": 1500, "held_out": 1000, "samples": 1000}.items()
    }


def test_data_is_no_copy(rows: dict[str, np.ndarray]) -> None:
    found = memorising(**rows, cells=4)
    # z is N(0, 1); c_t is a mean of four, so less wide: 4 and more in 1 of 15,000.
    assert abs(found["z"]) < 4 and abs(found["c_t"]) < 4
    assert found["copies"] == 0 and found["close"] == pytest.approx(0.01, abs=0.02)


def test_copies_are_found(rows: dict[str, np.ndarray]) -> None:
    copies = rows["train"][:1000]
    found = memorising(copies, rows["train"], rows["held_out"])
    assert found["copies"] == found["close"] == 1 and found["z"] < -30 and found["c_t"] < -5
    near = memorising(copies + 1e-3, rows["train"], rows["held_out"])
    assert near["copies"] == 0 and near["close"] == 1 and near["z"] < -30


def test_samples_that_miss_the_data(rows: dict[str, np.ndarray]) -> None:
    found = memorising(rows["samples"] + 3, rows["train"], rows["held_out"], cells=2)
    assert found["z"] > 10 and found["close"] == 0


def test_cells(rows: dict[str, np.ndarray]) -> None:
    one = memorising(**rows, cells=1)
    assert one["c_t"] == pytest.approx(one["z"], rel=1e-12)
    # Copies of the wide half are still further from the training set than held-out rows of the tight half, where the
    # samples miss a little: the ranks of all together show less of the copies than those within the cells.
    random = np.random.default_rng(1)

    def halves(n: int, tight: float, wide: float) -> np.ndarray:
        return np.concatenate([tight * random.standard_normal((n, 3)), 50 + wide * random.standard_normal((n, 3))])

    train, held_out = halves(500, 10, 0.01), halves(500, 10, 0.01)
    samples = halves(500, 10, 0.02)
    samples[:500] = train[:500] + 0.1 * random.standard_normal((500, 3))
    found = memorising(samples, train, held_out, cells=2)
    assert found["c_t"] < -4.5 < -4 < found["z"]


def test_too_few_in_every_cell() -> None:
    random = np.random.default_rng(0)
    found = memorising(random.random((20, 2)), random.random((99, 2)), random.random((20, 2)), cells=5)
    assert np.isnan(found["c_t"]) and np.isfinite(found["z"])


def test_k_means_against_scikit_learn(rows: dict[str, np.ndarray]) -> None:
    start = _k_means(rows["train"], 4, steps=0)
    with_it = KMeans(4, init=start, n_init=1, algorithm="lloyd", max_iter=100, tol=0).fit(rows["train"])
    np.testing.assert_allclose(_k_means(rows["train"], 4, steps=100), with_it.cluster_centers_, rtol=1e-6)


def test_refused(rows: dict[str, np.ndarray]) -> None:
    for change, message in (
        ({"samples": rows["samples"][:19]}, "samples: 19 rows are too few"),
        ({"held_out": rows["held_out"][:19]}, "held_out: 19 rows are too few"),
        ({"train": rows["train"][:, :2]}, "different size"),
        ({"cells": 0}, "cells: 0 is refused"),
        ({"cells": 1501}, "cells is 1501; 1 to 1500"),
    ):
        with pytest.raises(UserError, match=message):
            memorising(**(rows | change))
