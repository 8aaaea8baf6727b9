"""How many threads compute, and what they do while they wait: settled before torch is imported, which reads it once.

The threads of a step wait for each other hundreds of thousands of times a second. By default GNU OpenMP's spin while
they wait: the fastest alone, but beside another training each spins away the time that the one it waits for needs.
Here they spin for a few microseconds, then sleep, and there are no more of them than cores that nobody uses.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

# Turns of a waiting loop. On two cores, VAE of 28 x 28 images, images/s alone and of each of two trainings at once:
# 300,000 (OpenMP's own) 20,500 and 5,700; 10,000 16,700 and 2,800; 1,000 20,600 and 9,000; asleep at once 11,800 and
# 13,300. One thread each: 14,000 and 14,500.
SPIN = 1000
LOOK = 0.1  # seconds over which the use of the cores is read, in ticks of 0.01
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
chosen: int | None = None  # by --threads


class Cores(NamedTuple):
    """Cores of this machine.

    Attributes:
        granted: that this process may use: its affinity, and the quota of its control group.
        free: of these, that no other process uses now; at least 1.
    """

    granted: int
    free: int


def cores() -> Cores:
    """The cores granted to this process, and those of them that are free, watched for a tenth of a second."""
    allowed, most = affinity(), granted()
    if most == 1:
        return Cores(1, 1)
    before = busy_ticks(allowed)
    time.sleep(LOOK)
    used = (busy_ticks(allowed) - before) / (LOOK * os.sysconf("SC_CLK_TCK")) if before else 0.0
    return Cores(most, max(1, min(most, round(len(allowed) - used))))


def affinity() -> set[int]:
    """The cores that this process may run on."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def granted() -> int:
    """How many of them its control group pays for; at least 1."""
    return max(1, min(len(affinity()), quota()))


def quota(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that the control group pays for, rounded up; a large number where it sets no limit."""
    for name, period in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = (root / name).read_text().split() + ([(root / period).read_text()] if period else [])
            share, whole = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):  # no such file, or "max"
            continue
        if share > 0:
            return -(-share // whole)
    return 1 << 20


def busy_ticks(allowed: set[int], stat: Path = Path("/proc/stat")) -> int:
    """Ticks that these cores have worked since the machine started; 0 where the system does not say."""
    try:
        lines = stat.read_text().splitlines()
    except OSError:
        return 0
    total = 0
    for line in lines:
        name, *ticks = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in allowed:
            user, nice, system, _idle, _wait, interrupts, soft, steal = map(int, ticks[:8])
            total += user + nice + system + interrupts + soft + steal
    return total


def choose(count: int) -> None:
    """So many threads compute in this process, whatever is free, and whatever a run that is resumed began with.

    There are no more of them than the machine has cores.
    """
    global chosen
    chosen = min(count, os.cpu_count() or 1)
    os.environ.update(dict.fromkeys(SETTINGS, str(chosen)))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(chosen)


def settle() -> str | None:
    """Choose threads and their waiting for this process, unless the environment has; once, before torch is imported.

    Returns:
        What was chosen and why, a line; None where nothing was left to choose or all cores are free.
    """
    if "torch" in sys.modules:
        return None
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN))
    if any(name in os.environ for name in SETTINGS):
        return None
    found = cores()
    os.environ["OMP_NUM_THREADS"] = str(found.free)
    if found.free == found.granted == (os.cpu_count() or 1):
        return None
    why = f"{found.granted - found.free} of {found.granted} cores are in use"
    if found.free == found.granted:
        why = f"{found.granted} of {os.cpu_count()} cores are granted"
    return f"{found.free} thread{'s' * (found.free > 1)}: {why} (--threads N takes N)"
