"""Trainings of two processes of which one dies, launched as on two machines: each has a launcher of its own."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import everything

import ganvas
from ganvas.ground.errors import UserError
from ganvas.training import peers
from ganvas.training.run import Run

Launch = Callable[..., list[subprocess.Popen[str]]]
FLAGS = ["train", "vae", "--data", "digits", "--batch-size", "64", "--precision", "float32", "--device", "cpu"]
FLAGS += ["--hidden", "16", "--latent-dim", "2", "--fit", "0"]
# Of one process something becomes at a step, once; every step is in a checkpoint.
DYING = """
import os, signal, sys, time
from pathlib import Path
from ganvas.cli import main
from ganvas.ground.errors import UserError
from ganvas.training import loop, peers

def at(step, before=peers.at):
    before(step)
    what, rank, when, once = sys.argv[1:5]
    if os.environ["RANK"] == rank and step == int(when) and not Path(once).exists():
        time.sleep(2)  # some signs' time: the other one sees this step
        Path(once).touch()
        if what == "is slow":
            time.sleep(4)
        elif what == "refuses":
            raise UserError("its images are gone.")
        else:
            os.kill(os.getpid(), signal.Signals[what])

peers.at, loop.CHECKPOINT_SECONDS = at, 0.0
sys.exit(main(sys.argv[5:]))
"""


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return int(it.getsockname()[1])


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts a launcher for each of two machines; what they leave is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, launcher: tuple[str, ...] = (), **environment: str) -> list[subprocess.Popen[str]]:
        address = launcher or ("--nnodes=2", "--master-addr=127.0.0.1", f"--master-port={free_port()}")
        for machine in range(1 if "--standalone" in launcher else 2):
            command = [sys.executable, "-m", "torch.distributed.run", f"--node-rank={machine}", *address, *words]
            started.append(
                subprocess.Popen(
                    command,
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
                    cwd=tmp_path,
                    start_new_session=True,
                )
            )
        return started

    yield start
    for process in started:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        # A worker has a session of its own, and a launcher that is killed leaves it.
        for pid in [*(children.read_text().split() if children.exists() else ()), process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        process.communicate()


def dying(what: str, rank: int, step: int, tmp_path: Path) -> list[str]:
    (tmp_path / "dying.py").write_text(DYING)
    return [str(tmp_path / "dying.py"), what, str(rank), str(step), str(tmp_path / "once"), *FLAGS]


def said(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("ganvas: ")]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the children of a process in /proc")
@pytest.mark.parametrize(("what", "victim"), [("SIGKILL", 0), ("SIGKILL", 1), ("SIGSTOP", 1), ("refuses", 0)])
def test_one_that_is_lost_ends_the_other_which_names_it(what: str, victim: int, launch: Launch, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [*dying(what, victim, 30, tmp_path), "--epochs", "1000", "--out", str(out)]
    left = launch(*words, GANVAS_SILENCE="3")[1 - victim]
    while not (tmp_path / "once").exists():
        assert left.poll() is None, left.communicate()
        time.sleep(0.05)
    began = time.monotonic()
    printed = left.communicate(timeout=45)[1]
    assert time.monotonic() - began < 30
    assert left.returncode == 1
    (line,) = said(printed)
    who = f"process {victim} of 2"
    assert re.match(rf"ganvas: {who} \(pid \d+ on {re.escape(socket.gethostname())}, last seen at step \d+\)", line)
    assert f"ganvas train --resume {out}" in line
    why = {"SIGKILL": "", "SIGSTOP": "has given no sign of life", "refuses": "has ended: its images are gone."}
    assert why[what] in line
    if victim == 1:  # the one that writes is left
        state = json.loads((out / "state.json").read_text())
        assert state["state"] == "failed" and state["step"] == 30 and who in state["message"]
        assert Run(out).checkpoint == out / "checkpoints" / "step-000000030.safetensors"


def test_one_that_takes_longer_than_that_is_waited_for(launch: Launch, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [*dying("is slow", 0, 5, tmp_path), "--epochs", "1", "--out", str(out)]
    for process in launch(*words, GANVAS_SILENCE="1"):
        printed = process.communicate(timeout=60)[1]
        assert process.returncode == 0, printed
    assert (tmp_path / "once").exists() and Run(out).state["state"] == "finished"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "ganvas"]
    command += [*FLAGS, "--epochs", "2", "--out", str(out)]
    subprocess.run(command, check=True, timeout=100, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return Run(out)


@pytest.mark.parametrize(("way", "victim"), [("standalone", 0), ("c10d", 1), ("static", 0)])
def test_a_launcher_that_starts_all_again_goes_on_to_the_same_bits(
    way: str, victim: int, launch: Launch, unbroken: Run, tmp_path: Path
) -> None:
    """On one machine without --out, where the folder is named by the launch."""
    step = random.randrange(1, 40)
    launcher = {
        "standalone": ("--standalone", "--nproc-per-node=2"),
        "c10d": ("--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--rdzv-id=both"),
        "static": ("--nnodes=2", "--master-addr=127.0.0.1", f"--master-port={free_port()}", "--rdzv-id=both"),
    }[way]
    out = [] if way == "standalone" else ["--out", str(tmp_path / "runs" / "it")]
    words = [*dying("SIGKILL", victim, step, tmp_path), "--epochs", "2", *out]
    for process in launch(*words, launcher=(*launcher, "--max-restarts=2"), GANVAS_SILENCE="3"):
        printed = process.communicate(timeout=100)[1]
        assert process.returncode == 0, printed
    assert (tmp_path / "once").exists(), step
    (path,) = (tmp_path / "runs").iterdir()
    sessions = [json.loads(line)["step"] for line in (path / "sessions.jsonl").read_text().splitlines()]
    assert sessions in ([0, step], [0, step - 1]), "it went on from its last checkpoint"
    assert everything(Run(path)) == everything(unbroken), step


def stop_at(wanted: int) -> Any:
    def report(step: int, *_: Any) -> None:
        if step == wanted:
            os.kill(os.getpid(), signal.SIGINT)

    return report


DATA = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
TINY: dict[str, Any] = {"data": DATA, "batch_size": 12, "hidden": (8,), "latent_dim": 2, "fit": 0, "device": "cpu"}


@pytest.mark.parametrize("length", [{"epochs": 6}, {"minutes": 0.02}], ids=["epochs", "minutes"])
def test_the_same_launch_goes_on_with_the_same_training_alone(
    length: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "first")
    settings = {**TINY, **length, "out": tmp_path / "run"}
    begun = ganvas.train("vae", report=stop_at(8), **settings)
    assert begun.state["state"] == "interrupted" and begun.state["step"] == 8
    for other in ({"lr": 0.5}, {"seed": 1}, {"latent_dim": 3}):
        with pytest.raises(UserError, match="holds a run already"):
            ganvas.train("vae", **{**settings, **other})
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "second")
    with pytest.raises(UserError, match="holds a run already"):
        ganvas.train("vae", **settings)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "first")
    ended = ganvas.train("vae", **settings)
    assert ended.state["state"] == "finished" and ended.state["steps"] == begun.state["steps"]
    sessions = [json.loads(line)["step"] for line in (ended.path / "sessions.jsonl").read_text().splitlines()]
    assert sessions == [0, 8]


def test_a_launch_finds_its_folder_again_and_each_training_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")  # the launchers' default
    begun = ganvas.train("vae", report=stop_at(8), epochs=6, **TINY)
    other = ganvas.train("vae", report=stop_at(8), epochs=6, seed=1, **TINY)
    assert begun.path != other.path
    begun.path.rename(yesterday := begun.path.with_name(f"20200101{begun.path.name[8:]}"))
    ended = ganvas.train("vae", epochs=6, **TINY)
    assert ended.path == yesterday
    assert ended.state["state"] == "finished" and other.state["state"] == "interrupted"
    launcher = os.getppid() + 1
    monkeypatch.setattr(os, "getppid", lambda: launcher)  # another one's
    assert ganvas.train("vae", epochs=6, **TINY).path not in (ended.path, other.path)


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf"])
def test_a_silence_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_SILENCE", text)
    with pytest.raises(UserError, match=rf"GANVAS_SILENCE={text}: it takes seconds above 0"):
        peers.silence()
