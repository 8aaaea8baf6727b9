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
    cpuinfo = Path("/proc/cpuinfo")
    words = set(cpuinfo.read_text().split()) if device.type == "cpu" and cpuinfo.exists() else set()
    return not words.isdisjoint({"amx_bf16", "avx512_bf16"})
