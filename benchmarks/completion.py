"""How well a VAE fills in missing pixels of MNIST: `python benchmarks/completion.py [--images 60] [--seeds 3]`.

A VAE of 16 latent dimensions learns the 50,000 training images for 8 epochs. Of test images, drawn once as black or
white, the pixels under a mask are hidden, and are told from the others by

- the mean image: each pixel's frequency in the training images;
- one pass: what is missing is set to the mean image, and the model reconstructs that once (pseudo-Gibbs, once);
- completions: `completed` with 50 of them.

The cost is -log P(missing pixels) in nats an image; of the completions of the mean of P over them. The squared error
is a pixel's, of the mean; of a single completion it is that of one draw, which has to be larger.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import ganvas
from ganvas.data import load
from ganvas.data.loader import to_tensor
from ganvas.data.masks import read_mask
from ganvas.ground.randomness import Draw

MASKS = ("left", "centre", "noise")
COMPLETIONS = 50


def cost(x: Tensor, p: Tensor, missing: Tensor) -> Tensor:
    """-log P of the missing pixels of x (N, 1, H, W) by p (N, ..., 1, H, W): nats (N, ...)."""
    x, p = x[..., missing].flatten(1), p[..., missing].flatten(-2).double().clamp(1e-6, 1 - 1e-6)
    x = x.view(len(x), *[1] * (p.dim() - 2), -1)
    return -(x * p.log() + (1 - x) * (1 - p).log()).sum(-1)


def told(model: ganvas.Run, x: Tensor, mean: Tensor, name: str, seed: int) -> dict[str, tuple[float, float]]:
    """{how: (nats an image, squared error a pixel)}."""
    missing = read_mask(name, (1, 28, 28), seed)
    once = model.reconstruct(torch.where(missing, mean, x))
    found = model.completed(x, missing, COMPLETIONS, seed)
    decoded = model.decode(found.codes.flatten(0, 1)).unflatten(0, found.codes.shape[:2])

    def error(p: Tensor) -> float:
        return float((p - x)[..., missing].square().mean())

    mixed = -(-cost(x, decoded, missing)).logsumexp(1) + math.log(COMPLETIONS)
    return {
        "mean image": (float(cost(x, mean.expand_as(x), missing).mean()), error(mean)),
        "one pass": (float(cost(x, once, missing).mean()), error(once)),
        "completions": (float(mixed.mean()), error(decoded.mean(1))),
        "one completion": (float(cost(x, decoded[:, 0], missing).mean()), error(decoded[:, 0])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    splits = load("mnist").splits
    x = Draw(0).binary("binarise", to_tensor(splits["test"].images[: asked.images]))
    mean = torch.from_numpy(splits["train"].images.mean(0) / 255).float().permute(2, 0, 1)[None]
    rows: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as folder:
            run = ganvas.train("vae", data="mnist", latent_dim=16, epochs=8, seed=seed, out=Path(folder, "run"))
            for name in MASKS:
                for how, figures in told(run.model, x, mean, name, seed).items():
                    rows.setdefault((name, how), []).append(figures)
                    print(f"seed {seed}, {name}, {how}: {figures[0]:.2f} nats, {figures[1]:.4f}", file=sys.stderr)
    print("| missing | told by | nats an image | squared error a pixel |\n|---|---|---|---|")
    for (name, how), figures in rows.items():
        nats, errors = (f"{np.mean(it):.4g} ({min(it):.4g} to {max(it):.4g})" for it in zip(*figures, strict=True))
        print(f"| {name} | {how} | {nats} | {errors} |", flush=True)


if __name__ == "__main__":
    main()
