"""Runs of several processes, started as a user starts them."""

import subprocess
import sys
from pathlib import Path

import pytest

from ganvas.training.run import Run


def train(out: Path, processes: int, *flags: str) -> Run:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "ganvas", "train", *flags, "--out", str(out), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return Run(out)


@pytest.mark.parametrize(
    "flags",
    [
        ("vae", "--epochs", "2", "--fit", "0"),  # a mixture's fit makes more of a rounding
        ("dcgan", "--loss", "non-saturating", "--size", "16", "--filters", "8", "--epochs", "3"),
    ],
    ids=["vae", "dcgan"],
)
def test_two_processes_lose_what_one_loses_with_the_same_global_batch(flags: tuple[str, ...], tmp_path: Path) -> None:
    common = (*flags, "--data", "digits", "--batch-size", "64", "--precision", "float32")
    one, two = train(tmp_path / "one", 1, *common), train(tmp_path / "two", 2, *common)
    assert one.state["state"] == two.state["state"] == "finished"
    # The watch looks when it has the time.
    rows = [[row for row in run.metrics if row.pop("split") != "watch"] for run in (one, two)]
    for a, b in zip(*rows, strict=True):
        a.pop("images_per_second", None), b.pop("images_per_second", None)
        assert b == pytest.approx(a, rel=1e-3)
    assert two.state["test"] == pytest.approx(one.state["test"], rel=1e-3)
