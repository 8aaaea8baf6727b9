"""What it costs that damage is found: checksums of a large checkpoint, and of the cache when a data set is loaded."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from common import OURS, Row, child, serve


def compare(quick: bool) -> list[Row]:
    """Checksums alone are timed, of what is written and read all the same."""
    found = child(OURS, "durability.costs", repeats=2 if quick else 9)
    return [
        Row(
            f"checksums of a DCGAN's checkpoint, {found['megabytes']:.0f} MB",
            "% of the half minute until the next",
            found["checkpoint"],
            aim="under 1 %",
            note=f"the published net with Adam's moments; to write it without them takes {found['write']:.2f} s",
        ),
        Row(
            "checksums of MNIST in the cache",
            "% of an epoch of `make demo`",
            found["cache"],
            aim="under 1 % of a training",
            note=f"compared once, when it is loaded; an epoch of {found['epoch']:.1f} s",
        ),
    ]


def costs(repeats: int) -> dict[str, Any]:
    import ganvas
    from ganvas.data import load, store
    from ganvas.ground import tensors
    from ganvas.recipes import RECIPES
    from ganvas.training import engine
    from ganvas.training.game import Game, make_model
    from ganvas.training.loop import CHECKPOINT_SECONDS

    data, recipe = load("mnist", size=64), RECIPES["dcgan"](paper=True)
    device = engine.choose_device("cpu")
    game = Game(make_model(recipe, data, device), recipe, data, engine.make_accelerator(device))
    game.play()
    moving, _ = game.state()
    entry = store.find(load("mnist").fingerprint)
    assert entry
    with tempfile.TemporaryDirectory() as folder:
        run = ganvas.train("vae", data="mnist", epochs=1, out=Path(folder) / "run")
        epoch = run.state["seconds"]
        checkpoint, cache, write = [], [], []
        for _ in range(repeats):
            began = time.perf_counter()
            for name, tensor in moving.items():
                tensors.checksum(name, tensor)
            checkpoint.append(100 * (time.perf_counter() - began) / CHECKPOINT_SECONDS)
            began = time.perf_counter()
            tensors.save(Path(folder) / "file", moving)
            write.append(time.perf_counter() - began - checkpoint[-1] * CHECKPOINT_SECONDS / 100)
            began = time.perf_counter()
            store.checksums(entry.folder, entry.meta)
            cache.append(100 * (time.perf_counter() - began) / epoch)
    size = sum(tensor.nbytes for tensor in moving.values()) / 1e6
    return {
        "checkpoint": checkpoint,
        "cache": cache,
        "megabytes": size,
        "write": statistics.median(write),
        "epoch": epoch,
    }


if __name__ == "__main__":
    serve(costs)
