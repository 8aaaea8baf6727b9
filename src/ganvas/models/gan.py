"""Generative adversarial network (Goodfellow et al. 2014): min_G max_D E[log D(x)] + E[log(1 - D(G(z)))].

Loss, nets and techniques are settings; under the Wasserstein loss the discriminator is the critic of a WGAN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import numpy as np
import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from ganvas.data.loader import Batch
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Count, kind, settings
from ganvas.models.base import MODELS, LatentVariable
from ganvas.models.conditions import Condition, Conditional
from ganvas.parts.losses import GAN_LOSSES, PROBABILISTIC, generator_sees_real
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.nets.registry import Net
from ganvas.parts.priors import Noise, Uniform
from ganvas.parts.techniques import Seen, Techniques, in_order

if TYPE_CHECKING:
    from ganvas.data import Dataset


def known_loss(loss: str) -> str:
    """A loss, once it is known that it is one of GAN_LOSSES."""
    GAN_LOSSES[loss]
    return loss


@MODELS.register
@settings
class GAN(Condition):
    """Settings of a GAN: those of its condition, and

    Attributes:
        latent_dim: size of z.
        generator: its net.
        discriminator: its net.
        prior: P(z).
        loss: one of GAN_LOSSES.
        output: the generator's last activation; real images are scaled to its range, [-1, 1] for "linear" too.
        marginals: the generator's last biases start where its sigmoid is the mean of the training images, not at 0.
        techniques: what is added to the players, see `ganvas.parts.techniques`.
    """

    latent_dim: Count = 100
    generator: Net = MLP(hidden=(1200, 1200), norm="batch")
    discriminator: Net = MLP(hidden=(512, 256), activation="leaky-relu")
    prior: Noise = Uniform()
    loss: Annotated[str, AfterValidator(known_loss)] = "non-saturating"
    output: Literal["sigmoid", "tanh", "linear"] = "sigmoid"
    marginals: bool = False
    techniques: Techniques = ()


class Discriminator(nn.Module):
    """The player that tells real from fake; the critic of a WGAN."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        *body, head = model.config.discriminator.encoder(model.shape, 1)
        self.body, self.head = nn.Sequential(*body), head
        self.projection = nn.Linear(model.width, head.in_features, bias=False) if model.width else None
        if self.projection:
            nn.init.zeros_(self.projection.weight)
        self.game = (model,)  # in a tuple: the opponent's parameters are not this player's

    def features(self, x: Tensor) -> Tensor:
        """(N, *shape) in the generator's range -> the last hidden layer (N, d)."""
        features: Tensor = self.body(x)
        return features

    def judge(self, features: Tensor) -> Tensor:
        """(N, d) -> logits (N,)."""
        logits: Tensor = self.head(features).float().squeeze(1)
        return logits

    def logits(self, x: Tensor) -> Tensor:
        """(N, *shape) in the generator's range -> (N,)."""
        return self.judge(self.features(x))

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The discriminator's cost on a batch and as many fakes, and its scores."""
        (model,), images = self.game, batch.images
        model = model.of_batch(batch, draw)
        with torch.no_grad():
            fake = model.fakes(images, draw)
        seen = Seen(model, images, fake, draw)
        cost, _ = GAN_LOSSES[model.config.loss](seen.real_logits, seen.fake_logits)
        return {**model.cost("discriminator", cost, seen), **model.scores(seen)}


