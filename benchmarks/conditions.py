"""What telling a VAE its labels is worth: the same recipe with and without --condition class.

    python benchmarks/conditions.py [--write]

Each run is `ganvas train vae --data DATA` with its defaults, and one thread; one that has a result is not made again.
Share: of 5,000 samples, 500 of each class, those of which a classifier says that they are of the class that was told.
Kernel distance by that classifier's features, of these samples and of as many that are told nothing, to 5,000 test
images. NLL of 500 test images in nats, K = 500, told their labels or nothing. By the same classifier 99 % of MNIST's
validation images are of their class, and 91 % of Fashion-MNIST's: no guidance was chosen, three are shown.
Means over the seeds and their standard deviation. It writes results/conditions/*.json, *.png and conditions.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RUNS, RESULTS = HERE / ".cache" / "conditions", HERE.parent / "results" / "conditions"
SEEDS = (0, 1, 2)
DATA = ("mnist", "fashion-mnist")
GUIDANCE = (1.0, 1.25, 1.5)


def measured(data: str, told: bool, seed: int) -> dict[str, float]:
    """The figures of one run."""
    result = RESULTS / f"{data}-{'told' if told else 'plain'}-{seed}.json"
    if not result.exists():
        found = _measure(data, told, seed)
        result.write_text(json.dumps(found, indent=1) + "\n")
    read: dict[str, float] = json.loads(result.read_text())
    return read


def _measure(data: str, told: bool, seed: int) -> dict[str, float]:
    import numpy as np
    import torch

    import ganvas
    from ganvas.data import load
    from ganvas.data.loader import to_tensor
    from ganvas.evaluate import kernel_distance, train_classifier
    from ganvas.evaluate.networks.features import features
    from ganvas.ground import plots
    from ganvas.training.run import Run

    out = RUNS / f"{data}-{'told' if told else 'plain'}-{seed}"
    finished = (out / "state.json").exists() and Run(out).state["state"] == "finished"
    condition = ("class",) if told else ()
    run = Run(out) if finished else ganvas.train("vae", data=data, seed=seed, condition=condition, out=out)
    model: Any = run.model
    dataset = load(data)
    test = dataset.splits["test"]
    x, labels = to_tensor(test.images[:5000]), np.asarray(test.labels)[:500]
    space = features("classifier", dataset)
    real = space(x)
    found = {
        "kernel distance, told nothing": kernel_distance(real, space(model.sample(5000, seed=1)))[0],
        "NLL, told nothing": -float(model.log_prob(x[:500], 500).mean()),
        "images/s": statistics.median(row["images_per_second"] for row in run.metrics if "images_per_second" in row),
    }
    if not told:
        return found
    judge, classes = train_classifier(dataset), dataset.classes or tuple("0123456789")
    for guidance in GUIDANCE:
        models = [model.given({"class": name}, guidance) for name in classes]
        samples = torch.stack([each.sample(500, seed=1) for each in models])
        right = judge.predict(samples.flatten(0, 1)) == np.repeat(np.arange(10), 500)
        found[f"share, guidance {guidance:g}"] = float(right.mean())
        found[f"least of a class, guidance {guidance:g}"] = float(right.reshape(10, 500).mean(1).min())
        found[f"kernel distance, guidance {guidance:g}"] = kernel_distance(real, space(samples.flatten(0, 1)))[0]
        if seed == SEEDS[0]:
            plots.save(plots.grid(samples[:, :12].flatten(0, 1), 12), RESULTS / f"{data}-{guidance:g}.png")
    return {**found, "NLL, told": -float(model.log_prob(x[:500], 500, condition=labels).mean())}


def table() -> str:
    """Markdown, of the runs that are there."""
    lines = []
    for data, told in itertools.product(DATA, (False, True)):
        files = [RESULTS / f"{data}-{'told' if told else 'plain'}-{seed}.json" for seed in SEEDS]
        runs = [json.loads(file.read_text()) for file in files if file.exists()]
        for name in [name for name in (runs[0] if runs else ()) if name != "images/s"]:  # which other processes slowed
            values = [run[name] for run in runs]
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            what = "`--condition class`" if told else "without"
            lines.append(f"| {data} | {what} | {name} | {statistics.fmean(values):.4g}{spread} | {len(values)} |")
    said = (__doc__ or "").split("    python")
    about = said[0].strip() + said[1].partition("\n")[2].replace("\n", " ").rstrip()
    shown = [
        f"![{data}](conditions/{data}-{guidance:g}.png)"
        for data, guidance in itertools.product(DATA, GUIDANCE)
        if (RESULTS / f"{data}-{guidance:g}.png").exists()
    ]
    words = "A row for each class; guidance 1, 1.25, then 1.5:"
    head = ["| data | run | figure | mean ± sd | seeds |", "|---|---|---|---|---|"]
    return "\n".join(["# Labels that a VAE is told", "", about, "", *head, *lines, "", words, "", *shown, ""])


def main() -> None:
    """Each run that is missing, then the table."""
    words = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    words.add_argument("--write", action="store_true", help="the table of the runs that are there, and no more")
    asked = words.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    RUNS.mkdir(parents=True, exist_ok=True)
    for seed, data, told in itertools.product(SEEDS, DATA, (False, True)):
        if not asked.write:
            print(data, told, seed, measured(data, told, seed), flush=True)
    (RESULTS.parent / "conditions.md").write_text(table())


if __name__ == "__main__":
    main()
