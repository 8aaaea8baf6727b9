"""Writes the lock: every package that `make` installs, for any Python and system that ganvas takes, with its hashes.

`make lock` keeps what is locked and fits; `make lock UPGRADE=1` takes the newest releases.

PyPI's torch for Linux asks for some gigabytes of CUDA, a CPU build of the same release for none of it. So each has a
file of its own: a CPU build that lies in a folder of pip's `find-links` is taken first, since pip prefers what an index
has a hash of; CUDA is installed where torch can't be imported without it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEVER = ("pip", "torchvision")
CUDA = re.compile(r"(cuda|nvidia|triton)\b")
HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


def resolve(sources: list[str], before: list[Path]) -> list[str]:
    """The pinned packages of some requirements, each with its marker and hashes; one for each marker."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "lock.txt"
        if "--upgrade" not in sys.argv:  # uv keeps the releases that it finds in its output, and would keep hashes
            pins = "".join(path.read_text() for path in before if path.exists())
            out.write_text(re.sub(r"\s*\\\n\s+--hash=\S+", "", pins))
        command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "-q", *sources]
        command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header"]
        command += [f"--no-emit-package={name}" for name in NEVER]
        subprocess.run([*command, "--output-file", str(out)], cwd=HERE.parent, check=True)
        return re.split(r"\n(?=[a-z0-9])", out.read_text().strip(), flags=re.IGNORECASE)


def builds(torch: str, before: list[str]) -> list[str]:
    """The hashes of torch's builds that are not PyPI's: of the one that pip takes here, and of those known before."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip"]
        subprocess.run([*pip, "download", "-q", "--no-deps", "-d", folder, torch.split()[0]], check=True)
        digest = subprocess.run([*pip, "hash", *Path(folder).iterdir()], check=True, capture_output=True, text=True)
    return sorted({*HASH.findall(digest.stdout), *before} - {*HASH.findall(torch)})


def write(path: Path, entries: list[str]) -> None:
    """Write a file of the lock."""
    path.write_text("\n".join(["# Written by `make lock`.", *entries]) + "\n")
    print(f"{path.relative_to(HERE.parent)}: {len(entries)} packages")


def main() -> None:
    """Write packages.txt, cpu.txt, cuda.txt and release.txt."""
    packages, cpu, cuda, release = (HERE / f"{name}.txt" for name in ("packages", "cpu", "cuda", "release"))
    found = resolve(["pyproject.toml", "--extra", "dev", "lock/packages.in"], [packages, cuda])
    torch = next(entry for entry in found if entry.startswith("torch=="))
    before = cpu.read_text() if cpu.exists() else ""
    hashes = [f"    --hash={it}" for it in builds(torch, HASH.findall(before) if torch.split()[0] in before else [])]
    write(
        packages,
        [" \\\n".join([entry, *hashes]) if entry is torch else entry for entry in found if not CUDA.match(entry)],
    )
    write(cpu, [" \\\n".join([torch.split()[0], *hashes])])
    write(cuda, [entry for entry in found if CUDA.match(entry)])
    write(release, resolve(["lock/release.in"], [release]))


if __name__ == "__main__":
    main()
