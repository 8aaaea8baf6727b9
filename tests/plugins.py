"""Two families as a person outside writes them, by public names alone: one without P(z), one without codes.

`registered` makes them known for a while.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.data.loader import Batch
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Count, settings
from ganvas.models.base import MODELS, Encoder, Sampler
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.nets.registry import Net
from ganvas.parts.optimizers import Adam
from ganvas.recipes import RECIPES, Recipe, Training, Turn


@settings
class Quantised:
    """Settings of an autoencoder with discrete codes.

    Attributes:
        tokens: in a code.
        words: that a token may be.
        width: numbers that stand for a word.
        net: of the encoder and the decoder.
    """

    tokens: Count = 4
    words: Count = 16
    width: Count = 3
    net: Net = MLP(hidden=(64,))


class QuantisedModel(Encoder):
    """A code is the words (N, tokens) whose vectors are nearest to what the encoder says (van den Oord et al. 2017)."""

    Config = Quantised
    codes_are = "words of the book"
    figures: ClassVar[dict[str, str]] = {"reconstruction": "squared error per image"}

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        numbers = config.tokens * config.width
        self.encoder, self.decoder = config.net.encoder(shape, numbers), config.net.decoder(numbers, shape)
        self.book = nn.Parameter(torch.randn(config.words, config.width))

    @property
    def latent_dim(self) -> int:
        return int(self.config.tokens)

    def players(self) -> dict[str, nn.Module]:
        return {"quantised": self}

    def said(self, images: Tensor) -> Tensor:
        said: Tensor = self.encoder(self.units(images)).float()
        return said.unflatten(1, (self.config.tokens, -1))

    def nearest(self, said: Tensor) -> Tensor:
        return torch.cdist(said, self.book).argmin(-1)

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        images, said = batch.images, self.said(batch.images)
        word = self.book[self.nearest(said)]
        made = self.made(said + (word - said).detach())
        commitment = F.mse_loss(word, said.detach()) + 0.25 * F.mse_loss(said, word.detach())
        reconstruction = (made - images).square().flatten(1).sum(1).mean()
        return {"loss": reconstruction + commitment, "reconstruction": reconstruction, "commitment": commitment}

    def made(self, vectors: Tensor) -> Tensor:
        images: Tensor = self.decoder(vectors.flatten(1)).float().sigmoid()
        return images

    def encoded(self, images: Tensor) -> Tensor:
        return self.nearest(self.said(images)).float()

    def decoded(self, z: Tensor) -> Tensor:
        return self.made(self.book[z.round().long().clamp(0, self.config.words - 1)])


@settings
class Flowing:
    """Settings of a flow that is matched.

    Attributes:
        net: of the velocity.
        steps: from noise to an image.
    """

    net: Net = MLP(hidden=(64,))
    steps: Count = 8


class FlowingModel(Sampler):
    """Samples by dx/dt = v(x, t) from N(0, I) at t = 0 to images at t = 1 (Lipman et al. 2022)."""

    Config = Flowing

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        self.numbers = int(torch.Size(shape).numel())
        self.net = config.net.encoder((self.numbers + 1,), self.numbers)

    def players(self) -> dict[str, nn.Module]:
        return {"flow": self}

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        v: Tensor = self.net(torch.cat([x.flatten(1), t], 1)).float()
        return v.view_as(x)

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        images = batch.images
        noise, t = draw.normal("noise", tuple(images.shape)), draw.uniform("time", (len(images), 1))
        noise, t = noise.to(images.device), t.to(images.device)
        x = torch.lerp(noise, images, t.view(-1, *[1] * len(self.shape)))
        return {"loss": (self.velocity(x, t) - (images - noise)).square().flatten(1).sum(1).mean()}

    def source(self) -> Callable[[Draw, int], Tensor]:
        def drawn(draw: Draw, n: int) -> Tensor:
            x = draw.normal("noise", (n, *self.shape)).to(self.device)
            for step in range(self.config.steps):
                x = x + self.velocity(x, x.new_full((n, 1), step / self.config.steps)) / self.config.steps
            return x.clamp(0, 1)

        return drawn


def quantised(words: int = 16) -> Recipe:
    """Discrete codes.

    Args:
        words: that a token may be
    """
    return Recipe(name="quantised", model=Quantised(words=words), training=training("quantised"))


def flowing(steps: int = 8) -> Recipe:
    """Noise that flows into images.

    Args:
        steps: from noise to an image
    """
    return Recipe(name="flowing", model=Flowing(steps=steps), training=training("flow"))


def training(player: str) -> Training:
    return Training(turns={player: Turn(optimizer=Adam(lr=1e-3))}, epochs=5)


@contextmanager
def registered() -> Iterator[None]:
    """As long as it lasts, both are known; other tests walk the registries, too."""
    made = [(MODELS, Quantised), (MODELS, Flowing), (RECIPES, quantised), (RECIPES, flowing)]
    for registry, item in made:
        registry.register(item)
    try:
        yield
    finally:
        for registry, item in made:
            registry.pop(next(name for name, known in registry.items() if known is item))
