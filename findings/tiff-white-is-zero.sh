#!/usr/bin/env bash
# A grey TIFF says by PhotometricInterpretation 0 that its zero is white. Scanners and fax write such files, and microscopes
# in 16 bits. Pillow turns 8-bit ones over when it opens them, so that 0 is black. It gives 16-bit and float ones as they
# are stored, with 0 white: a negative, with no word of it. Whole numbers with a sign are not opened at all, though the
# same picture with zero as black is. Whoever mixes depths in one folder trains on negatives beside positives.
# Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q pillow==13.0.0 tifffile==2026.3.3 numpy
"$dir/env/bin/python" - <<'PYTHON'
import io

import numpy as np
import PIL
import tifffile
from PIL import Image, UnidentifiedImageError

print("Pillow", PIL.__version__, "tifffile", tifffile.__version__)


def opened(kind: str, photometric: str) -> str:
    file = io.BytesIO()
    tifffile.imwrite(file, np.array([[0, 1, 2, 3]], kind), photometric=photometric)
    try:
        return " ".join(f"{value:g}" for value in np.asarray(Image.open(file))[0])
    except UnidentifiedImageError:
        return "not opened"


expected = {
    ("uint8", "minisblack"): "0 1 2 3", ("uint8", "miniswhite"): "255 254 253 252",
    ("uint16", "minisblack"): "0 1 2 3", ("uint16", "miniswhite"): "0 1 2 3",
    ("float32", "minisblack"): "0 1 2 3", ("float32", "miniswhite"): "0 1 2 3",
    ("int16", "minisblack"): "0 1 2 3", ("int16", "miniswhite"): "not opened",
}
seen = {case: opened(*case) for case in expected}
for (kind, photometric), values in seen.items():
    print(f"{kind:8} {photometric:11} stored 0 1 2 3, Pillow gives: {values}")
raise SystemExit(seen != expected)
PYTHON
