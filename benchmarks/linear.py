"""In which latent space sums and turns of faces come out right: rows L15 and L16 for several models, on one seed.

    python benchmarks/linear.py [NAME ...]    a line for each model is printed, nothing else is written

A run that is there is used again, and one that was stopped goes on. `encoded` are sums of the codes of training images,
and their `ceiling` is what a perfectly linear latent space would have.
"""

from __future__ import annotations

import sys
from math import prod
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

SEED = 100
RUNS = Path(__file__).resolve().parent / ".cache" / "linear"
AVERAGED = (1, 3, 10, 30)
VAE = {"epochs": 20, "fit": 0}
MODELS: dict[str, dict[str, Any]] = {
    "vae-16": {"recipe": "vae", "latent_dim": 16, **VAE},
    "vae-32": {"recipe": "vae", "latent_dim": 32, **VAE},
    "vae-32-beta-4": {"recipe": "vae", "latent_dim": 32, "beta": 4.0, **VAE},
    "vae-gan-32": {"recipe": "vae-gan", "latent_dim": 32, "from_prior": 0.5, **VAE},
    "vae-gan-32-beta-4": {"recipe": "vae-gan", "latent_dim": 32, "beta": 4.0, "from_prior": 0.5, **VAE},
    "vae-32-beta-16": {"recipe": "vae", "latent_dim": 32, "beta": 16.0, **VAE},
    "dcgan": {"recipe": "dcgan", "loss": "non-saturating", "ema": 0.999, "filters": 64, "batch_size": 64, "epochs": 25},
}


def main() -> None:
    from ganvas.reproduce.lab import Lab

    lab = Lab(runs=RUNS, seeds=(SEED,))
    for name in sys.argv[1:] or MODELS:
        settings = dict(MODELS[name])
        run = lab.train(settings.pop("recipe"), data="avatars", size=32, seed=SEED, **settings)
        found = measured(lab, run.model)
        print(name, " ".join(f"{what} {value:.3f}" for what, value in found.items()), flush=True)


def measured(lab: Any, model: Any) -> dict[str, float]:
    """The figures of both rows."""
    from ganvas.latent.explore import sample_codes
    from ganvas.reproduce import arithmetic as rows

    sizes = [rows.classifier(0).values[name] for name in rows.ATTRIBUTES]
    asked = rows.sums(sizes, 400, seed=SEED)
    encodes = hasattr(model, "encode")
    source = encoded(rows, model) if encodes else rows.examples(lab, model, SEED)
    sources = {"encoded" if encodes else "sum": source}
    found: dict[str, float] = {}
    for k in AVERAGED:
        found[f"ceiling-{k}"] = fmean(prod(rows.ceiling(sizes[i], k) for i in it) for it, _, _ in asked)
        for name, known in sources.items():
            groups = [rows.terms(known, it, k, place) for place, it in enumerate(asked)]
            goals = [it for it, group in zip(asked, groups, strict=True) if group]
            means = [[codes.mean(0) for codes, _ in group] for group in groups if group]
            if means:
                images = model.decode(torch.stack([a - b + c for a, b, c in means]))
                found[f"{name}-{k}"] = float(rows.shown(images, goals).all(1).sum()) / len(asked)
    for name, known in sources.items():
        for keep in (False, True):
            turn = turned(rows, model, known, keep)
            found |= {f"{name}{'-kept' * keep}-{what}": value for what, value in turn.items()}
    codes = source.take(np.arange(8000))[0] if encodes else sample_codes(model, len(source.labels), SEED)
    found["linear"] = rows.linearity(codes, source.labels[: len(codes)])
    found["sure"] = rows.definite(model.sample(1000, SEED))
    return found


def encoded(rows: Any, model: Any) -> Any:
    """Training images with their labels, as the model encodes them."""
    from ganvas.latent.explore import Examples, labelled

    faces = rows.faces()
    every = labelled(model, faces.splits["train"])
    columns = [list(faces.attributes).index(name) for name in rows.ATTRIBUTES]
    return Examples(every.labels[:, columns], every.take, every.what)


def turned(rows: Any, model: Any, source: Any, keep: bool) -> dict[str, float]:
    """Of new samples that lean: how many lean the other way along the turn vector; of the other attributes, how many
    stay, over those that stay along a random direction of its length."""
    from ganvas.ground.randomness import Draw
    from ganvas.latent.explore import direction, sample_codes

    lean = rows.ATTRIBUTES.index("lean")
    others = [column for column in range(len(rows.ATTRIBUTES)) if column != lean]
    places = np.concatenate([source.choose({lean: it}, 500, SEED) for it in (rows.LEFT, rows.RIGHT)])
    labels = torch.tensor([rows.LEFT, rows.RIGHT]).repeat_interleave(500)
    stay = torch.from_numpy(source.labels[places][:, others]) if keep else None
    codes = source.take(places)[0]
    along = direction(codes, labels, rows.LEFT, rows.RIGHT, stay)
    times = rows.length(model, codes, labels, along)
    along = times * along
    random = normalize(Draw(SEED).normal("turn", tuple(along.shape)), dim=0) * along.norm()
    z = sample_codes(model, 1000, SEED + 1000)
    before = rows.verdicts(model.decode(z))[0]
    leaning = before[:, lean] != rows.UPRIGHT
    z, before = z[leaning], before[leaning]
    sign = rows.UPRIGHT - before[:, lean : lean + 1]
    after, by_chance = (rows.verdicts(model.decode(z + sign * vector))[0] for vector in (along, random))
    kept = [float((it[:, others] == before[:, others]).float().mean()) for it in (after, by_chance)]
    other_way = (after[:, lean] == 2 * rows.UPRIGHT - before[:, lean]).float().mean()
    return {"turn": float(other_way), "times": times, "stay": kept[0], "stay-over-random": kept[0] / kept[1]}


if __name__ == "__main__":
    main()
