import logging
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.ground.errors import UserError
from ganvas.models import Model
from ganvas.models import load as load_saved
from ganvas.training import loop, stored

SMALL: dict[str, Any] = {"data": "digits", "epochs": 4, "batch_size": 64, "device": "cpu", "precision": "float32"}


@pytest.fixture(autouse=True)
def unsaid() -> None:
    stored._say.cache_clear()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE and a GAN with an average, stopped at step 70, each with two checkpoints."""
    folder = tmp_path_factory.mktemp("stored")
    for recipe, more in (("vae", {}), ("gan", {"ema": 0.9})):

        def stop(step: int, *_: Any) -> None:
            if step >= 60:
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)  # at every step
            ganvas.train(recipe, out=folder / recipe, report=stop, **{**SMALL, **more})
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def checkpoints(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*.safetensors"))


def same(one: Model, other: Model) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_best_checkpoint_is_taken_and_said_once(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = ganvas.Run(runs / "vae")
    assert run.state["state"] == "interrupted"
    model = run.model
    assert not model.training and same(model, load_saved(run.path / "checkpoints" / "best"))
    assert same(ganvas.load(run.path), model) and same(ganvas.load(run), model), "and a run is a path"
    assert caplog.messages == [f"{run.path} is not finished: its best checkpoint so far is taken."]


def test_without_a_best_one_the_newest_and_its_average(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = ganvas.Run(runs / "gan")
    model, (_, newest) = run.model, checkpoints(run.path)
    step = run.state["step"]
    assert newest.stem == f"step-{step:09d}"
    assert model.average.moves == step, "the average of the generator, as in the finished model"
    assert model.sample(3).shape == (3, 1, 8, 8)
    assert caplog.messages == [f"{run.path} is not finished: its checkpoint of step {step:,} is taken."]


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "gone"])
def test_past_a_damaged_checkpoint_the_one_before(damage: str, runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, (before, newest) = runs / "gan", checkpoints(runs / "gan")
    if damage == "cut":
        newest.write_bytes(newest.read_bytes()[:1000])
    elif damage == "empty":
        newest.write_bytes(b"")
    elif damage == "other":
        shutil.copy(checkpoints(runs / "vae")[0], newest)
    else:
        newest.unlink()
    for _ in range(2):
        assert ganvas.load(run).average.moves == int(before.stem.removeprefix("step-"))
    *damaged, taken = caplog.messages
    assert taken.endswith(f"its checkpoint of step {int(before.stem.removeprefix('step-'))} is taken.")
    assert [str(newest) in line for line in damaged] == ([] if damage == "gone" else [True])


def test_past_a_damaged_best_one_the_newest(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    best = runs / "vae" / "checkpoints" / "best" / "model.safetensors"
    best.write_bytes(best.read_bytes()[:1000])
    assert ganvas.load(runs / "vae").sample(2).shape == (2, 1, 8, 8)
    assert str(best) in caplog.messages[0] and "its checkpoint of step" in caplog.messages[1]


def test_half_a_model_is_none(runs: Path) -> None:
    """A training that was killed while it wrote model/ for the first time: config.json comes last."""
    run = ganvas.Run(runs / "vae")
    (run.path / "model").mkdir()
    (run.path / "model" / "model.safetensors").write_bytes(b"half")
    assert same(run.model, load_saved(run.path / "checkpoints" / "best"))


@pytest.mark.parametrize("left", ["nothing", "damaged"])
def test_no_model_says_how_to_get_one(left: str, runs: Path) -> None:
    run = runs / "gan"
    for file in checkpoints(run):
        file.unlink() if left == "nothing" else file.write_bytes(b"")
    what = "no checkpoint yet" if left == "nothing" else "no checkpoint that can be read"
    with pytest.raises(UserError, match=rf"{what}: train it with `ganvas train --resume .*gan`"):
        ganvas.load(run)


def test_a_model_wins_over_checkpoints(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = ganvas.Run(runs / "gan")
    run.model.save(run.path / "model")
    caplog.clear()
    for file in checkpoints(run.path):
        file.write_bytes(b"")
    assert ganvas.load(run).sample(2).shape == (2, 1, 8, 8)
    assert caplog.messages == [f"{run.path} trains on and is not finished: its model of before is taken."]
    (run.path / "model" / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"model\.safetensors"):  # what was finished is not replaced by something else
        ganvas.load(run)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "file").touch()
    for ask in (ganvas.load, ganvas.Run, ganvas.resume):
        with pytest.raises(UserError, match=r"there is no folder .*/frist\. Did you mean .*/first\?$"):
            ask(tmp_path / "frist")
        with pytest.raises(UserError, match=r"there is no folder .*/away/first\.$"):
            ask(tmp_path / "away" / "first")
        with pytest.raises(UserError, match=r"file is a file, and no folder"):
            ask(tmp_path / "file")


def test_another_run_begins_with_a_stopped_one(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    still = {**SMALL, "epochs": 1, "lr": 1e-12}
    second = ganvas.train("vae", init=ganvas.Run(runs / "vae"), out=runs / "second", fit=0, **still)
    first = ganvas.load(runs / "vae").state_dict()
    for name, weight in second.model.state_dict().items():
        np.testing.assert_allclose(weight, first[name], atol=1e-6)
    assert sum("is not finished" in line for line in caplog.messages) == 1
    assert second.recipe.training.init == str((runs / "vae").absolute())


def test_it_is_said_where_a_person_sees_it(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    ganvas.load(runs / "vae")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
