"""Autoencoder (Hinton & Salakhutdinov 2006) and denoising autoencoder (Vincent et al. 2010)."""

from __future__ import annotations

from typing import Literal

from ganvas.recipe import RECIPES, Optimizer, Recipe, Training, Turn


def _training() -> Training:
    return Training(turns={"autoencoder": Turn(optimizer=Optimizer(lr=1e-3))}, epochs=30, schedule="cosine")


@RECIPES.register
def autoencoder(latent_dim: int = 32, net: Literal["mlp", "dcgan"] = "mlp") -> Recipe:
    """Autoencoder: a code of any size and the image back from it (lecture row L2).

    Args:
        latent_dim: size of the code
        net: of the encoder and the decoder

    Example:
        ganvas train autoencoder --data mnist --latent-dim 2
    """
    from ganvas.models.autoencoder import Autoencoder
    from ganvas.nets import NETS

    model = Autoencoder(latent_dim=latent_dim, net=NETS[net]())
    return Recipe(name="autoencoder", model=model, training=_training())


@RECIPES.register
def denoising_autoencoder(
    latent_dim: int = 128,
    noise: Literal["gaussian", "masking", "salt-and-pepper"] = "gaussian",
    level: float = 0.5,
    net: Literal["mlp", "dcgan"] = "mlp",
) -> Recipe:
    """Denoising autoencoder: noise on the input, the clean image on the output (lecture row L3).

    Args:
        latent_dim: size of the code
        noise: kind of noise on the input
        level: its standard deviation, or the share of pixels it spoils
        net: of the encoder and the decoder

    Example:
        ganvas train denoising-autoencoder --noise masking --level 0.4
    """
    from ganvas.models.autoencoder import DenoisingAutoencoder
    from ganvas.nets import NETS

    model = DenoisingAutoencoder(latent_dim=latent_dim, noise=noise, level=level, net=NETS[net]())
    return Recipe(name="denoising-autoencoder", model=model, training=_training())
