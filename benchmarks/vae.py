"""(a) A VAE 784-500-500-2 on MNIST against pythae: images per second, and seconds to the same ELBO."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

from common import CACHE, OURS, PEERS, Row, child, earlier, interleave, serve

BATCH = 128
MARGIN = 0.5  # nats that our validation ELBO has to be above both of the peer's, so that the test ELBO holds
# Our run to a given quality: the cosine falls to 0 over these epochs. Chosen on the validation set.
QUALITY = {"batch_size": 256, "lr": 5e-3, "schedule": "cosine", "epochs": 9}
MACS = 2 * (784 * 500 + 500 * 500) + 500 * 4 + 2 * 500  # multiply-adds of one image forward
FLOPS = 2 * (3 * MACS - 784 * 500)  # forward, weights' gradients, inputs' gradients but the image's


def compare(quick: bool) -> list[Row]:
    """pythae's epochs give both its speed and the ELBO that we then have to reach on the same repeat."""
    data = prepare(quick)
    peer_epochs = 2 if quick else 10

    def ours(seed: int) -> dict[str, Any]:
        return child(OURS, "vae.speed", data=data, seed=seed)

    def theirs(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        peer = child(PEERS, "peer_vae.train", data=data, epochs=peer_epochs, batch_size=BATCH, seed=seed)
        return peer, child(
            OURS, "vae.quality", data=data, seed=seed, target=max(peer["validation"], peer["test"]) + MARGIN
        )

    speeds, pairs, *before = interleave(1 if quick else 3, ours, theirs, *earlier(ours))
    peers, reached = zip(*pairs, strict=True)
    there = sum(run["reached"] for run in reached)
    held = sum(run["test"] >= peer["test"] for run, peer in zip(reached, peers, strict=True))
    missed = "" if there == held == len(reached) else " (MISSED, see the note)"
    schedule = ", ".join(f"{name} {value}" for name, value in QUALITY.items())
    rates, *before_rates = [[run["images_per_second"] for run in runs] for runs in (speeds, *before)]
    steady = Row(
        "VAE 784-500-500-2, batch 128: a steady epoch",
        "images/s",
        rates,
        [peer["images_per_second"] for peer in peers],
        flops=FLOPS,
        against="pythae",
        aim="2.5 x",
    )
    return [
        *steady.and_earlier(*before_rates),
        Row(
            f"the same VAE: to the test ELBO of pythae after {peer_epochs} epochs{missed}",
            "s",
            [run["seconds"] for run in reached],
            [peer["seconds"] for peer in peers],
            compare="lower",
            against="pythae",
            aim="4 x",
            note=f"ours: {schedule}; stopped when the validation ELBO is {MARGIN} nats above pythae's, after "
            f"{', '.join(str(run['epochs']) for run in reached)} epochs; of {len(reached)} runs {there} reach the "
            f"target on validation, and {held} hold it on the test set",
        ),
        Row(
            "test ELBO at that moment",
            "nats",
            [run["test"] for run in reached],
            [peer["test"] for peer in peers],
            compare="difference",
            against="pythae",
        ),
    ]


def prepare(quick: bool) -> str:
    """Statically binarised MNIST as our `.npz` and as arrays for the peer, made once; returns the stem of the names."""
    stem = CACHE / ("mnist-quick" if quick else "mnist")
    if not stem.with_suffix(".npz").exists():
        child(OURS, "vae.write", stem=str(stem), limit=10_000 if quick else None)
    return str(stem)


def write(stem: str, limit: int | None) -> dict[str, Any]:
    """Write the data, and prepare it in our cache as the peer's is prepared in its arrays."""
    import numpy as np

    import ganvas.data

    splits = ganvas.data.load("mnist", binarise=True).splits
    images = {name: np.asarray(split.images[:limit]) for name, split in splits.items()}
    for name, part in images.items():
        np.save(f"{stem}-{name}.npy", (part > 0).astype(np.uint8).reshape(-1, 1, 28, 28))
    part = Path(f"{stem}.part.npz")
    np.savez(part, **{f"{name}_images": array for name, array in images.items()})
    part.rename(f"{stem}.npz")
    ganvas.data.load(f"{stem}.npz")
    return {}


def speed(data: str, seed: int, epochs: int = 3) -> dict[str, Any]:
    """Images per second from row to row of metrics within an epoch, the first epoch left out."""
    import numpy as np

    from ganvas import train

    marks: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        train(
            "vae",
            data=f"{data}.npz",
            latent_dim=2,
            batch_size=BATCH,
            epochs=epochs,
            seed=seed,
            out=Path(folder, "run"),
            report=lambda step, *_: marks.append((step, time.perf_counter())),
        )
    steps = len(np.load(f"{data}-train.npy", mmap_mode="r")) // BATCH
    whole = [mark for mark in marks if mark[0] > steps]
    pairs = [(a, b) for a, b in itertools.pairwise(whole) if (a[0] - 1) // steps == (b[0] - 1) // steps]
    return {
        "images_per_second": BATCH * sum(b[0] - a[0] for a, b in pairs) / sum(b[1] - a[1] for a, b in pairs),
    }


def quality(data: str, seed: int, target: float) -> dict[str, Any]:
    """Train until an epoch's validation ELBO is `target`: when was that model written, what is its test ELBO?"""
    import numpy as np
    from elbo import elbo

    import ganvas
    from ganvas import train

    class ReachedError(Exception):
        pass

    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        path = Path(folder, "run")

        def validated() -> list[float]:
            rows = ganvas.Run(path).metrics
            return [row["elbo"] for row in rows if row["split"] == "validation"]

        def report(*_: Any) -> None:
            if any(figure >= target for figure in validated()):
                raise ReachedError

        began = time.time()
        with contextlib.suppress(ReachedError):
            train("vae", data=f"{data}.npz", latent_dim=2, seed=seed, out=path, report=report, **QUALITY)
        figures = validated()
        best = path / "checkpoints" / "best"
        written = (best / "model.safetensors").stat().st_mtime
        model = ganvas.load(best)
        test = np.load(f"{data}-test.npy").reshape(-1, 784)
        return {
            "seconds": written - began,
            "epochs": len(figures),
            "reached": max(figures) >= target,
            "validation": max(figures),
            "test": elbo(list(model.parameters()), test),
        }


if __name__ == "__main__":
    serve(write, speed, quality)
