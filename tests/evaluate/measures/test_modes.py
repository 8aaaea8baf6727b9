import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from ganvas.data.sources import GAUSSIANS
from ganvas.evaluate import captured_classes, captured_modes, stacked_labels
from ganvas.ground.errors import UserError


def test_solved_by_hand() -> None:
    centres = np.array([[0.0, 0], [10, 0], [0, 10]])
    points = np.array([[0.0, 2.9], [0, 3.1], [10, 3.5], [9, 1]])  # the last two belong to (10, 0), one of them good
    found = captured_modes(points, centres, 1.0)
    assert found == {"modes": 2, "good": 0.5, "kl": pytest.approx(math.log(3) - math.log(2))}
    assert captured_modes(points[1:3], centres, 1.0) == {"modes": 0, "good": 0, "kl": pytest.approx(math.log(3 / 2))}


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_the_data_itself(name: str) -> None:
    centres, std = GAUSSIANS[name]
    random = np.random.default_rng(0)
    points = centres[random.integers(len(centres), size=20_000)] + std * random.standard_normal((20_000, 2))
    found = captured_modes(points, centres, std)
    assert found["modes"] == len(centres) == {"ring": 8, "grid": 25}[name]
    # A share of 20,000 with a standard error of 0.0007: 5 of them. 2 n KL is about chi-squared of 24 degrees at most.
    assert found["good"] == pytest.approx(1 - math.exp(-4.5), abs=0.004) and found["kl"] < 90 / 40_000


@pytest.mark.parametrize("kept", [1, 5, 8])
def test_missing_modes(kept: int) -> None:
    centres, std = GAUSSIANS["ring"]
    points = np.repeat(centres[:kept], 40, 0)
    assert captured_modes(points, centres, std) == {"modes": kept, "good": 1, "kl": pytest.approx(math.log(8 / kept))}


def test_classes_against_scipy() -> None:
    random = np.random.default_rng(0)
    labels, expected = random.choice(7, 500, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05, 0]), random.integers(1, 99, 7)
    counts = np.bincount(labels, minlength=7)
    assert captured_classes(labels, 7) == {"modes": 6, "kl": pytest.approx(entropy(counts, np.ones(7)))}
    assert captured_classes(labels, 7, expected)["kl"] == pytest.approx(entropy(counts, expected))
    assert captured_classes(labels, 7, counts)["kl"] == pytest.approx(0, abs=1e-12)
    assert captured_classes(np.zeros(3, int), 1000) == {"modes": 1, "kl": pytest.approx(math.log(1000))}
    assert captured_classes(np.array([0, 1]), 2, [1, 0])["kl"] == math.inf


def test_stacked_digits() -> None:
    digits = np.random.default_rng(0).integers(10, size=(20, 3))
    images = torch.from_numpy(digits / 9).view(20, 3, 1, 1).expand(20, 3, 28, 28).float()
    found = stacked_labels(lambda x: (x[:, 0, 0, 0] * 9).round().long().numpy(), images)
    assert found.tolist() == [int("".join(map(str, row))) for row in digits.tolist()]
    with pytest.raises(UserError, match=r"stacked digits are \(N, 3, H, W\)"):
        stacked_labels(lambda x: np.zeros(len(x), int), images[:, :2])


def test_refused() -> None:
    centres, std = GAUSSIANS["ring"]
    for points, spread, message in (
        (np.zeros((3, 3)), std, "different size"),
        (np.full((3, 2), np.nan), std, "points: row 0"),
        (np.zeros((3, 2)), 0.0, "std: 0.0 is refused"),
        (np.zeros((3, 2)), math.nan, "std: nan is refused"),
    ):
        with pytest.raises(UserError, match=message):
            captured_modes(points, centres, spread)
    bad: list[tuple[Any, Any, str]] = [
        ([0, 3], None, "from 0 to 3; with 3 classes: 0 to 2"),
        ([-1, 0], None, "from -1"),
        ([0.0, 1.0], None, "whole numbers"),
        ([], None, "whole numbers"),
        ([[0, 1]], None, "whole numbers"),
        ([0, 1], [1, 1], "expected: 3 counts"),
        ([0, 1], [1, -1, 1], "none negative"),
        ([0, 1], [0, 0, 0], "expected: 3 counts"),
    ]
    for labels, expected, message in bad:
        with pytest.raises(UserError, match=message):
            captured_classes(labels, 3, expected)
