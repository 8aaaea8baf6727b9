#!/usr/bin/env bash
# Who wants every step of a training to draw the same numbers after a resume seeds torch's generator at each step. One expects
# torch.manual_seed to cost what it costs to fill the generator's state, about a microsecond. It takes 100 times that, and more
# the deeper the call lies: where no CUDA device is in use (no GPU at all, too) it puts seeding CUDA off until CUDA is begun, and
# formats the whole stack of calls for that, at each call. Some 0.2 ms at the top of a program, 0.7 ms 50 calls deep, 2.3 ms 200
# calls deep, as under a test runner or a training framework; a step of a small net takes 3 ms. `torch.default_generator.manual_seed`
# sets the same numbers on the CPU in 1 microsecond at any depth. torch 2.13.0.
# ganvas seeds by the latter (`ganvas.ground.randomness.reseed`). Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy
CUDA_VISIBLE_DEVICES= "$dir/env/bin/python" - <<'PYTHON'
import time

import torch

print("torch", torch.__version__)


def at(depth, function):
    return function() if depth == 0 else at(depth - 1, function)


def microseconds(seed, depth, calls=200):
    def run():
        began = time.perf_counter()
        for i in range(calls):
            seed(i)
        return (time.perf_counter() - began) / calls

    return 1e6 * min(at(depth, run) for _ in range(5))


seen = {}
for depth in (1, 50, 200):
    seen[depth] = [microseconds(seed, depth) for seed in (torch.manual_seed, torch.default_generator.manual_seed)]
    print(f"{depth} calls deep: torch.manual_seed {seen[depth][0]:.0f} us, of the default generator {seen[depth][1]:.1f} us")
torch.manual_seed(5)
one = torch.rand(4)
torch.default_generator.manual_seed(5)
same = torch.equal(one, torch.rand(4))
print("the same numbers:", same)
dear = all(whole > 20 * own for whole, own in seen.values())
deeper = seen[200][0] > 4 * seen[1][0] and seen[200][1] < 3 * seen[1][1]
raise SystemExit(not (dear and deeper and same))
PYTHON
