#!/usr/bin/env bash
# On a CPU with matrix units (AMX) one expects a convolution in bfloat16 to run near the rate of a product of matrices, and least of
# all to lose where channels are many and maps are small: there the arithmetic is densest. The gradient by the weights does the
# opposite. For 256 -> 512 channels, kernel 4, stride 2, 64 images of 8 x 8 (the deepest layer of a DCGAN's discriminator), oneDNN
# takes 4 to 10 times as long as the same sum written as patches and one product, copying of the patches included; the layer before it
# (maps of 8 x 8) twice as long; one of 32 x 32 maps less. Of a DCGAN's step this one gradient was a quarter.
# torch 2.13.0 with its oneDNN, Xeon with amx_bf16. ganvas takes products for small maps (`ganvas.parts.nets.convolution`). Exits with 1 if
# the product is no longer twice as fast at the smallest map; says so and exits with 0 where a processor has no matrix units.
set -eu
grep -q amx_bf16 /proc/cpuinfo 2>/dev/null || { echo "not tried: this processor has no amx_bf16"; exit 0; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy
"$dir/env/bin/python" - <<'PYTHON'
import time

import torch
import torch.nn.functional as F

N, K = 64, 4


def median(function, seconds=2.0):
    function()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2] * 1e3


def by_product(x, g):
    """The gradient by the weights, (b, K, K, a): what each position saw, times what came back there."""
    seen = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    seen = seen.unfold(1, K, 2).unfold(2, K, 2).permute(0, 1, 2, 4, 5, 3)
    rows = seen.reshape(-1, K * K * x.shape[1])
    return (g.permute(0, 2, 3, 1).reshape(-1, g.shape[1]).T @ rows).view(g.shape[1], K, K, -1)


print("torch", torch.__version__, "threads", torch.get_num_threads())
torch.manual_seed(0)
ratios = {}
for a, b, side in ((64, 128, 32), (128, 256, 16), (256, 512, 8)):
    layout = {"memory_format": torch.channels_last}
    x = torch.randn(N, a, side, side).bfloat16().to(**layout)
    w = torch.randn(b, a, K, K).bfloat16().to(**layout)
    g = torch.randn(N, b, side // 2, side // 2).bfloat16().to(**layout)

    def by_onednn():
        settings = (None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False])
        return torch.ops.aten.convolution_backward(g, x, w, *settings)[1]

    gap = (by_onednn().float().permute(0, 2, 3, 1) - by_product(x, g).float()).norm() / by_product(x, g).float().norm()
    theirs, product = median(by_onednn), median(lambda: by_product(x, g))
    ratios[side] = theirs / product
    print(f"{a:3} -> {b:3}, {side:2} x {side:2}: convolution {theirs:5.1f} ms, patches and product {product:5.1f} ms, {ratios[side]:.1f} x (they differ by {gap:.1%})")
raise SystemExit(not ratios[8] > 2)
PYTHON
