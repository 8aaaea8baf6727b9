#!/usr/bin/env bash
# A file that a library writes is readable by whom the umask says: with 022 by everybody. One expects it of weights, too.
# safetensors' save_file makes its file for the owner alone, whatever the umask: 0600, and a file that was 0644 becomes
# 0600 when it is written again, because another one is renamed into its place. The bytes of `save`, written by Python,
# are 0644. So a colleague, or a service of another user, can list a folder of models and load none of them.
# safetensors 0.8.0, NumPy and PyTorch alike (one writer in Rust). In ganvas every file is as the umask says: files.replace.
# Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q safetensors==0.8.0 numpy
cd "$dir"
umask 022
"$dir/env/bin/python" - <<'PYTHON'
import os
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import load_file, save, save_file

print("safetensors", safetensors.__version__)
weights, found = {"a": np.ones(3, np.float32)}, {}


def mode(name: str) -> str:
    return oct(os.stat(name).st_mode & 0o777)


save_file(weights, "new.safetensors")
found["save_file"] = mode("new.safetensors")
Path("old.safetensors").write_bytes(save(weights))
found["save, written by Python"] = mode("old.safetensors")
before = os.stat("old.safetensors").st_ino
save_file(weights, "old.safetensors")
found["save_file over it"] = mode("old.safetensors")
another = os.stat("old.safetensors").st_ino != before
for what, said in found.items():
    print(f"umask 022, {what}: {said}")
print("the file that was there is", "another one" if another else "the same one", "now")
assert load_file("old.safetensors")["a"].sum() == 3
raise SystemExit(not (list(found.values()) == ["0o600", "0o644", "0o600"] and another))
PYTHON
