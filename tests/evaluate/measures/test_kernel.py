import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import polynomial_kernel

from ganvas.evaluate.measures import distances, kernel
from ganvas.evaluate.measures.kernel import kernel_distance
from ganvas.ground.errors import UserError


def by_scikit_learn(x: np.ndarray, y: np.ndarray) -> float:
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, gamma=None, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    own = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(own - 2 * xy.mean())


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 3), (60, 90, 40), (2, 2, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_scikit_learn(n: int, m: int, d: int, dtype: type) -> None:
    random = np.random.default_rng(n)
    x, y = random.standard_normal((n, d)).astype(dtype), random.exponential(size=(m, d)).astype(dtype)
    expected = by_scikit_learn(x.astype(np.float64), y.astype(np.float64))
    assert kernel_distance(x, y)[0] == pytest.approx(expected, rel=1e-9)


def test_by_hand() -> None:
    """Pairs (0, 1) and (2, 3) on a line: 1 + 343 - 2 (1 + 1 + 27 + 64) / 4."""
    assert kernel_distance([[0.0], [1.0]], [[2.0], [3.0]])[0] == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)


@given(st.integers(0, 2**31))
def test_order_does_not_matter(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = random.standard_normal((20, 3)), random.standard_normal((30, 3)) + 1
    found = kernel_distance(x, y)
    assert kernel_distance(y, x) == pytest.approx(found, rel=1e-9)
    assert kernel_distance(random.permutation(x), y) == pytest.approx(found, rel=1e-9)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_normal((50, 3)), random.standard_normal((70, 3))
    whole = kernel_distance(x, y)
    monkeypatch.setattr(kernel, "TILE", 16)
    monkeypatch.setattr(kernel, "LINES", 6)
    assert kernel_distance(x, y) == pytest.approx(whole, rel=1e-12)


def many(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Rectified features of 16 directions and noise, and others."""
    random = np.random.default_rng(0)
    mix = random.standard_normal((16, 64)) / 4

    def rows(z: np.ndarray, noise: float) -> np.ndarray:
        found = np.maximum(z @ mix + noise * random.standard_normal((len(z), 64)) + 1, 0)
        return found.astype(np.float32)

    x, z = rows(random.standard_normal((3000, 16)), 1.0), random.standard_normal((2500, 16))
    if kind == "clusters":
        return x, rows(random.standard_normal((20, 16))[random.integers(0, 20, 2500)], 1e-3)
    if kind == "points":
        places = random.standard_normal((2, 16))
        return rows(places[random.integers(0, 2, 3000)], 0), rows(places[random.integers(0, 2, 2500)], 0)
    y = rows(1.1 * z if kind == "apart" else z, 1.0)
    x, y = {"far out": (x + 30, y + 30), "large": (20 * x, 20 * y)}.get(kind, (x, y))
    return x, np.vstack([y[:1] * {"long row": 3.5, "one outlier": 100}.get(kind, 1), y])


@pytest.mark.parametrize(
    "kind", ["equal", "apart", "clusters", "points", "far out", "large", "long row", "one outlier"]
)
@pytest.mark.parametrize("fast", [True, False])
def test_fast_products_of_many_rows_agree_with_float64(monkeypatch: pytest.MonkeyPatch, kind: str, fast: bool) -> None:
    """The distance is a small difference of large sums: what is lost is far below its standard error."""
    x, y = many(kind)
    monkeypatch.setattr(kernel, "has_fast_bfloat16", lambda _: fast)
    monkeypatch.setattr(distances, "PLAIN", 0)
    found = kernel_distance(x, y)
    monkeypatch.setattr(distances, "PLAIN", 2**40)
    exact, error = kernel_distance(x, y)
    assert found == (pytest.approx(exact, abs=1e-3 * error), pytest.approx(error, rel=1e-4))


def test_it_has_no_bias_and_the_error_is_its_spread() -> None:
    """300 pairs of sets, of one distribution and of two; mean within 6 standard errors: false alarm under 1e-8."""
    random = np.random.default_rng(0)
    equal = np.array([kernel_distance(*random.standard_normal((2, 40, 2)))[0] for _ in range(300)])
    assert abs(equal.mean()) < 6 * equal.std() / np.sqrt(300)
    apart = np.array(
        [kernel_distance(random.standard_normal((80, 2)), random.standard_normal((60, 2)) + 1) for _ in range(300)]
    )
    # E k(x, y) of each pair of distributions, by two million draws; 0.08 is over 6 of their standard errors.
    big = random.standard_normal((2, 2_000_000, 2))
    third = [((big[0] + a) * (big[1] + b)).sum(1) / 2 for a, b in ((0, 0), (1, 1), (0, 1))]
    same, moved, mixed = (((s + 1) ** 3).mean() for s in third)
    assert apart[:, 0].mean() == pytest.approx(
        same + moved - 2 * mixed, abs=6 * apart[:, 0].std() / np.sqrt(300) + 0.08
    )
    assert apart[:, 1].mean() == pytest.approx(apart[:, 0].std(), rel=0.3)


def test_bad_features_are_refused() -> None:
    with pytest.raises(UserError, match="different size"):
        kernel_distance(np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(UserError, match="fake: 1 row has no pair"):
        kernel_distance(np.zeros((5, 2)), np.zeros((1, 2)))
    with pytest.raises(UserError, match="NaN"):
        kernel_distance(np.full((5, 2), np.nan), np.zeros((5, 2)))
