"""Distances, precision and recall, density and coverage of as many features as papers take: seconds and memory."""

from __future__ import annotations

import time
from typing import Any

from common import OURS, Row, child, peak_memory, serve

MEASURES = {  # and the longest that each may take
    "Frechet distance": "2 min",
    "kernel distance": "60 s",
    "precision and recall": "30 s",
    "density and coverage": "2 min",
}
AIM = "4,096 MB"


def compare(quick: bool) -> list[Row]:
    """There is no peer: those who hold all distances at once need 20 GB for each product."""
    n, d = (600, 64) if quick else (50_000, 2048)
    rows = []
    for spread, note in (("wide", "samples as spread as data"), ("collapsed", "samples in 100 tight clusters")):
        found = child(OURS, "distances.measure", n=n, d=d, spread=spread, seed=0)
        sizes = f"2 x {n:,} x {d:,} features, {note}"
        rows += [Row(f"{name}, {sizes}", "s", [found[name]["s"]], aim=aim) for name, aim in MEASURES.items()]
        rows.append(Row(f"peak memory of these, {sizes}", "MB", [max(part["MB"] for part in found.values())], aim=AIM))
    return rows


def measure(n: int, d: int, spread: str, seed: int) -> dict[str, Any]:
    """Each measure once, on features that are rectified, as a network's, and of 64 directions and some noise."""
    import numpy as np

    from ganvas.evaluate import density_coverage, frechet_distance, kernel_distance, precision_recall

    draw = np.random.default_rng(seed)
    mix = draw.standard_normal((64, d), np.float32) / 8

    def rows(z: Any, noise: float) -> Any:
        out = z @ mix
        out += noise * draw.standard_normal((n, d), np.float32)
        return np.maximum(out, 0, out=out)

    centres = draw.standard_normal((100, 64), np.float32)
    real = rows(draw.standard_normal((n, 64), np.float32), 0.3)
    z, noise = (
        (draw.standard_normal((n, 64), np.float32), 0.3)
        if spread == "wide"
        else (centres[draw.integers(0, 100, n)], 1e-3)
    )
    fake = rows(z, noise)
    functions = dict(
        zip(MEASURES, (frechet_distance, kernel_distance, precision_recall, density_coverage), strict=True)
    )
    found = {}
    for name, function in functions.items():
        with peak_memory() as memory:
            began = time.perf_counter()
            function(real, fake)
            seconds = time.perf_counter() - began
        found[name] = {"s": seconds, **memory}
    return found


if __name__ == "__main__":
    serve(measure)
