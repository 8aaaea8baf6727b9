"""diagnose."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ganvas.training.run import Run

Said = Callable[..., str]
LOOK = {
    "active_units": 3.0, "kl": 9.0, "mutual_information": 2.5, "aggregate_kl": 0.3, "explained_train": 0.6,
    "explained_held_out": 0.58, "told_from_reconstructions": 0.7, "spread": 0.8, "recall": 0.4,
}  # fmt: skip


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The tiny VAE's run, as if it had been a longer one whose last looks were these."""

    def make(*looks: dict[str, float], state: str = "finished") -> Path:
        rows = [
            {"step": step, "epoch": step / 10, "split": "watch", **LOOK, **look}
            for step, look in zip(range(1000, 0, -200), reversed(looks), strict=False)
        ]
        monkeypatch.setattr(Run, "metrics", property(lambda _: rows[::-1]))
        monkeypatch.setattr(Run, "state", property(lambda _: {"state": state, "step": 1000, "steps": 1000}))
        return home / "vae"

    return make


ILL = {"active_units": 0.0, "kl": 0.01, "mutual_information": 0.02}


def test_a_fault_is_printed_with_its_numbers_and_a_command(run: Callable[..., Path], said: Said) -> None:
    printed = said("diagnose", run({}, ILL, ILL, state="interrupted"))
    assert printed.startswith("posterior collapse, since step 800\n")
    assert "  active units 0 (healthy: at least 1)\n" in printed
    remedy = "ganvas train vae --latent-dim 3 --likelihood bernoulli --data digits --epochs 1 --device cpu --beta 0.25"
    assert f"  try: {remedy}\n" in printed
    assert "latent loss" not in printed  # beta is 1


def test_a_healthy_run_shows_what_was_looked_for(run: Callable[..., Path], said: Said) -> None:
    printed = said("diagnose", run({}, {}, {}))
    assert printed.startswith("no fault found at step 1,000 of 1,000.")
    assert "posterior collapse" in printed and "mutual information 2.5 (at least 1)" in printed
    assert "told from reconstructions 0.7" in printed
    assert "mode collapse" not in printed  # it has no generator
    assert said("diagnose", run(ILL, ILL, {})).startswith("no fault found")


def test_a_run_of_which_nothing_was_measured(
    run: Callable[..., Path], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run({}, {}, {})
    bare = [{key: row[key] for key in ("step", "epoch", "split")} for row in Run(path).metrics]
    monkeypatch.setattr(Run, "metrics", property(lambda _: bare))
    assert said("diagnose", path).startswith("no fault ")


def test_json(run: Callable[..., Path], said: Said) -> None:
    answer: dict[str, Any] = json.loads(said("diagnose", run(ILL, ILL), "--json"))
    assert answer["state"] == "finished" and answer["vitals"]["kl"] == 0.01
    (finding,) = answer["findings"]
    assert (finding["name"], finding["since"]) == ("posterior collapse", 800)
    assert finding["evidence"]["kl"] == {"value": 0.01, "healthy": "at least 0.5"}


def test_a_short_run_is_measured_and_was_trained_too_shortly(home: Path, said: Said) -> None:
    printed = said("diagnose", home / "vae")
    assert printed.startswith("trained too shortly") and "steps 10 (healthy: at least 200)" in printed
    assert "try: ganvas train vae" in printed and "--epochs" in printed


def test_what_is_no_run_is_refused(tmp_path: Path, said: Said) -> None:
    assert "is no run" in said("diagnose", tmp_path, status=1)
