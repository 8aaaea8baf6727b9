"""Flags that several verbs have, and how they print."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

RunFolder = Annotated[Path, "RUN", "a run's folder, or a model's"]
DATA = "a named set, a folder, zip, .npy or .npz"
Size = Annotated[int | tuple[int, int] | None, "H [W]", "side, or height and width, that images are fitted to"]
Channels = Annotated[Literal[1, 3, 4] | None, "1|3|4", "1 makes images grey, 3 colour, 4 keeps transparency"]
Range = Annotated[tuple[float, float] | None, "LOW HIGH", "values that are black and white (default: the data's)"]
Limit = Annotated[int | None, "INT", "training images, at most, and the same share of the others"]
Labels = Annotated[Path | None, "FILE", "of labels: CSV of lines file,label, or .npy"]
Stream = Annotated[bool, "", "decode images when they are asked for, keep none"]
Strict = Annotated[bool, "", "stop at a file that can't be read"]
Device = Annotated[str, "NAME", "auto, cpu, cuda, cuda:1 or mps"]
ModelData = Annotated[str | None, "DATA", f"{DATA} (default: the run's)"]


def table(lines: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, the values under one another."""
    rows = list(lines)
    width = max(16, *(len(name) for name, _ in rows))
    for name, value in rows:
        print(f"{name:<{width}} {value}")
