"""`resume(epochs=N)`: a run that is trained longer."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import everything, stop_at
from safetensors.torch import load_file

import ganvas
from ganvas.ground.errors import UserError
from ganvas.parts.optimizers import Adam
from ganvas.training import checkpoint, train
from ganvas.training.run import Run

SMALL: dict[str, Any] = {
    "data": "digits",
    "batch_size": 64,
    "device": "cpu",
    "precision": "float32",
    "schedule": "constant",
}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of a VAE, finished: 40 steps."""
    return ganvas.train("vae", out=tmp_path_factory.mktemp("longer") / "run", epochs=2, **SMALL).path


@pytest.fixture
def run(two: Path, tmp_path: Path) -> Run:
    return Run(shutil.copytree(two, tmp_path / "run"))


def all_of(run: Run) -> dict[str, Any]:
    """Its recipe, too."""
    return {**everything(run), "recipe": (run.path / "recipe.json").read_text()}


@pytest.mark.parametrize(("recipe", "settings"), [("vae", {}), ("gan", {"ema": 0.99})], ids=["vae", "gan"])
def test_two_epochs_and_two_more_are_four(recipe: str, settings: Any, tmp_path: Path) -> None:
    whole = ganvas.train(recipe, out=tmp_path / "whole", epochs=4, **SMALL, **settings)
    parts = ganvas.train(recipe, out=tmp_path / "parts", epochs=2, **SMALL, **settings)
    old = all_of(parts)
    reported: list[int] = []
    again = ganvas.resume(parts, lambda step, *_: reported.append(step), epochs=4)
    assert again.state["state"] == "finished" and all_of(again) == all_of(whole) != old
    assert min(reported) > 40, "what was done is not done again"
    assert again.recipe.training.epochs == 4


def test_an_unfinished_run_too(tmp_path: Path) -> None:
    whole = ganvas.train("vae", out=tmp_path / "whole", epochs=4, **SMALL)
    parts = ganvas.train("vae", out=tmp_path / "parts", epochs=3, report=stop_at(20), **SMALL)
    assert parts.state["state"] == "interrupted"
    assert all_of(ganvas.resume(parts, epochs=4)) == all_of(whole)
    same = ganvas.train("vae", out=tmp_path / "same", epochs=4, report=stop_at(20), **SMALL)
    assert all_of(ganvas.resume(same, epochs=4)) == all_of(whole)


def test_an_unfinished_run_may_end_sooner(tmp_path: Path) -> None:
    run = ganvas.train("vae", out=tmp_path / "run", epochs=9, report=stop_at(40), **SMALL)
    with pytest.raises(UserError, match=r"--epochs 1: .*run has done 2 epochs already; it takes that many, or more\."):
        ganvas.resume(run, epochs=1)
    assert run.recipe.training.epochs == 9 and run.state["state"] == "interrupted", "nothing is written"
    assert ganvas.resume(run, epochs=2).state["state"] == "finished"
    assert run.recipe.training.epochs == 2 and run.state["step"] == 40


@pytest.mark.parametrize(("epochs", "says"), [
    (1, r"--epochs 1: .*run has done 2 epochs already; it takes more than that\."),
    (2, r"--epochs 2: .*run has done 2 epochs already; it takes more than that\."),
    (0, r"epochs: 0 is refused"),
])  # fmt: skip
def test_what_is_done_is_not_undone(epochs: int, says: str, run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.name != ".lock"}
    with pytest.raises(UserError, match=says):
        ganvas.resume(run, epochs=epochs)
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.name != ".lock"} == before


def test_without_epochs_a_finished_run_is_what_it_is(run: Run) -> None:
    before = run.state
    assert ganvas.resume(run).path == run.path and run.state == before


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(run: Run) -> None:
    shutil.rmtree(run.path / "checkpoints")
    with pytest.raises(UserError, match=r"no checkpoint to train on from; .* ganvas train vae --init "):
        ganvas.resume(run, epochs=3)
    assert run.state["state"] == "finished"


