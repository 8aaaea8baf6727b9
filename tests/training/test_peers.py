"""Trainings of two processes of which one dies, launched as on two machines: each has a launcher of its own."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganvas.training.run import Run

Launch = Callable[..., list[subprocess.Popen[str]]]
FLAGS = ["train", "vae", "--data", "digits", "--batch-size", "64", "--precision", "float32", "--device", "cpu"]
FLAGS += ["--hidden", "16", "--latent-dim", "2", "--fit", "0"]
# Sends itself a signal at a step, once; every step is in a checkpoint.
DYING = """
import os, sys
from pathlib import Path
from ganvas.cli import main
from ganvas.training import loop, peers

def at(step, before=peers.at):
    before(step)
    number, rank, when, once = sys.argv[1:5]
    if os.environ["RANK"] == rank and step == int(when) and not Path(once).exists():
        Path(once).touch()
        os.kill(os.getpid(), int(number))

peers.at, loop.CHECKPOINT_SECONDS = at, 0.0
sys.exit(main(sys.argv[5:]))
"""


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return int(it.getsockname()[1])


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "dying.py"
    path.write_text(DYING)
    return path


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts a launcher for each of two machines; what they leave is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, launcher: tuple[str, ...] = (), **environment: str) -> list[subprocess.Popen[str]]:
        address = ["--nnodes=2", "--master-addr=127.0.0.1", f"--master-port={free_port()}", *launcher]
        for machine in range(2):
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


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the children of a process in /proc")
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize(("number", "said"), [(signal.SIGKILL, ""), (signal.SIGSTOP, "no sign of life")])
def test_one_that_is_lost_ends_the_other_which_names_it(
    number: int, said: str, victim: int, launch: Launch, script: Path, tmp_path: Path
) -> None:
    words = [str(script), str(int(number)), str(victim), "30", str(tmp_path / "once")]
    out = tmp_path / "run"
    both = launch(*words, *FLAGS, "--epochs", "1000", "--out", str(out), GANVAS_SILENCE="3")
    while not (tmp_path / "once").exists():
        assert both[1 - victim].poll() is None, both[1 - victim].communicate()
        time.sleep(0.05)
    began = time.monotonic()
    printed = both[1 - victim].communicate(timeout=45)[1]
    print(time.monotonic() - began, printed)
    assert time.monotonic() - began < 30
    assert both[1 - victim].returncode == 1
    (line,) = [line for line in printed.splitlines() if line.startswith("ganvas: ")]
    named = rf"ganvas: process {victim} of 2 \(pid \d+ on {re.escape(socket.gethostname())}, last seen at step \d+\)"
    assert re.match(named, line) and said in line and f"ganvas train --resume {out}" in line
    if victim == 1:  # the one that writes is left
        state = json.loads((out / "state.json").read_text())
        assert state["state"] == "failed" and state["step"] == 30 and "process 1 of 2" in state["message"]
        assert Run(out).checkpoint == out / "checkpoints" / "step-000000030.safetensors"
