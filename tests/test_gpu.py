"""What a GPU must do as a CPU does; skipped where there is none, as in CI."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import ganvas
from ganvas.data import load
from ganvas.data.loader import to_tensor
from ganvas.recipes import RECIPES, Facts, make
from ganvas.training import engine
from ganvas.training.game import Game, make_model
from ganvas.training.recorded import WARM

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
DEVICE = "cuda"


def settings(name: str) -> dict[str, Any]:
    data = "grid" if name == "clustered-gan" else "digits"
    return {"data": data, "epochs": 1, "batch_size": 64, "device": DEVICE, **size(name)}


def size(name: str) -> dict[str, int]:
    return {"size": 16} if name in ("dcgan", "wgan") else {}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_trained_there_answers_here_as_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By default cuDNN rounds the inputs of float32 convolutions to 10 bits.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    run = ganvas.train(name, out=tmp_path / "run", **settings(name))
    assert run.state["state"] == "finished" and run.data["machine"]["gpu"]
    here, there = ganvas.load(run.path), ganvas.load(run.path, DEVICE)
    images = to_tensor(run.dataset().splits["test"].images[:32])
    for verb in ("encode", "reconstruct"):
        if hasattr(type(here), verb):
            assert torch.allclose(getattr(here, verb)(images), getattr(there, verb)(images).cpu(), atol=1e-4)
    if hasattr(type(here), "decode"):
        codes = torch.randn(32, here.config.latent_dim, generator=torch.Generator().manual_seed(0))
        assert torch.allclose(here.decode(codes), there.decode(codes).cpu(), atol=1e-4)
    if hasattr(type(here), "sample"):
        assert torch.equal(there.sample(16, seed=3), there.sample(16, seed=3))


def test_log_prob_is_that_of_the_cpu(tmp_path: Path) -> None:
    model = ganvas.load(ganvas.train("vae", out=tmp_path / "run", **settings("vae")).path)
    # Black and white, so that each side's own draw changes nothing.
    images = (to_tensor(load("digits").splits["test"].images[:64]) > 0.5).float()
    here, there = model.log_prob(images, 2000), model.to(DEVICE).log_prob(images, 2000)
    assert float((here - there.cpu()).mean()) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("name", ["vae", "gan"])
def test_a_run_that_was_stopped_there_ends_as_an_unbroken_one(name: str, tmp_path: Path) -> None:
    def interrupt(step: int, *_: Any) -> None:
        if step == 20:
            os.kill(os.getpid(), signal.SIGINT)

    whole = ganvas.train(name, out=tmp_path / "whole", **settings(name) | {"epochs": 3})
    broken = ganvas.train(name, out=tmp_path / "broken", report=interrupt, **settings(name) | {"epochs": 3})
    assert broken.state["state"] == "interrupted"
    ganvas.resume(broken.path)
    weights, again = (load_file(run.path / "model" / "model.safetensors") for run in (whole, broken))
    assert all(torch.equal(weights[key], again[key]) for key in weights)


def new_game(recipe: Any, data: Any) -> Any:
    device = engine.choose_device(DEVICE)
    return Game(make_model(recipe, data, device), recipe, data, engine.make_accelerator(device))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_replayed_moves_are_called_ones_bit_for_bit(name: str, caplog: pytest.LogCaptureFixture) -> None:
    data = load("grid") if name == "clustered-gan" else load("digits", **size(name))
    recipe = make(name, {}, Facts.of(data))
    replayed, called = new_game(recipe, data), new_game(recipe, data)
    called.recorder = None
    for _ in range(WARM + 5):
        replayed.play(), called.play()
    assert not caplog.records, caplog.records[0].message
    theirs = called.state()[0]
    for key, tensor in replayed.state()[0].items():
        assert torch.equal(tensor, theirs[key]), key


def test_a_step_makes_the_host_wait_for_nothing() -> None:
    game = new_game(RECIPES["iwae"](layers=2), load("digits"))
    for _ in range(WARM + 1):
        game.play()
    torch.cuda.set_sync_debug_mode("error")
    try:
        game.play()
    finally:
        torch.cuda.set_sync_debug_mode("default")
