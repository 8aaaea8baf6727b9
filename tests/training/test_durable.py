"""A run that is killed, moved, deleted, begun twice, or given no room to write."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import everything
from safetensors import safe_open

import ganvas
from ganvas.ground import files, provenance, tensors
from ganvas.ground.errors import UserError
from ganvas.training import checkpoint, loop, place
from ganvas.training.log import Log
from ganvas.training.run import Run

DATA = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
TINY: dict[str, Any] = {"data": DATA, "epochs": 6, "batch_size": 12, "device": "cpu", "precision": "float32"}
VAE: dict[str, Any] = {**TINY, "hidden": (8,), "latent_dim": 2, "snapshots": 2}
PATIENT = {"lr": 0.5, "patience": 1}


@pytest.fixture(autouse=True)
def at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)


class KilledError(BaseException):
    """No handler writes anything after it, as after SIGKILL."""


def kill_at(write: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Die before or after a file is renamed into its place for the so-manieth time; what counts the renames."""
    count, rename = [0], Path.replace

    def dying(path: Path, target: Path) -> Path:
        count[0] += 1
        if count[0] == write and after:
            rename(path, target)
        if count[0] >= write:
            raise KilledError
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", dying)
    return count


def all_of(run: Run) -> dict[str, Any]:
    """Its files, too."""
    files = sorted(str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file())
    return {**everything(run), "files": files}


@pytest.mark.parametrize("settings", [{}, PATIENT], ids=["", "patience"])
def test_killed_at_any_of_its_writes_it_ends_as_an_unbroken_one(settings: Any, tmp_path: Path) -> None:
    """Its length, its best epoch, the moment when patience stopped it, and its files are the same."""
    with pytest.MonkeyPatch.context() as patch:
        count = kill_at(10**9, False, patch)
        whole = all_of(ganvas.train("vae", out=tmp_path / "whole", **VAE, **settings))
    assert settings == {} or whole["facts"].stopped, "patience stops it"
    assert count[0] > 40
    for write in range(3, count[0] + 1, 1 if settings else 7):  # the first two make it a run
        out = tmp_path / f"broken-{write}"
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
            kill_at(write, bool(write % 2), patch)
            ganvas.train("vae", out=out, **VAE, **settings)
        broken = Run(out)
        # How often the watch writes depends on the time: which write is the last one is not known to one or two.
        assert broken.state["state"] in ("new", "interrupted") or write > count[0] - 3
        assert all_of(ganvas.resume(out)) == whole, write
        shutil.rmtree(out)


def stopped(out: Path, at: int = 12, **settings: Any) -> Run:
    def stop(step: int, *_: Any) -> None:
        if step == at:
            os.kill(os.getpid(), signal.SIGINT)

    run = ganvas.train("vae", out=out, report=stop, **{**VAE, "epochs": 10, **settings})
    assert run.state["state"] == "interrupted" and run.state["step"] == at
    return run


# ---- the folder ----


def test_a_renamed_folder_is_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With its name, with a folder above it, and where another one has taken its old name."""
    (tmp_path / "above").mkdir()
    old, new = tmp_path / "above" / "run", tmp_path / "other" / "moved"

    def move(step: int, *_: Any) -> None:
        if step == 8:
            old.rename(old.with_name("moved"))
        if step == 16:
            old.parent.rename(new.parent)
            old.mkdir(parents=True)

    run = ganvas.train("vae", out=old, report=move, **VAE)
    assert run.path == new and run.state["state"] == "finished" and list(old.iterdir()) == []
    whole = all_of(ganvas.train("vae", out=tmp_path / "whole", **VAE))
    assert all_of(Run(new)) == whole
    moved = f"{old} is {old.with_name('moved')} now: the training goes on there."
    assert moved in caplog.messages and sum("goes on there" in line for line in caplog.messages) == 2


def test_a_deleted_folder_ends_the_training(tmp_path: Path) -> None:
    def delete(step: int, *_: Any) -> None:
        if step == 8:
            shutil.rmtree(tmp_path / "runs")

    with pytest.raises(UserError, match=r"runs/run was deleted, or moved to another disk, while it was trained"):
        ganvas.train("vae", out=tmp_path / "runs" / "run", report=delete, **VAE)
    assert list(tmp_path.iterdir()) == [], "nothing is made again"


def test_two_starts_into_one_folder(tmp_path: Path) -> None:
    """The second one is refused wherever the first one is, and writes nothing."""
    out, refused = tmp_path / "run", []
    real = files.write_text

    def begin(path: Path, text: str) -> None:
        real(path, text)
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        with pytest.raises(UserError, match=r"is being trained by another process"):
            ganvas.train("vae", out=out, seed=2, **VAE)
        assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        refused.append(path.name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, "PROBED", 0.01)
        patch.setattr("ganvas.training.run.write_text", begin)
        ganvas.train("vae", out=out, **VAE)
    assert refused[:2] == ["data.json", "recipe.json"] and Run(out).recipe.training.seed == 0
    with pytest.raises(UserError, match="holds a run already"):
        ganvas.train("vae", out=out, seed=2, **VAE)


RACE = """
import sys, numpy as np, ganvas
data = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
sys.stdin.readline()
try:
    ganvas.train("vae", data=data, out=sys.argv[1], seed=int(sys.argv[2]), epochs=60, batch_size=12, hidden=(8,))
