"""(c) log P(x) by importance sampling with 5,000 draws, on the same weights, against pythae's `get_nll`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import vae
from common import CACHE, OURS, PEERS, Row, child, interleave, serve

BATCHES = [100, 500, 1000, 5000]  # pythae's; its default first
MACS = 2 * 500 + 500 * 500 + 500 * 784  # of the decoder, for one draw


def compare(quick: bool) -> list[Row]:
    """The same images and weights; the NLLs must agree, else it is not the same quantity."""
    data, weights = vae.prepare(quick), str(CACHE / "nll.npz")
    model = str(CACHE / "nll")
    child(OURS, "nll.fit", data=data, weights=weights, model=model, epochs=1 if quick else 2)
    what = {"data": data, "images": 4 if quick else 30, "samples": 500 if quick else 5000}
    sizes = BATCHES[:1] if quick else BATCHES
    ours, theirs = interleave(
        1 if quick else 5,
        lambda seed: child(OURS, "nll.measure", model=model, seed=seed, **what),
        lambda _: child(PEERS, "peer_vae.nll", weights=weights, batch_sizes=sizes, **what),
    )
    speeds = [run["speed"] for run in ours]
    best = [max(run["speed"].values()) for run in theirs]
    rows = {"default batch of 100": [run["speed"]["100"] for run in theirs], f"best batch of {sizes}": best}
    speed = [
        Row(
            f"log P(x), {what['samples']:,} draws for each image",
            "images/s",
            speeds,
            peer,
            flops=2 * MACS * what["samples"],
            against=f"pythae, {how}",
            aim="4 x",
        )
        for how, peer in rows.items()
    ]
    note = f"{what['images']} test images; the draws differ"
    ours_nll, theirs_nll = [run["nll"] for run in ours], [run["nll"] for run in theirs]
    same = Row(
        "their mean NLL", "nats", ours_nll, theirs_nll, "difference", against="pythae", aim="the same", note=note
    )
    return [*speed, same]


def fit(data: str, weights: str, model: str, epochs: int) -> dict[str, Any]:
    """A VAE after a few epochs, as our folder and as arrays in the order of the layers."""
    import numpy as np

    from ganvas import train

    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        run = train("vae", data=f"{data}.npz", latent_dim=2, epochs=epochs, out=Path(folder, "run"))
        trained = run.model
        trained.save(model)
    arrays = {f"{i:02d}": tensor.detach().cpu().numpy() for i, tensor in enumerate(trained.parameters())}
    np.savez(weights, **arrays)
    return {}


def measure(data: str, model: str, images: int, samples: int, seed: int) -> dict[str, Any]:
    """Images per second of `log_prob`, and the mean NLL."""
    import numpy as np
    import torch

    import ganvas

    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = ganvas.load(model, device)
    x = torch.from_numpy(np.load(f"{data}-test.npy")[:images]).float().to(device)
    float(loaded.log_prob(x[:1], num_samples=samples, seed=seed))
    began = time.perf_counter()
    nll = -float(loaded.log_prob(x, num_samples=samples, seed=seed).mean())
    return {"nll": nll, "speed": images / (time.perf_counter() - began)}


if __name__ == "__main__":
    serve(fit, measure)
