"""The machine's rate of matrix products, beside which every workload's rate is set."""

from __future__ import annotations

import time

import torch
from common import serve


def rate(sizes: list[int], seconds: float) -> dict[str, float]:
    """{"float32": FLOP/s, "bfloat16": FLOP/s}: the best product of these sizes, each tried for some seconds.

    Smaller ones come first: a processor without bfloat16 would take minutes for one of 2,048.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    best = {"float32": 0.0, "bfloat16": 0.0}
    for name in best:
        for n in [256, 512, 1024, *sizes]:
            if best[name] and 2 * n**3 > best[name] * seconds:
                break
            a, b = torch.randn(2, n, n, device=device, dtype=getattr(torch, name))
            out = torch.mm(a, b)
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                float(out[0, 0])  # waits for the device
                began = time.perf_counter()
                torch.mm(a, b, out=out)
                float(out[0, 0])
                best[name] = max(best[name], 2 * n**3 / (time.perf_counter() - began))
    return best


if __name__ == "__main__":
    serve(rate)
