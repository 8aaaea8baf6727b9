"""Files that are whole or not there."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganvas.errors import UserError


def existing(folder: str | os.PathLike[str]) -> Path:
    """The path of a folder that is there.

    Raises:
        UserError: it is not; with the name of one beside it that is like it.
    """
    path = Path(folder)
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"{path} is a file, and no folder.")
    beside = [each.name for each in path.parent.iterdir() if each.is_dir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    raise UserError(f"there is no folder {path}." + (f" Did you mean {path.with_name(near[0])}?" if near else ""))


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make the file aside, then sync it and rename it into place: old or new, never half."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """`replace` with a text."""
    replace(path, lambda part: part.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        UserError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}.") from error
