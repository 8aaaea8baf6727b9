"""Autoencoder, denoising one, and one with samples: x -> code -> x; x + noise -> code -> x; P(z) -> code -> x."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ganvas.data.loader import Batch
from ganvas.ground.errors import UserError, unknown
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Count, Positive, settings
from ganvas.models.base import MODELS, Encoder, LatentVariable, Model, verb
from ganvas.models.conditions import Condition, Conditional
from ganvas.parts import losses
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.nets.registry import Net
from ganvas.parts.priors.mixture import ToldMixture, fixed

NOISES = ("gaussian", "masking", "salt-and-pepper")
WEAKEST = 1 / 20  # of the levels of a blind model, over the strongest


def corrupt(x: Tensor, noise: str, level: float | Tensor, draw: Draw) -> Tensor:
    """x with noise on it (Vincent et al. 2010, section 3).

    Args:
        x: (N, ...) in [0, 1].
        noise: "gaussian" adds N(0, level^2); "masking" sets a share `level` of the values to 0;
            "salt-and-pepper" sets it to 0 or 1, either with probability 1/2.
        level: standard deviation, or share of the values; a number, or one for each image, (N, 1, ...).
        draw: where the randomness comes from.
    """
    shape, device = tuple(x.shape), x.device
    if noise == "gaussian":
        return x + level * draw.normal("corrupt", shape, device)
    u = draw.uniform("corrupt", shape, device)
    if noise == "masking":
        return torch.where(u < level, torch.zeros_like(x), x)
    if noise != "salt-and-pepper":
        raise unknown("noise", noise, NOISES)
    return torch.where(u < level / 2, torch.zeros_like(x), torch.where(u < level, torch.ones_like(x), x))


@MODELS.register
@settings
class Autoencoder(Condition):
    """Settings of an autoencoder: those of its condition, and

    Attributes:
        latent_dim: size of the code.
        net: of the encoder and the decoder.
    """

    latent_dim: Count = 32
    net: Net = MLP()


@settings
class Corruption:
    """Settings of what is put on the images that a model learns to restore.

    Attributes:
        noise: its kind, see `corrupt`.
        level: how much of it.
        blind: whether each image has a level of its own, log-uniform between a twentieth of `level` and `level`; what
            is restored counts over its level then, or the strongest noise would be all that is learned.
    """

    noise: Literal["gaussian", "masking", "salt-and-pepper"] = "gaussian"
    level: Positive = 0.5
    blind: bool = False

    def __post_init__(self) -> None:
        if self.noise != "gaussian" and self.level > 1:
            raise UserError(f"level is {self.level:g}: for {self.noise} noise it is a share of the values, at most 1.")

    def levels(self, images: Tensor, draw: Draw) -> Tensor:
        """That of each image (N, ...): (N, 1, ...)."""
        shape = (len(images), *[1] * (images.dim() - 1))
        u = draw.uniform("level", shape, images.device) if self.blind else torch.ones(shape, device=images.device)
        return self.level * WEAKEST ** (1 - u)


@MODELS.register
@settings
class DenoisingAutoencoder(Condition, Corruption):
    """Settings of a denoising autoencoder: those of its noise and of its condition, and

    Attributes:
        latent_dim: size of the code.
        net: of the encoder and the decoder.
    """

    latent_dim: Count = 128
    net: Net = MLP()


class AutoencoderModel(Conditional, Encoder):
    """decoder(encoder(x)), trained on the squared error summed over the values of an image."""

    Config: ClassVar[type[Any]] = Autoencoder
    figures: ClassVar[dict[str, str]] = {"loss": "squared error per image"}

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        self.encoder = config.net.encoder(shape, config.latent_dim)
        self.draw_pattern()
        self.decoder = config.net.decoder(config.latent_dim + self.width, shape)

    def players(self) -> dict[str, torch.nn.Module]:
        """One: the model itself."""
        return {"autoencoder": self}

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """{"loss": squared error per image, mean over the batch}, of rows in squared deviations of the columns."""
        x, model = self.units(batch.images), self.of_batch(batch, draw)
        return {"loss": losses.squared_error(x, model.passed(x)).mean()}

    def passed(self, x: Tensor) -> Tensor:
        """decoder(encoder(x)) of images, or of rows of numbers in their units."""
        return self._output(self.encoder(self.marked(x)))

    def encoded(self, images: Tensor) -> Tensor:
        """The encoder's output."""
        codes: Tensor = self.encoder(self.marked(self.units(images))).float()
        return codes

    def decoded(self, z: Tensor) -> Tensor:
        """The decoder's output, of images within (0, 1)."""
        return self.units.back(self._output(z))

    def with_prior(self, components: int) -> FittedAutoencoder:
        """Those of an autoencoder with a P(z)."""
        told = {"condition": self.config.condition, "untold": self.config.untold}
        return FittedAutoencoder(latent_dim=self.latent_dim, net=self.config.net, components=components, **told)

    def _output(self, z: Tensor) -> Tensor:
        output: Tensor = self.decoder(self.joined(z)).float()
        return output.sigmoid() if len(self.shape) == 3 else output


