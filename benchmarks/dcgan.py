"""(b) DCGAN and WGAN at 64 x 64 colour, steps of both players, against a plain float32 loop of the same nets."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

from common import CACHE, OURS, PEERS, Row, child, earlier, interleave, serve

WARM = 5  # moves of the discriminator before the clock starts; a row of metrics each time
NETS = {
    "DCGAN 64 x 64, 64 filters, kernel 4": {"recipe": "dcgan", "filters": 64, "kernel": 4, "moves": 1},
    "DCGAN 64 x 64, the published net": {"recipe": "dcgan", "filters": 128, "kernel": 5, "moves": 1},
    "WGAN 64 x 64, 64 filters, kernel 4, n_critic 5": {"recipe": "wgan", "filters": 64, "kernel": 4, "moves": 5},
}


def flops(filters: int, kernel: int, moves: int) -> float:
    """The least that one real image costs, with D moving `moves` times for each move of G.

    A move of D: D on a real and a fake image with gradients, and G forward for the fake, but for the one that G's move
    could share. A move of G: G with gradients, and D on the fake for G's gradient alone.
    """
    widths = [3, *(filters << i for i in range(4))]
    layers = [kernel**2 * a * b * (32 >> i) ** 2 for i, (a, b) in enumerate(itertools.pairwise(widths))]
    d = sum(layers) + widths[-1] * 16  # multiply-adds of an image forward; G mirrors D
    g, first = sum(layers) + 100 * widths[-1] * 16, 100 * widths[-1] * 16
    discriminator = moves * (2 * d + 2 * d + 2 * (d - layers[0])) + (moves - 1) * g
    generator = (3 * g - first) + (d + d)
    return 2.0 * (discriminator + generator) / moves


def compare(quick: bool) -> list[Row]:
    """Both sides on the same random images in memory: content does not change the time."""
    return [row for name, net in NETS.items() for row in _rows(name, **net, quick=quick)]


def _rows(name: str, recipe: str, filters: int, kernel: int, moves: int, quick: bool) -> list[Row]:
    import numpy as np

    what = {"filters": 8 if quick else filters, "batch_size": 16 if quick else 64, "kernel": kernel, "moves": moves}
    batches = WARM * (2 if quick else 5)
    path = CACHE / f"noise-{what['batch_size'] * batches}.npy"
    if not path.exists():
        n = what["batch_size"] * batches * 5 // 4  # four fifths of them are the training split
        np.save(path, np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8))
    what |= {"data": str(path), "batches": batches}

    def side(seed: int) -> dict[str, Any]:
        return child(OURS, "dcgan.speed", recipe=recipe, seed=seed, **what)

    def peer(seed: int) -> dict[str, Any]:
        return child(PEERS, "peer_dcgan.speed", warm=WARM, seed=seed, **what)

    ours, theirs, *before = interleave(1 if quick else 4, side, peer, *earlier(side))
    if ours[0]["parameters"] != theirs[0]["parameters"]:
        raise SystemExit(f"not the same nets: {ours[0]['parameters']:,} and {theirs[0]['parameters']:,} parameters")
    steps = Row(
        f"{name}, batch {what['batch_size']}: D and G steps",
        "images/s",
        [run["images_per_second"] for run in ours],
        [run["images_per_second"] for run in theirs],
        flops=flops(what["filters"], kernel, moves),
        against="plain float32 loop",
        aim="3 x with matrix units, with AVX512-BF16 2 x",
        note=f"{batches - WARM} moves of the discriminator after {WARM} to warm up; ours at --precision auto",
    )
    return steps.and_earlier(*[[run["images_per_second"] for run in runs] for runs in before])


def speed(
    recipe: str, data: str, seed: int, filters: int, kernel: int, moves: int, batch_size: int, batches: int
) -> dict[str, Any]:
    """Images per second from the first row of metrics to the last, a row every WARM moves of the discriminator."""
    from ganvas import train
    from ganvas.recipes import RECIPES, dcgan, wgan

    @RECIPES.register
    def timed(filters: int, kernel: Any) -> Any:
        made = dcgan(loss="non-saturating", filters=filters, kernel=kernel)
        if recipe == "wgan":
            made = wgan(filters=filters, kernel=kernel, n_critic=moves, warm_up=False)
        return dataclasses.replace(made, training=dataclasses.replace(made.training, log_every=WARM // moves))

    marks: list[float] = []
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        run = train(
            "timed",
            data=data,
            filters=filters,
            kernel=kernel,
            batch_size=batch_size,
            epochs=1,
            seed=seed,
            out=Path(folder, "run"),
            report=lambda *_: marks.append(time.perf_counter()),
        )
        parameters = sum(parameter.numel() for parameter in run.model.parameters())
    timed_batches = (len(marks) - 1) * WARM
    if (timed_batches + WARM) != batches:
        raise SystemExit(f"{len(marks)} rows of metrics where {batches // WARM} were expected")
    return {"images_per_second": timed_batches * batch_size / (marks[-1] - marks[0]), "parameters": parameters}


if __name__ == "__main__":
    serve(speed)
