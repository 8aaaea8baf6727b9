"""DCGAN (Radford et al. 2015)."""

from __future__ import annotations

from typing import Literal

from ganvas.recipe import RECIPES, Optimizer, Recipe, Training, Turn


@RECIPES.register
def dcgan(latent_dim: int = 100, filters: int = 64, kernel: Literal[4, 5] = 4) -> Recipe:
    """DCGAN (lecture rows L12 and L13); the paper's net has 128 filters and kernels of 5.

    Args:
        latent_dim: size of z
        filters: of the layer beside the image; they double with each layer
        kernel: side of every kernel

    Example:
        ganvas train dcgan --data ./photos --size 64
    """
    from ganvas.models.gan import GAN
    from ganvas.nets.dcgan import DCGAN

    net = DCGAN(filters=filters, kernel=kernel)
    turn = Turn(optimizer=Optimizer(lr=2e-4, betas=(0.5, 0.999)))
    return Recipe(
        name="dcgan",
        model=GAN(latent_dim=latent_dim, generator=net, discriminator=net, output="tanh"),
        training=Training(turns={"discriminator": turn, "generator": turn}, epochs=10, batch_size=128),
    )
