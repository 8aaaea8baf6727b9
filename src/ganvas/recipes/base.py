"""A recipe: everything that a run needs to be made again, as one frozen value that is JSON in and out."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from ganvas.ground.arguments import Absolute
from ganvas.ground.errors import UserError, unknown
from ganvas.ground.registry import (
    Count,
    Fraction,
    Registry,
    Seed,
    as_json,
    build,
    changed,
    dump,
    flagged,
    parameters,
    settings,
)
from ganvas.parts.optimizers import OPTIMIZERS, Adam, Optimizer, upgraded
from ganvas.recipes.facts import Facts

if TYPE_CHECKING:
    from ganvas.data import Dataset

RECIPES = Registry("recipe")

Size = Annotated[
    Count | tuple[Count, Count] | None,
    AfterValidator(lambda size: (size, size) if isinstance(size, int) else size),
    "H [W]",
    "side, or height and width, that images are fitted to",
]
Channels = Annotated[Literal[1, 3, 4] | None, "1|3|4", "1 makes images grey, 3 colour, 4 keeps transparency"]
Range = Annotated[tuple[float, float] | None, "LOW HIGH", "values that are black and white (default: the data's)"]


@settings
class Data:
    """What to train on, see `ganvas.data.load`. A field with a metavar and a help is a flag too.

    Attributes:
        source: a name or an absolute path.
        labelled: whether the model needs labels.
    """

    source: str = "mnist"
    size: Size = None
    channels: Channels = None
    labels: Annotated[str | None, "FILE", "of labels: CSV of lines file,label, or .npy"] = None
    range: Range = None
    limit: Annotated[Count | None, "INT", "training images, at most, and the same share of the others"] = None
    binarise: Annotated[bool, "", "draw every pixel once as black or white"] = False
    stream: Annotated[bool | None, "", "decode images when they are asked for, keep none"] = None
    labelled: bool = False

    def load(self, given: Any = None, strict: bool = False, **how: Any) -> Dataset:
        """The data set, from the cache or prepared.

        Args:
            given: data of the program, or another name, in place of the source.
            strict: stop at a file that can't be read.
            how: what is to be otherwise than here; not what is None.

        Raises:
            UserError: see `ganvas.data.load`.
        """
        from ganvas.data import load

        asked = {name: getattr(self, name) for name in flagged(Data)}
        asked |= {name: value for name, value in how.items() if value is not None}
        return load(self.source if given is None else given, **asked, strict=strict)


if TYPE_CHECKING:
    Moves = Optimizer
else:
    Moves = Annotated[OPTIMIZERS.field, BeforeValidator(upgraded)]


@settings
class Turn:
    """A player's turn at each step of the game.

    Attributes:
        optimizer: how it moves.
        moves: how often (Algorithm 1's k, WGAN's n_critic).
        long: moves of a longer turn, at the first 25 steps and at every 500th (WGAN's released code); None: never.
        since: share of the training's steps before which it does not move: what it learns of still changes too much.
    """

    optimizer: Moves = Adam()
    moves: Count = 1
    long: Count | None = None
    since: Fraction = 0.0

    def moves_at(self, step: int) -> int:
        """Moves of the turn at `step`."""
        return self.long if self.long and (step < 25 or step % 500 == 0) else self.moves

    def moves_before(self, step: int) -> int:
        """Moves of all turns before `step`."""
        long = min(step, 25) + max(0, (step - 1) // 500) if self.long else 0
        return self.moves * (step - long) + (self.long or 0) * long


@settings
class Training:
    """How the game is played. A field with a metavar and a help is a flag too.

    Attributes:
        turns: by the player's name, in the order of play.
        batch_size: over all processes.
        schedule: of the learning rate; "cosine" falls to 0.
        precision: "auto" takes bfloat16 for images, where the processor has it in hardware; its 8 bits tell the levels
            of a pixel, but not places in the plane.
        snapshots: models that are kept on the way, evenly spaced, the last one at the end.
        steps: of the game, instead of epochs; None: the epochs'.
        log_every: steps between rows of metrics, at most an epoch's.
        longest: epochs, at most, that a training by the clock takes; None: as many as fit.
    """

    turns: dict[str, Turn]
    epochs: Annotated[Count, "INT", "passes over the data (default: the recipe's)"] = 20
    steps: Count | None = None
    batch_size: Annotated[Count, "INT", "images a move (default: the recipe's)"] = 128
    schedule: Annotated[Literal["constant", "cosine"], "constant|cosine", "of --lr (default: the recipe's)"] = (
        "constant"
    )
    patience: Annotated[Count | None, "INT", "epochs without a better figure before it stops"] = None
    seed: Annotated[Seed, "INT", "of every draw (default: 0)"] = 0
    device: Annotated[str, "NAME", "auto, cpu, cuda, cuda:1 or mps (default: auto)"] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], "NAME", "auto, float32 or bfloat16 (default: auto)"
    ] = "auto"
    snapshots: Annotated[Count | None, "INT", "models to keep on the way, in RUN/snapshots"] = None
    init: Annotated[Absolute | None, "RUN", "begin with the weights of this run or saved model"] = None
    log_every: Count = 50
    longest: Count | None = None


@settings
class Recipe:
    """Data, model and training.

    Attributes:
        name: of the recipe's function.
        arguments: what `make` was asked for, as JSON values.
        data: what to train on.
        model: the settings of one of the models.
        training: how.
    """

    name: str
    arguments: Annotated[dict[str, Any], BeforeValidator(as_json)] = Field(default_factory=dict)
    data: Data = Data()
    model: Any
    training: Training

    def __post_init__(self) -> None:
        known = _known(self.name, self.model) if self.arguments else {}
        for name in self.arguments:
            if name not in known:
                raise UserError(f"unknown setting {name!r} of the recipe {self.name}.")

    def to_json(self) -> str:
        """The recipe as JSON text."""
        values = dump(self)
        values.pop("kind")
        return json.dumps(values | {"model": dump(self.model)}, indent=2) + "\n"


def make(name: str, arguments: Mapping[str, Any], facts: Facts | None = None) -> Recipe:
    """The recipe of that name, for data of these facts.

    Args:
        name: of the recipe.
        arguments: the recipe's own; any other field of its model's settings is set to what is given here.
        facts: of the data, where they are known.

    Raises:
        UserError: an unknown recipe or argument, or a value that is refused.
    """
    function = RECIPES[name]
    own = {key: value for key, value in arguments.items() if key in parameters(function)}
    told = {"facts": facts} if facts and "facts" in inspect.signature(function).parameters else {}
    made: Recipe = build(function, {**own, **told})
    others = {key: value for key, value in arguments.items() if key not in own}
    for key in others:
        if key not in (known := _known(name, made.model)):
            raise unknown(f"setting of {name}", key, known)
    model = changed(made.model, others) if others else made.model
    return dataclasses.replace(made, model=model, arguments=dict(arguments))


def _known(name: str, model: Any) -> set[str]:
    """The names of all that a recipe can be asked for."""
    return {*parameters(RECIPES[name]), *(field.name for field in dataclasses.fields(model))}


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
