import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from ganvas.evaluate.measures.probes import k_nearest, linear_probe
from ganvas.ground.errors import UserError

DIGITS = load_digits()
X, Y = DIGITS.data[:, ::3], DIGITS.target
TRAIN, TEST = slice(0, 600), slice(600, 1200)


@pytest.mark.parametrize("decay", [1e-3, 1e-1])
def test_the_probe_is_scikit_learns_logistic_regression(decay: float) -> None:
    scaler = StandardScaler().fit(X[TRAIN])
    judge = LogisticRegression(C=1 / (600 * decay), tol=1e-10, max_iter=5000).fit(scaler.transform(X[TRAIN]), Y[TRAIN])
    expected = judge.predict(scaler.transform(X[TEST]))
    found = linear_probe(X[TRAIN], Y[TRAIN], X[TEST], decay)
    assert (found == expected).mean() >= 1 - 1 / 600, "at most one that lies on the border"
    assert 0.7 < (found == Y[TEST]).mean() < 1


@pytest.mark.parametrize("k", [1, 5, 8])
def test_neighbours_are_scikit_learns(k: int) -> None:
    expected = KNeighborsClassifier(k).fit(X[TRAIN], Y[TRAIN]).predict(X[TEST])
    found = k_nearest(X[TRAIN], Y[TRAIN], X[TEST], k)
    assert (found == expected).mean() >= 1 - 2 / 600, "but for equal distances"


def test_of_equal_votes_the_smaller_label() -> None:
    assert k_nearest([[0.0], [1.0]], [1, 0], [[0.1]], k=2).tolist() == [0]


def test_a_dimension_that_does_not_vary_does_no_harm() -> None:
    codes = np.concatenate([X, np.full((len(X), 1), 7.0)], 1)
    np.testing.assert_array_equal(
        linear_probe(codes[TRAIN], Y[TRAIN], codes[TEST]), linear_probe(X[TRAIN], Y[TRAIN], X[TEST])
    )


@pytest.mark.parametrize("read", [linear_probe, k_nearest])
@pytest.mark.parametrize(
    ("labels", "codes", "said"),
    [
        ([0, 1], [[0.0], [1.0], [2.0]], "labels of shape"),
        ([0, -1, 1], [[0.0], [1.0], [2.0]], "from 0"),
        ([0.5, 1.0, 0.0], [[0.0], [1.0], [2.0]], "whole numbers"),
        ([3, 3, 3], [[0.0], [1.0], [2.0]], "all labels are 3"),
        ([0, 1, 1], [[0.0], [np.nan], [2.0]], "NaN"),
    ],
)
def test_refusals(read, labels, codes, said) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=said):
        read(codes, np.array(labels), codes)


def test_numbers_out_of_range() -> None:
    with pytest.raises(UserError, match="decay: 0 is refused"):
        linear_probe(X[TRAIN], Y[TRAIN], X[TEST], 0)
    with pytest.raises(UserError, match="k is 601"):
        k_nearest(X[TRAIN], Y[TRAIN], X[TEST], 601)
