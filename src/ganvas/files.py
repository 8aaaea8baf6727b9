"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make the file aside, then sync it and rename it into place: old or new, never half."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    write(aside)
    with aside.open("rb+") as file:
        os.fsync(file.fileno())
    aside.replace(path)


def write_text(path: Path, text: str) -> None:
    """`replace` with a text."""
    replace(path, lambda part: part.write_text(text, encoding="utf-8"))
