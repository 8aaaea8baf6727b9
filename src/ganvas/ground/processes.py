"""Figures of a batch that several processes share, an equal part each; with one process nothing is sent."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


class _MeanOverProcesses(torch.autograd.Function):
    """The mean of a tensor over the processes; so is its gradient, which every process has a share in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous().clone()
        dist.all_reduce(x)
        return x / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _MeanOverProcesses.forward(ctx, grads[0])


def processes() -> int:
    """How many processes share each batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def mean_over_processes(x: Tensor) -> Tensor:
    """The mean of a tensor over the processes, each of which has an equal share of the batch; with one, x itself."""
    mean: Tensor = _MeanOverProcesses.apply(x) if processes() > 1 else x  # type: ignore[no-untyped-call]
    return mean


def of_all_processes(x: Tensor) -> Tensor:
    """The rows of every process, (N, d) -> (processes * N, d)."""
    n = processes()
    if n == 1:
        return x
    before = dist.get_rank() * len(x)
    return n * mean_over_processes(F.pad(x, (0, 0, before, (n - 1) * len(x) - before)))
