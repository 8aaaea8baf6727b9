"""What a training writes down as it goes, in metrics.jsonl, and tells its callbacks."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganvas.ground.files import writing
from ganvas.training.callbacks import Callback
from ganvas.training.run import Run

if TYPE_CHECKING:
    from ganvas.training.finding import Finding


class Log:
    """metrics.jsonl, and the callbacks; silent in all processes but the main one.

    Attributes:
        state: that the run has when the log is closed.
    """

    state = "failed"

    def __init__(self, run: Run, step: int, callbacks: Sequence[Callback], main: bool) -> None:
        self.path = run.path / "metrics.jsonl"
        # Without a buffer: what could not be written would be tried again at the end.
        self.file = self.path.open("ab", buffering=0) if main else None
        self.callbacks = callbacks if main else ()
        for callback in self.callbacks:
            callback.on_begin(run, step)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.close()
        for callback in self.callbacks:
            callback.on_end(self.state)

    def write(self, split: str, step: int, epoch: float, figures: dict[str, float]) -> None:
        """Add a row.

        Raises:
            WriteError: there is no room for it.
        """
        if self.file:
            row = json.dumps({"step": step, "epoch": epoch, "split": split, **figures}).encode() + b"\n"
            with writing(self.path):
                if self.file.write(row) < len(row):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for callback in self.callbacks:
            callback.on_row(split, step, epoch, figures)

    def tested(self, step: int, epoch: float, figures: dict[str, float]) -> None:
        """Tell the figures of the test images, which stand in state.json."""
        for callback in self.callbacks:
            callback.on_row("test", step, epoch, figures)

    def find(self, step: int, finding: Finding) -> None:
        """Tell what is wrong."""
        for callback in self.callbacks:
            callback.on_finding(step, finding)

    def show(self, step: int, pictures: dict[str, NDArray[np.uint8]]) -> None:
        """Show pictures, uint8 (H, W, C), by name."""
        for callback in self.callbacks if pictures else ():
            callback.on_pictures(step, pictures)
