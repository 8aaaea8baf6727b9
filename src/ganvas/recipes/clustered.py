"""GAN for data that lies in clusters, from z that does."""

from __future__ import annotations

from typing import Unpack

from ganvas.parts.optimizers import Adam
from ganvas.recipes.base import RECIPES, Recipe, Training, Turn
from ganvas.recipes.techniques import Techniques, chosen


@RECIPES.register
def clustered_gan(
    latent_dim: int = 6,
    loss: str = "non-saturating",
    **techniques: Unpack[Techniques],
) -> Recipe:
    """GAN for points in separate clusters: every mode, and hardly a sample between them (row P5).

    z is in 2^latent_dim clusters (as in DeLiGAN, Gurumurthy et al. 2017), so that nothing has to fall between the modes
    of the data. R1 and Adam without momentum are those of Mescheder et al. 2018; samples come from a moving average,
    and the rate falls to 0. R1's weight is in units of squared lengths: for data a times as large, a^2 times as much.

    Args:
        latent_dim: size of z
        loss: minimax, wasserstein, hinge, least-squares, relativistic, ...

    Example:
        ganvas train clustered-gan --data grid --r1 0.03
    """
    from ganvas.models.gan import GAN
    from ganvas.parts.nets.mlp import MLP
    from ganvas.parts.priors import Bimodal

    hidden = (64, 64, 64, 64)
    model = GAN(
        latent_dim=latent_dim,
        generator=MLP(hidden=hidden),
        discriminator=MLP(hidden=hidden, activation="leaky-relu"),
        prior=Bimodal(),
        loss=loss,
        techniques=chosen(techniques, r1=0.005, ema=0.999),
    )
    turn = Turn(optimizer=Adam(lr=2e-3, betas=(0.0, 0.99)))
    turns = {"discriminator": turn, "generator": turn}
    training = Training(turns=turns, epochs=50, batch_size=256, schedule="cosine")
    return Recipe(name="clustered-gan", model=model, training=training)
