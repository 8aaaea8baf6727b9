"""Trainings on images that are decoded when a batch asks for them."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

import ganvas
from ganvas.data import streamed
from ganvas.errors import UserError
from ganvas.training import checkpoint
from ganvas.training.run import Run

SMALL: dict[str, Any] = {"batch_size": 16, "device": "cpu", "precision": "float32", "epochs": 3}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for i in range(100):
        folder = tmp_path / "photos" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{i:03d}.png")
    return tmp_path / "photos"


def everything(run: Run) -> dict[str, Any]:
    """Weights, moments and figures, to the last bit."""
    assert run.checkpoint and run.state["state"] == "finished"
    tensors, _ = checkpoint.load(run.checkpoint)
    model = load_file(run.path / "model" / "model.safetensors")
    rows = [row for row in run.metrics if row["split"] != "watch"]
    return {
        "tensors": {name: tensor.numpy().tobytes() for name, tensor in {**tensors, **model}.items()},
        "rows": [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows],
        "test": run.state["test"],
    }


def stop_at(wanted: int) -> Any:
    def report(step: int, *_: Any) -> None:
        if step == wanted:
            os.kill(os.getpid(), signal.SIGINT)

    return report


@pytest.mark.parametrize(("recipe", "settings"), [("vae", {"fit": 2}), ("gan", {"net": "mlp"})], ids=["vae", "gan"])
def test_the_weights_are_those_of_the_cache(recipe: str, settings: Any, photos: Path, tmp_path: Path) -> None:
    how = {**SMALL, **settings, "data": photos}
    runs = {kind: ganvas.train(recipe, out=tmp_path / f"{kind}", stream=kind, **how) for kind in (True, False, None)}
    assert everything(runs[True]) == everything(runs[False]) == everything(runs[None])
    assert [runs[kind].recipe.data.stream for kind in (True, False, None)] == [True, False, False]
    assert runs[True].data["fingerprint"] != runs[False].data["fingerprint"] == runs[None].data["fingerprint"]


def test_a_stopped_run_goes_on_as_it_began(photos: Path, tmp_path: Path, cache: Path) -> None:
    how = {**SMALL, "data": photos, "stream": True}
    whole = ganvas.train("vae", out=tmp_path / "whole", **how)
    parts = ganvas.train("vae", out=tmp_path / "parts", report=stop_at(5), **how)
    assert parts.state["state"] == "interrupted" and parts.state["step"] == 5
    assert everything(ganvas.resume(parts)) == everything(whole)
    assert isinstance(parts.dataset().splits["train"].images, streamed.Images)
    assert not (cache / "sets").exists()


def test_a_run_whose_files_changed_is_refused(photos: Path, tmp_path: Path) -> None:
    parts = ganvas.train("vae", out=tmp_path / "run", report=stop_at(5), data=photos, stream=True, **SMALL)
    changed = photos / "a" / "000.png"
    before = changed.stat()
    os.utime(changed, (1, 1))
    with pytest.raises(UserError, match=r"the data of .*run has changed: .*photos is not what it was trained on"):
        ganvas.resume(parts)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ganvas.resume(parts).state["state"] == "finished"
