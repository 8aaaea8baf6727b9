"""What a lazy penalty (`--lazy K`) costs and is worth: the default GAN of faces, K = 1, 4, 16.

    python benchmarks/lazy.py [EPOCHS]    one thread; a run that has a result is not made again

Processor seconds of the training, and the kernel distance of 2,000 samples to the validation images (principal
components of pixels), medians over the seeds. The seeds are not those of any other benchmark.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

RUNS = Path(__file__).resolve().parent / ".cache" / "lazy"
SEEDS, EVERY = (100, 101), (1, 4, 16)
TRAIN = """
import json, sys, time
import ganvas
epochs, seed, lazy, out = json.loads(sys.argv[1])
began = time.process_time()
how = {"lazy": lazy} if lazy > 1 else {}
run = ganvas.train("dcgan", data="avatars", size=32, epochs=epochs, seed=seed, out=out, **how)
print(json.dumps(time.process_time() - began))
"""


def measured(epochs: int, seed: int, lazy: int) -> dict[str, float]:
    """{"seconds", "distance"} of one run."""
    out, environment = RUNS / f"{epochs}-{seed}-{lazy}", os.environ | {"OMP_NUM_THREADS": "1"}
    result = out.with_suffix(".json")
    if not result.exists():
        arguments = json.dumps([epochs, seed, lazy, str(out)])
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, arguments], env=environment, check=True, capture_output=True, text=True
        )
        evaluate = ["evaluate", str(out), "--metrics", "kernel", "--features", "pca", "-n", "2000"]
        command = [sys.executable, "-m", "ganvas", *evaluate, "--split", "validation"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        (record,) = json.loads((out / "evaluation" / "figures.json").read_text())
        (figure,) = record["figures"]
        seconds = float(done.stdout.splitlines()[-1])
        result.write_text(json.dumps({"seconds": seconds, "distance": figure["value"]}))
    found: dict[str, float] = json.loads(result.read_text())
    return found


def main(epochs: int = 6) -> None:
    """A line for each K."""
    RUNS.mkdir(parents=True, exist_ok=True)
    for lazy in EVERY:
        runs = [measured(epochs, seed, lazy) for seed in SEEDS]
        seconds, distances = ([run[key] for run in runs] for key in ("seconds", "distance"))
        each = ", ".join(f"{distance:.3f}" for distance in distances)
        print(
            f"K = {lazy}: {statistics.median(seconds):.0f} s, {statistics.median(distances):.3f} ({each})", flush=True
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
