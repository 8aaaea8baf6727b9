"""(b) DCGAN, 64 x 64 colour, 64 filters, batch 64, a step of D and of G, against a plain float32 loop in PyTorch."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

from common import CACHE, OURS, PEERS, Row, child, interleave, serve

WARM = 5  # steps before the clock starts


def flops(filters: int) -> float:
    """The least that one real image costs: G once, with gradients; D on a real and a fake image with gradients, and
    again on the fake for G's gradient alone."""
    widths = [3, *(filters << i for i in range(4))]
    layers = [16 * a * b * (32 >> i) ** 2 for i, (a, b) in enumerate(itertools.pairwise(widths))]
    d = sum(layers) + widths[-1] * 16  # multiply-adds of an image forward; G mirrors D
    g, first = sum(layers) + 100 * widths[-1] * 16, 100 * widths[-1] * 16
    return 2.0 * ((3 * g - first) + (2 * d + 2 * d + 2 * (d - layers[0])) + (d + d))


def compare(quick: bool) -> list[Row]:
    """Both on the same random images in memory: content does not change the time."""
    import numpy as np

    what = {"filters": 8 if quick else 64, "batch_size": 16 if quick else 64, "steps": WARM * (2 if quick else 5)}
    path = CACHE / f"noise-{what['batch_size'] * what['steps']}.npy"
    if not path.exists():
        n = what["batch_size"] * what["steps"] * 5 // 4  # four fifths of them are the training split
        np.save(path, np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8))
    ours, theirs = interleave(
        1 if quick else 4,
        lambda seed: child(OURS, "dcgan.speed", data=str(path), seed=seed, **what),
        lambda seed: child(PEERS, "peer_dcgan.speed", data=str(path), seed=seed, warm=WARM, **what),
    )
    if ours[0]["parameters"] != theirs[0]["parameters"]:
        raise SystemExit(f"not the same nets: {ours[0]['parameters']:,} and {theirs[0]['parameters']:,} parameters")
    return [
        Row(
            f"DCGAN 64 x 64, {what['filters']} filters, batch {what['batch_size']}: D and G steps",
            "images/s",
            [run["images_per_second"] for run in ours],
            [run["images_per_second"] for run in theirs],
            flops=flops(what["filters"]),
            against="plain float32 loop",
            aim="3 x",
            note=f"{what['steps'] - WARM} steps after {WARM} to warm up; ours at --precision auto",
        )
    ]


def speed(data: str, seed: int, filters: int, batch_size: int, steps: int) -> dict[str, Any]:
    """Images per second from the first row of metrics to the last, a row every WARM steps."""
    from ganvas import train
    from ganvas.recipe import RECIPES, Recipe
    from ganvas.recipes import dcgan

    @RECIPES.register
    def dcgan_timed(filters: int = 64) -> Recipe:
        made = dcgan(filters=filters)
        return dataclasses.replace(made, training=dataclasses.replace(made.training, log_every=WARM))

    marks: list[float] = []
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        run = train(
            "dcgan-timed",
            data=data,
            filters=filters,
            batch_size=batch_size,
            epochs=1,
            seed=seed,
            out=Path(folder, "run"),
            report=lambda *_: marks.append(time.perf_counter()),
        )
        parameters = sum(parameter.numel() for parameter in run.model.parameters())
    timed = (len(marks) - 1) * WARM
    if (timed + WARM) != steps:
        raise SystemExit(f"{len(marks)} rows of metrics where {steps // WARM} were expected")
    return {"images_per_second": timed * batch_size / (marks[-1] - marks[0]), "parameters": parameters}


if __name__ == "__main__":
    serve(speed)
