#!/usr/bin/env bash
# installed.sh PYTHON highest|lowest-direct: the wheel of dist/ in a new environment, with the newest or the oldest releases that
# pyproject.toml allows, and there what a newcomer does first. Fetches a torch, which may be gigabytes.
set -eu
wheel=$(ls "$PWD"/dist/ganvas-*.whl)
new=$(mktemp -d); trap 'rm -rf "$new"' EXIT
"$1" -m venv "$new/env"
PATH="$new/env/bin:$PATH"
pip install -q uv
uv pip compile -q pyproject.toml --extra digits --extra sklearn --extra studio --resolution "$2" --python "$new/env/bin/python" -o "$new/locked.txt" >/dev/null
uv pip install -q --python "$new/env/bin/python" -r "$new/locked.txt"
uv pip install -q --python "$new/env/bin/python" --no-deps "$wheel"
uv pip list -q --python "$new/env/bin/python" | grep -E "^(ganvas|numpy|pillow|pydantic|torch|tyro) " | tr -s ' \n' ' '
cd "$new"
python -c 'import sys; print("on Python", sys.version.split()[0])'
ganvas train vae --data digits --epochs 2 --out run 2>/dev/null | head -1
ganvas sample run
ganvas show run --html | tail -1
ganvas evaluate run --metrics elbo kernel 2>/dev/null | grep -i -m 1 elbo
python - <<'PYTHON'
import numpy

import ganvas
from ganvas.sklearn import VAE

rows = numpy.random.default_rng(0).random((50, 6))
assert ganvas.load("run").sample(3).shape == (3, 1, 8, 8)
assert VAE(latent_dim=2, epochs=2).fit(rows).transform(rows).shape == (50, 2)
PYTHON
