import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from ganvas.evaluate import frechet_distance
from ganvas.ground.errors import UserError


def by_square_root(x: np.ndarray, y: np.ndarray) -> float:
    one, other = np.cov(x.T), np.cov(y.T)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(one + other - 2 * sqrtm(one @ other).real))


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 3), (500, 500, 40)])
def test_against_scipy(n: int, m: int, d: int) -> None:
    random = np.random.default_rng(n)
    x = random.standard_normal((n, d)) @ random.standard_normal((d, d))
    y = random.exponential(size=(m, d)) @ random.standard_normal((d, d)) + 0.3
    assert frechet_distance(x, y) == pytest.approx(by_square_root(x, y), rel=1e-9)
    assert frechet_distance(x.astype(np.float32), y) == pytest.approx(by_square_root(x, y), rel=1e-5)


@given(st.floats(-5, 5), st.floats(0.1, 9), st.integers(0, 2**31))
def test_on_a_line(shift: float, scale: float, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((50, 1))
    y = scale * x + shift
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_set_is_at_0_from_itself_and_a_rotation_changes_nothing() -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_normal((200, 10)), 2 * random.standard_normal((300, 10))
    turn = np.linalg.qr(random.standard_normal((10, 10)))[0]
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(x @ turn, y @ turn) == pytest.approx(frechet_distance(x, y), rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(frechet_distance(x, y), rel=1e-12)


def test_singular_covariances() -> None:
    """Features that never vary, as rectified ones that are dead: they cost no digits."""
    random = np.random.default_rng(0)
    x, y = random.standard_normal((100, 4)), random.standard_normal((100, 4))
    wide = [np.concatenate([rows, np.zeros((100, 3))], 1) for rows in (x, y)]
    assert frechet_distance(*wide) == pytest.approx(frechet_distance(x, y), rel=1e-10)


def test_too_few_rows() -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_normal((10, 12)), random.standard_normal((400, 12))
    with pytest.warns(UserWarning, match=r"real: the covariance of 10 rows of 12 .* takes more than 12, better 10,000"):
        few = frechet_distance(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert few > 3 * frechet_distance(random.standard_normal((400, 12)), y)
    with pytest.raises(UserError, match="fake: 1 row has no covariance"):
        frechet_distance(y, y[:1])
    with pytest.raises(UserError, match="different size"):
        frechet_distance(x, y[:, :3])
    with pytest.raises(UserError, match="real: row 2 holds NaN"):
        frechet_distance(np.where(np.arange(400)[:, None] == 2, np.inf, y), y)
