"""A run's folder while it is trained: one process's alone, and known again under another name."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from ganvas.ground.errors import UserError
from ganvas.ground.files import sweep, writing

PROBED = 0.5  # seconds: whoever looks whether a lock is held, holds it for a moment
log = logging.getLogger("ganvas")


class Place:
    """A folder that this process alone writes in.

    Args:
        path: of the folder.

    Raises:
        UserError: another process trains there, or nothing can be written there.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._descriptor = path, None
        self._lock = FileLock(path / ".lock")
        try:
            with writing(path / ".lock"):
                self._lock.acquire(timeout=PROBED)
        except Timeout as error:
            raise UserError(f"{path} is being trained by another process.") from error
        if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder in use can't be renamed
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        sweep(path)

    def now(self) -> Path:
        """Where the folder is now: it is followed when it is renamed.

        Raises:
            UserError: it was deleted, or moved to another disk.
        """
        if self._descriptor is None or self._is_at(self.path):
            return self.path
        found = _path_of(self._descriptor)
        if found is None or not self._is_at(found):
            raise UserError(f"{self.path} was deleted, or moved to another disk, while it was trained: it ends here.")
        log.warning("%s is %s now: the training goes on there.", self.path, found)
        self.path = found
        return found

    def _is_at(self, path: Path) -> bool:
        assert self._descriptor is not None
        try:
            return os.path.samestat(path.stat(), os.fstat(self._descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def leave(self) -> None:
        """Let others train there."""
        self._lock.release()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _path_of(descriptor: int) -> Path | None:
    """What the system calls an open folder now; None where it does not say."""
    try:
        if sys.platform == "darwin":
            import fcntl

            return Path(os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")))
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    except OSError:
        return None


def held(folder: Path) -> bool:
    """Whether a process trains in a run's folder now."""
    lock = folder / ".lock"
    if lock.is_symlink() or not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # not ours to try
        return False
