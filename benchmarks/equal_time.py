"""What recipes come to in equal time: how near their samples are to the data, and to a classifier's eye.

    python benchmarks/equal_time.py [MINUTES] [--only DATA-RECIPE]

One thread; a run that has a result is not made again.

Each run is `ganvas train RECIPE --data DATA --minutes M`, on a machine that does nothing else. Kernel and Frechet
distance are of 2,000 samples to validation images, by principal components of pixels and by a classifier's features;
medians over the seeds, which are those of no other figure. It writes results/equal-time/*.json and equal-time.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RUNS, RESULTS = HERE / ".cache" / "equal-time", HERE.parent / "results" / "equal-time"
SEEDS = (100, 101, 102)
DATA = {"avatars": ["--data", "avatars", "--size", "32"], "fashion-mnist": ["--data", "fashion-mnist"]}
RECIPES = {
    "dcgan": ["dcgan"],
    "gan": ["gan", "--net", "residual"],
    "vae": ["vae", "--net", "residual"],
    "vae-gan": ["vae-gan"],
}
SPACES = ("pca", "classifier")


def ganvas(*words: str) -> None:
    """A command of one thread, which has to succeed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "ganvas", *words], env=environment, check=True, stdout=subprocess.DEVNULL)


def measured(data: str, recipe: str, seed: int, minutes: float) -> dict[str, Any]:
    """The figures of one run: {"pca kernel distance": ..., ...}, and its steps."""
    name = f"{data}-{recipe}-{minutes:g}-{seed}"
    result, out = RESULTS / f"{name}.json", RUNS / name
    if not result.exists():
        ganvas("train", *RECIPES[recipe], *DATA[data], f"--minutes={minutes:g}", f"--seed={seed}", f"--out={out}")
        ganvas(
            "evaluate",
            str(out),
            "--metrics",
            "kernel",
            "frechet",
            "--features",
            *SPACES,
            "-n",
            "2000",
            "--split",
            "validation",
        )
        record = json.loads((out / "evaluation" / "figures.json").read_text())
        found: dict[str, Any] = {"steps": json.loads((out / "state.json").read_text())["step"]}
        for part in record:
            for figure in part["figures"]:
                features, _, _ = figure["protocol"].partition(" features;")
                found[f"{figure['name']}, {features}"] = figure["value"]
        result.write_text(json.dumps(found, indent=1) + "\n")
    read: dict[str, Any] = json.loads(result.read_text())
    return read


def main() -> None:
    """Each run that is missing, then the table."""
    words = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    words.add_argument("minutes", type=float, nargs="?", default=3.0)
    words.add_argument("--only", default="")
    asked = words.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    RUNS.mkdir(parents=True, exist_ok=True)
    lines = []
    for data in DATA:
        for recipe in RECIPES:
            if asked.only not in ("", f"{data}-{recipe}"):
                continue
            runs = [measured(data, recipe, seed, asked.minutes) for seed in SEEDS]
            figures = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            said = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
            print(f"{data}, {recipe}: {said}", flush=True)
            lines.append(f"| {data} | `{recipe}` | " + " | ".join(f"{value:.3g}" for value in figures.values()) + " |")
            head = ["data", "recipe", *figures]
    if lines and not asked.only:
        table = [
            "# In equal time",
            "",
            f"{(__doc__ or '').split('    python')[0].strip()} {asked.minutes:g} minutes each.",
        ]
        table += ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines, ""]
        (RESULTS.parent / "equal-time.md").write_text("\n".join(table))


if __name__ == "__main__":
    main()
