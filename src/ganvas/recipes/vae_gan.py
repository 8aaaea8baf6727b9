"""VAE with an adversary (Larsen et al. 2016)."""

from __future__ import annotations

import dataclasses
from typing import Literal, Unpack

from ganvas.recipes.base import RECIPES, Recipe, Turn
from ganvas.recipes.facts import Facts
from ganvas.recipes.nets import Kind, latent_dim_for, likelihood_for, net_for, training
from ganvas.recipes.steady import LOSS, steadied
from ganvas.recipes.techniques import OfDiscriminators, chosen


@RECIPES.register
def vae_gan(
    latent_dim: int | None = None,
    likelihood: Kind | None = None,
    net: Literal["mlp", "dcgan", "residual", "spatial"] | None = None,
    filters: int = 32,
    adversary: float = 0.25,
    from_prior: float = 0.0,
    fit: int | None = None,
    loss: str | None = None,
    facts: Facts | None = None,
    **techniques: Unpack[OfDiscriminators],
) -> Recipe:
    """VAE whose reconstructions have to pass for real before a discriminator: sharp images, and it encodes.

    Args:
        latent_dim: size of z (default: 64, or 128 above 32 x 32; 20 of small grey images)
        likelihood: p(x given z) (default: bernoulli of black and white, else gaussian)
        net: of the encoder and the decoder (default: residual; of rows of numbers mlp)
        filters: of the discriminator's layer beside the image
        adversary: its gradient over the reconstruction's
        from_prior: share of samples among what is judged
        fit: normals of the mixture that becomes P(z) (default: one for 5 training images, at most 100)
        loss: minimax, non-saturating, wasserstein, hinge, ... (default: relativistic, with R1)

    Example:
        ganvas train vae-gan --data ./photos --size 64
    """
    from ganvas.models.vae_gan import VAEGAN
    from ganvas.parts.nets.dcgan import DCGAN
    from ganvas.parts.nets.mlp import MLP
    from ganvas.parts.optimizers import Adam

    facts = facts or Facts()
    convolves = facts.images and min(facts.shape[1:]) >= 8
    made = net_for(facts, facts.choose("net", net, "residual" if convolves else "mlp", facts.size))
    judge = MLP(hidden=(512, 256), activation="leaky-relu")
    taken = steadied(facts, techniques, average=False) if loss is None else {}
    model = VAEGAN(
        latent_dim=latent_dim_for(facts, latent_dim, small=20, net=made),
        likelihood=likelihood_for(facts, likelihood),
        net=made,
        fit=facts.choose("fit", fit, min(100, facts.n // 5), "P(z) after training"),
        discriminator=DCGAN(filters=filters, norm="none") if convolves else judge,
        loss=loss or LOSS,
        adversary=adversary,
        from_prior=from_prior,
        techniques=chosen(techniques, **taken),
    )
    how = training(facts, "vae", made, None)
    turns = {"discriminator": Turn(optimizer=Adam(lr=1e-3, betas=(0.0, 0.99))), **how.turns}
    return Recipe(name="vae-gan", model=model, training=dataclasses.replace(how, turns=turns))
