"""Every verb of a model, on a run that is not finished."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ganvas.cli import main
from ganvas.training import stored
from ganvas.training.run import Run

Said = Callable[..., str]
POINTS = ["-a", "0,1", "-b", "2,3", "-c", "4,5"]
VERBS = {
    "sample": ["sample", "vae", "-n", "4"],
    "encode": ["encode", "vae", "--out", "features.npz"],
    "reconstruct": ["reconstruct", "vae", "-n", "4"],
    "denoise": ["denoise", "dae", "vae/samples"],
    "evaluate": ["evaluate", "vae", "-n", "30", "--metrics", "elbo"],
    "score": ["score", "vae", "-n", "4"],
    "manifold": ["manifold", "vae", "-n", "3", "--points", "0", "1", "2"],
    "interpolate": ["interpolate", "vae", "-n", "2", "--steps", "3"],
    "arithmetic": ["arithmetic", "vae", *POINTS],
    "turn": ["turn", "vae", "-n", "2", "--steps", "3", "--examples", "5"],
    "neighbours": ["neighbours", "vae", "-n", "4"],
    "fit-prior": ["fit-prior", "vae", "--components", "2"],
    "export": ["export", "vae", "--onnx"],
    "train --init": ["train", "vae", "--data", "digits", "--epochs", "1", "--latent-dim", "3", "--likelihood",
                     "bernoulli", "--init", "vae", "--out", "second"],
    "diagnose": ["diagnose", "vae"],
}  # fmt: skip


@pytest.fixture
def stopped(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny runs as they were before their ends."""
    for name in ("vae", "dae"):
        shutil.copytree(home / name, tmp_path / name, ignore=shutil.ignore_patterns("model", "evaluation"))
        run = Run(tmp_path / name)
        run.note(state="interrupted", step=5, steps=10)
        rows = [line for line in (run.path / "metrics.jsonl").read_text().splitlines() if '"watch"' not in line]
        (run.path / "metrics.jsonl").write_text("".join(f"{row}\n" for row in rows))  # diagnose measures the model
    monkeypatch.chdir(tmp_path)
    stored._say.cache_clear()
    return tmp_path


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        *((verb, "interrupted") for verb in VERBS),
        *((v, s) for v in ("sample", "diagnose") for s in ("failed", "running")),
    ],
)
def test_a_stopped_run_is_used(verb: str, state: str, stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "dae" if verb == "denoise" else "vae"
    Run(stopped / name).note(state=state, step=5, steps=10)
    capsys.readouterr()
    assert main(VERBS[verb]) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    assert captured.out and captured.err.count(f"{name} is not finished: its best checkpoint so far is taken.\n") == 1


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "diagnose"])
def test_without_a_checkpoint_it_says_what_to_do(verb: str, stopped: Path, said: Said) -> None:
    name = "dae" if verb == "denoise" else "vae"
    shutil.rmtree(stopped / name / "checkpoints")
    text = said(*VERBS[verb], status=1)
    assert re.search(
        rf"{name} has no model and no checkpoint yet: train it with `ganvas train --resume \S*{name}`\.", text
    )


def test_diagnose_without_a_checkpoint_has_nothing_to_name(stopped: Path, said: Said) -> None:
    shutil.rmtree(stopped / "vae" / "checkpoints")
    assert said("diagnose", "vae").startswith("no fault can be named yet: vae is interrupted at step 5 of 10")


def test_show_says_what_can_be_done_with_it(stopped: Path, said: Said) -> None:
    shown = said("show", "vae")
    assert "next             ganvas train --resume vae\n                 ganvas sample vae -n 64\n" in shown
    assert "model folder" not in shown
    shutil.rmtree(stopped / "vae" / "checkpoints")
    assert said("show", "vae").endswith("next             ganvas train --resume vae\n")


def test_a_studio_opens_it(stopped: Path) -> None:
    import asyncio

    from ganvas.studio.shelf import Shelf
    from ganvas.studio.studied import Studied

    held = asyncio.run(Studied(Shelf(stopped)).held("vae"))
    assert json.loads(held.space())["id"] == "vae"


def test_a_finished_run_is_trained_on(home: Path, tmp_path: Path, said: Said) -> None:
    run = shutil.copytree(home / "vae", tmp_path / "vae")
    text = said("train", "--resume", run)
    more = f"ganvas train --resume {run} --epochs 2"
    assert text == f"{run} is finished, after 1 epoch; to train on: {more}\n"
    assert "test ELBO" in said(*more.split()[1:])
    assert Run(run).state["step"] == 20 and f"{run} is finished, after 2 epochs" in said("train", "--resume", run)
