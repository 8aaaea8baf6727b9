"""Importance weighted autoencoder (Burda, Grosse & Salakhutdinov 2015)."""

from __future__ import annotations

import math
from typing import Literal

from ganvas.ground.errors import UserError
from ganvas.parts.optimizers import Adam, Muon, chosen
from ganvas.recipes.base import RECIPES, Recipe, Training, Turn
from ganvas.recipes.facts import Facts
from ganvas.recipes.nets import Kind, likelihood_for, prior_for


@RECIPES.register
def iwae(
    k: int = 50,
    latent_dim: int = 50,
    layers: Literal[1, 2] = 1,
    bound: Literal["iwae", "elbo", "miwae", "piwae", "ciwae"] = "iwae",
    groups: int | None = None,
    share: float = 0.5,
    gradient: Literal["standard", "doubly"] = "standard",
    prior: Literal["normal", "mixture", "vamp"] = "normal",
    components: int | None = None,
    warmup: int = 0,
    optimizer: Literal["adam", "muon"] = "adam",
    likelihood: Kind | None = None,
    facts: Facts | None = None,
) -> Recipe:
    """Importance weighted autoencoder with the paper's nets; --bound elbo makes it the VAE beside it.

    The nets are 784-200-200-50, or with two stochastic layers 784-200-200-100-100-100-50, tanh. The paper trains 3,280
    epochs by batches of 20; here it is a cosine schedule and larger batches.

    Args:
        k: draws of z for each image
        latent_dim: size of the top layer; the one below has twice as many
        layers: stochastic ones
        bound: the importance weighted one, the ELBO as the mean over the draws, or one between (Rainforth et al. 2018)
        groups: of the draws, with miwae and piwae (default: as many as draws in each, or nearly)
        share: of the ELBO in ciwae
        gradient: of the importance weighted bound; doubly reparametrised, the encoder's is less noisy
        prior: of the top layer: N(0, I), or learned
        components: of a learned prior (default: 500; of vamp at most one for each training image)
        warmup: moves over which the KL's weight rises to 1
        optimizer: muon needs a fraction of adam's epochs, each of which takes longer; with it --lr 2e-3
        likelihood: p(x given z) (default: bernoulli of black and white, as in the paper, else gaussian)

    Example:
        ganvas train iwae --data mnist -k 5 --epochs 100
    """
    if k < 1:
        raise UserError(f"k is {k}: it takes at least 1 draw for each image.")
    facts = facts or Facts()
    if bound in ("miwae", "piwae"):
        square = max(n for n in range(1, math.isqrt(k) + 1) if k % n == 0)
        groups = facts.choose("groups", groups, square, f"{k} draws")
    from ganvas.models.vae import VAE
    from ganvas.parts.nets.mlp import MLP
    from ganvas.parts.priors import StochasticLayer

    top = prior_for(prior, components, facts)
    net = MLP(hidden=(200, 200), activation="tanh", glorot=True)
    above = StochasticLayer(
        latent_dim=latent_dim, net=MLP(hidden=(100, 100), activation="tanh", glorot=True), prior=top
    )
    model = VAE(
        latent_dim=latent_dim * layers,
        net=net,
        likelihood=likelihood_for(facts, likelihood),
        prior=top if layers == 1 else above,
        samples=k,
        bound=bound,
        groups=1 if groups is None else groups,
        share=share,
        gradient=gradient,
        warmup=warmup,
    )
    moves = chosen(optimizer, adam=Adam(eps=1e-4), muon=Muon(eps=1e-4))
    turns = {"vae": Turn(optimizer=moves)}
    training = Training(turns=turns, epochs=100, batch_size=100, schedule="cosine")
    return Recipe(name="iwae", model=model, training=training)
