"""Successive halving on planted figures, with processes that die."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest

from ganvas.ground.errors import UserError
from ganvas.tuning import report as reports
from ganvas.tuning.search import FILE, TRIALS, Measured, Question, Search, measured, rungs_of
from ganvas.tuning.space import Axis

AXES = [Axis("latent_dim", 20, 5, 80, whole=True), Axis("lr", 1e-3, 2e-4, 5e-3)]


@pytest.fixture
def folder(tmp_path):
    question = Question("vae", "mnist", {}, AXES, "kernel", 60.0, rungs_of(60.0), 0)
    (tmp_path / FILE).write_text(json.dumps(dataclasses.asdict(question)))
    return tmp_path


def planted(settings, minutes, seed, place):
    """Best at 40 dimensions and a rate of 2.5e-3; far from the default."""
    d, rate = np.log2(settings["latent_dim"] / 40), np.log10(settings["lr"] / 2.5e-3)
    noise = 6e-4 * np.random.default_rng([seed, int(minutes * 100)]).normal()
    return Measured(0.002 + 0.002 * d**2 + 0.02 * rate**2 + 0.003 / minutes + noise, 3e-4, minutes * 60, seed)


def test_rungs_take_equal_parts_and_nothing_is_shorter_than_a_quarter_of_a_minute():
    assert rungs_of(60.0) == pytest.approx([5 / 9, 5 / 3, 5])
    assert rungs_of(1.5) == [0.25]
    for minutes in (1.5, 2.0, 10.0, 60.0, 1000.0):
        rungs = rungs_of(minutes)
        assert rungs[0] >= 0.25 and 3 * rungs[-1] * (len(rungs) + 1) == pytest.approx(minutes)
    with pytest.raises(UserError, match=r"a search takes 1\.5 minutes or more"):
        rungs_of(1.4)


def test_it_finds_the_planted_optimum_and_says_by_how_much_it_is_better(folder):
    search = Search(folder)
    search.work(planted)
    found = reports.report(search)
    assert 20 <= found.best["latent_dim"] <= 80 and 1e-3 <= found.best["lr"] <= 5e-3
    best, default = (planted(each, 1e9, 0, None).value for each in (found.best, found.default))
    assert found.default == {"latent_dim": 20, "lr": 1e-3} and best < default - 0.002
    told = {each.axis.name: each for each in found.told}
    assert min(abs(np.array(told["latent_dim"].equal) - 40)) <= 2
    assert "95 % from" in dict(found.lines)["difference"]
    assert (folder / "tune.png").stat().st_size > 5000
    page = (folder / "tune.md").read_text()
    assert "| default |" in page and found.command in page


def test_the_time_is_kept_and_shared_by_the_rungs(folder):
    search = Search(folder)
    search.work(planted)
    assert 54 <= search.spent <= 66
    counts = Counter(rung for trial in search.trials for rung in measured(trial))
    assert counts[0] > counts[1] > 2 and counts[2] >= 4
    repeats = [trial for trial in search.trials if "of" in trial.user_attrs]
    assert repeats and all(list(measured(trial)) == [2] for trial in repeats)


def test_the_default_comes_first_and_goes_to_the_end(folder):
    search = Search(folder)
    search.work(lambda settings, *rest: planted(settings, *rest)._replace(value=float(settings["latent_dim"] == 20)))
    assert search.trials[0].params == {"latent_dim": 20, "lr": 1e-3} and sorted(measured(search.trials[0])) == [0, 1, 2]


def test_a_search_that_is_killed_goes_on_and_makes_no_training_twice(folder):
    seen = []

    def dying(settings, minutes, seed, place):
        if len(seen) == 7:
            raise KeyboardInterrupt
        seen.append(place.name)
        return planted(settings, minutes, seed, place)

    with pytest.raises(KeyboardInterrupt):
        Search(folder).work(dying)
    left = Search(folder)
    running = [trial for trial in left.trials if trial.state.name == "RUNNING"]
    assert len(running) == 1

    def going_on(settings, minutes, seed, place):
        seen.append(place.name)
        return planted(settings, minutes, seed, place)

    left.work(going_on)
    assert len(seen) == len(set(seen)) == sum(len(measured(trial)) for trial in left.trials)
    assert not [trial for trial in left.trials if trial.state.name == "RUNNING"]
    assert seen[7].startswith(f"{running[0].number:04}-")


def test_two_processes_share_the_trials(folder):
    first, second, seen = Search(folder, 0), Search(folder, 1), []
    other = first.asked()

    def measure(settings, minutes, seed, place):
        seen.append(seed)
        if len(seen) == 3:  # while the first trains, another one takes what is left
            second.work(planted)
        return planted(settings, minutes, seed, place)

    first.work(measure)
    assert not other.is_locked
    numbers = [trial.number for trial in first.trials]
    assert numbers == list(range(len(numbers))) and first.spent <= 72
    assert len({json.dumps(trial.params) for trial in first.trials if "of" not in trial.user_attrs}) > 10


def test_settings_that_fail_are_passed_over(folder):
    def failing(settings, minutes, seed, place):
        if settings["lr"] > 2e-3:
            raise UserError("the loss is not finite")
        return planted(settings, minutes, seed, place)

    search = Search(folder)
    search.work(failing)
    found = reports.report(search)
    assert found.best["lr"] <= 2e-3 and search.spent >= 54 and len(search.trials) < 500
    assert any("not finite" in trial.user_attrs.get("failed", "") for trial in search.trials)


def test_a_default_that_fails_ends_the_search(folder):
    def failing(settings, minutes, seed, place):
        raise UserError("no such device")

    with pytest.raises(UserError, match="the default itself fails: no such device"):
        Search(folder).work(failing)


def test_what_is_no_search_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no tune\.json"):
        Search(tmp_path)
    (tmp_path / FILE).write_text('{"recipe": "vae"}')
    with pytest.raises(UserError, match="damaged"):
        Search(tmp_path)


def test_locks_are_left_behind_but_nothing_holds_them(folder):
    search = Search(folder)
    search.work(planted)
    assert all(search._lock(int(path.name[1:5])) for path in (folder / TRIALS).glob(".*.lock"))


def test_errors_are_pooled_over_settings():
    groups = [[Measured(v, 0.1, 1.0, 0) for v in values] for values in ([1.0, 3.0], [5.0, 5.0, 8.0], [2.0])]
    spread, freedom = reports.noise(groups)
    assert freedom == 3 and spread == pytest.approx(np.sqrt((2.0 + 6.0) / 3))  # by hand: 2 and 6 are sums of squares
    assert reports.figure(groups[0], spread) == f"2 ± {spread / np.sqrt(2):.1g} (2 seeds)"
    said = reports.difference(groups[1], groups[0], spread, freedom)
    half = 3.182446 * spread * np.sqrt(1 / 2 + 1 / 3)  # Student's t, 3 degrees of freedom
    assert said.startswith(f"4 less, 95 % from {4 - half:.2g} to {4 + half:.2g}")
