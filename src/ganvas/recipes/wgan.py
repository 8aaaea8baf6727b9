"""Wasserstein GAN (Arjovsky et al. 2017)."""

from __future__ import annotations

from typing import Literal, Unpack

from ganvas.parts.optimizers import Adam, RMSprop
from ganvas.recipes.base import RECIPES, Recipe, Training, Turn
from ganvas.recipes.techniques import Techniques, chosen


@RECIPES.register
def wgan(
    latent_dim: int = 100,
    filters: int = 64,
    kernel: Literal[4, 5] = 4,
    generator: Literal["dcgan", "constant", "mlp"] = "dcgan",
    critic: Literal["dcgan", "mlp"] = "dcgan",
    n_critic: int = 5,
    warm_up: bool = True,
    **techniques: Unpack[Techniques],
) -> Recipe:
    """Wasserstein GAN with weight clipping and RMSProp (lecture rows L21 to L25).

    The critic's weights are cut to [-0.01, 0.01] after each of its moves, as the paper says (its code: before). A
    gradient penalty, R1 or a spectral norm takes the place of clipping; the gradient penalty brings its own Adam, 1e-4
    with betas 0 and 0.9 (Gulrajani et al. 2017).

    Args:
        latent_dim: size of z
        filters: of the layer beside the image; they double with each layer
        kernel: side of every kernel
        generator: constant has no batch norm and as many filters at every layer; mlp is 4 layers of 512
        critic: mlp is 4 layers of 512, for points
        n_critic: critic steps before each generator step
        warm_up: 100 critic steps at the first 25 generator steps, and at every 500th

    Example:
        ganvas train wgan --data mnist --generator mlp
    """
    from ganvas.models.gan import GAN
    from ganvas.parts.priors import Normal
    from ganvas.recipes.generators import make

    bounded = any(techniques.get(name) for name in ("gradient_penalty", "r1", "r2", "spectral_norm"))
    model = GAN(
        latent_dim=latent_dim,
        generator=make(generator, filters, kernel),
        discriminator=make(critic, filters, kernel),
        prior=Normal(),
        loss="wasserstein",
        output="linear" if generator == "mlp" else "tanh",
        techniques=chosen(techniques, clip=None if bounded else 0.01),
    )
    penalty = techniques.get("gradient_penalty")
    optimizer = Adam(lr=1e-4, betas=(0.0, 0.9)) if penalty else RMSprop(lr=5e-5)
    long = 100 if warm_up and n_critic < 100 else None
    turns = {
        "discriminator": Turn(optimizer=optimizer, moves=n_critic, long=long),
        "generator": Turn(optimizer=optimizer),
    }
    return Recipe(name="wgan", model=model, training=Training(turns=turns, epochs=20, batch_size=64))
