"""What a technique is: settings that override hooks, and what they look at."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Registry, kind
from ganvas.parts.nets.layers import BatchNorm


class Technique:
    """The hooks, which do nothing.

    Attributes:
        order: when it is built: 0 changes layers, 1 parametrises the weights of all layers, 2 copies them.
        clashes: the techniques that it can't stand beside, and what is wrong with the pair.
        of_gans: whether it is of the generator's weights.
        of_images: whether it changes images, and nothing else.
        of_init: whether it is of weights that were learned before, which `--init` gives.
        every: at each how manieth move its term is in the cost, as many times as heavy.
    """

    order: ClassVar[int] = 0
    of_gans: ClassVar[bool] = False
    of_images: ClassVar[bool] = False
    of_init: ClassVar[bool] = False
    clashes: ClassVar[dict[str, str]] = {}
    every: int = 1

    def build(self, model: Pair) -> None:
        """Change the nets of a new model.

        Raises:
            UserError: it makes no sense with this model; with the reason and the remedy.
        """

    def view(self, images: Tensor, draw: Draw, which: Literal["real", "fake"]) -> Tensor:
        """Images (N, *shape) as the discriminator sees them."""
        return images

    def term(self, player: str, seen: Seen) -> Tensor | None:
        """A scalar that is summed into the cost of "discriminator" or "generator"."""
        return None

    def due(self, count: int) -> bool:
        """Whether its term is in the cost of a move, by the number of its step and its own in it, added."""
        return count % self.every == 0

    def moved(self, model: Pair, player: str) -> None:
        """After each move of a player."""

    def vitals(self, model: Adversary) -> dict[str, float]:
        """Figures of the watch, or none."""
        return {}


TECHNIQUES = Registry("technique", Technique)

if TYPE_CHECKING:
    Techniques = tuple[Technique, ...]
else:
    Techniques = tuple[TECHNIQUES.field, ...]


def in_order(techniques: Techniques) -> Techniques:
    """The techniques as they are built.

    Raises:
        UserError: one is given twice, or two can't stand together.
    """
    names = [kind(type(technique)) for technique in techniques]
    for name, technique in zip(names, techniques, strict=True):
        if names.count(name) > 1:
            raise UserError(f"the technique {name} is given twice.")
        for other, fault in technique.clashes.items():
            if other in names:
                raise UserError(f"{name} and {other} {fault}: leave one of them away.")
    return tuple(sorted(techniques, key=lambda technique: technique.order))


class Adversary(Protocol):
    """What a technique finds in a family with a discriminator, see `ganvas.models.gan`, which stands above it."""

    shape: tuple[int, ...]
    config: Any
    discriminator: Any
    techniques: tuple[Technique, ...]

    def to_range(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the discriminator sees them."""

    def judge(self, features: Tensor) -> Tensor:
        """Logits (N,) of the discriminator's features (N, d)."""

    def logits(self, x: Tensor) -> Tensor:
        """(N, *shape) in that range -> (N,)."""

    def players(self) -> dict[str, nn.Module]:
        """By name, in the order of their moves."""


class Pair(Adversary, Protocol):
    """The same of a GAN, which has a generator."""

    latent_dim: int
    prior: Any
    generator: Any
    average: Any
    history: Any

    def joined(self, z: Tensor) -> Tensor:
        """z (N, latent_dim), with what is told beside it."""


class Seen:
    """What the discriminator sees at a turn, and what it says of it, computed when it is first asked for.

    Attributes:
        model: of the two players.
        real: images (N, *shape) in the generator's range, as augmented.
        fake: the same number of fakes, as augmented.
        draw: of this move.
    """

    def __init__(self, model: Adversary, images: Tensor, fake: Tensor, draw: Draw) -> None:
        self.model, self.draw = model, draw
        self.real, self.fake = model.to_range(images), fake
        for technique in model.techniques:
            self.real = technique.view(self.real, draw, "real")
            self.fake = technique.view(self.fake, draw, "fake")

    @cached_property
    def real_features(self) -> Tensor:
        """f(x) (N, d): the discriminator's last hidden layer."""
        features: Tensor = self.model.discriminator.features(self.real)
        return features

    @cached_property
    def fake_features(self) -> Tensor:
        """f(G(z)) (N, d)."""
        features: Tensor = self.model.discriminator.features(self.fake)
        return features

    @cached_property
    def real_logits(self) -> Tensor:
        """(N,)."""
        return self.model.judge(self.real_features)

    @cached_property
    def fake_logits(self) -> Tensor:
        """(N,)."""
        return self.model.judge(self.fake_features)


def layer_norms(model: Pair) -> None:
    """Layer norm for every batch norm of the discriminator."""
    replace_modules(model.discriminator, BatchNorm, lambda norm: nn.GroupNorm(1, norm.num_features))


def replace_modules(root: nn.Module, kind: type, make: Any) -> int:
    """Put make(module) in the place of every module of a kind; returns how many."""
    found = [(parent, name, child) for parent in root.modules() for name, child in parent.named_children()]
    found = [entry for entry in found if isinstance(entry[2], kind)]
    for parent, name, child in found:
        setattr(parent, name, make(child))
    return len(found)
