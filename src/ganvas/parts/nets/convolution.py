"""Convolutions that on a CPU, in bfloat16, are products of matrices where their maps are small.

oneDNN's kernels for bfloat16 walk along the rows of a map. Where these have 4 or 8 positions, they reach a fraction of
the rate of a product: on two cores with matrix units, the gradient by the weights of 256 -> 512 channels at 4 x 4, 64
images, takes 55 ms, and as a product 8 (docs/log.md, 2026-11-30).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.ground.devices import has_amx
from ganvas.parts.nets.layers import in_bfloat16_on_cpu

# The most positions of the smaller map of a convolution at which products are faster: for its gradient by the weights,
# and for all else where its stride is 2 or more. Without matrix units only the first is, and at 4 x 4 alone.
WEIGHTS, STRIDED = (64, 16) if has_amx() else (16, 0)


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` of square kernels, without groups or dilation."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, ...)."""
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:])
        if height * width > WEIGHTS or kernel == 1 or not in_bfloat16_on_cpu(x):
            return super().forward(x)
        y: Tensor = Down.apply(x.bfloat16(), self.weight.bfloat16(), stride, padding)  # type: ignore[no-untyped-call]
        return y if self.bias is None else y + self.bias.bfloat16().view(-1, 1, 1)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` of square kernels, without groups or dilation."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, ...)."""
        if x.shape[2] * x.shape[3] > WEIGHTS or output_size or not in_bfloat16_on_cpu(x):
            return super().forward(x, output_size)
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        more = self.output_padding[0]
        size = [(side - 1) * stride - 2 * padding + kernel + more for side in x.shape[2:]]
        y: Tensor = Up.apply(x.bfloat16(), self.weight.bfloat16(), stride, padding, size)  # type: ignore[no-untyped-call]
        return y if self.bias is None else y + self.bias.bfloat16().view(-1, 1, 1)


# A convolution y = x * w is linear in both; its derivatives are its two adjoints, whose derivatives are again among the
# three. So each can be differentiated as often as one likes, as penalties on gradients do. Everywhere
# x (N, a, H, W) is the larger map, y (N, b, h, w) the smaller, w (b, a, k, k); all lie with channels last.


class Down(torch.autograd.Function):
    """The convolution: y from x and w."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, stride: int, padding: int) -> Tensor:
        """(N, a, H, W), (b, a, k, k) -> (N, b, h, w)."""
        ctx.save_for_backward(x, w)
        ctx.settings = stride, padding
        height, width = ((side + 2 * padding - w.shape[2]) // stride + 1 for side in x.shape[2:])
        if not _strided(stride, height * width):
            return F.conv2d(x, w, None, stride, padding)
        patches = _patches(x, w.shape[2], stride, padding, (height, width))
        return (patches @ _matrix(w).T).view(len(x), height, width, len(w)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """By x and w."""
        x, w = ctx.saved_tensors
        to_x, to_w, *_ = ctx.needs_input_grad
        return (
            Up.apply(gradient, w, *ctx.settings, x.shape[2:]) if to_x else None,  # type: ignore[no-untyped-call]
            Across.apply(x, gradient, *ctx.settings, w.shape[2]) if to_w else None,  # type: ignore[no-untyped-call]
            *(None, None),
        )


class Up(torch.autograd.Function):
    """The transposed convolution, adjoint to `Down` for a fixed w: x from y and w."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, w: Tensor, stride: int, padding: int, size: tuple[int, int]) -> Tensor:
        """(N, b, h, w), (b, a, k, k) -> (N, a, *size)."""
        ctx.save_for_backward(y, w)
        ctx.settings = stride, padding
        (n, _, height, width), (_, a, kernel, _) = y.shape, w.shape
        if not _strided(stride, height * width):
            more = [
                side - (own - 1) * stride + 2 * padding - kernel
                for side, own in zip(size, (height, width), strict=True)
            ]
            return F.conv_transpose2d(y, w, None, stride, padding, more)
        patches = (_rows(y) @ _matrix(w)).view(n, height, width, kernel, kernel, a)
        down, right = size
        sums = torch.promote_types(y.dtype, torch.float32)
        x = y.new_zeros(n, down + 2 * padding, right + 2 * padding, a, dtype=sums)
        for i in range(kernel):
            for j in range(kernel):
                here = x[:, i : i + stride * height : stride, j : j + stride * width : stride]
                here += patches[:, :, :, i, j]
        inner = x[:, padding : padding + down, padding : padding + right]
        return inner.to(y.dtype, memory_format=torch.contiguous_format).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """By y and w."""
        y, w = ctx.saved_tensors
        to_y, to_w, *_ = ctx.needs_input_grad
        return (
            Down.apply(gradient, w, *ctx.settings) if to_y else None,  # type: ignore[no-untyped-call]
            Across.apply(gradient, y, *ctx.settings, w.shape[2]) if to_w else None,  # type: ignore[no-untyped-call]
            *(None, None, None),
        )


class Across(torch.autograd.Function):
    """What both maps have in common, adjoint to `Down` for a fixed x: w from x and y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, stride: int, padding: int, kernel: int) -> Tensor:
        """(N, a, H, W), (N, b, h, w) -> (b, a, kernel, kernel)."""
        ctx.save_for_backward(x, y)
        ctx.settings = stride, padding
        patches = _patches(x, kernel, stride, padding, (y.shape[2], y.shape[3]))
        return (_rows(y).T @ patches).view(y.shape[1], kernel, kernel, x.shape[1]).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """By x and y."""
        x, y = ctx.saved_tensors
        to_x, to_y, *_ = ctx.needs_input_grad
        return (
            Up.apply(y, gradient, *ctx.settings, x.shape[2:]) if to_x else None,  # type: ignore[no-untyped-call]
            Down.apply(x, gradient, *ctx.settings) if to_y else None,  # type: ignore[no-untyped-call]
            *(None, None, None),
        )


def _strided(stride: int, positions: int) -> bool:
    return stride > 1 and positions <= STRIDED


def _patches(x: Tensor, kernel: int, stride: int, padding: int, size: tuple[int, int]) -> Tensor:
    """x (N, a, H, W) -> (N h w, k k a): what each position of a map of `size` sees."""
    around = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)).contiguous()
    n, _, _, a = around.shape
    image, row, column, channel = around.stride()
    shape = (n, *size, kernel, kernel, a)
    return around.as_strided(shape, (image, stride * row, stride * column, row, column, channel)).reshape(
        n * size[0] * size[1], kernel * kernel * a
    )


def _rows(y: Tensor) -> Tensor:
    """(N, b, h, w) -> (N h w, b)."""
    return y.permute(0, 2, 3, 1).reshape(-1, y.shape[1])


def _matrix(w: Tensor) -> Tensor:
    """(b, a, k, k) -> (b, k k a)."""
    return w.permute(0, 2, 3, 1).reshape(len(w), -1)
