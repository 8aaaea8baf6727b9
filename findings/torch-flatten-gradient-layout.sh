#!/usr/bin/env bash
# A net in channels_last keeps that layout from layer to layer, forward and backward: so one expects each elementwise backward to be a
# plain pass over memory. After `nn.Flatten` before a linear head it is not. Flatten copies to rows, so the gradient that it hands
# back is a view in the default layout, while the activation that was saved is in channels_last. The kernel of the activation's
# backward then walks over two layouts at once, element by element: for LeakyReLU in bfloat16 it takes 4 to 20 times as long as with a
# gradient that was first copied into the activation's layout, the copy included. Nothing warns, and the result is the same.
# torch 2.13.0, CPU. In ganvas this is 3 % of a DCGAN's step, and was left. Exits with 1 if the copy no longer pays twice.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy
OMP_NUM_THREADS=1 "$dir/env/bin/python" - <<'PYTHON'
import time

import torch
from torch import nn


def median(function, seconds=2.0):
    function()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2] * 1e3


print("torch", torch.__version__)
torch.manual_seed(0)
x = torch.randn(64, 512, 8, 8).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
seen = []
x.register_hook(lambda g: seen.append(g))
nn.Flatten()(x).sum().backward()
head = nn.Linear(512 * 8 * 8, 1).bfloat16()
seen.clear()
head(nn.Flatten()(x)).sum().backward()
(g,) = seen
last = torch.channels_last
print("activation in channels_last:", x.is_contiguous(memory_format=last), "- its gradient:", g.is_contiguous(memory_format=last))
backward = torch.ops.aten.leaky_relu_backward
activation = x.detach()
mixed = median(lambda: backward(g, activation, 0.2, True))
copied = median(lambda: backward(g.contiguous(memory_format=last), activation, 0.2, True))
same = torch.equal(backward(g, activation, 0.2, True), backward(g.contiguous(memory_format=last), activation, 0.2, True))
print(f"LeakyReLU's backward: {mixed:.2f} ms; copied into the activation's layout first: {copied:.2f} ms, {mixed / copied:.1f} x; equal: {same}")
raise SystemExit(not (same and not g.is_contiguous(memory_format=last) and mixed > 2 * copied))
PYTHON
