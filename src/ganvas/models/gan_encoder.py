"""An encoder for a GAN that is trained already: x -> z with G(z) near x, so that images of one's own have codes.

The generator stays as it is. Of samples the code is known, and the encoder learns it (Donahue et al. 2016 call this
the latent regressor); of training images it is not, and the encoder learns that the generator gives them back.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ganvas.data.loader import Batch
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import settings
from ganvas.models.base import MODELS, Encoder, LatentVariable
from ganvas.models.gan import GAN, GANModel
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.nets.registry import Net


@MODELS.register
@settings
class GANEncoder:
    """Settings of an encoder for a GAN.

    Attributes:
        gan: the settings of the GAN.
        net: of the encoder.
    """

    kind: ClassVar[str] = "gan-encoder"
    gan: GAN = GAN()
    net: Net = MLP()

    @property
    def latent_dim(self) -> int:
        """Of the GAN."""
        return int(self.gan.latent_dim)


class CodeEncoder(nn.Module):
    """The only player: the GAN stands still."""

    def __init__(self, model: GANEncoderModel) -> None:
        super().__init__()
        self.net = model.config.net.encoder(model.shape, model.latent_dim)
        self.game = (model,)  # in a tuple: the GAN's parameters are not this player's

    def codes(self, images: Tensor) -> Tensor:
        """(N, *shape) -> (N, latent_dim), anywhere."""
        (model,) = self.game
        z: Tensor = self.net(model.gan.to_range(images)).float()
        return z

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """{"image": the share of the variance that G(E(x)) misses, "code": that of E(G(z)), "loss": their sum}."""
        (model,), x = self.game, batch.images
        z = model.prior.sample(draw, (len(x), model.latent_dim), x.device)
        with torch.no_grad():
            samples = model.decoded(z)
        codes = self.codes(torch.cat([x, samples]))
        image = missed(model.decoded(model.prior.typical(codes[: len(x)])), x)
        parts = {"image": image, "code": missed(codes[len(x) :], z)}
        return {"loss": image + parts["code"], **parts}


class GANEncoderModel(Encoder, LatentVariable):
    """A GAN that stands still, and the encoder that is trained for it."""

    Config = GANEncoder
    figures: ClassVar[dict[str, str]] = {"loss": "variance missed, of images and of codes"}

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        self.gan = GANModel(config.gan, shape).requires_grad_(False)
        self.prior, self.counters = self.gan.prior, tuple(f"gan.{name}" for name in self.gan.counters)
        self.encoder = CodeEncoder(self)

    def players(self) -> dict[str, nn.Module]:
        """One."""
        return {"encoder": self.encoder}

    def train(self, mode: bool = True) -> GANEncoderModel:
        """The GAN stays as it is when it is asked."""
        super().train(mode)
        self.gan.eval()
        return self

    def measure(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The player's parts."""
        return dict(self.encoder(batch, draw))

    def inherit(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a GAN its own weights; the encoder begins anew."""
        if any(name.startswith("encoder.") for name in weights):
            return weights
        new = {name: weight for name, weight in self.state_dict().items() if name.startswith(("encoder.", "units."))}
        return new | {f"gan.{name}": weight for name, weight in weights.items()}

    def encoded(self, images: Tensor) -> Tensor:
        """E(x), moved to where P(z) has its mass: from elsewhere come no images that look like samples."""
        return self.prior.typical(self.encoder.codes(images))

    def decoded(self, z: Tensor) -> Tensor:
        """G(z)."""
        return self.gan.decoded(z)


def missed(found: Tensor, wanted: Tensor) -> Tensor:
    """The squared error over the variance about the batch's mean, both (N, ...): 1 is no better than that mean."""
    variance = (wanted - wanted.mean(0)).square().mean()
    return (found - wanted).square().mean() / variance.clamp_min(1e-8)
