import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from ganvas.evaluate import density_coverage, precision_recall
from ganvas.evaluate.measures import distances
from ganvas.ground.errors import UserError

MEASURES = (precision_recall, density_coverage)


def balls(rows: np.ndarray, k: int) -> np.ndarray:
    return KDTree(rows).query(rows, k + 1)[0][:, -1]


def by_trees(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """The four measures, a ball at a time."""
    of_real = [KDTree(fake).query_ball_point(x, r) for x, r in zip(real, balls(real, k), strict=True)]
    of_fake = [KDTree(real).query_ball_point(x, r) for x, r in zip(fake, balls(fake, k), strict=True)]
    return {
        "precision": len(set().union(*of_real)) / len(fake),
        "recall": len(set().union(*of_fake)) / len(real),
        "density": sum(map(len, of_real)) / k / len(fake),
        "coverage": sum(map(bool, of_real)) / len(real),
    }


@pytest.mark.parametrize("pairs", [500, 2**24])
@pytest.mark.parametrize(("n", "m", "d", "k", "shift"), [(80, 70, 2, 3, 0.5), (60, 90, 6, 5, 0.0), (7, 6, 1, 5, 2.0)])
def test_against_trees(
    monkeypatch: pytest.MonkeyPatch, n: int, m: int, d: int, k: int, shift: float, pairs: int
) -> None:
    monkeypatch.setattr(distances, "PAIRS", pairs)
    random = np.random.default_rng(n)
    real, fake = random.standard_normal((n, d)), random.standard_normal((m, d)) + shift
    found = precision_recall(real, fake, k) | density_coverage(real, fake, k)
    assert found == pytest.approx(by_trees(real, fake, k))
    as_tensors = (torch.from_numpy(real), torch.from_numpy(fake))
    assert precision_recall(*as_tensors, k) | density_coverage(*as_tensors, k) == found


def test_solved_by_hand() -> None:
    # Balls of the real rows: [-1, 1], [0, 2], [1, 3], [2, 18]; of the samples: [-1.5, 4.5], [1.5, 7.5], [4.5, 55.5].
    real, fake = np.array([[0.0], [1], [2], [10]]), np.array([[1.5], [4.5], [30]])
    assert precision_recall(real, fake, k=1) == {"precision": 2 / 3, "recall": 1.0}
    assert density_coverage(real, fake, k=1) == {"density": 1.0, "coverage": 3 / 4}


def test_equal_sets() -> None:
    rows = np.random.default_rng(0).standard_normal((300, 20)).astype(np.float32)
    assert precision_recall(rows, rows) == {"precision": 1, "recall": 1}
    assert density_coverage(rows, rows) == {"density": 1, "coverage": 1}


def test_sets_far_apart() -> None:
    rows = np.random.default_rng(0).standard_normal((300, 20))
    assert {*precision_recall(rows, rows + 99).values(), *density_coverage(rows, rows + 99).values()} == {0.0}


def test_a_collapsed_generator_has_precision_and_no_recall() -> None:
    real = np.random.default_rng(0).standard_normal((300, 2))
    fake = np.repeat(real[:1] + 1e-3, 200, 0)
    assert precision_recall(real, fake) == {"precision": 1, "recall": 0}
    assert density_coverage(real, fake)["coverage"] < 0.1


def test_a_dropped_mode_costs_recall_and_a_stray_one_precision() -> None:
    random = np.random.default_rng(0)
    both = random.standard_normal((400, 3)) + np.repeat([[0.0], [20]], 200, 0)
    one = random.standard_normal((400, 3))
    dropped, stray = precision_recall(both, one), precision_recall(one, both)
    assert dropped["precision"] > 0.8 and dropped["recall"] < 0.6
    assert stray["precision"] < 0.6 and stray["recall"] > 0.8
    assert density_coverage(both, one)["coverage"] < 0.6 < 0.8 < density_coverage(one, both)["coverage"] + 0.1


def test_what_the_data_itself_gets() -> None:
    n, k = 1500, 5
    random = np.random.default_rng(1)
    found = density_coverage(random.standard_normal((n, 4)), random.standard_normal((n, 4)), k)
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    # The share of 1500 has a standard error under 0.006: 5 of them, so less than one false alarm in a million.
    assert found["coverage"] == pytest.approx(expected, abs=0.03) and expected == pytest.approx(0.969, abs=1e-3)
    assert found["density"] == pytest.approx(1, abs=0.1)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "PAIRS", 2**16)
    rows = np.random.default_rng(0).standard_normal((3000, 4))
    tracemalloc.start()
    try:
        precision_recall(rows, rows)
        density_coverage(rows, rows)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20 < rows.shape[0] ** 2 * 8
    finally:
        tracemalloc.stop()


BAD: list[tuple[Any, Any, str]] = [
    (np.zeros((9, 2)), np.full((9, 2), np.nan), "fake: row 0 holds NaN"),
    (np.zeros((9, 2)), np.zeros((9, 3)), r"different size: \{'real': 2, 'fake': 3\}"),
    (np.zeros((9, 2, 2)), np.zeros((9, 4)), r"\(9, 2, 2\); features are \(N, d\)"),
    (np.zeros((1, 2)), np.ones((9, 2)), r"real: 1 rows have no \d-th nearest"),
    (np.arange(18.0).reshape(9, 2), np.zeros((1, 2)), r"fake: 1 rows have no \d-th nearest"),
    (np.zeros((9, 2)), np.ones((9, 2)), "the features do not vary"),
    (np.repeat(np.random.default_rng(0).random((3, 2)), 9, 0), np.ones((9, 2)), "the features do not vary"),
    (np.array([["a"]]), np.zeros((9, 2)), "real: <U1 values .*numbers are needed"),
    (np.zeros((0, 2)), np.zeros((9, 2)), "holds nothing"),
]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("real", "fake", "message"), BAD)
def test_refused(measure: Callable[..., Any], real: Any, fake: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        measure(real, fake)


@pytest.mark.parametrize("measure", MEASURES)
def test_k_is_checked(measure: Callable[..., Any]) -> None:
    rows = np.random.default_rng(0).random((5, 2))
    with pytest.raises(UserError, match="k: 0 is refused"):
        measure(rows, rows, k=0)
    with pytest.raises(UserError, match="5 rows have no 5-th nearest neighbour; give more than 5"):
        measure(rows, rows, k=5)