except ganvas.UserError as error:
    sys.exit(str(error))
"""


def test_of_starts_at_once_one_wins(tmp_path: Path) -> None:
    start = [sys.executable, "-c", RACE, str(tmp_path / "run")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    racers = [subprocess.Popen([*start, str(seed)], **pipes) for seed in range(3)]
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    said = [racer.communicate()[1] for racer in racers]
    won = [seed for seed, racer in enumerate(racers) if racer.returncode == 0]
    assert len(won) == 1, said
    assert all("trained by another" in said[s] or "holds a run" in said[s] for s in range(3) if s not in won)
    run = Run(tmp_path / "run")
    assert run.recipe.training.seed == won[0] and run.state["state"] == "finished"


def test_what_killed_writers_left_goes(tmp_path: Path) -> None:
    run = stopped(tmp_path / "run")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [run.path / "checkpoints" / f".step-{step:09d}.safetensors.{dead.pid}.part" for step in range(5)]
    for part in left:
        part.write_bytes(bytes(1000))
    ganvas.resume(run)
    assert not any(part.exists() for part in left)


# ---- the disk ----


class Half:
    """A file with room for half of what is written."""

    def __init__(self, file: Any) -> None:
        self.file, self.close = file, file.close

    def write(self, row: bytes) -> int:
        return int(self.file.write(row[: len(row) // 2]))


@pytest.mark.parametrize("name", ["step-", "metrics.jsonl", "epoch-", "model.safetensors", "state.json"])
def test_without_room_it_says_what_and_how_to_go_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = all_of(ganvas.train("vae", out=tmp_path / "whole", **VAE))
    chmod, write, full = Path.chmod, Log.write, [False]

    def refuse() -> None:
        full[0] = True
        raise OSError(28, os.strerror(28))

    def no_room(path: Path, mode: int, **_: Any) -> None:
        mature = len(list((tmp_path / "run" / "checkpoints").glob("step-*"))) > 1
        if full[0] or (path.name.startswith(f".{name}") and mature):
            refuse()
        chmod(path, mode)

    def row(log: Log, split: str, step: int, *rest: Any) -> None:
        if name == "metrics.jsonl" and log.file and step > 12:
            log.file = Half(log.file)
        write(log, split, step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", no_room)
        patch.setattr(Log, "write", row)
        with pytest.raises(files.WriteError) as error:
            ganvas.train("vae", out=tmp_path / "run", **VAE)
    text = str(error.value)
    assert text.startswith(f"there is no room for {tmp_path / 'run'}") and name in text
    go_on = f"What was written before is whole. Then go on with: ganvas train --resume {tmp_path / 'run'}"
    assert text.endswith(f"(No space left on device): free some space. {go_on}")
    assert Run(tmp_path / "run").state["state"] == ("failed" if name == "metrics.jsonl" else "interrupted")
    assert all_of(ganvas.resume(tmp_path / "run")) == whole


def flip(file: Path, place: int) -> None:
    whole = bytearray(file.read_bytes())
    whole[place] ^= 4
    file.write_bytes(whole)


@pytest.mark.parametrize("damage", [lambda file: flip(file, -100), lambda file: file.write_bytes(b"")])
@pytest.mark.parametrize("all_of_them", [False, True])
def test_past_a_damaged_checkpoint(
    damage: Callable[[Path], Any], all_of_them: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on from the one before it, or from the beginning, and keeps what is damaged aside."""
    run, whole = stopped(tmp_path / "run"), ganvas.train("vae", out=tmp_path / "whole", **{**VAE, "epochs": 10})
    before, newest = checkpoint.found(run.path / "checkpoints")
    for file in [newest, before] if all_of_them else [newest]:
        damage(file)
    ganvas.resume(run)
    kept = sorted(path.name for path in (run.path / "checkpoints").glob("*.damaged"))
    assert kept == ["step-000000011.damaged", "step-000000012.damaged"][not all_of_them :]
    on = f"{kept[-1]}, and the run goes on from {'step-000000011.safetensors'}."
    assert any(line.endswith(on) for line in caplog.messages)
    assert all_of_them == any("goes on from its beginning" in line for line in caplog.messages)
    ours, theirs = all_of(run), all_of(whole)
    ours["files"] = [name for name in ours["files"] if not name.endswith(".damaged")]
    assert ours == theirs


