#!/usr/bin/env bash
# A build with a local version, 1.0+cpu, is newer than 1.0: pip takes it, from an index or a folder of --find-links. With
# hashes it does not: of two builds that the requirements' hashes both allow, the one whose hash the index states comes first,
# whatever its version, and a file of a folder has none stated. So a lock that holds the hashes of PyPI's torch and of its CPU
# build, on a machine where that build lies in a folder, installs PyPI's, which without gigabytes of CUDA can't be imported.
# pip 23.2.1 and 26.2. In ganvas's lock the CPU build has a file of its own, installed first and without an index.
# Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 - <<'PYTHON'
import hashlib
import zipfile
from pathlib import Path

lines = []
for version, folder in (("1.0", "index/twobuilds"), ("1.0+cpu", "links")):
    Path(folder).mkdir(parents=True)
    wheel, about = Path(folder, f"twobuilds-{version}-py3-none-any.whl"), f"twobuilds-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("twobuilds.py", "")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: twobuilds\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    lines.append(hashlib.sha256(wheel.read_bytes()).hexdigest())
page = f'<a href="twobuilds-1.0-py3-none-any.whl#sha256={lines[0]}">twobuilds-1.0-py3-none-any.whl</a>'
Path("index/twobuilds/index.html").write_text(f"<!doctype html>{page}")
Path("plain.txt").write_text("twobuilds==1.0\n")
Path("hashed.txt").write_text("twobuilds==1.0 " + " ".join(f"--hash=sha256:{line}" for line in lines) + "\n")
PYTHON
found=""
for pip in 23.2.1 26.2; do
  python3 -m venv "env-$pip"
  "env-$pip/bin/pip" install -q "pip==$pip" 2>/dev/null
  for wanted in plain hashed; do
    "env-$pip/bin/pip" install -q --force-reinstall --no-deps --index-url "file://$dir/index" --find-links links -r $wanted.txt 2>/dev/null
    took=$("env-$pip/bin/pip" list 2>/dev/null | awk '$1 == "twobuilds" { print $2 }')
    echo "pip $pip, $wanted requirements: $took"
    found="$found $took"
  done
done
test "$found" = " 1.0+cpu 1.0 1.0+cpu 1.0"
