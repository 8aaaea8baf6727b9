"""The screened paths of `distances`, which large sets take, beside the plain ones and differences one by one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganvas.evaluate import density_coverage, precision_recall
from ganvas.evaluate.measures import distances, screening
from ganvas.evaluate.measures.distances import inside, nearest
from ganvas.evaluate.measures.screening import ROUNDING, Screen

SHIPPED = {"TILE": 2048, "CHUNK": 512, "SHARE": 128, "CROWD": 16, "CLUSTERS": 256}
SMALL = {"TILE": 16, "CHUNK": 5, "SHARE": 2, "CROWD": 4, "CLUSTERS": 4}  # of a few rows many tiles and candidates


@contextmanager
def screened(fast: bool, plain: int = 0, **thresholds: int) -> Iterator[None]:
    """All is screened, with products of bfloat16 or of float32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screening, "has_fast_bfloat16", lambda device: fast)
        for name, value in {"PLAIN": plain, **thresholds}.items():
            for module in (distances, screening):
                if hasattr(module, name):
                    patch.setattr(module, name, value)
        yield


# ---- sets that are hard to compare ----


def scattered(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    return random.standard_normal((n, d))


def equal_distances(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Corners and middles of a lattice: most distances are those of many others, and many rows are there twice."""
    return random.integers(0, 3, (n, d)).astype(float)


def near_ties(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Equal distances but for one part in 10^9 to 10^4."""
    return equal_distances(random, n, d) * (1 + 10.0 ** random.uniform(-9, -4, (n, 1)))


def twins(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    return np.repeat(random.standard_normal((-(-n // 2), d)), 2, 0)[:n]


def zeros(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Half of the rows."""
    return random.standard_normal((n, d)) * (np.arange(n)[:, None] % 2)


def one_value(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    return np.full((n, d), 0.1)


def tight_clusters(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Apart by 100, wide by 10^-4: within one a product in float32 has no digit left."""
    return 100 * random.standard_normal((3, d))[random.integers(0, 3, n)] + 1e-4 * random.standard_normal((n, d))


def points_almost(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Clusters so tight that within one the distances are rounding, also in float64."""
    return 100 * random.standard_normal((3, d))[random.integers(0, 3, n)] + 1e-6 * random.standard_normal((n, d))


def points_almost_in_order(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """The same, one cluster after the other."""
    return 100 * random.standard_normal((3, d))[np.arange(n) * 3 // n] + 1e-6 * random.standard_normal((n, d))


def one_tight_cluster(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Beside scattered rows: what a collapsed generator makes."""
    rows = random.standard_normal((n, d))
    rows[n // 3 :] = rows[0] + 1e-5 * rows[n // 3 :]
    return rows


def far_away(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    return 1e6 + random.standard_normal((n, d))


def an_outlier(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Against which all the others are one point."""
    rows = random.standard_normal((n, d))
    rows[n // 2] *= 1e5
    return rows


def constant_columns(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    return np.where(np.arange(d) % 2, random.standard_normal((n, d)), 1e3)


def all_magnitudes(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Numbers of 10^-20 to 10^20, of either sign."""
    return random.standard_normal((n, d)) * 10.0 ** random.uniform(-20, 20, (n, d))


def rows_of_all_magnitudes(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    return random.standard_normal((n, d)) * 10.0 ** random.uniform(-20, 2, (n, 1))


def tiny(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    """float32 can hardly hold them, and not their squares."""
    return 1e-30 * random.standard_normal((n, d))


def huge(random: np.random.Generator, n: int, d: int) -> np.ndarray:
    return 1e30 * random.standard_normal((n, d))


MADE = (
    scattered, equal_distances, near_ties, twins, zeros, one_value, tight_clusters, points_almost,
    points_almost_in_order, one_tight_cluster, far_away, an_outlier, constant_columns, all_magnitudes,
    rows_of_all_magnitudes, tiny, huge,
)  # fmt: skip


def pair(
    made: Any, n: int, m: int, d: int, seed: int, dtype: Any, copies: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Two sets; half of the second are rows of the first, and moved ones."""
    random = np.random.default_rng(seed)
    rows = made(random, n + m, d).astype(dtype)
    x, y = rows[:n], rows[n:].copy()
    if copies:
        y[: m // 3] = x[random.integers(0, n, m // 3)]
        y[m // 3 : m // 2] *= 1 + 2.0**-10
    return x, y


# ---- what any path must give ----


def exactly(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distances (N, M), from differences."""
    return np.stack([((row - y.astype(np.float64)) ** 2).sum(1) for row in x.astype(np.float64)])


def rounding(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distances (N, M) below which one is 0: those that products in float64 can't tell from it."""
    centre = y.mean(0, dtype=np.float64)
    return ROUNDING * (((x - centre) ** 2).sum(1)[:, None] + ((y - centre) ** 2).sum(1))


def check_nearest(x: np.ndarray, y: np.ndarray | None, k: int) -> None:
    squared, places = nearest(x, y, k)
    apart, least = exactly(x, x if y is None else y), rounding(x, x if y is None else y)
    if y is None:
        assert (places != np.arange(len(x))[:, None]).all(), "a row is not its own neighbour"
        np.fill_diagonal(apart, np.inf)
    assert all(len({*row}) == k for row in places.tolist()), "k different rows"
    assert (np.diff(squared, axis=1) >= 0).all(), "nearest first"
    own, floor = np.take_along_axis(apart, places, 1), np.take_along_axis(least, places, 1)
    assert (np.abs(squared - own) <= floor + 1e-9 * own).all(), "the distances are those of the places"
    assert (squared[own < 0.5 * floor] == 0).all(), "equal rows are at 0"
    first = np.argsort(apart, 1)[:, :k]
    slack = 2 * np.concatenate([floor, np.take_along_axis(least, first, 1)], 1).max(1, keepdims=True)
    assert (squared <= np.take_along_axis(apart, first, 1) * (1 + 1e-9) + slack).all(), "no other row is nearer"


def check_inside(x: np.ndarray, y: np.ndarray, radii: np.ndarray, others: np.ndarray | None) -> None:
    apart, least = exactly(x, y), rounding(x, y)
    limits = [np.broadcast_to(radii[:, None], apart.shape)]
    limits += [] if others is None else [np.broadcast_to(others, apart.shape)]
    found = np.full((len(limits), *apart.shape), -1)
    for rows, columns, masks in inside(x, y, radii, others):
        assert len(masks) == len(limits) and (found[:, rows, columns] == -1).all()
        for place, mask in enumerate(masks):
            found[place, rows, columns] = mask
    for mask, limit in zip(found, limits, strict=True):
        assert (mask >= 0).all(), "each pair once"
        near, slack = np.where(apart < 0.5 * least, 0, apart), 1e-9 * apart + 2 * least
        decided = (np.abs(near - limit) > slack) | (near == 0)
        np.testing.assert_array_equal(mask[decided], (near <= limit)[decided])


def check(x: np.ndarray, y: np.ndarray, k: int) -> None:
    """Neighbours, and balls that reach to neighbours: the distances that matter are at their borders."""
    check_nearest(x, None, min(k, len(x) - 1))
    check_nearest(x, y, min(k, len(y)))
    of_x, of_y = (nearest(rows, k=min(k, len(rows) - 1))[0][:, -1] for rows in (x, y))
    check_inside(x, y, of_x * (1 + 1e-9), of_y * (1 + 1e-9))
    check_inside(x, y, np.nextafter(of_x * (1 - 1e-9), -np.inf), None)


# ---- tests ----


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("fast", [True, False], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("thresholds", [SHIPPED, SMALL], ids=["shipped", "small"])
def test_of_hard_sets(made: Any, fast: bool, thresholds: dict[str, int]) -> None:
    with screened(fast, **thresholds):
        check(*pair(made, 90, 80, 7, 0, np.float64), k=3)


@pytest.mark.parametrize("made", MADE)
def test_the_plain_path_of_hard_sets(made: Any) -> None:
    check(*pair(made, 90, 80, 7, 0, np.float64), k=3)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_of_any_set(data: st.DataObject) -> None:
    draw = data.draw
    n, m, d = (draw(st.integers(low, high), label) for label, low, high in (("n", 2, 60), ("m", 2, 60), ("d", 1, 12)))
    made, dtype = draw(st.sampled_from(MADE)), draw(st.sampled_from([np.float64, np.float32, np.float16]))
    if dtype == np.float16 and made in (all_magnitudes, huge, far_away, an_outlier):
        dtype = np.float32
    thresholds = {name: draw(st.sampled_from([1, 2, 5, 16, value])) for name, value in SHIPPED.items()}
    with screened(draw(st.booleans(), "bfloat16"), **thresholds):
        x, y = pair(made, n, m, d, draw(st.integers(0, 2**31), "seed"), dtype)
        check(x, y, draw(st.integers(1, 5), "k"))


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 32, 33])
@pytest.mark.parametrize("fast", [True, False], ids=["bfloat16", "float32"])
def test_rows_at_the_edges_of_tiles(n: int, fast: bool) -> None:
    with screened(fast, **SMALL):
        for m in (2, 16, 17):
            x, y = pair(scattered, n, m, 3, n, np.float64)
            check_nearest(x, y, 2)
            check_inside(x, y, np.full(n, 1.0), np.full(m, 2.0))
        for k in {1, n - 1} - {0} if n > 1 else ():
            check_nearest(scattered(np.random.default_rng(0), n, 3), None, k)


@pytest.mark.parametrize("below", [True, False])
def test_which_path_is_taken(below: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []
    real = Screen.__init__
    monkeypatch.setattr(Screen, "__init__", lambda self, x, y=None: (made.append(x.shape), real(self, x, y))[1])
    x, y = pair(scattered, 40, 30, 5, 0, np.float64)
    with screened(True, plain=40 * 5 * 30 + below):
        check_nearest(x, y, 2)
        check_inside(x, y, np.ones(40), None)
    assert made == [] if below else [(40, 5)] * 2


@pytest.mark.parametrize(
    ("made", "copies"),
    [
        *((made, True) for made in (scattered, equal_distances, twins, an_outlier, far_away)),
        # A copy lies as far as its original: of so small distances that is a tie that rounding breaks, on any path.
        *((made, False) for made in (one_tight_cluster, tight_clusters)),
    ],
)
@pytest.mark.parametrize("fast", [True, False], ids=["bfloat16", "float32"])
def test_the_measures_are_those_of_the_plain_path(made: Any, copies: bool, fast: bool) -> None:
    real, fake = pair(made, 700, 600, 16, 1, np.float64, copies)
    plain = precision_recall(real, fake) | density_coverage(real, fake)
    with screened(fast, TILE=256, SHARE=16):
        assert precision_recall(real, fake) | density_coverage(real, fake) == plain
    assert 0 < plain["coverage"] <= 1


def test_few_pairs_are_computed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the screen would be right, and of no use."""
    alone = [0]
    real = Screen.squared
    monkeypatch.setattr(Screen, "squared", lambda self, i, j: (alone.append(len(i)), real(self, i, j))[1])
    x, y = (np.random.default_rng(seed).standard_normal((2000, 20)) for seed in range(2))
    with screened(True):
        nearest(x, y, 3)
        assert 3 * 2000 <= sum(alone) < 2000 * 2000 / 100
    alone.clear()
    with screened(False):
        radii = nearest(x, k=3)[0][:, -1]
        assert sum(alone) < 2 * 3 * 2000
        alone.clear()
        assert sum(mask.sum() for *_, (mask,) in inside(x, y, radii)) and sum(alone) < 2000


@pytest.mark.parametrize("fast", [True, False], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("made", MADE)
def test_the_margins_hold(made: Any, fast: bool) -> None:
    """Of each pair by itself: no product lies outside what its distance allows, nor the other way round."""
    x, y = pair(made, 60, 50, 9, 3, np.float64)
    with screened(fast):
        screen = Screen(x, y)
    apart = exactly(x, y) / screen.unit
    for shift in (0.0, screen.shift(float(np.median(apart)) * screen.unit)):
        margins = screen.margins(slice(0, 60), shift)
        product = screen.product(slice(0, 60), slice(0, 50), shift)
        assert bool((product <= margins.maybe(apart * (1 + 1e-12))).all())
        assert not bool((product <= margins.surely(apart * (1 - 1e-12))).any())
        assert (margins.above(product.double().numpy()) >= apart * (1 - 1e-12)).all()
        assert product.dtype == torch.float32
