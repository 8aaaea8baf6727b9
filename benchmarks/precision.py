"""(f) Whether bfloat16 costs quality: the VAE of (a), and a DCGAN, in both precisions from the same seeds."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vae
from common import CACHE, OURS, Row, child, interleave, serve

if TYPE_CHECKING:
    from ganvas import Run

VAE = {"recipe": "vae", "latent_dim": 2, "batch_size": 128, "lr": 1e-3}
DCGAN = {"recipe": "dcgan", "loss": "non-saturating", "data": "mnist", "filters": 16, "batch_size": 64}
SAMPLES = 10_000


def compare(quick: bool) -> list[Row]:
    """The same seed gives both the same first weights, order of images and noise."""
    data, seeds = {"data": f"{vae.prepare(quick)}.npz"}, 1 if quick else 3
    return [
        _row("elbo", "validation ELBO", "nats", seeds, VAE | data | {"epochs": 1 if quick else 10}),
        # Trainings of a GAN differ far more than those of a VAE.
        _row("frechet", "DCGAN's Frechet distance", "", 2 * seeds, DCGAN | {"epochs": 1 if quick else 3}),
    ]


def _row(figure: str, name: str, unit: str, seeds: int, what: dict[str, Any]) -> Row:
    sides = [
        lambda seed, precision=precision: child(
            OURS, f"precision.{figure}", what={**what, "precision": precision, "seed": seed}
        )[figure]
        for precision in ("bfloat16", "float32")
    ]
    bfloat16, float32 = interleave(seeds, *sides)
    return Row(
        f"{name} after {what['epochs']} epochs in bfloat16",
        unit,
        bfloat16,
        float32,
        compare="difference",
        against="float32",
        aim="no worse",
        note=f"mean and standard deviation over {seeds} seeds: bfloat16 {_mean(bfloat16)}, float32 {_mean(float32)}",
    )


def _mean(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.2f} ± {deviation:.2f}"


@contextmanager
def _trained(what: dict[str, Any]) -> Iterator[Run]:
    from ganvas import train

    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        yield train(**what, out=Path(folder, "run"))


def elbo(what: dict[str, Any]) -> dict[str, Any]:
    """The last epoch's validation ELBO, which is always computed in float32."""
    with _trained(what) as run:
        return {"elbo": [row["elbo"] for row in run.metrics if row["split"] == "validation"][-1]}


def frechet(what: dict[str, Any]) -> dict[str, Any]:
    """The Frechet distance of samples to test images over the features of a classifier, all in float32."""
    from ganvas.data import load
    from ganvas.evaluate import frechet_distance
    from ganvas.evaluate.networks.features import features

    represent, test = features("classifier", load("mnist")), load("mnist").splits["test"]
    with _trained(what) as run:
        samples = run.model.sample(SAMPLES, seed=1)
        return {"frechet": frechet_distance(represent(test), represent(samples))}


if __name__ == "__main__":
    serve(elbo, frechet)
