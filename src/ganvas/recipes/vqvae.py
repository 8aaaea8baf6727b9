"""VQ-VAE (van den Oord et al. 2017), with residual and finite scalar quantisation as settings."""

from __future__ import annotations

import dataclasses
from typing import Literal

from ganvas.recipes.base import RECIPES, Recipe, Turn
from ganvas.recipes.facts import Facts
from ganvas.recipes.nets import Kind, halvings_for, likelihood_for, training


@RECIPES.register
def vq_vae(
    codebook: int = 512,
    depth: int = 1,
    levels: tuple[int, ...] | None = None,
    latent_channels: int | None = None,
    halvings: int | None = None,
    filters: int = 32,
    gradient: Literal["rotation", "straight-through"] = "rotation",
    commitment: float = 0.25,
    revive: float = 0.03,
    likelihood: Kind | None = None,
    facts: Facts | None = None,
) -> Recipe:
    """VQ-VAE: a grid of tokens from a codebook, and a transformer that writes such grids, whose images are samples.

    Args:
        codebook: vectors that a token may stand for
        depth: codebooks, each of what is left by those before it (residual quantisation)
        levels: of each channel, in place of a codebook (finite scalar quantisation), such as 8 5 5 5
        latent_channels: numbers of a vector (default: 32; as many as there are levels)
        halvings: of the sides, from image to grid (default: down to 8 places or fewer)
        filters: of the largest maps, which have half the image's side
        gradient: of the encoder, through the nearest vector
        commitment: weight of the distance to it, which the encoder pays for
        revive: share of the average use below which a vector is dead and begins again; 0 leaves it dead
        likelihood: p(x given z) (default: bernoulli of black and white, else gaussian)

    Example:
        ganvas train vq-vae --data ./photos --size 32
    """
    from ganvas.models.vqvae import VQVAE
    from ganvas.parts.nets.spatial import Spatial
    from ganvas.parts.optimizers import Adam
    from ganvas.parts.quantisers import Codebook, FiniteScalar

    facts = facts or Facts()
    halvings = facts.choose("halvings", halvings, halvings_for(facts), facts.size)
    channels = latent_channels or (len(levels) if levels else 32)
    net = Spatial(channels=channels, halvings=halvings, filters=filters)
    book = Codebook(size=codebook, depth=depth, gradient=gradient, commitment=commitment, revive=revive)
    quantiser = FiniteScalar(levels=levels) if levels else book
    model = VQVAE(net=net, quantiser=quantiser, likelihood=likelihood_for(facts, likelihood))
    how = training(facts, "vq-vae", net, None)
    # Until then tokens change their meaning faster than a transformer could learn it.
    turns = {**how.turns, "prior": Turn(optimizer=Adam(lr=2e-3, betas=(0.9, 0.99), weight_decay=0.01), since=0.4)}
    return Recipe(name="vq-vae", model=model, training=dataclasses.replace(how, turns=turns))
