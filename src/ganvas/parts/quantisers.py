"""Vectors that become tokens, and back: what stands between the encoder and the decoder of a VQ-VAE.

A quantiser's `build` gives a module. Of vectors (M, d), one for each place of each code, it makes `Quantised`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ganvas.ground.errors import UserError
from ganvas.ground.processes import mean_over_processes, processes
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Count, Fraction, Registry, settings

HELD = 1 << 22  # distances that are held at a time
LEAST = 1e-20  # count from which a mean is taken
REVIVED = 0.1  # count of a code that is revived, over the average


class Quantised(NamedTuple):
    """What vectors (M, d) become.

    Attributes:
        vectors: (M, d), with a gradient that goes on to what they were made of.
        tokens: their numbers, int64 (M, depth).
        penalty: what the encoder pays for vectors that are far from these, a mean over values; 0 without a codebook.
    """

    vectors: Tensor
    tokens: Tensor
    penalty: Tensor


class Quantiser(nn.Module, ABC):
    """The module that quantises.

    Attributes:
        size: different tokens.
        depth: tokens that stand for a vector together.
    """

    size: int
    depth: int = 1

    @abstractmethod
    def forward(self, z: Tensor, draw: Draw | None = None) -> Quantised:
        """Of z (M, d), float32; with a draw, in training, it notes what it is to learn of them."""

    def begin(self, z: Tensor, draw: Draw) -> None:
        """Start from vectors (M, d) of the data."""

    def learn(self) -> None:
        """By what was noted since it last did, in all processes."""

    @abstractmethod
    def vectors(self, tokens: Tensor) -> Tensor:
        """Those (M, d) that tokens (M, depth) stand for."""


class BaseQuantiser(ABC):
    """Settings of a quantiser."""

    @abstractmethod
    def build(self, channels: int) -> Quantiser:
        """Of vectors of so many numbers."""


QUANTISERS = Registry("quantiser", BaseQuantiser)

if TYPE_CHECKING:
    QuantiserSettings = BaseQuantiser
else:
    QuantiserSettings = QUANTISERS.field


@QUANTISERS.register
@settings
class Codebook(BaseQuantiser):
    """The nearest of learned vectors (van den Oord et al. 2017), which are moving averages of what is nearest to them.

    Attributes:
        size: vectors of the book, K.
        depth: books, each of what those before it have left over (Lee et al. 2022, RQ-VAE).
        decay: of the averages, for a move (van den Oord et al. 2017, appendix A.1).
        commitment: weight of the squared distance that the encoder pays for.
        gradient: of the encoder: "rotation", that of the rotation and the scale that take its vector to the nearest one
            (Fifty et al. 2025); or "straight-through", as if they were the same.
        revive: share of the average count below which a vector is dead, and begins again as one of the encoder's
            (Dhariwal et al. 2020, appendix A.3); 0: it stays dead. At first all are vectors of the encoder's.
    """

    size: Annotated[int, Field(ge=2)] = 512
    depth: Count = 1
    decay: Fraction = 0.99
    commitment: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.25
    gradient: Literal["rotation", "straight-through"] = "rotation"
    revive: Fraction = 0.03

    def build(self, channels: int) -> Books:
        """Books of random vectors, until they begin."""
        return Books(self, channels)


class Books(Quantiser):
    """Codebooks (depth, size, d), with the moving averages that they are made of."""

    book: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, config: Codebook, channels: int) -> None:
        super().__init__()
        self.config, self.size, self.depth = config, config.size, config.depth
        shape = (config.depth, config.size, channels)
        self.register_buffer("book", torch.randn(shape))
        self.register_buffer("counts", torch.ones(shape[:2]))
        self.register_buffer("sums", self.book.clone())
        self.noted: list[tuple[int, Tensor, Tensor, Tensor]] = []

    def forward(self, z: Tensor, draw: Draw | None = None) -> Quantised:
        """The nearest vectors' sum; float32, as distances under bfloat16 would mistake neighbours."""
        with torch.autocast(z.device.type, enabled=False):
            z, self.noted = z.float(), []
            left, found, tokens = z.detach(), torch.zeros_like(z), []
            penalty = z.new_zeros(())
            for level in range(self.depth):
                token = self._nearest(left, self.book[level])
                vectors = F.embedding(token, self.book[level])
                if self.training and draw is not None:
                    others = draw.order(f"revived {level}", len(z) * processes(), z.device)
                    self.noted.append((level, left, token, others))
                left, found = left - vectors, found + vectors
                penalty = penalty + (z - found).square().mean() / self.depth
                tokens.append(token)
            passed = rotated(z, found) if self.config.gradient == "rotation" else z + (found - z).detach()
            return Quantised(passed, torch.stack(tokens, 1), self.config.commitment * penalty)

    @torch.no_grad()
    def begin(self, z: Tensor, draw: Draw) -> None:
        """Each vector of a book is one of what those before it leave of z, drawn at random."""
        left = z.float()
        for level in range(self.depth):
            chosen = draw.order(f"begun {level}", len(z), z.device)
            self.book[level] = left[chosen[torch.arange(self.size, device=z.device) % len(z)]]
            self.counts[level] = REVIVED * len(z) / self.size
            self.sums[level] = self.counts[level][:, None] * self.book[level]
            left = left - F.embedding(self._nearest(left, self.book[level]), self.book[level])

    @torch.no_grad()
    def learn(self) -> None:
        """The averages move on, and dead vectors begin again."""
        for level, z, token, others in self.noted:
            # A product with one-hot rows adds in a fixed order on every device; torch's own would ask for the largest.
            of = (torch.arange(self.size, device=z.device)[:, None] == token).to(z.dtype)
            added = processes() * mean_over_processes(torch.cat([of.sum(1, keepdim=True), of @ z], 1))
            self.counts[level].lerp_(added[:, 0], 1 - self.config.decay)
            self.sums[level].lerp_(added[:, 1:], 1 - self.config.decay)
            self._revive(level, z, others)
            counts = self.counts[level][:, None]
            # a count so small is of a vector that was left dead
            self.book[level] = torch.where(counts > LEAST, self.sums[level] / counts, self.book[level])
        self.noted = []

    def _revive(self, level: int, z: Tensor, others: Tensor) -> None:
        """Dead vectors become some of z, of all processes."""
        m, rank = len(z), dist.get_rank() if processes() > 1 else 0
        chosen = others[torch.arange(self.size, device=z.device) % len(others)]
        own = (chosen // m == rank)[:, None]
        new = processes() * mean_over_processes(F.embedding(chosen % m, z) * own)
        average = self.counts[level].mean()
        dead = self.counts[level] < self.config.revive * average
        self.counts[level] = torch.where(dead, REVIVED * average, self.counts[level])
        self.sums[level] = torch.where(dead[:, None], REVIVED * average * new, self.sums[level])

    def vectors(self, tokens: Tensor) -> Tensor:
        """The sum over the books."""
        return torch.stack([F.embedding(tokens[:, level], self.book[level]) for level in range(self.depth)]).sum(0)

    @staticmethod
    def _nearest(z: Tensor, book: Tensor) -> Tensor:
        """int64 (M,), by products: |z - e|^2 less |z|^2."""
        lengths = book.square().sum(1)
        # In what is traced the number of rows is not known.
        parts = (z,) if torch.compiler.is_compiling() else torch.split(z, max(1, HELD // len(book)))
        return torch.cat([torch.addmm(lengths, part, book.T, alpha=-2).argmin(1) for part in parts])


def rotated(z: Tensor, to: Tensor) -> Tensor:
    """`to` (M, d), as z (M, d) turned and scaled by what is constant: so a gradient by it is turned and scaled back.

    R = I - 2 r r' + 2 b a', with a and b the directions of z and `to` and r that of a + b (Fifty et al. 2025, 4.2).
    """
    tiny = torch.finfo(z.dtype).tiny
    length, wanted = z.detach().norm(dim=1, keepdim=True), to.norm(dim=1, keepdim=True)
    a, b = z.detach() / length.clamp_min(tiny), to / wanted.clamp_min(tiny)
    r = F.normalize(a + b, dim=1)
    turned = z - 2 * r * (r * z).sum(1, keepdim=True) + 2 * b * (a * z).sum(1, keepdim=True)
    # of opposite directions the rotation has no plane, and of a vector of no length no direction
    defined = (length > 1e-6) & ((a + b).norm(dim=1, keepdim=True) > 1e-3)
    way = torch.where(defined, turned * wanted / length.clamp_min(1e-6), z)
    return way + (to - way).detach()  # which is `to` to the last bit


@QUANTISERS.register
@settings
class FiniteScalar(BaseQuantiser):
    """Each number of a vector by itself to one of a few levels, FSQ (Mentzer et al. 2024): no codebook that could die.

    Attributes:
        levels: of each number; so the vectors have as many numbers.
    """

    levels: tuple[Annotated[int, Field(ge=2)], ...] = (8, 5, 5, 5)

    def __post_init__(self) -> None:
        if not self.levels or math.prod(self.levels) > 1 << 20:
            raise UserError(f"levels are {list(self.levels)}: together they make 2 to 1,048,576 tokens.")

    def build(self, channels: int) -> Rounding:
        """Of as many numbers as there are levels.

        Raises:
            UserError: another number.
        """
        if channels != len(self.levels):
            said = f"the code has {channels} channels, and levels are given for {len(self.levels)} of them"
            raise UserError(f"{said}: take --latent-channels {len(self.levels)}, or another list of levels.")
        return Rounding(self.levels)


class Rounding(Quantiser):
    """Numbers within (-1, 1), by tanh, rounded to their levels."""

    levels: Tensor
    places: Tensor

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.size = math.prod(levels)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("places", torch.tensor([math.prod(levels[:i]) for i in range(len(levels))]), False)

    def forward(self, z: Tensor, draw: Draw | None = None) -> Quantised:
        """As if rounding changed nothing."""
        with torch.autocast(z.device.type, enabled=False):
            half, odd = self.levels // 2, self.levels % 2
            reach = (self.levels - 1) * 1.001 / 2
            offset = torch.where(odd == 1, 0.0, 0.5)
            bounded = (z.float() + torch.atanh(offset / reach)).tanh() * reach - offset
            rounded = bounded + (bounded.round() - bounded).detach()
            tokens = ((rounded.detach() + half).long() * self.places).sum(1, keepdim=True)
            return Quantised(rounded / half, tokens, z.new_zeros(()))

    def vectors(self, tokens: Tensor) -> Tensor:
        """The levels, within [-1, 1]."""
        half = self.levels // 2
        return (tokens // self.places % self.levels - half) / half
