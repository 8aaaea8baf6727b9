"""Trainings on images that are decoded when a batch asks for them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import everything, stop_at
from PIL import Image

import ganvas
from ganvas.data import streamed
from ganvas.ground.errors import UserError

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
