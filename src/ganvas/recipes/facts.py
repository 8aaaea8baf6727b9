"""What a recipe is told about the data, to choose by what it is not told."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ganvas.data import Dataset

T = TypeVar("T")
LOOKED, NUMBERS = 500, 20_000_000  # training images that are looked at, and numbers in them, at most
ALMOST_ALL = 0.85  # share of levels near to black or white in images that are black and white


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a recipe chooses its defaults by: its argument `facts`, which is no flag. Without data: MNIST's.

    Attributes:
        shape: of one example, (C, H, W) or (d,).
        n: training examples.
        black_and_white: whether nearly all pixels are black or white.
        levels: that a value can have: 256 of bytes; of 16 bits the data's, or 65,536.
        variance: of the values in [0, 1], summed over an example: the squared length at which examples differ.
        chosen: what was chosen and why, a line each.
    """

    shape: tuple[int, ...] = (1, 28, 28)
    n: int = 50_000
    black_and_white: bool = True
    variance: float = 52.7
    levels: int = 256
    chosen: list[str] = dataclasses.field(default_factory=list, compare=False)

    @classmethod
    def of(cls, dataset: Dataset) -> Facts:
        """Those of a data set."""
        import numpy as np

        from ganvas.data.ranges import EDGE

        images = dataset.splits["train"].images
        most = min(len(images), LOOKED, max(2, NUMBERS // images[0].size))
        seen = np.asarray(images[np.linspace(0, len(images) - 1, most).astype(int)])
        if len(dataset.shape) == 1:
            return cls(dataset.shape, len(images), False, float(seen.var(0).sum()))
        top = np.iinfo(seen.dtype).max
        share = float(((seen <= EDGE * top) | (seen >= (1 - EDGE) * top)).mean())
        variance = float(seen.astype(np.float32).var(0).sum()) / top**2
        levels = max(2, dataset.levels or int(top) + 1)
        return cls(dataset.shape, len(images), share >= ALMOST_ALL and dataset.shape[0] == 1, variance, levels)

    @property
    def images(self) -> bool:
        """Whether the data are images, and not rows of numbers."""
        return len(self.shape) == 3

    @property
    def small(self) -> bool:
        """Whether a fully connected net is enough: rows of numbers, and grey images of up to 32 x 32."""
        return not self.images or (self.shape[0] == 1 and max(self.shape[1:]) <= 32)

    @property
    def size(self) -> str:
        """The shape in words."""
        what = "grey" if self.shape[0] == 1 else f"{self.shape[0]} channels"
        return f"{self.shape[1]} x {self.shape[2]}, {what}" if self.images else f"rows of {self.shape[0]} numbers"

    def choose(self, setting: str, given: T | None, chosen: T, why: str) -> T:
        """`given`, or else what was chosen, which is noted: "net: residual (64 x 64, 3 channels)"."""
        if given is not None:
            return given
        words = getattr(type(chosen), "__name__", "").lower() if dataclasses.is_dataclass(chosen) else chosen
        self.chosen.append(f"{setting}: {words} ({why})")
        return chosen

    def batch_size(self, usual: int, least: int) -> int:
        """`usual`, or less for few data, so that an epoch has some 10 steps: a power of 2, `least` or more."""
        return min(usual, max(least, 1 << max(0, (self.n // 10).bit_length() - 1)))

    def epochs(self, images: int, most: int) -> int:
        """Passes over the data in which about so many images are seen: at least 1, at most `most`."""
        return max(1, min(most, round(images / self.n)))