class Adversarial(Conditional):
    """What a family with a discriminator has, beside what else it is.

    Attributes:
        techniques: in the order in which they are built.
        generator_sees_real: whether the cost of what makes the fakes depends on the real images.
    """

    discriminator: Discriminator

    def adversarial(self, config: Any) -> None:
        """The last part of the making of a model, when it has its nets."""
        self.techniques = in_order(config.techniques)
        self.generator_sees_real = generator_sees_real(GAN_LOSSES[config.loss])
        for technique in self.techniques:
            if technique.of_images and len(self.shape) != 3:
                name = kind(type(technique))
                raise UserError(f"{name} is of images, this data is points of shape {self.shape}: leave it away.")
            technique.build(cast(Any, self))

    def to_range(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the discriminator sees them; rows of numbers in its units."""
        seen: Tensor = self.units(images)
        return seen

    def judge(self, features: Tensor) -> Tensor:
        """The discriminator's logits (N,) of its features (N, d): whether an image is real, and of what is told.

        head(f) + <V c, f>: the projection discriminator (Miyato & Koyama 2018, equation 4).
        """
        logits = self.discriminator.judge(features)
        projection = self.discriminator.projection
        return logits if self.told is None or projection is None else logits + (projection(self.told) * features).sum(1)

    def logits(self, x: Tensor) -> Tensor:
        """(N, *shape) in the generator's range -> (N,)."""
        return self.judge(self.discriminator.features(x))

    def fakes(self, images: Tensor, draw: Draw) -> Tensor:
        """As many fakes as there are images, in that range."""
        raise NotImplementedError(type(self).__name__)

    def fooling(self, images: Tensor, fake: Tensor, draw: Draw) -> dict[str, Tensor]:
        """The cost of what makes the fakes, with the techniques' terms."""
        seen = Seen(self, images, fake, draw)
        real = seen.real_logits if self.generator_sees_real else seen.fake_logits.detach()
        _, cost = GAN_LOSSES[self.config.loss](real, seen.fake_logits)
        return self.cost("generator", cost, seen)

    def cost(self, player: str, cost: Tensor, seen: Seen) -> dict[str, Tensor]:
        """{"loss": the cost and the techniques' terms, each term by its technique's name}."""
        count = sum(seen.draw.position[::2])  # of the step, and of the move in it
        found = ((t, t.term(player, seen)) for t in self.techniques if t.due(count))
        terms = {kind(type(t)): t.every * term for t, term in found if term is not None}
        return {"loss": cost + sum(terms.values()), **terms}

    def phase(self, count: int) -> tuple[bool, ...]:
        """Which techniques' terms are in a cost."""
        return tuple(technique.due(count) for technique in self.techniques)

    def scores(self, seen: Seen) -> dict[str, Tensor]:
        """Mean D(x) and D(G(z)); of a critic its means, and their difference: the Wasserstein estimate."""
        real, fake = seen.real_logits.detach(), seen.fake_logits.detach()
        if self.config.loss in PROBABILISTIC:
            return {"real": real.sigmoid().mean(), "fake": fake.sigmoid().mean()}
        scores = {"real": real.mean(), "fake": fake.mean()}
        # Falls as samples improve: the negative of the critic's loss (Arjovsky et al. 2017, figure 3).
        return scores | ({"wasserstein": scores["real"] - scores["fake"]} if self.config.loss == "wasserstein" else {})

    def moved(self, player: str) -> None:
        """A player has moved: techniques project weights, and keep averages."""
        for technique in self.techniques:
            technique.moved(cast(Any, self), player)


class Generator(nn.Module):
    """The player that makes fakes."""

    def __init__(self, model: GANModel) -> None:
        super().__init__()
        self.net = model.config.generator.decoder(model.latent_dim + model.width, model.shape)
        self.game = (model,)

    def images(self, z: Tensor) -> Tensor:
        """(N, latent_dim) -> (N, *shape) in the range of the last activation."""
        (model,) = self.game
        return model.activate(self.net(model.joined(z)))

    def fake(self, n: int, draw: Draw, device: torch.device) -> Tensor:
        """n images from a fresh draw of z."""
        (model,) = self.game
        return self.images(model.prior.sample(draw, (n, model.latent_dim), device))

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The generator's cost on as many fakes as a batch has images."""
        (model,), images = self.game, batch.images
        model = model.of_batch(batch, draw)
        return model.fooling(images, model.fakes(images, draw), draw)


class GANModel(Adversarial, LatentVariable):
    """Two players, and samples from one of them."""

    Config = GAN
    # z holds no class that a generator could learn it from; and a value as long as z drowns it: all samples were one.
    told_length = 1.0

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        if config.marginals and not (config.output == "sigmoid" and config.generator.dense and len(shape) == 3):
            raise UserError("marginals are of images from a fully connected net that ends in a sigmoid.")
        self.prior = config.prior
        self.discriminator = Discriminator(self)
        self.generator = Generator(self)
        self.average: Any = None  # of the generator's net, where a technique keeps one
        self.adversarial(config)

    def prepare(self, dataset: Dataset, seed: int) -> None:
        """The generator's last biases may start at the marginals of the training images."""
        super().prepare(dataset, seed)
        if self.config.marginals:
            images = np.asarray(dataset.splits["train"].images)
            mean = torch.from_numpy(images.mean(0, dtype=np.float64) / np.iinfo(images.dtype).max).permute(2, 0, 1)
            *_, last = (layer for layer in self.generator.net.modules() if isinstance(layer, nn.Linear))
            with torch.no_grad():
                last.bias.copy_(mean.flatten().logit(eps=1e-7))

    def fakes(self, images: Tensor, draw: Draw) -> Tensor:
        """Of fresh draws of z."""
        z = self.prior.sample(draw, (len(images), self.latent_dim), images.device)
        return self.activate(self.generator.net(self.joined(z)))

    def players(self) -> dict[str, nn.Module]:
        """The discriminator moves first (Algorithm 1)."""
        return {"discriminator": self.discriminator, "generator": self.generator}

    def inherit(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """An average that the other model has not kept begins at its generator."""
        if self.average is None or "average.moves" in weights:
            return weights
        net = {
            f"average.{name.removeprefix('generator.')}": weight
            for name, weight in weights.items()
            if name.startswith("generator.net.")
        }
        return {**weights, **net, "average.moves": self.average.moves}

    @property
    def signed(self) -> bool:
        """Whether the players' images are in [-1, 1]."""
        return self.config.output != "sigmoid" and len(self.shape) == 3

    def activate(self, output: Tensor) -> Tensor:
        """The generator's last activation; points have none."""
        output = output.float()
        if len(self.shape) != 3 or self.config.output == "linear":
            return output
        return output.tanh() if self.config.output == "tanh" else output.sigmoid()

    def to_range(self, images: Tensor) -> Tensor:
        """Images in [0, 1] -> the range of the generator's last activation; rows of numbers -> its units."""
        return images * 2 - 1 if self.signed else self.units(images)

    def decoded(self, z: Tensor) -> Tensor:
        """G(z), of images in [0, 1]."""
        images = self.activate((self.average or self.generator.net)(self.joined(z)))
        return ((images + 1) / 2).clamp(0, 1) if self.signed else self.units.back(images)
