"""A recipe: everything that a run needs to be made again, as one frozen value that is JSON in and out."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from ganvas.arguments import Absolute
from ganvas.errors import UserError, unknown
from ganvas.optimizers import OPTIMIZERS, Adam, Optimizer, upgraded
from ganvas.registry import Count, Registry, Seed, as_json, build, changed, dump, flagged, parameters, settings

if TYPE_CHECKING:
    from ganvas.data import Dataset

RECIPES = Registry("recipe")
T = TypeVar("T")
LOOKED, NUMBERS = 500, 20_000_000  # training images that are looked at, and numbers in them, at most
EDGE, ALMOST_ALL = 0.05, 0.85  # levels so near to black or white, and their share, in images that are black and white

Size = Annotated[
    Count | tuple[Count, Count] | None,
    AfterValidator(lambda size: (size, size) if isinstance(size, int) else size),
    "H [W]",
    "side, or height and width, that images are fitted to",
]
Channels = Annotated[Literal[1, 3, 4] | None, "1|3|4", "1 makes images grey, 3 colour, 4 keeps transparency"]
Range = Annotated[tuple[float, float] | None, "LOW HIGH", "values that are black and white (default: the data's)"]


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
    """

    optimizer: Moves = Adam()
    moves: Count = 1
    long: Count | None = None

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
    from ganvas import recipes  # where all of them are; each imports this module

    function = recipes.RECIPES[name]
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
    from ganvas import recipes

    return {*parameters(recipes.RECIPES[name]), *(field.name for field in dataclasses.fields(model))}


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
