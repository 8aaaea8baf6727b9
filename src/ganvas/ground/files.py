"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import difflib
import errno
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ganvas.ground.errors import UserError

NO_ROOM = {errno.ENOSPC, errno.EFBIG, *(getattr(errno, name) for name in ("EDQUOT",) if hasattr(errno, name))}
_ASIDE = re.compile(r"\..+\.(\d+)\.part")
_THEIRS = re.compile(r"\.tmp\w{6}")  # safetensors 0.8 writes aside, too, and a kill leaves that


class WriteError(UserError):
    """A file can't be written; what was there before is as it was."""


def existing(folder: str | os.PathLike[str]) -> Path:
    """The path of a folder that is there.

    Raises:
        UserError: it is not; with the name of one beside it that is like it.
    """
    try:
        path = Path(folder)
        is_dir, exists = path.is_dir(), path.exists()
    except (TypeError, OSError) as error:  # no path at all; a name that is too long
        raise UserError(f"{folder!r:.100} is no folder: {getattr(error, 'strerror', None) or error}.") from error
    if is_dir:
        return path
    if exists:
        raise UserError(f"{path} is a file, and no folder.")
    beside = [each.name for each in path.parent.iterdir() if each.is_dir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    raise UserError(f"there is no folder {path}." + (f" Did you mean {path.with_name(near[0])}?" if near else ""))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """While a file is written: what the system refuses is said with its name and the remedy.

    Raises:
        WriteError: the disk is full, or the file can't be written for another reason.
    """
    try:
        yield
    except Exception as error:
        number, other = _system(error), getattr(error, "filename", None)
        if number is None or (other and Path(os.fsdecode(other)).parent != path.parent):  # it was about another file
            raise
        if number in NO_ROOM:
            said = f"there is no room for {path} ({os.strerror(number)}): free some space"
        else:
            said = f"{path} can't be written ({os.strerror(number)})"
        raise WriteError(f"{said}. What was written before is whole.") from error


def _system(error: Exception) -> int | None:
    """The system's number of an error; safetensors tells it in words."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(told[1]) if told else None


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make the file aside, then sync it and rename it into place: old or new, never half.

    Who may read it is for the umask to say, whatever `write` does.

    Raises:
        WriteError: see `writing`.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with writing(path):
            aside.touch()
            mode = aside.stat().st_mode
            aside.unlink()
            write(aside)
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            aside.chmod(mode)
            aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """An empty folder aside, which becomes `folder` at the end, or is gone after an error.

    Raises:
        UserError: `folder` is there, and holds something.
        WriteError: see `writing`.
    """
    folder = Path.cwd() / folder
    vacant(folder)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    with writing(folder):
        aside.mkdir(parents=True)
    try:
        yield aside
        with writing(folder):
            if folder.exists():
                folder.rmdir()
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def vacant(folder: Path) -> None:
    """Whether a folder can be made, or is empty.

    Raises:
        UserError: it holds something, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already, and not empty: take another --out.")


def free(folder: Path) -> Path:
    """This folder, or the first with a number behind it that is not there."""
    tried = (folder.with_name(f"{folder.name}-{i}") if i > 1 else folder for i in itertools.count(1))
    return next(each for each in tried if not each.exists())


def sweep(folder: Path) -> None:
    """Remove what killed writers have left aside in a folder, and in those below it.

    What this process's own number is on was left by one before it: here nobody is writing.
    """
    for path in folder.rglob(".*"):
        named = _ASIDE.fullmatch(path.name)
        dead = named and (int(named[1]) == os.getpid() or not _runs(int(named[1])))
        if dead or _THEIRS.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def _runs(process: int) -> bool:
    """Whether there is a process of this number here; where it can't be asked there may be one."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


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
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}.") from error
