import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from ganvas.evaluate.measures import distances
from ganvas.evaluate.measures.distances import blocks, nearest


def whole(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.concatenate([squared for _, squared in blocks(x, y)])


@pytest.mark.parametrize("pairs", [1, 50, 2**24])
def test_against_scipy(monkeypatch: pytest.MonkeyPatch, pairs: int) -> None:
    monkeypatch.setattr(distances, "PAIRS", pairs)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((23, 7)), random.standard_normal((31, 7)).astype(np.float32)
    np.testing.assert_allclose(whole(x, y), cdist(x, y, "sqeuclidean"), rtol=1e-12)
    assert [rows.start for rows, _ in blocks(x, y)] == list(range(0, 23, max(1, pairs // 31)))


def test_a_common_offset_costs_no_digits() -> None:
    x = np.random.default_rng(0).standard_normal((50, 5))
    np.testing.assert_allclose(whole(x + 1e6, x + 1e6), cdist(x, x, "sqeuclidean"), rtol=1e-8, atol=1e-8)


def test_equal_rows_are_at_0_and_near_ones_are_not() -> None:
    random = np.random.default_rng(0)
    centres = random.standard_normal((2, 300)) * 100
    x = np.concatenate([centres, centres + 1e-4 * random.standard_normal((2, 300))]).astype(np.float32).astype(float)
    found = whole(x, np.concatenate([x, x]))
    assert (found[:, :4].diagonal() == 0).all() and (found[:, 4:].diagonal() == 0).all()
    np.testing.assert_allclose(found[0, 2], ((x[0] - x[2]) ** 2).sum(), rtol=1e-3)


@given(st.integers(1, 4), st.integers(5, 40), st.integers(1, 3), st.integers(0, 2**31))
def test_nearest_is_that_of_a_tree(k: int, n: int, d: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = random.standard_normal((n, d)), random.standard_normal((n + 1, d))
    squared, places = nearest(x, y, k)
    found, order = KDTree(y).query(x, [*range(1, k + 1)])
    np.testing.assert_allclose(np.sqrt(squared), found, atol=1e-7)
    np.testing.assert_array_equal(places, order)
    squared, places = nearest(x, k=k)
    np.testing.assert_allclose(np.sqrt(squared), KDTree(x).query(x, [*range(2, k + 2)])[0], atol=1e-7)
    assert (places != np.arange(n)[:, None]).all()


def test_a_row_is_left_out_by_its_place_and_not_by_its_value() -> None:
    x = np.array([[0.0], [0.0], [3.0]])
    squared, places = nearest(x)
    assert squared[:, 0].tolist() == [0, 0, 9] and places[:2, 0].tolist() == [1, 0]
