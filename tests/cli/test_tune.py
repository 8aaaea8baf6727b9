"""tune: a search on real trainings, one that goes on, and what is refused before anything is trained."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import ganvas
from ganvas.ground.errors import UserError
from ganvas.tuning import Search, search

Said = Callable[..., str]
WORDS = ("tune", "vae", "--data", "digits", "--minutes", "0.1", "--over", "lr=1e-4..1e-2", "latent_dim=2,4")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of a second, and what else they take is not counted: a machine may be busy."""
    monkeypatch.setattr(search, "SHORTEST", 1 / 60)
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: 0.0))


@pytest.mark.parametrize(("chosen", "jobs", "threads"), [(1, 1, 1), (3, 1, 3), (3, 4, 2), (1, 4, 1), (3, 99, 1)])
def test_its_processes_take_no_more_threads_than_were_chosen(
    chosen: int, jobs: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eight cores; with two threads on one free core a training was seven times slower than with one."""
    module, found = sys.modules["ganvas.tuning.tune"], []
    idle = SimpleNamespace(
        question=SimpleNamespace(fixed={}, source=""), work=lambda _: found.append(torch.get_num_threads())
    )
    monkeypatch.setattr(module, "Search", lambda *_: idle)
    monkeypatch.setattr(module, "Trained", lambda *_: None)
    monkeypatch.setattr(module, "_loaded", lambda *_: None)
    monkeypatch.setattr(module.threads, "granted", lambda: 8)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(chosen)
        module.work(tmp_path, 0, jobs)
    finally:
        torch.set_num_threads(before)
    assert found == [threads]


def test_a_search_of_trainings(tmp_path: Path, said: Said) -> None:
    out = tmp_path / "search"
    printed = said(*WORDS, "--by", "loss", "--device", "cpu", "--out", out)
    assert "settings tried" in printed and "latent_dim" in printed and "loss" in printed
    runs = sorted(out.glob("trials/*/recipe.json"))
    recipe = json.loads(runs[0].read_text())
    (turn,) = recipe["training"]["turns"].values()
    assert len(runs) >= 2 and turn["optimizer"]["lr"] == 1e-3
    assert all((run.parent / "model" / "model.safetensors").is_file() for run in runs)
    assert (out / "tune.md").is_file()
    (line,) = (line for line in printed.splitlines() if line.startswith("train "))
    words = shlex.split(line)[2:]
    assert words[:3] == ["train", "vae", "--data"] and "--minutes" in words and "--beta" not in words
    assert said(*words, "--out", tmp_path / "run")  # as it was told to be

    again = said("tune", "--resume", out)
    assert again == printed and sorted(out.glob("trials/*/recipe.json")) == runs
    longer = said("tune", "--resume", out, "--minutes", "0.2")
    assert longer != printed and len(list(out.glob("trials/*/recipe.json"))) > len(runs)
    assert "has taken" in said("tune", "--resume", out, "--minutes", "0.01", status=1)


def test_from_python_by_samples_of_an_array(tmp_path: Path) -> None:
    images = ganvas.data.load("digits").splits["train"].images
    tuned = ganvas.tune("vae", data=images, minutes=0.1, over=("latent_dim=2,4",), device="cpu", out=tmp_path / "s")
    assert tuned.default == {"latent_dim": 2} and "kernel" in repr(tuned) and "--data" not in tuned.command


def test_two_processes_at_once(tmp_path: Path, said: Said) -> None:
    """With the least lengths of their own: each process has its trial, and none is made twice."""
    out = tmp_path / "s"
    words = ("tune", "vae", "--data", "digits", "--over", "lr", "--by", "loss", "--jobs", "2", "--device", "cpu")
    printed = said(*words, "--minutes", "0.05", "--out", out)
    found = Search(out)
    assert "trainings: " in printed and len(found.trials) >= 2
    assert all(trial.state.is_finished() for trial in found.trials)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("tune",), "takes a recipe"),
        (("tune", "vea"), "vae"),
        (("tune", "vae", "--minutes", "0.01"), "a search takes"),
        (("tune", "vae", "--epochs", "3"), "the search gives each training its length"),
        (("tune", "vae", "--over", "wheels"), "no setting 'wheels'"),
        (("tune", "vae", "--by", "beauty", "--data", "digits"), "beauty"),
        (("tune", "vae", "--beta", "2", "--over", "beta"), "given and to be varied"),
        (("tune", "--resume", "nowhere"), "no folder"),
    ],
)
def test_what_can_not_be_searched_is_refused(
    words: tuple[str, ...], what: str, said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert what in said(*words, status=1)
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_taken_is_refused(tmp_path: Path, said: Said) -> None:
    (tmp_path / "kept").write_text("")
    assert "take another --out" in said(*WORDS, "--out", tmp_path, status=1)


def test_without_optuna_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'ganvas\[tune\]'"):
        ganvas.tune("vae", data="digits", minutes=0.1, out=tmp_path / "s")
