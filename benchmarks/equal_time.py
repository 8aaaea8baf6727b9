"""What recipes come to in equal time: how near their samples are to the data, and to a classifier's eye.

    python benchmarks/equal_time.py [MINUTES] [--only DATA-RECIPE] [--write]

Each run is `ganvas train RECIPE --data DATA --minutes M` with one thread; one that has a result is not made again.
Kernel and Frechet distance are of 2,000 samples to validation images, by principal components of pixels and by a
classifier's features; medians over the seeds, which are those of no other figure. The steps say how many the minutes
held: other work on the machine makes them fewer. It writes results/equal-time/*.json and equal-time.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

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
NOTE = (
    "smaller distances are better. Command: `python benchmarks/equal_time.py`. Two cores of an AMD EPYC, one other "
    "process on the second at times, 2026-11-30, commit 01bc28e; `vae` and `vae-gan` of avatars 6be4f68, `gan` 5511a35."
)


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
        how = "--metrics kernel frechet -n 2000 --split validation --features"
        ganvas("evaluate", str(out), *how.split(), *SPACES)
        record = json.loads((out / "evaluation" / "figures.json").read_text())
        found: dict[str, Any] = {"steps": json.loads((out / "state.json").read_text())["step"]}
        for part in record:
            for figure in part["figures"]:
                features, _, _ = figure["protocol"].partition(" features;")
                found[f"{figure['name']}, {features}"] = figure["value"]
        result.write_text(json.dumps(found, indent=1) + "\n")
    read: dict[str, Any] = json.loads(result.read_text())
    return read


def digits(value: float) -> float:
    """Steps whole, distances to three digits."""
    return value if isinstance(value, int) else float(f"{value:.3g}")


def table(minutes: float) -> str:
    """Markdown: medians over the seeds of the runs that are there, with the smallest and the largest."""
    lines, head = [], ["data", "recipe"]
    for data, recipe in itertools.product(DATA, RECIPES):
        files = [RESULTS / f"{data}-{recipe}-{minutes:g}-{seed}.json" for seed in SEEDS]
        if not all(file.exists() for file in files):
            continue
        runs = [json.loads(file.read_text()) for file in files]
        head = ["data", "recipe", *runs[0]]
        values = [[run[key] for run in runs] for key in runs[0]]
        cells = [
            "{:,g} ({:,g} to {:,g})".format(*map(digits, (statistics.median(of), min(of), max(of)))) for of in values
        ]
        lines.append(f"| {' | '.join([data, f'`{recipe}`', *cells])} |")
    said = (__doc__ or "").split("    python")[0].strip()
    rule = "|" + "---|" * len(head)
    parts = ["# In equal time", "", f"{said} {minutes:g} minutes each; {NOTE}", ""]
    shown = [f"![{data}](equal-time/{data}.png)" for data in DATA if (RESULTS / f"{data}.png").exists()]
    said = f"Samples of seed {SEEDS[0]}, a column for each recipe in the order of the table:"
    return "\n".join([*parts, f"| {' | '.join(head)} |", rule, *lines, "", said, "", *shown, ""])


def pictures(data: str, minutes: float) -> None:
    """Samples of the first seed, a column for each recipe whose run is there, as results/equal-time/DATA.png."""
    runs = [RUNS / f"{data}-{recipe}-{minutes:g}-{SEEDS[0]}" / "samples" for recipe in RECIPES]
    grids = [Image.open(max(run.glob("*.png"))).convert("RGB").resize((400, 400)) for run in runs if run.exists()]
    if len(grids) < 2:
        return
    whole = Image.new("RGB", (410 * len(grids) - 10, 400), "white")
    for place, grid in enumerate(grids):
        whole.paste(grid, (410 * place, 0))
    whole.quantize().save(RESULTS / f"{data}.png")


def main() -> None:
    """Each run that is missing, then the table."""
    words = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    words.add_argument("minutes", type=float, nargs="?", default=3.0)
    words.add_argument("--only", default="", metavar="DATA-RECIPE")
    words.add_argument("--write", action="store_true", help="the table of the runs that are there, and no more")
    asked = words.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    RUNS.mkdir(parents=True, exist_ok=True)
    for data, recipe, seed in itertools.product(DATA, RECIPES, SEEDS):
        if not asked.write and asked.only in ("", f"{data}-{recipe}"):
            print(data, recipe, seed, measured(data, recipe, seed, asked.minutes), flush=True)
    for data in DATA:
        pictures(data, asked.minutes)
    (RESULTS.parent / "equal-time.md").write_text(table(asked.minutes))


if __name__ == "__main__":
    main()
