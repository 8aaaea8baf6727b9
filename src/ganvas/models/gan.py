"""Generative adversarial network (Goodfellow et al. 2014): min_G max_D E[log D(x)] + E[log(1 - D(G(z)))]."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from ganvas.losses import GAN_LOSSES
from ganvas.models.base import MODELS, Model
from ganvas.nets.mlp import MLP
from ganvas.nets.registry import Net
from ganvas.priors import Prior, Uniform
from ganvas.randomness import Draw
from ganvas.registry import Count, settings


def _known(loss: str) -> str:
    GAN_LOSSES[loss]
    return loss


@MODELS.register
@settings
class GAN:
    """Settings of a GAN.

    Attributes:
        latent_dim: size of z.
        generator: its net.
        discriminator: its net.
        prior: P(z).
        loss: "non-saturating" or "minimax".
        output: the generator's last activation; real images are scaled to its range.
    """

    latent_dim: Count = 100
    generator: Net = MLP(hidden=(1200, 1200), norm="batch")
    discriminator: Net = MLP(hidden=(512, 256), activation="leaky-relu")
    prior: Prior = Uniform()
    loss: Annotated[str, AfterValidator(_known)] = "non-saturating"
    output: Literal["sigmoid", "tanh"] = "sigmoid"


class Discriminator(nn.Module):
    """The player that tells real from fake."""

    def __init__(self, model: GANModel) -> None:
        super().__init__()
        self.net = model.config.discriminator.encoder(model.shape, 1)
        self.game = (model,)  # in a tuple: the opponent's parameters are not this player's

    def logits(self, x: Tensor) -> Tensor:
        """(N, *shape) in the generator's range -> (N,)."""
        logits: Tensor = self.net(x).float().squeeze(1)
        return logits

    def forward(self, images: Tensor, draw: Draw) -> dict[str, Tensor]:
        """Ascend E[log D(x)] + E[log(1 - D(G(z)))]; images (N, *shape)."""
        (model,) = self.game
        with torch.no_grad():
            fake = model.generator.fake(len(images), draw, images.device)
        real_logits, fake_logits = self.logits(model.to_range(images)), self.logits(fake)
        loss = GAN_LOSSES[model.config.loss].discriminator(real_logits, fake_logits)
        scores = {"real": real_logits.detach().sigmoid().mean(), "fake": fake_logits.detach().sigmoid().mean()}
        return {"loss": loss, **scores}


class Generator(nn.Module):
    """The player that makes fakes."""

    def __init__(self, model: GANModel) -> None:
        super().__init__()
        self.net = model.config.generator.decoder(model.config.latent_dim, model.shape)
        self.game = (model,)

    def images(self, z: Tensor) -> Tensor:
        """(N, latent_dim) -> (N, *shape) in the range of the last activation."""
        (model,) = self.game
        output: Tensor = self.net(z).float()
        if len(model.shape) != 3:
            return output
        return output.tanh() if model.config.output == "tanh" else output.sigmoid()

    def fake(self, n: int, draw: Draw, device: torch.device) -> Tensor:
        """n images from a fresh draw of z."""
        (model,) = self.game
        return self.images(model.config.prior.sample(draw, (n, model.config.latent_dim), device))

    def forward(self, images: Tensor, draw: Draw) -> dict[str, Tensor]:
        """Descend the generator's side of the game."""
        (model,) = self.game
        logits = model.discriminator.logits(self.fake(len(images), draw, images.device))
        return {"loss": GAN_LOSSES[model.config.loss].generator(logits)}


class GANModel(Model):
    """Two players, and samples from one of them."""

    Config = GAN

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        self.discriminator = Discriminator(self)
        self.generator = Generator(self)

    def players(self) -> dict[str, nn.Module]:
        """The discriminator moves first (Algorithm 1)."""
        return {"discriminator": self.discriminator, "generator": self.generator}

    def to_range(self, images: Tensor) -> Tensor:
        """Images in [0, 1] -> the range of the generator's last activation."""
        return images * 2 - 1 if self.config.output == "tanh" and len(self.shape) == 3 else images

    def decode(self, codes: Tensor) -> Tensor:
        """G(z) (N, *shape), images in [0, 1], from z (N, latent_dim)."""
        z = torch.as_tensor(codes, dtype=torch.float32, device=self.device)
        images = self.chunks(self.generator.images, z)
        return (images + 1) / 2 if self.config.output == "tanh" and len(self.shape) == 3 else images

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """G(z) (n, *shape) at z from the prior; the same seed gives the same samples."""
        return self.decode(self.config.prior.sample(Draw(seed), (n, self.config.latent_dim)))
