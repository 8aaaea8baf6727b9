"""Rows of numbers in units that nets learn well in: a model measures them once, and speaks the data's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    from ganvas.data import Dataset

BLOCK = 4096  # rows that are in memory at a time


class Units(nn.Module):
    """Each column less its mean, over its standard deviation; images stay as they are.

    Args:
        shape: of one example: (d,) for rows of numbers, else an image's.

    Attributes:
        mean: of each column, (d,); 0 before `measure`.
        scale: its standard deviation, (d,); 1 before `measure`, and of a column that is constant.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.rows = len(shape) == 1
        if self.rows:
            self.register_buffer("mean", torch.zeros(shape))
            self.register_buffer("scale", torch.ones(shape))

    def prepare(self, dataset: Dataset) -> Units:
        """Measure a data set's training rows. Sets that have a name stay as they are published: papers use them so."""
        from ganvas.data import names

        if self.rows and dataset.source not in names():
            self.measure(np.asarray(dataset.splits["train"].images))
        return self

    def measure(self, rows: NDArray[Any]) -> None:
        """Take mean and deviation from training rows (N, d), summed in float64."""
        blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]  # views of a memory map
        mean = sum(block.sum(0, dtype=np.float64) for block in blocks) / len(rows)
        square = sum(np.square(block - mean).sum(0) for block in blocks) / len(rows)
        constant = np.logical_and.reduce([(block == rows[0]).all(0) for block in blocks])
        deviation = np.sqrt(square)
        # A mean rounds: the deviation of a constant column need not come out as 0.
        deviation[constant | (deviation < np.finfo(np.float32).tiny)] = 1
        self.mean.copy_(torch.from_numpy(np.asarray(mean)))
        self.scale.copy_(torch.from_numpy(deviation))

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) in the data's units -> in standard deviations from the mean."""
        return (x - self.mean) / self.scale if self.rows else x

    def back(self, x: Tensor) -> Tensor:
        """The inverse of `forward`."""
        return x * self.scale + self.mean if self.rows else x

    def log_volume(self) -> Tensor | float:
        """What a log-density in standard units loses in the data's: the sum of log scale, in nats."""
        return self.scale.log().sum() if self.rows else 0.0

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        if self.rows:  # models that were saved before there were units have rows as they are
            state.setdefault(f"{prefix}mean", torch.zeros_like(self.mean))
            state.setdefault(f"{prefix}scale", torch.ones_like(self.scale))
        super()._load_from_state_dict(state, prefix, *rest)
