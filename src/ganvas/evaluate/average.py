"""A model's own figures, over a whole split."""

from __future__ import annotations

import numpy as np
import torch

from ganvas.data import Split
from ganvas.data.loader import Batch, to_tensor
from ganvas.ground.arguments import checked
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Count, Seed
from ganvas.models import Model
from ganvas.models.base import fast_products

ROWS = 1000


@checked
def average(model: Model, split: Split, seed: Seed, *, rank: int = 0, world: Count = 1) -> dict[str, float]:
    """What a model measures of itself, per image, in float32 and evaluation mode: see `Model.measure`.

    Args:
        model: to measure.
        split: on what.
        seed: of the draws, which are the same whatever `world` is.
        rank: this process's place.
        world: how many processes share the work; the figures of all of them add up to the mean.
    """
    totals: dict[str, torch.Tensor] = {}
    places = split.labelled if model.measures_labels else np.arange(len(split))
    with model.asked(), fast_products(model.device):
        for number, start in enumerate(range(0, len(places), ROWS)):
            # A rank without a block still gives zeros by name, so that the sums of all ranks fit together.
            own = number % world == rank
            if not own and totals:
                continue
            part = places[start : start + ROWS]
            rows = to_tensor(split.images[part], model.device)
            labels = None if split.labels is None else torch.tensor(split.labels[part], device=model.device)
            figures = model.measure(Batch(rows, labels), Draw(seed, number))
            if not figures:
                return {}
            for name, value in figures.items():
                totals[name] = totals.get(name, 0) + own * len(rows) * value.double()
    return {name: float(total) / len(places) for name, total in totals.items()}
