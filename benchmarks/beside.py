"""A training beside a second one on the same machine: images per second of each, against half of one that is alone.

Each is a process of its own that chooses its threads as `ganvas train` does, see `ganvas/ground/threads.py`.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import CACHE, OURS, Row, child, interleave, serve
from vae import BATCH, prepare

LATENT = 20


def compare(quick: bool) -> list[Row]:
    """Alone and together by turns; of two together the slower one counts."""
    data, seconds = prepare(quick), 3 if quick else 30

    def together(n: int, seed: int) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(n) as pool:
            return list(
                pool.map(lambda i: child(OURS, "beside.run", data=data, seconds=seconds, seed=seed + i), range(n))
            )

    alone, beside = interleave(1 if quick else 3, lambda seed: together(1, seed), lambda seed: together(2, seed))
    threads = [", ".join(str(run["threads"]) for runs in side for run in runs) for side in (alone, beside)]
    return [
        Row(
            "a training beside a second one: of half its speed alone",
            "images/s",
            [min(_speeds(runs)) for runs in beside],
            [_speeds(runs)[0] / 2 for runs in alone],
            against="half of its speed alone",
            aim="at least 0.8",
            note=f"VAE 784-500-500-{LATENT}, batch {BATCH}; two that are started together, the slower of them, over "
            "the time in which both train, validation and checkpoints included; threads: "
            f"alone {threads[0]}, together {threads[1]}",
        )
    ]


def _speeds(runs: list[dict[str, Any]]) -> list[float]:
    """Images per second of each over the time in which all of them train."""
    import numpy as np

    marks = [np.array(run["marks"]).T for run in runs]  # steps and when, for each
    began = float(max(when[0] for _, when in marks))
    ended = float(min(when[-1] for _, when in marks))
    if ended <= began:
        raise SystemExit(
            f"beside: one training ended {began - ended:.1f} s before the other began; nothing was measured."
        )
    return [
        BATCH * float(np.diff(np.interp([began, ended], when, steps))[0]) / (ended - began) for steps, when in marks
    ]


def run(data: str, seconds: float, seed: int) -> dict[str, Any]:
    """Train for so many seconds from the first report on: (step, seconds of the machine's clock) at each report."""
    from ganvas import train

    class EndError(Exception):
        pass

    marks: list[tuple[int, float]] = []

    def report(step: int, *_: Any) -> None:
        marks.append((step, time.time()))
        if marks[-1][1] - marks[0][1] >= seconds:
            raise EndError

    settings: dict[str, Any] = {"latent_dim": LATENT, "batch_size": BATCH, "epochs": 1000, "seed": seed}
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, contextlib.suppress(EndError):
        train("vae", data=f"{data}.npz", out=Path(folder, "run"), report=report, **settings)
    import torch

    return {"marks": marks, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    serve(run)
