"""Generative adversarial network (Goodfellow et al. 2014)."""

from __future__ import annotations

from typing import Literal

from ganvas.recipe import RECIPES, Optimizer, Recipe, Training, Turn


@RECIPES.register
def gan(
    latent_dim: int = 100,
    loss: Literal["non-saturating", "minimax"] = "non-saturating",
    k: int = 1,
    optimizer: Literal["adam", "sgd"] = "adam",
    momentum: float = 0.5,
) -> Recipe:
    """Fully connected GAN by Algorithm 1 (lecture rows L10 to L12).

    The generator has batch norm, which the paper does not: without it, and without the paper's dropout in the
    discriminator, the discriminator wins within five epochs and every sample is the same.

    Args:
        latent_dim: size of z
        loss: of the generator
        k: discriminator steps before each generator step
        optimizer: of both players; sgd is Algorithm 1's
        momentum: of sgd

    Example:
        ganvas train gan --data mnist --optimizer sgd --k 1
    """
    from ganvas.models.gan import GAN

    lr = 2e-4 if optimizer == "adam" else 0.1
    moves = Optimizer(name=optimizer, lr=lr, betas=(0.5, 0.999), momentum=momentum)
    turns = {"discriminator": Turn(optimizer=moves, moves=k), "generator": Turn(optimizer=moves)}
    model = GAN(latent_dim=latent_dim, loss=loss)
    return Recipe(name="gan", model=model, training=Training(turns=turns, epochs=20, batch_size=128))
