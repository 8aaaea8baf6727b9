"""VAE with a VampPrior (Tomczak & Welling 2018)."""

from __future__ import annotations

from typing import Literal

from ganvas.parts.optimizers import Adam
from ganvas.recipes.base import RECIPES, Recipe, Training, Turn
from ganvas.recipes.facts import Facts
from ganvas.recipes.nets import Kind, likelihood_for, prior_for


@RECIPES.register
def vampprior(
    prior: Literal["vamp", "normal", "mixture"] = "vamp",
    components: int | None = None,
    latent_dim: int = 40,
    warmup: int = 20_000,
    likelihood: Kind | None = None,
    facts: Facts | None = None,
) -> Recipe:
    """VAE whose prior is the mean of the posteriors of learned pseudo-inputs, with the paper's nets.

    The nets are 784-300-300-40 with gated units, batches of 100, Adam at 5e-4. The paper trains until 50 epochs bring
    nothing, and its KL warms up over 100 epochs; here it is a cosine schedule and a warm-up of 40.

    Args:
        prior: learned; or normal, to compare
        components: pseudo-inputs (default: 500, at most one for each training image)
        latent_dim: size of z
        warmup: moves over which the KL's weight rises to 1; without, the posterior collapses
        likelihood: p(x given z) (default: bernoulli of black and white, as in the paper, else gaussian)

    Example:
        ganvas train vampprior --data mnist --binarise --epochs 50
    """
    from ganvas.models.vae import VAE
    from ganvas.parts.nets.mlp import MLP

    facts = facts or Facts()
    net = MLP(hidden=(300, 300), activation="gated", glorot=True)
    model = VAE(
        latent_dim=latent_dim,
        net=net,
        likelihood=likelihood_for(facts, likelihood),
        prior=prior_for(prior, components, facts),
        warmup=warmup,
    )
    turns = {"vae": Turn(optimizer=Adam(lr=5e-4))}
    training = Training(turns=turns, epochs=200, batch_size=100, schedule="cosine")
    return Recipe(name="vampprior", model=model, training=training)
