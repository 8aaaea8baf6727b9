"""Small games that train while somebody watches: two Gaussians on a line (lecture row L21), and a GAN in the plane."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ganvas.data import Dataset, load
from ganvas.data.dataset import Split
from ganvas.data.loader import to_tensor
from ganvas.data.sources import GAUSSIANS
from ganvas.evaluate.measures.modes import captured_modes
from ganvas.ground.errors import UserError
from ganvas.ground.registry import Fraction, Registry, build, dump, settings
from ganvas.models.gan import GAN, GANModel
from ganvas.parts.losses import GAN_LOSSES, PROBABILISTIC
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.optimizers import OPTIMIZERS, SGD, Adam, Optimizer, RMSprop
from ganvas.parts.priors import Normal
from ganvas.parts.techniques import TECHNIQUES, Clip, GradientPenalty, MinibatchDiscrimination, input_gradient
from ganvas.recipes.base import Recipe, Training, Turn
from ganvas.training.engine import make_accelerator
from ganvas.training.game import Game, make_model
from ganvas.training.watch import DIVERGED

GAMES = Registry("game")
CPU = torch.device("cpu")
LARGEST = 100  # of a technique's setting: more is slow, and none needs it
ROWS = 2**14  # real points on the line
LINE = torch.linspace(-10, 10, 201)[:, None]
SAMPLES, SHOWN = 2500, 1000  # points by which modes are counted (PacGAN's number), and those that are drawn
SIDE, FRAME = 56, {"ring": 1.6, "grid": 5.2}  # cells of the heat map, and half the width of what is drawn

Place = Annotated[float, Field(ge=-8, le=8)]
Width = Annotated[float, Field(ge=0.1, le=3)]
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


@GAMES.register
@settings
class Line:
    """Real N(real, real_sd^2) against fakes N(fake, fake_sd^2), for a discriminator and a critic of equal nets.

    Attributes:
        real: mean of the real points; `real_sd`, `fake`, `fake_sd`: likewise.
        loss: of the GAN's players.
        bound: what bounds the critic's slope.
        clip: the largest weight of a clipped critic.
        penalty: weight of the gradient penalty.
        free: whether the fakes' mean and width are learned, by steps along the gradient.
        lr_discriminator: of the discriminator's Adam.
        lr_critic: of the critic's RMSProp, or with a gradient penalty Adam.
        lr_generator: of both generators' gradient steps, where the fakes are free.
        units: of each of three hidden layers.
        batch_size: points a move.
        seed: of the first weights and every draw.
    """

    real: Place = -5.0
    real_sd: Width = 1.0
    fake: Place = 5.0
    fake_sd: Width = 1.0
    loss: Literal["minimax", "non-saturating"] = "minimax"
    bound: Literal["clip", "gradient-penalty"] = "clip"
    clip: Annotated[float, Field(gt=0, le=1)] = 0.03
    penalty: Annotated[float, Field(gt=0, le=LARGEST)] = 10.0
    free: bool = False
    lr_discriminator: Rate = 1e-3
    lr_critic: Rate = 5e-4
    lr_generator: Rate = 0.03
    units: Units = 128
    batch_size: Annotated[int, Field(ge=8, le=512)] = 64
    seed: Seed = 0

    def start(self) -> OnLine:
        """The game from its first step."""
        return OnLine(self)


class OnLine:
    """Two games at once, each with its own fakes: the discriminator's and the critic's."""

    live: ClassVar[set[str]] = {
        "real", "real_sd", "fake", "fake_sd", "free", "lr_discriminator", "lr_critic", "lr_generator"
    }  # fmt: skip

    def __init__(self, it: Line) -> None:
        self.it, self.step = it, 0
        self.noise = np.random.default_rng(it.seed).standard_normal((ROWS, 1)).astype(np.float32)
        images = self.noise.copy()
        facts: dict[str, Any] = {"classes": None, "attributes": None, "fingerprint": "", "preparation": ""}
        data = Dataset("line", "line", {"train": Split(images, None)}, (1,), report=(), **facts)
        bound = Clip(bound=it.clip) if it.bound == "clip" else GradientPenalty(weight=it.penalty)
        self.games: dict[str, Game] = {}
        for name, loss, techniques in (("discriminator", it.loss, ()), ("critic", "wasserstein", (bound,))):
            model = GAN(
                latent_dim=1,
                generator=MLP(hidden=()),
                discriminator=MLP(hidden=(it.units,) * 3),
                prior=Normal(),
                loss=loss,
                output="linear",
                techniques=techniques,
            )
            self.games[name] = _game(model, self._turns(name), data, it.batch_size, it.seed)
        self._place(fakes=True)

    def _turns(self, name: str) -> dict[str, Turn]:
        it = self.it
        if name == "discriminator":
            optimizer: Optimizer = Adam(lr=it.lr_discriminator, betas=(0.5, 0.999))
        elif it.bound == "clip":
            optimizer = RMSprop(lr=it.lr_critic)
        else:
            optimizer = Adam(lr=it.lr_critic, betas=(0.0, 0.9))
        steps = SGD(lr=it.lr_generator, momentum=0.0)
        return {"discriminator": Turn(optimizer=optimizer), "generator": Turn(optimizer=steps)}

    def _place(self, fakes: bool) -> None:
        """Put the Gaussians where the settings have them, and let move who may."""
        for name, game in self.games.items():
            np.asarray(game.data.splits["train"].images)[:] = self.it.real + self.it.real_sd * self.noise
            turns = self._turns(name)
            game.turns = turns if self.it.free else {"discriminator": turns["discriminator"]}
            if fakes:
                with torch.no_grad():
                    for weight, value in zip(_line(game), (self.it.fake_sd, self.it.fake), strict=True):
                        weight.fill_(value)

    def change(self, it: Line) -> bool:
        """Means, widths, rates, and whether the fakes are free: that puts them back."""
        changed = _changed(self.it, it)
        if not changed <= self.live:
            return False
        self.it = it
        self._place(fakes=bool(changed & {"fake", "fake_sd", "free"}))
        return True

    def play(self) -> dict[str, float]:
        """A move of the discriminator and one of the critic, and of each one's generator."""
        self.step += 1
        return {f"{name}/{part}": value for name, game in self.games.items() for part, value in _play(game).items()}

    def scene(self) -> tuple[dict[str, Any], list[Array]]:
        """ "line": the places (201,)."""
        return {}, [LINE.squeeze(1).numpy()]

    def frame(self) -> tuple[dict[str, Any], list[Array]]:
        """ "real" and of each player "fakes": [mean, sd]; "at": of each cost the gradient at the fakes' mean.

        Arrays, each (201,): D, the critic, and the gradient that a sample at each place would get from the minimax
        cost, the non-saturating cost and the critic: how fast the generator's cost falls to the right.
        """
        d, critic = map(_model, self.games.values())
        fakes = {}
        for name, game in self.games.items():
            width, mean = (float(weight.detach()) for weight in _line(game))
            fakes[name] = [mean, abs(width)]
        costs = {"minimax": d, "non-saturating": d, "wasserstein": critic}
        at, arrays = {}, [_logits(d, LINE).sigmoid(), _logits(critic, LINE)]
        for loss, model in costs.items():
            mean = fakes["critic" if model is critic else "discriminator"][0]
            gradient = generator_gradient(model, loss, torch.cat([LINE, torch.tensor([[mean]])])).squeeze(1)
            arrays.append(gradient[:-1])
            at[loss] = float(gradient[-1])
        facts = {"real": [self.it.real, self.it.real_sd], "fakes": fakes, "at": at}
        return facts, [array.numpy() for array in arrays]


