#!/usr/bin/env bash
# The same tensors and the same metadata, saved twice in one process, make two files of other bytes: one expects the same,
# since the tensors' own order is fixed. The metadata is a hash map with a random seed, written in its own order; with one
# entry or none the bytes are the same. So the SHA-256 of a model says nothing where two facts are kept beside its weights:
# content-addressed stores keep it twice, and "same seed, same file" can't be checked by comparing files.
# safetensors 0.8.0, `save` and `save_file`, NumPy and PyTorch alike. In ganvas: tensors._order puts the header in order.
# Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q safetensors==0.8.0 numpy
cd "$dir"
"$dir/env/bin/python" - <<'PYTHON'
import hashlib

import numpy as np
import safetensors
from safetensors.numpy import save

print("safetensors", safetensors.__version__)
weights = {name: np.arange(5, dtype=np.float32) for name in "cba"}
found = {}
for n in (0, 1, 6):
    facts = {f"fact {i}": str(i) for i in range(n)}
    found[n] = len({hashlib.sha256(save(weights, facts)).hexdigest() for _ in range(20)})
    print(f"20 times the same weights with {n} facts: {found[n]} different files")
raise SystemExit(not (found[0] == found[1] == 1 < found[6]))
PYTHON
