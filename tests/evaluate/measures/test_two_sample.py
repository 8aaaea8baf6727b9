import numpy as np
import pytest
from scipy.stats import binom, norm
from sklearn.neighbors import KNeighborsClassifier

from ganvas.evaluate.measures.two_sample import two_sample_test
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import order


def normals(seed: int, n: int = 200, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 3)) + shift


def test_against_scikit_learn() -> None:
    real, fake = normals(0), normals(1, 250, 0.5)
    rows = [part[order(4, f"two-sample {what}", n=len(part))[:200]] for what, part in (("real", real), ("fake", fake))]
    labels = np.repeat([0, 1], 100)
    judge = KNeighborsClassifier(13).fit(np.concatenate([part[:100] for part in rows]), labels)  # floor(sqrt(200)) = 14
    accuracy = judge.score(np.concatenate([part[100:] for part in rows]), labels)
    found = two_sample_test(real, fake, seed=4)
    assert found["accuracy"] == accuracy and found["n"] == 200
    assert found["p_value"] == pytest.approx(norm.sf((accuracy - 0.5) / np.sqrt(0.25 / 200)))
    assert found["p_value"] == pytest.approx(binom.sf(round(accuracy * 200) - 1, 200, 0.5), rel=0.5)


def test_equal_distributions_are_refused_as_often_as_the_level_says() -> None:
    """5 % of 200: more than 22 come once in 1,000 times of 10 +- 3."""
    found = [two_sample_test(normals(seed, 60), normals(1000 + seed, 60))["p_value"] for seed in range(200)]
    assert sum(p < 0.05 for p in found) <= 22


def test_copies_and_strangers() -> None:
    assert two_sample_test(normals(0), normals(1, shift=50))["accuracy"] == 1
    assert two_sample_test(normals(0), normals(1, shift=50))["p_value"] < 1e-40
    assert two_sample_test(normals(0), normals(1))["p_value"] > 0.01


@pytest.mark.parametrize(
    ("real", "fake", "said"),
    [
        (normals(0, 19), normals(1), "19 rows are too few"),
        (normals(0), normals(1)[:, :2], "different size"),
        (normals(0), np.full((30, 3), np.nan), "NaN"),
    ],
)
def test_refusals(real: np.ndarray, fake: np.ndarray, said: str) -> None:
    with pytest.raises(UserError, match=said):
        two_sample_test(real, fake)