class Restorer(Model):
    """The verb of families that restore images; their settings are those of a `Corruption`, and more.

    Attributes:
        any_size: whether images may have another size than those that it was trained on.
    """

    any_size: ClassVar[bool] = False
    figures: ClassVar[dict[str, str]] = {"loss": "squared error per image"}

    def corrupt(self, images: Tensor, draw: Draw) -> Tensor:
        """The images with the configured noise on them, cut to [0, 1] as a noisy image in a file is."""
        noisy = corrupt(images, self.config.noise, self.config.levels(images, draw), draw)
        return noisy.clamp(0, 1) if len(self.shape) == 3 else noisy

    def restored(self, x: Tensor) -> Tensor:
        """What its nets make of images (N, *shape), rows of numbers in their units."""
        raise NotImplementedError(type(self).__name__)

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """{"loss": squared error per image, mean over the batch; of a blind model over the image's level}."""
        x = self.units(batch.images)
        error = losses.squared_error(x, self.restored(self.corrupt(x, draw)))
        return {"loss": (error / self.config.levels(x, draw).flatten() if self.config.blind else error).mean()}

    def denoised(self, images: Tensor) -> Tensor:
        """`denoise` of images (N, *shape) as they are, with a gradient."""
        x = self.units.back(self.restored(self.units(images)))
        return x.clamp(0, 1) if len(self.shape) == 3 else x

    @verb
    def denoise(self, images: Any) -> Tensor:
        """Noisy images (N, *shape) without their noise."""
        return self.chunks(self.denoised, self.rows(images))


class DenoisingAutoencoderModel(Restorer, AutoencoderModel):
    """decoder(encoder(x + noise)), trained to give x."""

    Config = DenoisingAutoencoder

    def restored(self, x: Tensor) -> Tensor:
        """decoder(encoder(x))."""
        return self.passed(x)

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """As every restorer's, told of the batch's labels."""
        return Restorer.forward(self.of_batch(batch, draw), batch, draw)


@MODELS.register
@settings
class FittedAutoencoder(Condition):
    """Settings of an autoencoder with a P(z): those of its condition, and

    Attributes:
        latent_dim: size of the code.
        net: of the encoder and the decoder.
        components: of the mixture.
    """

    latent_dim: Count = 32
    net: Net = MLP()
    components: Count = 10


class FittedAutoencoderModel(AutoencoderModel, LatentVariable):
    """An autoencoder with samples; its P(z) does not train with it."""

    Config = FittedAutoencoder

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        k, d = config.components, config.latent_dim
        self.prior = fixed(torch.zeros(k, d), torch.zeros(k, d), torch.zeros(k))
        if config.told_prior:
            self.prior_given = ToldMixture.empty(k, d, self.width)
