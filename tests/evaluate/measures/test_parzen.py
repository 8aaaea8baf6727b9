from typing import Any

import numpy as np
import pytest
from scipy.stats import sem
from sklearn.neighbors import KernelDensity

from ganvas.evaluate.measures import distances
from ganvas.evaluate.measures.parzen import SIGMAS, parzen
from ganvas.ground.errors import UserError


@pytest.fixture
def images() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    means = random.random((5, 1, 4, 4))
    sizes = {"samples": 200, "validation": 40, "test": 60}
    return {
        name: (means[random.integers(5, size=n)] + 0.2 * random.standard_normal((n, 1, 4, 4))).clip(0, 1)
        for name, n in sizes.items()
    }


@pytest.mark.parametrize("pairs", [700, 2**24])
def test_against_scikit_learn(monkeypatch: pytest.MonkeyPatch, images: dict[str, np.ndarray], pairs: int) -> None:
    monkeypatch.setattr(distances, "PAIRS", pairs)
    samples, validation, test = (part.reshape(len(part), -1) for part in images.values())
    fits = {sigma: KernelDensity(bandwidth=sigma).fit(samples) for sigma in SIGMAS}
    best = max(fits, key=lambda sigma: fits[sigma].score(validation))
    scores = fits[best].score_samples(test)
    found = parzen(images["samples"], images["validation"], images["test"])
    expected = {"log_likelihood": scores.mean(), "standard_error": sem(scores), "sigma": best}
    assert found == pytest.approx(expected, rel=1e-9)
    assert SIGMAS[0] < best < SIGMAS[-1]


def test_far_away_is_a_number_and_not_minus_infinity() -> None:
    """exp(-784 / (2 * 0.01)) is 0 in float64."""
    found = parzen(np.zeros((2, 784)), np.ones((1, 784)), np.ones((2, 784)), [0.1])
    expected = -784 / 0.02 - 392 * np.log(2 * np.pi * 0.01)
    assert found == {"log_likelihood": pytest.approx(expected), "standard_error": 0, "sigma": 0.1}


def test_refused(images: dict[str, np.ndarray]) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"samples": 2 * images["samples"] - 1}, r"samples: values from -1 .*\[0, 1\]"),
        ({"test": (255 * images["test"]).astype(np.uint8)}, "test: values from 0 to"),
        ({"test": images["test"][:1]}, "no standard error"),
        ({"validation": images["validation"][:, :, 1:]}, "different size"),
        ({"validation": images["validation"][:0]}, "holds nothing"),
        ({"samples": np.full((3, 16), np.nan)}, "samples: row 0 holds NaN"),
        ({"sigmas": [0.1, 0]}, "positive"),
        ({"sigmas": []}, "holds nothing"),
    ]
    for change, message in bad:
        with pytest.raises(UserError, match=message):
            parzen(**(images | change))
