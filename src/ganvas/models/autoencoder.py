"""Autoencoder, denoising one, and one with samples: x -> code -> x; x + noise -> code -> x; P(z) -> code -> x."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ganvas import losses
from ganvas.data.loader import Batch
from ganvas.errors import UserError, unknown
from ganvas.models.base import MODELS, Encoder, LatentVariable, verb
from ganvas.nets.mlp import MLP
from ganvas.nets.registry import Net
from ganvas.priors.mixture import fixed
from ganvas.randomness import Draw
from ganvas.registry import Count, Positive, settings

NOISES = ("gaussian", "masking", "salt-and-pepper")


def corrupt(x: Tensor, noise: str, level: float, draw: Draw) -> Tensor:
    """x with noise on it (Vincent et al. 2010, section 3).

    Args:
        x: (N, ...) in [0, 1].
        noise: "gaussian" adds N(0, level^2); "masking" sets a share `level` of the values to 0;
            "salt-and-pepper" sets it to 0 or 1, either with probability 1/2.
        level: standard deviation, or share of the values.
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
class Autoencoder:
    """Settings of an autoencoder.

    Attributes:
        latent_dim: size of the code.
        net: of the encoder and the decoder.
    """

    latent_dim: Count = 32
    net: Net = MLP()


@MODELS.register
@settings
class DenoisingAutoencoder:
    """Settings of a denoising autoencoder.

    Attributes:
        latent_dim: size of the code.
        net: of the encoder and the decoder.
        noise: the kind that is put on the input, see `corrupt`.
        level: how much of it.
    """

    latent_dim: Count = 128
    net: Net = MLP()
    noise: Literal["gaussian", "masking", "salt-and-pepper"] = "gaussian"
    level: Positive = 0.5

    def __post_init__(self) -> None:
        if self.noise != "gaussian" and self.level > 1:
            raise UserError(f"level is {self.level:g}: for {self.noise} noise it is a share of the values, at most 1.")


class AutoencoderModel(Encoder):
    """decoder(encoder(x)), trained on the squared error summed over the values of an image."""

    Config: ClassVar[type[Any]] = Autoencoder
    figures: ClassVar[dict[str, str]] = {"loss": "squared error per image"}

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        self.encoder = config.net.encoder(shape, config.latent_dim)
        self.decoder = config.net.decoder(config.latent_dim, shape)

    def players(self) -> dict[str, torch.nn.Module]:
        """One: the model itself."""
        return {"autoencoder": self}

    def corrupt(self, images: Tensor, draw: Draw) -> Tensor:
        """What the encoder sees while training: here, the images themselves."""
        return images

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """{"loss": squared error per image, mean over the batch}.

        Of rows of numbers it is in squared standard deviations of the columns, and the noise in deviations.
        """
        x = self.units(batch.images)
        return {"loss": losses.squared_error(x, self._output(self.encoder(self.corrupt(x, draw)))).mean()}

    def encoded(self, images: Tensor) -> Tensor:
        """The encoder's output."""
        codes: Tensor = self.encoder(self.units(images)).float()
        return codes

    def decoded(self, z: Tensor) -> Tensor:
        """The decoder's output, of images within (0, 1)."""
        return self.units.back(self._output(z))

    def with_prior(self, components: int) -> FittedAutoencoder:
        """Those of an autoencoder with a P(z)."""
        return FittedAutoencoder(latent_dim=self.latent_dim, net=self.config.net, components=components)

    def _output(self, z: Tensor) -> Tensor:
        output: Tensor = self.decoder(z).float()
        return output.sigmoid() if len(self.shape) == 3 else output


class DenoisingAutoencoderModel(AutoencoderModel):
    """decoder(encoder(x + noise)), trained to give x."""

    Config = DenoisingAutoencoder

    def corrupt(self, images: Tensor, draw: Draw) -> Tensor:
        """The images with the configured noise on them, cut to [0, 1] as a noisy image in a file is."""
        noisy = corrupt(images, self.config.noise, self.config.level, draw)
        return noisy.clamp(0, 1) if len(self.shape) == 3 else noisy

    @verb
    def denoise(self, images: Any) -> Tensor:
        """Noisy images (N, *shape) without their noise."""
        return self.reconstruct(images)


@MODELS.register
@settings
class FittedAutoencoder:
    """Settings of an autoencoder with a P(z).

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
