"""Layers that torch does not have as these nets need them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ganvas.ground.processes import mean_over_processes, of_all_processes, processes


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
        if not self.training or processes() == 1:
            return super().forward(x)
        own_variance, own_mean = torch.var_mean(x.float(), [0, *range(2, x.dim())], correction=0)
        mean = mean_over_processes(own_mean)
        variance = mean_over_processes(own_variance + (own_mean - mean) ** 2)
        n = x.numel() // x.shape[1] * processes()
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        along = (-1, *[1] * (x.dim() - 2))
        return (x * scale.view(along) + (self.bias - mean * scale).view(along)).to(x.dtype)


def in_bfloat16_on_cpu(x: Tensor) -> bool:
    """Whether autocast makes products of x bfloat16 on a CPU."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


class Perceptron(nn.Sequential):
    """`nn.Sequential`, which on a CPU in bfloat16 passes linear layers with rectifiers between them by one function."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, ...)."""
        if not in_bfloat16_on_cpu(x):
            found: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return found
        layers = list(self)
        while layers:
            run = 0
            while [type(layer) for layer in layers[run : run + 2]] == [nn.Linear, nn.ReLU]:
                run += 2
            if run and x.dim() == 2 and type(layers[run]) is nn.Linear:
                weights = (w for layer in layers[: run + 1 : 2] for w in (layer.weight, layer.bias))
                x = _Rectified.apply(x, *weights)  # type: ignore[no-untyped-call]
                layers = layers[run + 1 :]
            else:
                x = layers.pop(0)(x)
        return x


class _Rectified(torch.autograd.Function):
    """Linear layers with rectifiers between them, in bfloat16 as under autocast, by half as many calls.

    A call of torch's takes tens of microseconds where weights and moments have filled a processor's caches.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        """x (N, d) by weights W, b, W, b, ..."""
        inputs, matrices = [x.bfloat16()], [w.bfloat16() for w in weights[::2]]
        for matrix, bias in zip(matrices, weights[1::2], strict=True):
            y = torch.addmm(bias.bfloat16(), inputs[-1], matrix.T)
            if len(inputs) < len(matrices):
                inputs.append(y.relu_())
        ctx.save_for_backward(*inputs, *matrices)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """By x and the weights, float32."""
        needed, saved = ctx.needs_input_grad, ctx.saved_tensors
        last = len(saved) // 2 - 1
        found: list[Tensor | None] = []
        for i in range(last, -1, -1):
            x, matrix = saved[i], saved[last + 1 + i]
            found.append(gradient.sum(0, dtype=torch.float32) if needed[2 * i + 2] else None)
            found.append((gradient.T @ x).float() if needed[2 * i + 1] else None)
            if not any(needed[: 2 * i + 1]):
                return (None,) * (2 * i + 1) + tuple(reversed(found))
            gradient = gradient @ matrix
            if i:
                gradient = torch.ops.aten.threshold_backward(gradient, x, 0)
        return gradient.float(), *reversed(found)


class Resize(nn.Module):
    """Maps (N, C, H, W) to a fixed height and width: smaller by averages over areas, larger by interpolation."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, *size)."""
        height, width = x.shape[2:]
        if (height, width) == (2 * self.size[0], 2 * self.size[1]):
            return F.avg_pool2d(x, 2)
        if height > self.size[0]:
            return F.adaptive_avg_pool2d(x, self.size)
        return F.interpolate(x, self.size, mode="bilinear", align_corners=False)


class Maxout(nn.Module):
    """The largest of each group of `pieces` neighbouring units (Goodfellow et al. 2013)."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """(N, units * pieces) -> (N, units)."""
        return x.view(len(x), -1, self.pieces).amax(-1)


class MinibatchLayer(nn.Module):
    """Beside f(x) (N, features), how near each example is to the others of the batch (Salimans et al. 2016, 3.2).

    M_i = f(x_i) T (kernels, dims); o(x_i)_b = mean over j != i of exp(-|| M_ib - M_jb ||_1), in [0, 1]; 0 of a single
    example. The paper has the sum, and i itself in it, which its code leaves out. The mean is as large whatever the
    batch. Adam moves a weight as far whatever its input is, so that a sum over 63 weighs 63 times what f(x) does: at a
    rate of 1e-3 the discriminator then wins (docs/log.md, 2026-11-30).
    """

    def __init__(self, features: int, kernels: int, dims: int) -> None:
        super().__init__()
        self.kernels, self.dims = kernels, dims
        # So that the distances within a batch are near 1 at first, whatever the number of features.
        self.weight = nn.Parameter(torch.randn(features, kernels * dims) / (dims * features**0.5))

    def forward(self, f: Tensor) -> Tensor:
        """(N, features) -> (N, features + kernels)."""
        m = (f @ self.weight).float()
        own, all_ = (rows.view(len(rows), self.kernels, self.dims).transpose(0, 1) for rows in (m, of_all_processes(m)))
        nearness = (torch.exp(-torch.cdist(own, all_, p=1)).sum(-1) - 1) / max(all_.shape[1] - 1, 1)
        return torch.cat([f, nearness.T.to(f.dtype)], 1)


class VirtualNorm(nn.Module):
    """Each example by the statistics of the reference batch and itself (Salimans et al. 2016, 3.5).

    The first `size` rows of a batch are the reference, which is normalised by its own statistics.
    """

    def __init__(self, norm: BatchNorm, size: int) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.size = norm.weight, norm.bias, norm.eps, size

    def forward(self, x: Tensor) -> Tensor:
        """(size + N, C, ...) -> the same shape."""
        over = tuple(range(2, x.dim()))
        values = x.float()
        # Far from 0, E x^2 - (E x)^2 would be rounding alone.
        values = values - values[: self.size].detach().mean((0, *over), keepdim=True)
        mean, square = (v.mean(over) if over else v for v in (values, values * values))  # (size + N, C)
        reference_mean, reference_square = mean[: self.size].mean(0), square[: self.size].mean(0)
        own = torch.full((len(x), 1), 1 / (self.size + 1), device=x.device)
        own[: self.size] = 0
        mean = own * mean + (1 - own) * reference_mean
        variance = own * square + (1 - own) * reference_square - mean * mean
        scale = self.weight * torch.rsqrt(variance.clamp(min=0) + self.eps)
        along = (*x.shape[:2], *[1] * len(over))
        return (values * scale.view(along) + (self.bias - mean * scale).view(along)).to(x.dtype)


class WithReference(nn.Module):
    """A net before whose batch goes a fixed reference batch."""

    reference: Tensor

    def __init__(self, net: nn.Module, reference: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("reference", reference)

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, ...)."""
        output: Tensor = self.net(torch.cat([self.reference, z]))
        return output[len(self.reference) :]