def _line(game: Game) -> tuple[Tensor, Tensor]:
    """The generator's weight and bias: its fakes' standard deviation and mean."""
    layer: Any = _model(game).generator.net
    return layer[0].weight, layer[0].bias


def _model(game: Game) -> GANModel:
    assert isinstance(game.model, GANModel)
    return game.model


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
        self.game = _game(model, self._turns(), load(it.data, progress=False), it.batch_size, it.seed)
        self.model = _model(self.game)
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
        if not _changed(self.it, it) <= self.live:
            return False
        self.it = it
        self.game.turns = self._turns()
        return True

    def play(self) -> dict[str, float]:
        """k moves of the discriminator and one of the generator."""
        return _play(self.game)

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
            heights = _logits(self.model, self.cells)
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
    return build(made, {} if value is True else {dataclasses.fields(made)[0].name: value})


def generator_gradient(model: GANModel, loss: str, fakes: Tensor, real: Tensor | None = None) -> Tensor:
    """The gradient by which a generator's cost would move its samples (N, d), each by its own part of the cost: (N, d).

    Args:
        model: whose discriminator judges; in evaluation mode meanwhile.
        loss: one of GAN_LOSSES.
        fakes: the samples, a batch.
        real: as many real points, where the loss sets one against the other; the samples themselves by default.
    """

    def gain(x: Tensor) -> Tensor:
        logits = model.discriminator.logits(x)
        against = logits if real is None else model.discriminator.logits(real)
        cost: Tensor = GAN_LOSSES[loss](against, logits)[1]
        return -cost * len(x)

    model.eval()
    gradient = input_gradient(gain, fakes).detach()
    model.train()
    return gradient


def options() -> dict[str, Any]:
    """What there is to choose from, for the page: losses and techniques, what they say of themselves, and defaults."""

    def first(item: Any) -> str:
        return str(item.__doc__).split("\n\n")[0].strip()

    def default(made: Any) -> float | bool:
        value = next((field.default for field in dataclasses.fields(made)), True)
        return value if isinstance(value, int | float) else True

    dressing = {name: made for name, made in TECHNIQUES.items() if not (made.of_images or made.of_init)}
    return {
        "losses": {name: first(loss) for name, loss in GAN_LOSSES.items()},
        "techniques": {name: {"value": default(made), "says": first(made)} for name, made in dressing.items()},
        "games": {name: dump(made()) for name, made in GAMES.items()},
    }


def _game(model: GAN, turns: dict[str, Turn], data: Dataset, batch_size: int, seed: int) -> Game:
    training = Training(turns=turns, batch_size=batch_size, seed=seed, device="cpu", precision="float32")
    recipe = Recipe(name="playground", model=model, training=training)
    game = Game(make_model(recipe, data, CPU), recipe, data, make_accelerator(CPU))
    game.model.train()
    return game


def _play(game: Game) -> dict[str, float]:
    """A step of a game; refuses to go on where a loss is no number."""
    parts = game.play()
    values = dict(zip(parts, torch.stack(list(parts.values())).tolist(), strict=True))
    for name, value in values.items():
        if not math.isfinite(value):
            raise UserError(f"{DIVERGED}{name} became {value:g} at step {game.step}. Take smaller learning rates.")
    return values


def _logits(model: GANModel, x: Tensor) -> Tensor:
    """D's logits, or the critic's values, of x (N, ...), in evaluation mode: (N,)."""
    with model.asked():
        return model.discriminator.logits(x).clone()


def _changed(old: Any, new: Any) -> set[str]:
    """The names of the settings that differ."""
    return {part.name for part in dataclasses.fields(old) if getattr(old, part.name) != getattr(new, part.name)}
