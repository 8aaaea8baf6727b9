"""VAE with a VampPrior (Tomczak & Welling 2018)."""

from __future__ import annotations

from typing import Literal

from ganvas.recipe import RECIPES, Optimizer, Recipe, Training, Turn


@RECIPES.register
def vampprior(
    prior: Literal["vamp", "normal", "mixture"] = "vamp",
    components: int = 500,
    latent_dim: int = 40,
    warmup: int = 8000,
) -> Recipe:
    """VAE whose prior is the mean of the posteriors of learned pseudo-inputs, with the paper's nets (row P4).

    The nets are 784-300-300-40 with gated units. The paper trains by batches of 100 at 5e-4 until 50 epochs bring
    nothing, and its KL warms up over 100 epochs; here it is larger batches, as each step encodes all pseudo-inputs, the
    optimiser Muon, a cosine schedule, and a warm-up of 40 epochs.

    Args:
        prior: learned; or normal, to compare
        components: pseudo-inputs
        latent_dim: size of z
        warmup: moves over which the KL's weight rises to 1; without, the posterior collapses

    Example:
        ganvas train vampprior --data mnist --binarise --epochs 50
    """
    from ganvas.models.vae import VAE
    from ganvas.nets.mlp import MLP
    from ganvas.priors import PRIORS

    settings = {} if prior == "normal" else {"components": components}
    net = MLP(hidden=(300, 300), activation="gated", glorot=True)
    model = VAE(latent_dim=latent_dim, net=net, prior=PRIORS[prior](**settings), warmup=warmup)
    turns = {"vae": Turn(optimizer=Optimizer(name="muon", lr=2e-3))}
    return Recipe(
        name="vampprior", model=model, training=Training(turns=turns, epochs=200, batch_size=250, schedule="cosine")
    )
