"""Autoencoder (Hinton & Salakhutdinov 2006), denoising one (Vincent et al. 2010), and one with skip connections."""

from __future__ import annotations

from typing import Literal

from ganvas.recipes.base import RECIPES, Recipe
from ganvas.recipes.facts import Facts
from ganvas.recipes.nets import latent_dim_for, net_for, training

Net = Literal["mlp", "dcgan", "residual", "spatial"]


@RECIPES.register
def autoencoder(
    latent_dim: int | None = None,
    net: Net | None = None,
    optimizer: Literal["adam", "muon"] | None = None,
    facts: Facts | None = None,
) -> Recipe:
    """Autoencoder: a code of any size and the image back from it (lecture row L2).

    Args:
        latent_dim: size of the code (default: 32 of small grey images, else 64 or 128)
        net: of the encoder and the decoder (default: mlp of small grey images, else residual)
        optimizer: muon, whose usual rate is 2e-3, or adam (default: muon with the residual net)

    Example:
        ganvas train autoencoder --data mnist --latent-dim 2
    """
    from ganvas.models.autoencoder import Autoencoder

    facts = facts or Facts()
    made = net_for(facts, net)
    latent_dim = latent_dim_for(facts, latent_dim, small=32, net=made)
    model = Autoencoder(latent_dim=latent_dim, net=made)
    return Recipe(name="autoencoder", model=model, training=training(facts, "autoencoder", made, optimizer))


@RECIPES.register
def denoising_autoencoder(
    latent_dim: int | None = None,
    noise: Literal["gaussian", "masking", "salt-and-pepper"] = "gaussian",
    level: float = 0.5,
    blind: bool = False,
    net: Net | None = None,
    optimizer: Literal["adam", "muon"] | None = None,
    facts: Facts | None = None,
) -> Recipe:
    """Denoising autoencoder: noise on the input, the clean image on the output (lecture row L3).

    Args:
        latent_dim: size of the code (default: 128, or 64 in colour up to 32 x 32)
        noise: kind of noise on the input
        level: its standard deviation, or the share of pixels it spoils
        blind: of all levels up to this one, so that the model need not be told which
        net: of the encoder and the decoder (default: mlp of small grey images, else residual)
        optimizer: muon, whose usual rate is 2e-3, or adam (default: muon with the residual net)

    Example:
        ganvas train denoising-autoencoder --noise masking --level 0.4
    """
    from ganvas.models.autoencoder import DenoisingAutoencoder

    facts = facts or Facts()
    made = net_for(facts, net)
    latent_dim = latent_dim_for(facts, latent_dim, small=128, net=made)
    model = DenoisingAutoencoder(latent_dim=latent_dim, noise=noise, level=level, blind=blind, net=made)
    return Recipe(name="denoising-autoencoder", model=model, training=training(facts, "autoencoder", made, optimizer))


@RECIPES.register
def denoiser(
    noise: Literal["gaussian", "masking", "salt-and-pepper"] = "gaussian",
    level: float = 0.5,
    filters: int = 48,
    blocks: int = 1,
    facts: Facts | None = None,
) -> Recipe:
    """Denoiser of any noise up to a level: an autoencoder with skip connections, which keep the details (row L3).

    It need not be told how strong the noise is. It has no codes of images: `denoising-autoencoder` has.

    Args:
        noise: kind of noise on the input
        level: the most of it: standard deviation, or the share of pixels it spoils
        filters: of the largest maps, which have half the image's side
        blocks: residual blocks at each size of the maps

    Example:
        ganvas train denoiser --data ./photos --size 64
    """
    from ganvas.models.denoiser import Denoiser
    from ganvas.parts.nets.residual import Residual

    facts = facts or Facts()
    model = Denoiser(noise=noise, level=level, blind=True, filters=filters, blocks=blocks)
    return Recipe(name="denoiser", model=model, training=training(facts, "denoiser", Residual(), None))
