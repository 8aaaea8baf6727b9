"""What a model of many images is worth where there are 50 of a new kind: flags, after all other emoji.

    python benchmarks/fine_tuning.py [--write]

A `vae-gan` of the 3,527 emoji of docs/own-images.md that are no flags, 32 x 32, is the base. Then 50 flags, 5 of them
to validate by, train the same recipe for 300 steps from scratch, from the base (`--init`), and from the base with the
three lowest layers of the discriminator as they are (`--init --freeze 3`). The other 209 flags are the test images:
kernel distance of 1,000 samples by principal components of flags, with the error of the estimate, and the mean squared
error of reconstructions. Samples are of the first seed. Runs that have a result are not made again; one that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from pathlib import Path
from typing import Any

import own_images

HERE = Path(__file__).resolve().parent
RUNS, RESULTS = HERE / ".cache" / "fine-tuning", HERE.parent / "results" / "fine-tuning"
SEEDS, FEW, HELD_OUT, BASE_EPOCHS, EPOCHS = (0, 1, 2), 50, 5, 30, 300
MACHINE = (
    "Medians over the seeds, the least and the largest. One core of an AMD EPYC beside other work, 2026-11-30, "
    "commit ca9c8f2 and those of the hour before it."
)
WAYS: dict[str, dict[str, Any]] = {
    "from scratch": {},
    "--init BASE": {"init": RUNS / "base"},
    "--init BASE --freeze 3": {"init": RUNS / "base", "freeze": 3},
}


def images() -> tuple[Any, Any]:
    """All others and the flags, whose names are two regional indicators: bytes (N, 32, 32, 3), shuffled."""
    import numpy as np

    from ganvas.data import load

    splits = load(own_images.data("emoji", own_images.NEW), size=32).splits.values()
    pictures = np.concatenate([np.asarray(split.images) for split in splits])
    names = [name for split in splits for name in np.asarray(split.names).tolist()]
    order = np.random.default_rng(0).permutation(len(names))
    flags = np.array([re.fullmatch(r"(-?1f1[ef].){2}", Path(name).stem) is not None for name in names])[order]
    return pictures[order][~flags], pictures[order][flags]


def trained(data: dict[str, Any], out: Path, epochs: int, seed: int, **how: Any) -> Any:
    import ganvas
    from ganvas.training.run import Run

    state = Run(out).state["state"] if (out / "state.json").exists() else None
    if state == "finished":
        return Run(out).model
    if state:
        return ganvas.resume(out).model
    return ganvas.train("vae-gan", data=data, out=out, epochs=epochs, schedule="cosine", seed=seed, **how).model


def measured(way: str, seed: int) -> None:
    """The figures of one run, and a picture of its samples."""
    import numpy as np
    import torch

    from ganvas.data import load
    from ganvas.data.loader import to_tensor
    from ganvas.evaluate import kernel_distance
    from ganvas.evaluate.networks.features import features
    from ganvas.ground import plots

    name = way.replace("-", "").replace(" ", "-").lower()
    result = RESULTS / f"{name}-{seed}.json"
    if result.exists():
        return
    others, flags = images()
    if "init" in WAYS[way]:
        held = {"validation": others[:200], "test": others[200:400]}
        trained({"train": others[400:], **held}, RUNS / "base", BASE_EPOCHS, seed=0)
    few, test = flags[:FEW], flags[FEW:]
    data = {"train": few[HELD_OUT:], "validation": few[:HELD_OUT], "test": test}
    model = trained(data, RUNS / f"{name}-{seed}", EPOCHS, seed, **WAYS[way])
    space = features("pca", load({"train": flags, "validation": few, "test": test}))
    x, samples = to_tensor(test), model.sample(1000, seed=1)
    kernel, error = kernel_distance(space(x), space(samples))
    again = torch.cat([model.reconstruct(part) for part in x.split(100)])
    found = {"kernel": kernel, "error": error, "squared_error": float((again - x).square().mean())}
    found |= {"of the 50": kernel_distance(space(x), space(to_tensor(few)))[0], "n": len(np.asarray(test))}
    if seed == SEEDS[0]:
        plots.save(plots.rows(samples[:12], again[:12], columns=12), RESULTS / f"{name}.png")
    result.write_text(json.dumps(found, indent=1) + "\n")
    print(way, seed, found, flush=True)


def table() -> str:
    """Markdown, of the runs that are there."""
    lines, shown = [], []
    for way in WAYS:
        name = way.replace("-", "").replace(" ", "-").lower()
        files = [RESULTS / f"{name}-{seed}.json" for seed in SEEDS]
        if not (runs := [json.loads(file.read_text()) for file in files if file.exists()]):
            continue
        cells = []
        for key in ("kernel", "squared_error"):
            values = [run[key] for run in runs]
            cells.append(f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})")
        error = statistics.median(run["error"] for run in runs)
        lines.append(f"| {way} | {cells[0]} | {error:.2g} | {cells[1]} | {len(runs)} |")
        shown.append(
            f"{way}; above samples, below reconstructions of test images:\n\n![{way}](fine-tuning/{name}.png)\n"
        )
    first, rest = (__doc__ or "").split("    python")
    about = first.strip() + "\n\n" + rest.partition("\n")[2].strip().replace("\n", " ")
    head = ["| way | kernel distance | error of one | squared error | seeds |", "|---|---|---|---|---|"]
    return "\n".join(["# From 50 images", "", about, "", MACHINE, "", *head, *lines, "", *shown])


def main() -> None:
    """Each run that is missing, then the table."""
    words = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    words.add_argument("--write", action="store_true", help="the table of the runs that are there, and no more")
    asked = words.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        for way in WAYS:
            if not asked.write:
                measured(way, seed)
            (RESULTS.parent / "fine-tuning.md").write_text(table())


if __name__ == "__main__":
    main()
