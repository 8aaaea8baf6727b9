"""What figures can tell, of planted ones: a setting that matters, and one that does not."""

import numpy as np
import pytest

from ganvas.tuning.space import Axis
from ganvas.tuning.told import Row, tell, warped

AXES = [Axis("latent_dim", 20, 5, 80, whole=True), Axis("lr", 1e-3, 2e-4, 5e-3), Axis("beta", 1.0, 0.25, 4.0)]
NOISE = 6e-4


def planted(settings, minutes, rng):
    """Best at 24 dimensions and a rate of 2e-3; beta does nothing."""
    d, rate = np.log2(settings["latent_dim"] / 24), np.log10(settings["lr"] / 2e-3)
    return 0.002 + 0.002 * d**2 + 0.02 * rate**2 + 0.003 / minutes + NOISE * rng.normal()


def searched(seed):
    """Figures as successive halving has them: 27 settings, 9 of them longer, 3 longest and the best with more seeds."""
    rng, grids = np.random.default_rng(seed), {axis.name: axis.grid(200) for axis in AXES}
    chosen = [{name: grid[rng.integers(len(grid))] for name, grid in grids.items()} for _ in range(27)]
    rows = []
    for minutes, n in ((0.55, 27), (1.7, 9), (5.0, 3)):
        found = [Row(each, minutes, planted(each, minutes, rng)) for each in chosen[:n]]
        rows += found
        chosen = [row.settings for row in sorted(found, key=lambda row: row.value)]
    return chosen[0], rows + [Row(chosen[0], 5.0, planted(chosen[0], 5.0, rng)) for _ in range(3)]


def test_the_planted_optimum_is_never_told_away_and_what_does_nothing_seldom():
    """Of 12 searches; each interval is meant to miss in 5 %: at most one of each sort is let pass (88 % if it were
    exact; the seeds are fixed, and none misses)."""
    missed = {"latent_dim": 0, "lr": 0, "beta": 0}
    narrow = 0
    for seed in range(12):
        best, rows = searched(seed)
        told = {each.axis.name: each for each in tell(AXES, rows, best)}
        missed["latent_dim"] += min(abs(np.array(told["latent_dim"].equal) - 24)) > 2
        missed["lr"] += min(abs(np.log(np.array(told["lr"].equal) / 2e-3))) > 0.15
        missed["beta"] += len(told["beta"].equal) < len(told["beta"].values)
        narrow += min(told["lr"].equal) > 2.5e-4 and max(told["latent_dim"].equal) < 80
    assert max(missed.values()) <= 1, missed
    assert narrow >= 9  # and it does tell: the far ends are worse by 17 standard deviations of the noise


def test_it_is_said_in_words():
    best, rows = searched(1)
    words = [str(each) for each in tell(AXES, rows, best)]
    assert words[0].startswith("latent_dim: ") and words[0].endswith(" can't be told apart")
    assert words[2] == "beta: all of 0.25..4 can't be told apart"


def test_choices_that_differ_are_told_apart():
    rng = np.random.default_rng(0)
    axes = [Axis("net", None, choices=("good", "bad", "alike"))]
    means = {"good": 1.0, "bad": 3.0, "alike": 1.0}
    rows = [Row({"net": name}, 1.0, means[name] + 0.05 * rng.normal()) for name in means for _ in range(5)]
    (told,) = tell(axes, rows, {"net": "good"})
    assert told.equal == ["good", "alike"] and str(told) == "net: good, alike can't be told apart"


def test_equal_choices_are_told_apart_in_a_twentieth_of_searches() -> None:
    """8 figures each, 40 searches: 2 are due; 6 or more have a probability of 0.014 at 5 %. The seeds are fixed."""
    axes = [Axis("net", None, choices=("a", "b"))]
    wrong = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        (told,) = tell(
            axes, [Row({"net": name}, 1.0, 5 + rng.normal()) for name in "ab" for _ in range(8)], {"net": "a"}
        )
        wrong += len(told.equal) < 2
    assert wrong < 6


def test_an_error_is_the_model_s_and_not_that_of_one_more_training() -> None:
    """Two choices of equal mean, 60 figures each of noise 1: their difference has the error sqrt(2 / 60)."""
    rng = np.random.default_rng(0)
    axes = [Axis("net", None, choices=("a", "b"))]
    rows = [Row({"net": name}, 1.0, 10 + rng.normal()) for name in "ab" for _ in range(60)]
    heights = warped(rows)
    (told,) = tell(axes, rows, {"net": "a"})
    error = heights.std(ddof=1) * np.sqrt(2 / 60)
    assert sorted(told.error)[0] == 0 and 0 < sorted(told.error)[1] < 1.5 * error


def test_few_figures_tell_nothing():
    best, rows = searched(0)
    assert tell(AXES, rows[:5], best) == []


def test_failed_trainings_count_as_the_worst_and_do_not_decide():
    rows = [Row({}, 1.0, value) for value in (1.0, 2.0, 3.0, 1e9, float("inf"))]
    found = warped(rows)
    assert found[0] == 0 and found[3] == found[4] and found[4] < 25
    assert found[1] == pytest.approx(np.arcsinh(0.5))  # 2 is the median above the least
