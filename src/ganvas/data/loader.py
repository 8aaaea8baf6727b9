"""Batches by their number: the batch of any step can be had without those before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas.data.dataset import Split
from ganvas.data.paged import paged
from ganvas.data.streamed import Images
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import order


def to_tensor(images: np.ndarray | Images, device: torch.device | str = "cpu") -> Tensor:
    """Rows of a split as a model takes them.

    Args:
        images: uint8 or uint16 (N, H, W, C), or rows of numbers, float32 (N, d); streamed images are all decoded.
        device: where the tensor goes; images travel as they are kept.

    Returns:
        float32 (N, C, H, W) in [0, 1], channels last in memory, or the rows (N, d).
    """
    return floats(as_stored(np.asarray(images)).to(device, non_blocking=True))


def to_images(images: Tensor) -> NDArray[np.uint8]:
    """Images (N, C, H, W) in [0, 1] as files hold them: (N, H, W, C), to the nearest of 256 levels."""
    found: NDArray[np.uint8] = (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return found


def as_stored(images: np.ndarray) -> Tensor:
    """Rows of a split as a tensor of the same numbers, on the CPU; uint16 as int16, as torch knows little of it."""
    rows = np.require(images, requirements=["C", "W"])
    return torch.from_numpy(rows.view(np.int16) if rows.dtype == np.uint16 else rows)


def floats(rows: Tensor) -> Tensor:
    """What `as_stored` gave as `to_tensor` gives it."""
    if rows.dtype == torch.int16:
        return rows.permute(0, 3, 1, 2).int().bitwise_and_(65535).float().div_(65535)
    return rows.permute(0, 3, 1, 2).float().div_(255) if rows.dtype == torch.uint8 else rows.float()


class Batch(NamedTuple):
    """What a player sees at a move.

    Attributes:
        images: (N, *shape), images with values in [0, 1].
        labels: int64 (N,), or (N, A) of A attributes; None where the data have none.
    """

    images: Tensor
    labels: Tensor | None = None


class Batches:
    """An endless sequence of shuffled batches; a new order each epoch, the incomplete last batch left out.

    Args:
        split: what to draw from.
        batch_size: rows of the global batch, shared evenly by `world` processes.
        seed: the run's seed.
        rank: this process's place.
        world: how many processes.
        device: where the batches go.
        resident: whether all images lie there too; by default on a GPU that has room for them.

    Raises:
        UserError: the batch is larger than the data, or not a multiple of the number of processes.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
        resident: bool | None = None,
    ) -> None:
        if not len(split):
            raise UserError("there are no training images: give a folder or an array of at least 3.")
        if batch_size > len(split):
            raise UserError(
                f"--batch-size {batch_size} is larger than the {len(split)} training images: take --batch-size "
                f"{2 ** (len(split).bit_length() - 1)} or less."
            )
        if batch_size % world:
            raise UserError(f"--batch-size {batch_size} can't be shared evenly by {world} processes.")
        self.split, self.batch_size, self.seed, self.device = split, batch_size, seed, device
        self.rank, self.share = rank, batch_size // world
        self._epoch, self._order = -1, np.empty(0, np.int64)
        self._begun: dict[int, Callable[[], NDArray[np.generic]]] = {}  # batches of streamed images, by their number
        self._resident: tuple[Tensor, ...] = ()  # images, and labels if there are any
        if has_room(split, device) if resident is None else resident:
            labels = [] if split.labels is None else [as_stored(split.labels)]
            kept = [as_stored(np.asarray(split.images)), *labels]
            self._resident = tuple(tensor.to(device) for tensor in kept)
        self._paged = None if self._resident else paged(split.images)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.split) // self.batch_size

    def __getitem__(self, index: int) -> Batch:
        """Batch `index`, counted from the start of the run: this process's rows of it."""
        return self.made(*self.fetched(index))

    def fetched(self, index: int) -> tuple[Tensor, ...]:
        """What a batch is made of, on the device: its rows as they are kept; where all lie there, their numbers."""
        rows = self._rows(index)
        if self._resident:
            return (torch.from_numpy(rows).to(self.device, non_blocking=True),)
        images, labels = self.split.images, self.split.labels
        if isinstance(images, Images):
            # The next one is decoded while this one is trained on; and several players take this one in turn.
            self._begun = {i: self._begun.get(i) or images.begin(self._rows(i)) for i in (index, index + 1)}
            seen = self._begun[index]()
        else:
            if self._paged and (index + 1) % len(self):  # the next epoch's order would be drawn twice
                self._paged.want(self._rows(index + 1))
            seen = images[rows]
        kept = [as_stored(seen), *([] if labels is None else [as_stored(labels[rows])])]
        if torch.device(self.device).type == "cuda":
            kept = [tensor.pin_memory() for tensor in kept]  # else the copy would make the host wait
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in kept)

    def made(self, *parts: Tensor) -> Batch:
        """The batch of what was `fetched`."""
        images, *labels = [kept[parts[0]] for kept in self._resident] or parts
        return Batch(floats(images), *labels)

    def _rows(self, index: int) -> NDArray[np.int64]:
        epoch, place = divmod(index, len(self))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, order(self.seed, "order", epoch, n=len(self.split))
        first = place * self.batch_size + self.rank * self.share
        return self._order[first : first + self.share]


def has_room(split: Split, device: torch.device | str) -> bool:
    """Whether a GPU has room for all images of a split, in a quarter of what is free."""
    if torch.device(device).type != "cuda" or isinstance(split.images, Images):
        return False
    return split.images.nbytes < torch.cuda.mem_get_info(device)[0] / 4
