"""A GAN of points in the plane, whose modes are known."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field

from ganvas.data import load
from ganvas.data.loader import to_tensor
from ganvas.data.sources import GAUSSIANS
from ganvas.evaluate.measures.modes import captured_modes
from ganvas.ground.errors import UserError
from ganvas.ground.registry import Fraction, build, settings
from ganvas.models.gan import GAN
from ganvas.parts.losses import PROBABILISTIC
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.optimizers import OPTIMIZERS
from ganvas.parts.techniques import TECHNIQUES, MinibatchDiscrimination
from ganvas.recipes.base import Turn
from ganvas.studio.games.base import (
    GAMES,
    LARGEST,
    Array,
    Rate,
    Seed,
    Units,
    differing,
    generator_gradient,
    logits,
    model_of,
    new_game,
    played,
)
from ganvas.training.watch import DIVERGED

SAMPLES, SHOWN = 2500, 1000  # points by which modes are counted (PacGAN's number), and those that are drawn
SIDE, FRAME = 56, {"ring": 1.6, "grid": 5.2}  # cells of the heat map, and half the width of what is drawn


@GAMES.register
@settings
class Plane:
    """A GAN of points.

    Attributes:
        data: a set with known modes.
        loss: one of GAN_LOSSES.
        techniques: the value of the first setting of each by its name, or true for the technique's own.
        k: moves of the discriminator at a step.
        optimizer: of both players.
        momentum: of SGD; of Adam its first beta.
        lr_discriminator: of the discriminator.
        lr_generator: of the generator.
        batch_size: points a move.
        prior: P(z).
        latent_dim: size of z.
        layers: hidden layers of each net.
        units: of each layer.
        norm: of the generator.
        seed: of the first weights and every draw.
    """

    data: Literal["ring", "grid"] = "ring"
    loss: str = "non-saturating"
    techniques: dict[str, float | bool] = Field(default_factory=lambda: {"r1": 0.005, "ema": 0.99})
    k: Annotated[int, Field(ge=1, le=20)] = 1
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    momentum: Fraction = 0.0
    lr_discriminator: Rate = 2e-3
    lr_generator: Rate = 2e-3
    batch_size: Annotated[int, Field(ge=16, le=512)] = 128
    prior: Literal["normal", "uniform", "bimodal"] = "bimodal"
    latent_dim: Annotated[int, Field(ge=1, le=64)] = 6
    layers: Annotated[int, Field(ge=1, le=5)] = 3
    units: Units = 64
    norm: Literal["none", "batch"] = "none"
    seed: Seed = 0

    def start(self) -> InPlane:
        """The game from its first step.

        Raises:
            UserError: a loss or technique that there is not, or that does not go with the others.
        """
        return InPlane(self)


class InPlane:
    """A game with its data."""

    live: ClassVar[set[str]] = {"lr_discriminator", "lr_generator"}

    def __init__(self, it: Plane) -> None:
        self.it = it
        hidden = (it.units,) * it.layers
        asked = {
            "latent_dim": it.latent_dim,
            "generator": MLP(hidden=hidden, norm=it.norm),
            "discriminator": MLP(hidden=hidden, activation="leaky-relu"),
            "prior": it.prior,
            "loss": it.loss,
            "output": "linear",
            "techniques": tuple(technique(name, value) for name, value in it.techniques.items() if value is not False),
        }
        model = build(GAN, asked)
        self.game = new_game(model, self._turns(), load(it.data, progress=False), it.batch_size, it.seed)
        self.model = model_of(self.game)
        self.centres, self.sd = GAUSSIANS[it.data]
        self.real = to_tensor(self.game.data.splits["test"].images[:SHOWN])
        # With minibatch discrimination D judges batches: of a place by itself it says nothing.
        self.charted = not any(isinstance(it, MinibatchDiscrimination) for it in self.model.techniques)
        axis = torch.linspace(-1, 1, SIDE + 1).unfold(0, 2, 1).mean(1) * FRAME[it.data]
        self.cells = torch.cartesian_prod(axis.flip(0), axis).flip(1)  # rows from the top

    @property
    def step(self) -> int:
        """Steps of the game."""
        return self.game.step

    def _turns(self) -> dict[str, Turn]:
        it = self.it
        own: dict[str, Any] = {"adam": {"betas": (it.momentum, 0.99)}, "sgd": {"momentum": it.momentum}, "rmsprop": {}}
        make = partial(OPTIMIZERS[it.optimizer], **own[it.optimizer])
        first, second = make(lr=it.lr_discriminator), make(lr=it.lr_generator)
        return {"discriminator": Turn(optimizer=first, moves=it.k), "generator": Turn(optimizer=second)}

    def change(self, it: Plane) -> bool:
        """The rates."""
        if not differing(self.it, it) <= self.live:
            return False
        self.it = it
        self.game.turns = self._turns()
        return True

    def play(self) -> dict[str, float]:
        """k moves of the discriminator and one of the generator."""
        return played(self.game)

    def scene(self) -> tuple[dict[str, Any], list[Array]]:
        """ "frame": half the width of the picture; "side": cells of the heat map; "modes": how many there are.

        Arrays: real points (1000, 2).
        """
        facts = {"frame": FRAME[self.it.data], "side": SIDE, "modes": len(self.centres), "charted": self.charted}
        return facts, [self.real.numpy()]

    def frame(self) -> tuple[dict[str, Any], list[Array]]:
        """ "modes", "good", "kl", see `captured_modes`; "low" and "high", what 0 and 255 of the heat map mean.

        Arrays: samples (1000, 2); of each of the first 100 the way that its gradient points, in the same units
        (100, 2), as long as a fiftieth of the picture on average; the heat map uint8 (56, 56), of D or the critic, from
        the top, or nothing.
        """
        samples = self.model.sample(SAMPLES)
        if not bool(torch.isfinite(samples).all()):
            raise UserError(f"{DIVERGED}the samples are no numbers at step {self.step}. Take smaller learning rates.")
        facts: dict[str, Any] = captured_modes(samples.numpy(), self.centres, self.sd)
        batch = samples[: self.it.batch_size]
        pull = generator_gradient(self.model, self.it.loss, batch, self.real[: len(batch)])[:100]
        pull = pull / pull.norm(dim=1).mean().clamp(min=1e-30) * FRAME[self.it.data] / 25
        arrays = [samples[:SHOWN].numpy(), pull.numpy()]
        if self.charted:
            heights = logits(self.model, self.cells)
            probable = self.it.loss in PROBABILISTIC
            heights = heights.sigmoid() if probable else heights
            low, high = (0.0, 1.0) if probable else (float(heights.min()), float(heights.max()))
            levels = ((heights - low) / max(high - low, 1e-12) * 255).round().to(torch.uint8)
            facts |= {"low": low, "high": high}
            arrays.append(levels.numpy())
        return facts, arrays


def technique(name: str, value: float | bool) -> Any:
    """The technique of that name, with its first setting.

    Raises:
        UserError: there is none such, or it can't have this value.
    """
    made = TECHNIQUES[name]
    if value > LARGEST:
        raise UserError(f"{name}: {value:g} is more than the playground takes, {LARGEST}.")
    first = next((field.name for field in dataclasses.fields(made)), None)
    return build(made, {} if value is True or first is None else {first: value})
