#!/usr/bin/env bash
# A program that never compiles a model expects that torch.compile's machinery stays out of its memory: `import torch` is lazy about
# it. The first optimiser undoes that. torch.optim.Optimizer.add_param_group, which its constructor calls, is wrapped to be left out
# of compiled graphs, and the wrapper imports torch._dynamo when it is first called; `zero_grad`, `state_dict` and `step` likewise. So
# `torch.optim.SGD([w], 0.1)`, one parameter on a CPU, brings in hundreds of modules of the compiler, with SymPy among them, takes
# about a second of processor and tens of MB: in a training of a minute, or in each of many short worker processes, that is felt.
# torch 2.13.0. ganvas makes its optimisers without these wrappers (`ganvas.parts.adam`). Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy
"$dir/env/bin/python" - <<'PYTHON'
import resource
import sys
import time

import torch


def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


print("torch", torch.__version__)
w = torch.nn.Parameter(torch.zeros(3))
w.grad = torch.ones(3)
before, held, began = set(sys.modules), megabytes(), time.process_time()
torch.optim.SGD([w], 0.1)
seconds, new = time.process_time() - began, set(sys.modules) - before
print("torch._dynamo before:", "torch._dynamo" in before, "after one SGD is made:", "torch._dynamo" in new)
print(f"{len(new):,} more modules, SymPy among them: {'sympy' in new or 'sympy' in before}; {seconds:.1f} s of processor, {megabytes() - held:.0f} MB")
raise SystemExit(not ("torch._dynamo" not in before and "torch._dynamo" in new and len(new) > 300))
PYTHON