def test_a_damaged_best_model_does_not_keep_a_run_from_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    best = tmp_path / "run" / "checkpoints" / "best" / "model.safetensors"

    def damage(step: int, *_: Any) -> None:
        if step == 20:
            flip(best, -1)

    run = ganvas.train("vae", out=tmp_path / "run", report=damage, **{**VAE, "lr": 0.5})  # no later one is better
    assert run.state["state"] == "finished" and run.model.sample(2).shape == (2, 1, 6, 6)
    assert any("is damaged" in line and "the last step is kept instead" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("best", "NaN", "best"), ("step", "-1", "step"), ("best_epoch", "-5", "best_epoch"), ("more", "1", "more")],
)
def test_facts_that_no_run_has(name: str, value: str, said: str, tmp_path: Path) -> None:
    run = stopped(tmp_path / "run")
    moving, facts = tensors.load(run.checkpoint)
    tensors.save(run.checkpoint, moving, {**facts, name: value})
    with pytest.raises(UserError, match=rf"is damaged \(.*{said}"):
        checkpoint.load(run.checkpoint)


@pytest.mark.parametrize(("keep", "said"), [("model/", "no moments of vae's optimiser"), ("optimizer/", "Missing key")])
def test_a_checkpoint_without_a_part(keep: str, said: str, tmp_path: Path) -> None:
    run = stopped(tmp_path / "run")
    moving, facts = tensors.load(run.checkpoint)
    tensors.save(run.checkpoint, {name: tensor for name, tensor in moving.items() if name.startswith(keep)}, facts)
    with pytest.raises(UserError, match=said):
        ganvas.resume(run)


# ---- who trained which steps ----


def test_sessions_are_noted_and_a_difference_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = stopped(tmp_path / "run")
    here = provenance.machine()
    assert here == run.data["machine"]
    ganvas.resume(run, epochs=4)
    assert not any("to rounding" in line for line in caplog.messages)
    monkeypatch.setattr("ganvas.training.train.machine", lambda: {**here, "torch": "9.9", "threads": 7})
    ganvas.resume(run, epochs=5)
    said = f"threads 7 (before: {here['threads']}), torch 9.9 (before: {here['torch']})"
    assert f"{said}: what follows agrees with an unbroken run to rounding, not to the last bit." in caplog.messages
    sessions = [json.loads(line) for line in (run.path / "sessions.jsonl").read_text().splitlines()]
    assert [session["step"] for session in sessions] == [0, 12, 16]
    assert sessions[0]["machine"] == here and sessions[0]["versions"] == run.data["versions"]
    (run.path / "sessions.jsonl").write_bytes(b'\xff{"step"')
    assert ganvas.resume(run, epochs=6).state["step"] == 24


def test_a_closed_terminal_leaves_a_checkpoint(tmp_path: Path) -> None:
    def close(step: int, *_: Any) -> None:
        if step == 8:
            os.kill(os.getpid(), signal.SIGHUP)

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        run = ganvas.train("vae", out=tmp_path / "run", report=close, **VAE)
        assert run.state["state"] == "interrupted" and run.checkpoint.stem == "step-000000008"
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # under nohup
        run = ganvas.train("vae", out=tmp_path / "nohup", report=close, **VAE)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.state["state"] == "finished"


def test_a_killed_run_is_interrupted_and_a_running_one_runs(tmp_path: Path) -> None:
    seen = []
    run = ganvas.train("vae", out=tmp_path / "run", report=lambda *_: seen.append(Run(tmp_path / "run").state), **VAE)
    assert {state["state"] for state in seen} == {"running"}
    run.note(state="running", step=3)
    assert run.state == {"state": "interrupted", "step": 3}


def test_a_colleague_can_read_all_of_a_run(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        run = ganvas.train("vae", out=tmp_path / "run", **VAE)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in run.path.rglob("*") if path.is_file()}
    assert set(modes.values()) == {0o644}, modes


def test_checksums_stand_in_every_file_of_weights(tmp_path: Path) -> None:
    run = ganvas.train("vae", out=tmp_path / "run", **VAE)
    for file in run.path.rglob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            assert tensors.SUMS in opened.metadata()