def test_the_old_model_stays_until_there_is_the_new_one(run: Run) -> None:
    old = {name: (run.path / "model" / name).read_bytes() for name in ("model.safetensors", "README.md")}

    def kept() -> bool:
        return all((run.path / "model" / name).read_bytes() == before for name, before in old.items())

    assert ganvas.resume(run, stop_at(60), epochs=4).state["state"] == "interrupted"
    assert kept() and run.model.sample(2).shape == (2, 1, 8, 8)
    assert ganvas.resume(run).state["step"] == 80, "its length is known from now on"
    assert not kept() and "80 steps" in (run.path / "model" / "README.md").read_text()


def test_a_cosine_falls_to_0_by_the_new_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ganvas.train("vae", out=tmp_path / "run", epochs=2, **{**SMALL, "schedule": "cosine"})
    rates: list[float] = []
    scheduled = Adam.scheduled

    def seen(config: Adam, *moment: Any) -> dict[str, float]:
        rates.append(scheduled(config, *moment)["lr"])
        return scheduled(config, *moment)

    monkeypatch.setattr(Adam, "scheduled", seen)
    ganvas.resume(run, epochs=4)
    assert rates[0] == pytest.approx(0.5e-3) and rates == sorted(rates, reverse=True) and 0 < rates[-1] < 1e-5


def test_a_length_in_steps_becomes_one_in_epochs(run: Run) -> None:
    """--minutes plans steps where there is no time for five epochs."""
    recipe = run.recipe
    planned = dataclasses.replace(recipe.training, epochs=2, steps=40)
    (run.path / "recipe.json").write_text(dataclasses.replace(recipe, training=planned).to_json())
    training = ganvas.resume(run, epochs=3).recipe.training
    assert (training.epochs, training.steps, run.state["step"]) == (3, None, 60)


@pytest.fixture
def impatient(tmp_path: Path) -> Run:
    """A run that patience has ended at its fourth epoch."""
    run = ganvas.train("vae", out=tmp_path / "run", epochs=6, patience=1, lr=0.05, seed=1, **SMALL)
    assert run.state["state"] == "finished" and run.state["step"] < 120
    return run


def test_patience_that_is_at_its_end_begins_anew(impatient: Run) -> None:
    done = impatient.state["step"] // 20
    with pytest.raises(UserError, match=rf"has done {done} epochs"):
        ganvas.resume(impatient, epochs=done)
    ganvas.resume(impatient, epochs=6)
    assert impatient.state["step"] > 20 * done, "at least one more"


@pytest.mark.parametrize("moment", ["state", "checkpoint", "recipe", "metrics"])
def test_killed_before_any_of_its_writes_it_resumes(
    moment: str, impatient: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = impatient.state["step"]

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        if moment == "state":
            patch.setattr(Run, "note", killed)
        elif moment == "checkpoint":
            patch.setattr(checkpoint, "save", killed)
        elif moment == "recipe":
            patch.setattr(train, "write_text", killed)
        else:
            patch.setattr(Run, "truncate_metrics", killed)
        with pytest.raises(KeyboardInterrupt):
            ganvas.resume(impatient, epochs=9)
    assert impatient.state["state"] == ("finished" if moment == "state" else "interrupted")
    assert impatient.model.sample(1).shape == (1, 1, 8, 8)
    rows = impatient.metrics
    ganvas.resume(impatient)
    assert impatient.state["state"] == "finished" and impatient.metrics[: len(rows)] == rows
    if moment in ("state", "checkpoint"):
        assert impatient.state["step"] == done, "as it was finished before"
        assert impatient.recipe.training.epochs == 6
    else:
        assert impatient.state["step"] > done
    ganvas.resume(impatient, epochs=20)
    assert impatient.state["state"] == "finished" and impatient.recipe.training.epochs == 20


def test_what_stopped_by_patience_is_not_played_on_by_a_resume(impatient: Run) -> None:
    """Killed after its last checkpoint, before it was noted as finished."""
    weights, step = load_file(impatient.path / "model" / "model.safetensors"), impatient.state["step"]
    impatient.note(**{**impatient.state, "state": "running"})
    shutil.rmtree(impatient.path / "model")
    ganvas.resume(impatient)
    again = load_file(impatient.path / "model" / "model.safetensors")
    assert impatient.state["step"] == step and all(torch.equal(weights[name], again[name]) for name in weights)
