"""What a device can do."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch


@cache
def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and not _flags().isdisjoint({"amx_bf16", "avx512_bf16"})


def has_amx() -> bool:
    """Whether the CPU has matrix units."""
    return "amx_bf16" in _flags()


@cache
def _flags() -> set[str]:
    """What the CPU can do, in Linux's words."""
    cpuinfo = Path("/proc/cpuinfo")
    return set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
