"""Randomness as a function of (seed, purpose, position).

No generator lives longer than the draw that it is made for; that of a `Stream` lives as long as its rows come. So a
resumed run draws what an unbroken one would have drawn, any sample can be drawn again, and nothing depends on how many
processes share a batch: noise is drawn for the *global* batch, of which each process keeps its own rows.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor


def key(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit number that depends on every argument; equal arguments give an equal number on every machine."""
    digest = hashlib.blake2b(repr((seed, purpose, *position)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def order(seed: int, purpose: str, *position: int, n: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A permutation of 0 ... n-1."""
    return np.random.Generator(np.random.SFC64(key(seed, purpose, *position))).permutation(n)


def reseed(seed: int, device: torch.device) -> None:
    """Set torch's own generators, of the CPU and of a run's device.

    `torch.manual_seed` sets every device's, and notes the stack of calls for those that are not in use: of a small
    net's step on a CPU that is 4 %.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.manual_seed(seed)


class Draw:
    """The random numbers of one move: of those that the global batch gets, the rows of this process.

    Equal draws on every CPU; a GPU draws with its own generator, equal on every GPU of its kind.

    Args:
        seed: the run's seed.
        position: where in the run: (step, the player's place, move).
        rank: this process's place among the `world` processes that share the global batch.
        world: how many they are.
    """

    def __init__(self, seed: int, *position: int, rank: int = 0, world: int = 1) -> None:
        self.seed, self.position, self.rank, self.world = seed, position, rank, world

    def _rows(self, distribution: str, purpose: str, shape: tuple[int, ...], device: torch.device | str) -> Tensor:
        if distribution == "order":
            rows = order(self.seed, purpose, *self.position, n=shape[0])
            return torch.from_numpy(rows).to(device, non_blocking=True)
        seed = key(self.seed, purpose, *self.position)
        n = shape[0]
        if distribution == "coarse":  # uniform, in the middle of a 65,536th
            # Each row begins with a word of its own, 64 bits, so it is the same however many are drawn at once.
            d = math.prod(shape[1:])
            words = -(-d // 4)
            raw = self._generator(seed, "cpu").bit_generator.random_raw((n * self.world, words))
            bits = raw[self.rank * n : (self.rank + 1) * n].view(np.int16)[:, :d]
            return torch.from_numpy(bits).float().add_(32768.5).mul_(2.0**-16).view(shape)
        total = (n * self.world, *shape[1:])
        if torch.device(device).type == "cpu":
            # NumPy's ziggurat and SFC64 are three times as fast as torch's Mersenne twister on a CPU.
            random = self._generator(seed, "cpu")
            draw = random.standard_normal if distribution == "normal" else random.random
            numbers = torch.from_numpy(draw(total, dtype=np.float32))
        else:
            make = torch.randn if distribution == "normal" else torch.rand
            numbers = make(total, generator=self._generator(seed, device), device=device)
        return numbers.narrow(0, self.rank * n, n)

    def _generator(self, seed: int, device: torch.device | str) -> Any:
        """NumPy's for the CPU, else the device's."""
        if torch.device(device).type == "cpu":
            return np.random.Generator(np.random.SFC64(seed))
        return torch.Generator(device).manual_seed(seed)

    def above(self) -> Draw:
        """Random numbers of their own for a layer above."""
        return Draw(self.seed, *self.position, 1, rank=self.rank, world=self.world)

    def normal(self, purpose: str, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
        """N(0, 1), float32, of `shape`: its first dimension is this process's share of the batch."""
        return self._rows("normal", purpose, shape, device)

    def uniform(self, purpose: str, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
        """U[0, 1), float32, of `shape`: its first dimension is this process's share of the batch."""
        return self._rows("uniform", purpose, shape, device)

    def order(self, purpose: str, n: int, device: torch.device | str = "cpu") -> Tensor:
        """A permutation of 0 ... n-1, int64 (n,), the same one for every process."""
        return self._rows("order", purpose, (n,), device)

    def binary(self, purpose: str, p: Tensor) -> Tensor:
        """0 or 1, each 1 with its probability in p (n, ...), of p's type: n is this process's share of the batch.

        On a CPU by 16 random bits for each, so a probability is off by at most 2^-17; of 0 and 1 it is exact.
        """
        if p.device.type != "cpu":
            return (self.uniform(purpose, tuple(p.shape), p.device) < p).to(p.dtype)
        # The sign of p - u.
        return (p - self._rows("coarse", purpose, tuple(p.shape), p.device)).ceil_().to(p.dtype)


class Held(Draw):
    """Draws whose numbers stay where they are in memory, and become another draw's by `renew`: for what is recorded.

    Args:
        draw: what they are at first.
    """

    def __init__(self, draw: Draw) -> None:
        super().__init__(draw.seed, *draw.position, rank=draw.rank, world=draw.world)
        self._held: dict[tuple[str, str, tuple[int, ...], torch.device | str], Tensor] = {}
        self._above: Held | None = None

    def _rows(self, distribution: str, purpose: str, shape: tuple[int, ...], device: torch.device | str) -> Tensor:
        asked = (distribution, purpose, shape, device)
        if asked not in self._held:
            self._held[asked] = super()._rows(*asked)
        return self._held[asked]

    def renew(self, draw: Draw) -> None:
        """What was asked for until now, of another draw."""
        self.seed, self.position = draw.seed, draw.position
        for asked, tensor in self._held.items():
            tensor.copy_(super()._rows(*asked), non_blocking=True)
        if self._above:
            self._above.renew(draw.above())

    def above(self) -> Held:
        """That of a layer above, held too."""
        self._above = self._above or Held(super().above())
        return self._above


class Shared(Draw):
    """A draw whose rows are all the same: what is computed of a row depends on no other one, nor on their number."""

    def _rows(self, distribution: str, purpose: str, shape: tuple[int, ...], device: torch.device | str) -> Tensor:
        if distribution == "order":
            return super()._rows(distribution, purpose, shape, device)
        return super()._rows(distribution, purpose, (1, *shape[1:]), device).expand(shape)

    def above(self) -> Shared:
        """That of a layer above, shared too."""
        return Shared(self.seed, *self.position, 1)


class Stream(Draw):
    """A draw whose rows come some at a time: on a CPU those of one draw of all of them, in order."""

    def __init__(self, seed: int, *position: int) -> None:
        super().__init__(seed, *position)
        self._open: dict[int, Any] = {}

    def _generator(self, seed: int, device: torch.device | str) -> Any:
        if seed not in self._open:
            self._open[seed] = super()._generator(seed, device)
        return self._open[seed]

    def above(self) -> Stream:
        """That of a layer above, which goes on too."""
        made = Stream(self.seed, *self.position, 1)
        made._open = self._open
        return made
