"""Layers that torch does not have as these nets need them."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


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


def _mean_over_processes(x: Tensor) -> Tensor:
    mean: Tensor = _MeanOverProcesses.apply(x)  # type: ignore[no-untyped-call]
    return mean


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the *global* batch, on any device (torch's SyncBatchNorm needs GPUs).

    With one process it is torch's own. Every process must have an equal share of the batch.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def _check_input_dim(self, input: Tensor) -> None:
        """Any (N, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        if not self.training or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        own_variance, own_mean = torch.var_mean(x.float(), [0, *range(2, x.dim())], correction=0)
        mean = _mean_over_processes(own_mean)
        variance = _mean_over_processes(own_variance + (own_mean - mean) ** 2)
        n = x.numel() // x.shape[1] * dist.get_world_size()
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        along = (-1, *[1] * (x.dim() - 2))
        return (x * scale.view(along) + (self.bias - mean * scale).view(along)).to(x.dtype)
