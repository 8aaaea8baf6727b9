"""What games share: how one is played, and what is shown of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, Protocol

import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ganvas.data import Dataset
from ganvas.ground.errors import UserError
from ganvas.ground.registry import Registry
from ganvas.models.gan import GAN, GANModel
from ganvas.parts.losses import GAN_LOSSES
from ganvas.parts.techniques import input_gradient
from ganvas.recipes.base import Recipe, Training, Turn
from ganvas.training.engine import make_accelerator
from ganvas.training.game import Game, make_model
from ganvas.training.watch import DIVERGED

GAMES = Registry("game")
CPU = torch.device("cpu")
LARGEST = 100  # of a technique's setting: more is slow, and none needs it

Rate = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**31)]
Units = Annotated[int, Field(ge=4, le=256)]
Array = NDArray[Any]


class Stage(Protocol):
    """A game as it is played."""

    it: Any
    step: int

    def play(self) -> dict[str, float]:
        """A step; the parts of the players' losses."""

    def change(self, it: Any) -> bool:
        """Take new settings without a new start; False if they need one."""

    def scene(self) -> tuple[dict[str, Any], list[Array]]:
        """What stays as it is while the game goes: facts as JSON values, and arrays of float32 or uint8."""

    def frame(self) -> tuple[dict[str, Any], list[Array]]:
        """What is to be seen now, in the same form."""


def generator_gradient(model: GANModel, loss: str, fakes: Tensor, real: Tensor | None = None) -> Tensor:
    """The gradient by which a generator's cost would move its samples (N, d), each by its own part of the cost: (N, d).

    Args:
        model: whose discriminator judges; in evaluation mode meanwhile.
        loss: one of GAN_LOSSES.
        fakes: the samples, a batch.
        real: as many real points, where the loss sets one against the other; the samples themselves by default.
    """

    def gain(x: Tensor) -> Tensor:
        judged = model.discriminator.logits(x)
        against = judged if real is None else model.discriminator.logits(real)
        cost: Tensor = GAN_LOSSES[loss](against, judged)[1]
        return -cost * len(x)

    model.eval()
    gradient = input_gradient(gain, fakes).detach()
    model.train()
    return gradient


def new_game(model: GAN, turns: dict[str, Turn], data: Dataset, batch_size: int, seed: int) -> Game:
    """A game on the CPU, from its first step."""
    training = Training(turns=turns, batch_size=batch_size, seed=seed, device="cpu", precision="float32")
    recipe = Recipe(name="playground", model=model, training=training)
    game = Game(make_model(recipe, data, CPU), recipe, data, make_accelerator(CPU))
    game.model.train()
    return game


def played(game: Game) -> dict[str, float]:
    """A step of a game; refuses to go on where a loss is no number."""
    parts = game.play()
    values = dict(zip(parts, torch.stack(list(parts.values())).tolist(), strict=True))
    for name, value in values.items():
        if not math.isfinite(value):
            raise UserError(f"{DIVERGED}{name} became {value:g} at step {game.step}. Take smaller learning rates.")
    return values


def logits(model: GANModel, x: Tensor) -> Tensor:
    """D's logits, or the critic's values, of x (N, ...), in evaluation mode: (N,)."""
    with model.asked():
        return model.discriminator.logits(x).clone()


def differing(old: Any, new: Any) -> set[str]:
    """The names of the settings that differ."""
    return {part.name for part in dataclasses.fields(old) if getattr(old, part.name) != getattr(new, part.name)}


def model_of(game: Game) -> GANModel:
    """The GAN that is trained."""
    assert isinstance(game.model, GANModel)
    return game.model
