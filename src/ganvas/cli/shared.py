"""Flags that several verbs have, and how they print."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

RunFolder = Annotated[Path, "RUN", "a run's folder, or a model's"]
DATA = "a named set, a folder, zip, .npy or .npz"
Strict = Annotated[bool, "", "stop at a file that can't be read"]
Device = Annotated[str, "NAME", "auto, cpu, cuda, cuda:1 or mps"]
ModelData = Annotated[str | None, "DATA", f"{DATA} (default: the run's)"]


def table(lines: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, the values under one another."""
    rows = list(lines)
    width = max(16, *(len(name) for name, _ in rows))
    for name, value in rows:
        print(f"{name:<{width}} {value}")
