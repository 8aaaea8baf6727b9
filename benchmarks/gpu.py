"""(k) On a GPU: images/s of five games, beside the source of an earlier commit (`--against`).

    python benchmarks/run.py gpu --against COMMIT

needs no peers. First it runs tests/test_gpu.py. Where there is no git, COMMIT is the name of a folder in
`.cache/against` that holds that commit's `src`.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import dcgan
from common import CACHE, EARLIER, HERE, OURS, Row, child, earlier, interleave, serve

DCGAN = {"recipe": "dcgan", "data": "photos", "loss": "non-saturating", "filters": 64, "kernel": 4}
GAMES: dict[str, dict[str, Any]] = {
    "VAE 784-500-500-2, batch 128": {
        "recipe": "vae",
        "data": "digits",
        "latent_dim": 2,
        "batch_size": 128,
        "aim": "10 x",
    },
    "IWAE of two layers, k = 50, batch 100": {
        "recipe": "iwae",
        "data": "digits",
        "layers": 2,
        "k": 50,
        "batch_size": 100,
        "aim": "4 x",
    },
    "DCGAN 64 x 64, 64 filters, batch 64": {**DCGAN, "batch_size": 64, "aim": "4 x"},
    "DCGAN 64 x 64, 64 filters, batch 512": {**DCGAN, "batch_size": 512, "aim": "1/4 of bfloat16"},
    "semi-supervised GAN, batch 100": {
        "recipe": "semisupervised-gan",
        "data": "digits",
        "batch_size": 100,
        "aim": "3 x",
    },
}
IMAGES = {"digits": (28, 28, 1), "photos": (64, 64, 3)}


def compare(quick: bool) -> list[Row]:
    """Random images: their content does not change the time."""
    subprocess.run([OURS, "-m", "pytest", "-q", str(HERE.parent / "tests" / "test_gpu.py")], check=True)
    return [row for name, game in GAMES.items() for row in _rows(name, quick, **game)]


def _rows(name: str, quick: bool, aim: str, recipe: str, **settings: Any) -> list[Row]:
    steps = 200 if quick else 1000

    def ours(seed: int) -> float:
        return float(child(OURS, "gpu.speed", recipe=recipe, steps=steps, seed=seed, **settings)["images_per_second"])

    rates, *before = interleave(1 if quick else 3, ours, *earlier(ours))
    flops = dcgan.flops(64, 4, 1) if recipe == "dcgan" else None
    return Row(name, "images/s", rates, flops=flops, aim=aim).and_earlier(*before)[-1 - len(EARLIER) :]


def speed(recipe: str, data: str, steps: int, seed: int, batch_size: int, **settings: Any) -> dict[str, Any]:
    """The median of the rates of all rows of metrics but the first two, in which moves are recorded."""
    import numpy as np

    from ganvas import train

    random, n = np.random.default_rng(0), max(5000, 4 * batch_size)
    file = CACHE / f"{data}-{n}.npz"
    if not file.exists():
        images = random.integers(0, 2, (n, *IMAGES[data]), dtype=np.uint8) * 255
        np.savez(file, images=images, labels=np.arange(n) % 10)
    epochs = max(1, steps * batch_size * 5 // (4 * n))
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        out = Path(folder, "run")
        run = train(recipe, data=str(file), out=out, seed=seed, batch_size=batch_size, epochs=epochs, **settings)
        rates = [row["images_per_second"] for row in run.metrics if row["split"] == "train"][2:]
    return {"images_per_second": statistics.median(rates)}


if __name__ == "__main__":
    serve(speed)
