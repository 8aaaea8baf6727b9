"""What a training writes down as it goes: metrics.jsonl, and TensorBoard's event files."""

from __future__ import annotations

import errno
import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.files import writing
from ganvas.training.run import Run


class Log:
    """metrics.jsonl and, if asked, TensorBoard's event files; silent in all processes but the main one."""

    def __init__(self, run: Run, step: int, tensorboard: bool, main: bool) -> None:
        self.path = run.path / "metrics.jsonl"
        # Without a buffer: what could not be written would be tried again at the end.
        self.file = self.path.open("ab", buffering=0) if main else None
        self.board: Any = None
        if tensorboard and main:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(run.path / "tensorboard"), purge_step=step)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.close()
        if self.board:
            self.board.close()

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
        if self.board:
            for name, value in figures.items():
                self.board.add_scalar(f"{split}/{name}", value, step)

    def show(self, step: int, pictures: dict[str, NDArray[np.uint8]]) -> None:
        """Give TensorBoard pictures, uint8 (H, W, C), by name."""
        for name, picture in pictures.items() if self.board else ():
            self.board.add_image(name, picture[..., :3], step, dataformats="HWC")
