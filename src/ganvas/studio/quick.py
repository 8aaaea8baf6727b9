"""A model that answers sooner: the same pictures from fewer and larger operations.

A doubling transposed convolution writes each of the four phases of its output, even and odd rows by even and odd
columns, from a window of its input that is half as wide as the kernel: all four together are one plain convolution,
which for the few images of a page is the faster one on a CPU. Batch norm behind it goes into its weights.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.export import traceable
from ganvas.models import Model
from ganvas.parts.nets.layers import BatchNorm


def quicker(model: Model) -> Model:
    """A copy for answering on a CPU, not for training or saving: what it gives differs in the last digits."""
    made = traceable(model).eval().requires_grad_(False)
    for net in [module for module in made.modules() if isinstance(module, nn.Sequential)]:
        for i, layer in enumerate(net):
            if isinstance(layer, nn.ConvTranspose2d) and _doubles(layer):
                behind = net[i + 1] if i + 1 < len(net) else None
                norm = behind if isinstance(behind, BatchNorm) else None
                net[i] = Doubling(layer, norm)
                if norm is not None:
                    net[i + 1] = nn.Identity()
    return made


def _doubles(layer: nn.ConvTranspose2d) -> bool:
    kernel = layer.kernel_size[0]
    return (
        layer.kernel_size == (kernel, kernel)
        and (layer.stride, layer.dilation, layer.groups) == ((2, 2), (1, 1), 1)
        and tuple(layer.padding) == 2 * ((kernel - 1) // 2,)
        and layer.output_padding == 2 * (kernel % 2,)
    )


class Doubling(nn.Module):
    """A transposed convolution of stride 2 that doubles the sides, and the batch norm behind it, as one convolution.

    Output row 2 i + a takes input row i + t by kernel row k = a + padding - 2 t.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: nn.ConvTranspose2d, norm: BatchNorm | None) -> None:
        super().__init__()
        w = layer.weight.detach().double()  # (in, out, k, k)
        bias = torch.zeros(w.shape[1]).double() if layer.bias is None else layer.bias.detach().double()
        if norm is not None:
            scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
            w, bias = w * scale[:, None, None], (bias - norm.running_mean) * scale + norm.bias
        kernel, padding = w.shape[-1], int(layer.padding[0])
        size = (kernel + 1) // 2
        highest = [(a + padding) // 2 for a in (0, 1)]
        self.starts = [high - size + 1 for high in highest]  # of each phase's window, beside its own place
        taps = torch.zeros(2, 2, w.shape[1], w.shape[0], size, size).double()
        for a, b, u, v in itertools.product((0, 1), (0, 1), range(size), range(size)):
            row, column = a + padding - 2 * (self.starts[a] + u), b + padding - 2 * (self.starts[b] + v)
            if row < kernel and column < kernel:
                taps[a, b, :, :, u, v] = w[:, :, row, column].T
        weight = taps.flatten(0, 2).float().contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias.float())
        self.padding = -min(self.starts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, h, w) -> (N, out, 2 h, 2 w), channels last in memory."""
        n, _, h, w = x.shape
        every = F.conv2d(x, self.weight, padding=self.padding).permute(0, 2, 3, 1)
        every = torch.unflatten(every, 3, (2, 2, -1))
        out = x.new_empty(n, h, 2, w, 2, len(self.bias))
        for a, b in itertools.product((0, 1), (0, 1)):
            top, left = self.starts[a] + self.padding, self.starts[b] + self.padding
            torch.add(every[:, top : top + h, left : left + w, a, b], self.bias, out=out[:, :, a, :, b])
        return out.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
