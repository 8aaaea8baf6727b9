"""What memory and disk are free, and a refusal of what would not fit."""

from __future__ import annotations

import contextlib
import ctypes
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganvas.ground.errors import UserError

SMALL = 2**24  # bytes that are not worth a look at what is free
# Of glibc's `mallopt`: from which size on a block is the system's own, and how much is kept of what is freed.
THRESHOLDS = {-3: 2**25, -1: 2**27}
SHARE = 0.9  # of what is free, that one result may take


def keep_freed() -> None:
    """Let this process keep up to 128 MB that it frees for what it asks for next, where its C library is glibc.

    A step frees its gradients, and by default the next one gets their memory from the system again, a page of 4 KB at
    a time: for a small net an eighth of a step.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        for name, size in THRESHOLDS.items():
            ctypes.CDLL(None).mallopt(name, size)


def free(device: Any = "cpu", root: Path = Path("/")) -> int | None:
    """Bytes that are free on a device: of a CPU what the system or the control group leaves; None: it does not say."""
    if str(device).startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    found = [bytes_ for bytes_ in (_of_system(root), _of_group(root)) if bytes_ is not None]
    return min(found, default=None)


def require(size: int, what: str, remedy: str, device: Any = "cpu") -> None:
    """Whether `size` bytes fit into memory; `what` takes them.

    Raises:
        UserError: they don't; says what it would take, and the remedy.
    """
    there = free(device) if size > SMALL else None
    if there is not None and size > SHARE * there:
        raise UserError(f"{what} would take {in_words(size)} of memory, and {in_words(there)} are free: {remedy}.")


def require_images(n: int, shape: Sequence[int], remedy: str = "take fewer", device: Any = "cpu") -> None:
    """Whether n images of this shape, float32, fit into memory.

    Raises:
        UserError: they don't.
    """
    require(4 * n * math.prod(shape), f"{n:,} images of {' x '.join(map(str, shape))}", remedy, device)


def require_disk(size: int, folder: Path, what: str) -> None:
    """Whether `size` bytes can be written into a folder.

    Raises:
        UserError: they can't.
    """
    there = shutil.disk_usage(folder).free
    if size > SHARE * there:
        raise UserError(f"{what} would take {in_words(size)}, and {in_words(there)} are free in {folder}: take fewer.")


def in_words(size: float) -> str:
    """Bytes as 3.1 GB."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"


def _of_system(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _of_group(root: Path) -> int | None:
    """What the control group's limit leaves, pages of files that can be dropped counted as free."""
    for base, most, used, stale in (
        ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit, now = (int((root / base / name).read_text()) for name in (most, used))
            stat = dict(line.split() for line in (root / base / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        return max(0, limit - now + int(stat.get(stale, 0)))
    return None
