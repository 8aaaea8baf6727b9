"""Runs of several processes, started as a user starts them."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas.training.run import Run


def train(out: Path, processes: int, *flags: str) -> Run:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "ganvas", "train", *flags, "--out", str(out), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return Run(out)


def figures(run: Run) -> list[dict[str, float]]:
    """The rows of metrics, but for what depends on the time, as does when the watch looks."""
    rows = [row for row in run.metrics if row.pop("split") != "watch"]
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


@pytest.mark.parametrize(
    "flags",
    [
        ("vae", "--epochs", "2", "--fit", "0"),  # a mixture's fit makes more of a rounding
        ("dcgan", "--loss", "non-saturating", "--size", "16", "--filters", "8", "--epochs", "3"),
        ("vq-vae", "--epochs", "3", "--filters", "8"),
    ],
    ids=["vae", "dcgan", "vq-vae"],
)
def test_two_processes_lose_what_one_loses_with_the_same_global_batch(flags: tuple[str, ...], tmp_path: Path) -> None:
    common = (*flags, "--data", "digits", "--batch-size", "64", "--precision", "float32")
    one, two = train(tmp_path / "one", 1, *common), train(tmp_path / "two", 2, *common)
    assert one.state["state"] == two.state["state"] == "finished"
    for a, b in zip(figures(one), figures(two), strict=True):
        assert b == pytest.approx(a, rel=1e-3)
    assert two.state["test"] == pytest.approx(one.state["test"], rel=1e-3)


def shards(folder: Path, n: int) -> Path:
    """Tar files of 16 images each; the last one has fewer."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for start in range(0, n, 16):
        with tarfile.open(folder / f"set-{start // 16:03d}.tar", "w") as shard:
            for i in range(start, min(start + 16, n)):
                image = io.BytesIO()
                Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(image, "PNG")
                member = tarfile.TarInfo(f"{i:05d}.png")
                member.size = len(image.getvalue())
                shard.addfile(member, io.BytesIO(image.getvalue()))
    return folder


def test_shards_of_which_a_part_is_left_over_lose_the_same_streamed_and_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 190 images 152 are trained on, in batches of 48: each epoch leaves out 8, others each time."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    flags = ["vae", "--data", str(shards(tmp_path / "shards", 190)), "--batch-size", "48", "--epochs", "4"]
    flags += ["--hidden", "16", "--latent-dim", "2", "--precision", "float32", "--fit", "0"]
    runs = [
        train(tmp_path / name, processes, *flags, *stream)
        for name, processes, stream in (("one", 1, []), ("two", 2, []), ("streamed", 2, ["--stream"]))
    ]
    assert [run.recipe.data.stream for run in runs] == [False, False, True]
    first = figures(runs[0])
    assert [row["step"] for row in first][::2] == [3, 6, 9, 12]
    for run in runs[1:]:
        for a, b in zip(first, figures(run), strict=True):
            assert b == pytest.approx(a, rel=1e-5)
        assert run.state["test"] == pytest.approx(runs[0].state["test"], rel=1e-5)
