"""Where a number comes from."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any


def commit() -> str | None:
    """The checkout's commit, with "+changes" if the package's files differ from it; None outside of one."""
    folder = Path(__file__).parents[1]

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # installed inside of somebody else's checkout
        return git("rev-parse", "--short=12", "HEAD") + "+changes" * bool(git("status", "--porcelain", "--", "."))
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> dict[str, Any]:
    """{"processor", "cores", "threads", "gpu", "torch"}: what figures of time, and last digits, depend on."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    processor = named[0] if named else platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return {"processor": processor, "cores": os.cpu_count(), "threads": threads, "gpu": gpu, "torch": torch.__version__}
