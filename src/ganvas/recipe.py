"""A recipe: everything that a run needs to be made again, as one frozen value that is JSON in and out."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field

from ganvas.errors import UserError
from ganvas.registry import Count, Fraction, Positive, Registry, Seed, build, dump, parameters, settings

if TYPE_CHECKING:
    from ganvas.data import Dataset

RECIPES = Registry("recipe")
T = TypeVar("T")
LOOKED, NUMBERS = 500, 20_000_000  # training images that are looked at, and numbers in them, at most
EDGE, ALMOST_ALL = 0.05, 0.85  # levels so near to black or white, and their share, in images that are black and white


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
    """What to train on, see `ganvas.data.load`.

    Attributes:
        source: a name or an absolute path.
        size: height and width.
        channels: 1, 3 or 4.
        binarise: draw every pixel once as black or white.
        labels: a file of labels.
        range: what is black and what is white; None: as the data says.
        limit: rows of train, at most, and the same share of the others.
        stream: decode image files when they are asked for; None: where the cache has no room.
        labelled: whether the model needs labels.
    """

    source: str = "mnist"
    size: tuple[Count, Count] | None = None
    channels: Literal[1, 3, 4] | None = None
    binarise: bool = False
    labels: str | None = None
    range: tuple[float, float] | None = None
    limit: Count | None = None
    stream: bool | None = None
    labelled: bool = False


@settings
class Optimizer:
    """How a player moves.

    Attributes:
        name: "adam", "rmsprop" (smoothing 0.99), "sgd" with momentum, or "muon", which orthogonalises the momentum of
            each matrix and is Adam for all else.
        lr: its learning rate.
        betas: of Adam.
        eps: of Adam, added to the root of its second moment: a gradient far below it moves little.
        momentum: of SGD at first.
        last_momentum: what it rises to, by equal amounts, over `momentum_epochs`; None: it stays.
        momentum_epochs: how long it rises.
        decay: what the rate is divided by after each step of the game; it stays above a millionth.
    """

    name: Literal["adam", "rmsprop", "sgd", "muon"] = "adam"
    lr: Positive = 1e-3
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8
    momentum: Fraction = 0.5
    last_momentum: Fraction | None = None
    momentum_epochs: Count = 250
    decay: Annotated[float, Field(ge=1)] = 1.0


@settings
class Turn:
    """A player's turn at each step of the game.

    Attributes:
        optimizer: how it moves.
        moves: how often (Algorithm 1's k, WGAN's n_critic).
        long: moves of a longer turn, at the first 25 steps and at every 500th (WGAN's released code); None: never.
    """

    optimizer: Optimizer = Optimizer()
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
    """How the game is played.

    Attributes:
        turns: by the player's name, in the order of play.
        epochs: passes over the training images.
        steps: of the game, instead of epochs; None: the epochs'.
        batch_size: images a move, over all processes.
        seed: of every draw.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        precision: "auto" takes bfloat16 for images, where the processor has it in hardware; its 8 bits tell the levels
            of a pixel, but not places in the plane.
        schedule: of the learning rate: "constant", or "cosine" down to 0.
        patience: epochs without a better validation figure before it stops; None: never.
        log_every: steps between rows of metrics, at most an epoch's.
        snapshots: models that are kept on the way, evenly spaced, the last one at the end; None: none.
        init: a run, or a folder that a model was saved in, whose weights it begins with; None: drawn ones.
        longest: epochs, at most, that a training by the clock takes; None: as many as fit.
    """

    turns: dict[str, Turn]
    epochs: Count = 20
    steps: Count | None = None
    batch_size: Count = 128
    seed: Seed = 0
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    schedule: Literal["constant", "cosine"] = "constant"
    patience: Count | None = None
    log_every: Count = 50
    snapshots: Count | None = None
    init: str | None = None
    longest: Count | None = None


@settings
class Recipe:
    """Data, model and training.

    Attributes:
        name: of the recipe's function.
        arguments: what that function was called with.
        data: what to train on.
        model: the settings of one of the models.
        training: how.
    """

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    data: Data = Data()
    model: Any
    training: Training

    def __post_init__(self) -> None:
        from ganvas import recipes  # where all of them are; each imports this module

        known = parameters(recipes.RECIPES[self.name]) if self.arguments else {}
        for name in self.arguments:
            if name not in known:
                raise UserError(f"unknown setting {name!r} of the recipe {self.name}.")

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
