"""A recipe: everything that a run needs to be made again, as one frozen value that is JSON in and out."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from ganvas.errors import UserError
from ganvas.registry import Count, Fraction, Positive, Registry, build, dump, settings

RECIPES = Registry("recipe")


@settings
class Data:
    """What to train on, see `ganvas.data.load`.

    Attributes:
        source: a name or an absolute path.
        size: height and width.
        channels: 1 or 3.
        binarise: draw every pixel once as black or white.
        labels: a file of labels.
        labelled: whether the model needs labels.
    """

    source: str = "mnist"
    size: tuple[Count, Count] | None = None
    channels: Literal[1, 3] | None = None
    binarise: bool = False
    labels: str | None = None
    labelled: bool = False


@settings
class Optimizer:
    """How a player moves.

    Attributes:
        name: "adam", or "sgd" with momentum.
        lr: its learning rate.
        betas: of Adam.
        momentum: of SGD.
    """

    name: Literal["adam", "sgd"] = "adam"
    lr: Positive = 1e-3
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    momentum: Fraction = 0.5


@settings
class Turn:
    """A player's turn: `moves` steps of its optimiser at each step of the game (Algorithm 1's k)."""

    optimizer: Optimizer = Optimizer()
    moves: Count = 1


@settings
class Training:
    """How the game is played.

    Attributes:
        turns: by the player's name, in the order of play.
        epochs: passes over the training images.
        batch_size: images a move, over all processes.
        seed: of every draw.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        precision: "auto" takes bfloat16 where the processor has it in hardware.
        schedule: of the learning rate: "constant", or "cosine" down to 0.
        patience: epochs without a better validation figure before it stops; None: never.
        log_every: steps between rows of metrics, at most an epoch's.
    """

    turns: dict[str, Turn]
    epochs: Count = 20
    batch_size: Count = 128
    seed: Annotated[int, Field(ge=0)] = 0
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    schedule: Literal["constant", "cosine"] = "constant"
    patience: Count | None = None
    log_every: Count = 50


@settings
class Recipe:
    """Data, model and training.

    Attributes:
        name: of the recipe's function.
        data: what to train on.
        model: the settings of one of the models.
        training: how.
    """

    name: str
    data: Data = Data()
    model: Any
    training: Training

    def to_json(self) -> str:
        """The recipe as JSON text."""
        values = dump(self)
        values.pop("kind")
        return json.dumps(values | {"model": dump(self.model)}, indent=2) + "\n"


def from_json(text: str, models: Registry) -> Recipe:
    """A recipe from its JSON; `models` reads the model's settings.

    Raises:
        UserError: unknown keys, values out of range.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"this recipe.json is damaged: {error}.") from error
    if not isinstance(values, dict) or "model" not in values:
        raise UserError("this recipe.json has no model.")
    return build(Recipe, values | {"model": models.parse(values["model"])})
