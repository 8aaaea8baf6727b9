"""(e) A folder of 20,000 JPEGs: the first pass, which decodes into the cache, an epoch after it, the memory."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from common import CACHE, OURS, PEERS, Row, child, interleave, peak_memory, serve

SIZE, BATCH = 64, 64


def compare(quick: bool) -> list[Row]:
    """Ours decodes once and then reads its cache; the peer decodes at every epoch. The files are in the page cache."""
    n = 300 if quick else 20_000
    path = str(CACHE / f"jpeg-{n}")
    if not Path(path).exists():
        child(OURS, "folder.draw", path=path, n=n)
    ours, theirs = interleave(
        1 if quick else 3,
        lambda _: child(OURS, "folder.measure", path=path),
        lambda _: child(PEERS, "peer_folder.measure", path=path, size=SIZE, batch_size=BATCH),
    )
    rows, against = [], "PIL and DataLoader, 2 workers"
    for key, epoch, wanted in (("first", "first pass", "1.5 x"), ("second", "second epoch", "")):
        for unit, compare, aim in (("images/s", "higher", wanted), ("MB", "lower", "")):
            figures = [[run[key][unit] for run in side] for side in (ours, theirs)]
            what = f"{n:,} JPEGs, {epoch}" + (", peak memory" if unit == "MB" else "")
            rows.append(Row(what, unit, *figures, compare=compare, against=against, aim=aim))
    second, copy = ([run[key]["images/s"] for run in ours] for key in ("second", "copy"))
    note = "the same bytes made floats batch by batch, in order, from memory to memory that is in use already"
    return [
        *rows,
        Row(
            "second epoch against memory",
            "images/s",
            second,
            copy,
            against="the bytes made floats in memory",
            aim="0.5 x",
            note=note,
        ),
    ]


def draw(path: str, n: int) -> dict[str, Any]:
    """Smooth noise, 128 x 128, about 5 kB each: the same on every machine but for the JPEG encoder's version."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    part = Path(f"{path}.part")
    part.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        coarse = Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        coarse.resize((128, 128), Image.Resampling.BICUBIC).save(part / f"{i:05d}.jpg", quality=85)
    part.rename(path)
    return {}


def measure(path: str) -> dict[str, Any]:
    """Figures of both passes from an empty cache, and of the second one's bytes made floats, in order and in memory."""
    with tempfile.TemporaryDirectory(dir=CACHE) as cache:
        os.environ["GANVAS_CACHE"] = cache
        import numpy as np
        import torch

        from ganvas.data import load
        from ganvas.data.loader import Batches

        with peak_memory() as memory:
            began = time.perf_counter()
            dataset = load(path, size=SIZE)
            count = sum(map(len, dataset.splits.values()))
            first = {"images/s": count / (time.perf_counter() - began), "MB": memory}
        train = dataset.splits["train"]
        with peak_memory() as memory:
            began = time.perf_counter()
            batches = Batches(train, BATCH, seed=0)
            for i in range(len(batches)):
                batches[i]
            second = {"images/s": len(batches) * BATCH / (time.perf_counter() - began), "MB": memory}
        images = torch.from_numpy(np.array(train.images[: len(batches) * BATCH])).split(BATCH)
        floats = torch.empty(images[0].shape)
        floats.copy_(images[0])
        began = time.perf_counter()
        for part in images:
            floats.copy_(part)
        copy = {"images/s": len(images) * BATCH / (time.perf_counter() - began)}
        for figures in (first, second):
            figures["MB"] = figures["MB"]["MB"]
        return {"first": first, "second": second, "copy": copy}


if __name__ == "__main__":
    serve(draw, measure)
