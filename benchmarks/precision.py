"""(f) Whether bfloat16 costs quality: the VAE of (a) trained in both precisions from the same seeds."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import vae
from common import CACHE, OURS, Row, child, interleave, serve

SEEDS, EPOCHS = 3, 10


def compare(quick: bool) -> list[Row]:
    """The same seed gives both the same first weights, order of images and noise."""
    data = vae.prepare(quick)
    what = {"data": data, "epochs": 1 if quick else EPOCHS}
    bfloat16, float32 = interleave(
        1 if quick else SEEDS,
        lambda seed: child(OURS, "precision.measure", precision="bfloat16", seed=seed, **what)["elbo"],
        lambda seed: child(OURS, "precision.measure", precision="float32", seed=seed, **what)["elbo"],
    )
    return [
        Row(
            f"validation ELBO after {what['epochs']} epochs in bfloat16",
            "nats",
            bfloat16,
            float32,
            compare="difference",
            against="float32",
            aim="no worse",
            note=f"mean and standard deviation over {len(float32)} seeds: bfloat16 {_mean(bfloat16)}, "
            f"float32 {_mean(float32)}",
        )
    ]


def _mean(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.2f} ± {deviation:.2f}"


def measure(data: str, epochs: int, precision: str, seed: int) -> dict[str, Any]:
    """The last epoch's validation ELBO, which is always computed in float32."""
    from ganvas import train

    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        out = Path(folder, "run")
        run = train(
            "vae",
            data=f"{data}.npz",
            latent_dim=2,
            epochs=epochs,
            batch_size=128,
            precision=precision,
            seed=seed,
            out=out,
        )
        return {"elbo": [row["elbo"] for row in run.metrics if row["split"] == "validation"][-1]}


if __name__ == "__main__":
    serve(measure)
