"""How well `ganvas duplicates` finds planted copies: `python benchmarks/duplicates.py RUN [DATA]`.

Of the first 4,000 test images of DATA (mnist) 250 each are added again: as they are, encoded as JPEG (quality 75),
shifted by a pixel in one of eight directions (zeros move in), and with brightness times 0.7 to 1.3, cut to the range.
RUN is a model that encodes. A pair that was not planted counts as false, even where the data themselves hold one image
twice.
"""

from __future__ import annotations

import io
import itertools
import sys
import time

import numpy as np
from PIL import Image

import ganvas
from ganvas.data import load
from ganvas.latent import collection

EACH, OF = 250, 4000
THRESHOLDS = (0.97, 0.98, 0.985, 0.99)


def jpeg(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "JPEG", quality=75)
    with Image.open(file) as again:
        return np.asarray(again).reshape(image.shape)


def shifted(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    y, x = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x][random.integers(8)]
    wide = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    return wide[1 + y : wide.shape[0] - 1 + y, 1 + x : wide.shape[1] - 1 + x]


def brighter(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.clip(image * random.uniform(0.7, 1.3), 0, 255).round().astype(np.uint8)


HOW = {"equal": lambda image, random: image, "JPEG": jpeg, "shifted": shifted, "brightness": brighter}


def main() -> None:
    model = ganvas.load(sys.argv[1])
    originals = np.asarray(load(*sys.argv[2:] or ["mnist"]).splits["test"].images[:OF])
    for seed in range(3):
        random = np.random.default_rng(seed)
        chosen = random.permutation(len(originals))[: EACH * len(HOW)].reshape(len(HOW), EACH)
        made = [make(originals[i], random) for make, rows in zip(HOW.values(), chosen, strict=True) for i in rows]
        planted = {(int(i), len(originals) + copy): copy // EACH for copy, i in enumerate(chosen.flatten())}
        dataset = load(np.concatenate([originals, np.stack(made)]), progress=False)
        places = np.concatenate([split.order for split in dataset.splits.values()])
        began = time.perf_counter()
        found = collection.collect(model, dataset)
        for alike in THRESHOLDS:
            groups = collection.duplicates(found, alike)
            pairs = {
                (*sorted(places[list(pair)].tolist()),)
                for group in groups
                for pair in itertools.combinations(group.places.tolist(), 2)
            }
            hits = np.bincount([planted[pair] for pair in pairs & planted.keys()], minlength=len(HOW)) / EACH
            recall = ", ".join(f"{name} {hit:.3f}" for name, hit in zip(HOW, hits, strict=True))
            precision = len(pairs & planted.keys()) / max(1, len(pairs))
            print(f"seed {seed}, {alike}: recall {recall}; precision {precision:.3f} of {len(pairs)} pairs", flush=True)
        print(f"{len(places):,} images, {len(THRESHOLDS)} times: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
