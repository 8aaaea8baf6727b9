"""Two Gaussians on a line, seen by a discriminator and by a critic (lecture row L21)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ganvas.data import Dataset
from ganvas.data.dataset import Split
from ganvas.ground.registry import settings
from ganvas.models.gan import GAN
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.optimizers import SGD, Adam, Optimizer, RMSprop
from ganvas.parts.priors import Normal
from ganvas.parts.techniques import Clip, GradientPenalty
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
from ganvas.training.game import Game

ROWS = 2**14  # real points on the line
LINE = torch.linspace(-10, 10, 201)[:, None]

Place = Annotated[float, Field(ge=-8, le=8)]
Width = Annotated[float, Field(ge=0.1, le=3)]


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
            self.games[name] = new_game(model, self._turns(name), data, it.batch_size, it.seed)
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
        changed = differing(self.it, it)
        if not changed <= self.live:
            return False
        self.it = it
        self._place(fakes=bool(changed & {"fake", "fake_sd", "free"}))
        return True

    def play(self) -> dict[str, float]:
        """A move of the discriminator and one of the critic, and of each one's generator."""
        self.step += 1
        return {f"{name}/{part}": value for name, game in self.games.items() for part, value in played(game).items()}

    def scene(self) -> tuple[dict[str, Any], list[Array]]:
        """ "line": the places (201,)."""
        return {}, [LINE.squeeze(1).numpy()]

    def frame(self) -> tuple[dict[str, Any], list[Array]]:
        """ "real" and of each player "fakes": [mean, sd]; "at": of each cost the gradient at the fakes' mean.

        Arrays, each (201,): D, the critic, and the gradient that a sample at each place would get from the minimax
        cost, the non-saturating cost and the critic: how fast the generator's cost falls to the right.
        """
        d, critic = map(model_of, self.games.values())
        fakes = {}
        for name, game in self.games.items():
            width, mean = (float(weight.detach()) for weight in _line(game))
            fakes[name] = [mean, abs(width)]
        costs = {"minimax": d, "non-saturating": d, "wasserstein": critic}
        at, arrays = {}, [logits(d, LINE).sigmoid(), logits(critic, LINE)]
        for loss, model in costs.items():
            mean = fakes["critic" if model is critic else "discriminator"][0]
            gradient = generator_gradient(model, loss, torch.cat([LINE, torch.tensor([[mean]])])).squeeze(1)
            arrays.append(gradient[:-1])
            at[loss] = float(gradient[-1])
        facts = {"real": [self.it.real, self.it.real_sd], "fakes": fakes, "at": at}
        return facts, [array.numpy() for array in arrays]


def _line(game: Game) -> tuple[Tensor, Tensor]:
    """The generator's weight and bias: its fakes' standard deviation and mean."""
    layer: Any = model_of(game).generator.net
    return layer[0].weight, layer[0].bias
