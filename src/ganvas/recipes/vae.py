"""Variational autoencoder (Kingma & Welling 2013)."""

from __future__ import annotations

from typing import Literal

from ganvas.recipe import RECIPES, Optimizer, Recipe, Training, Turn


@RECIPES.register
def vae(
    latent_dim: int = 20,
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
    beta: float = 1.0,
    elbo: Literal["analytic", "sampled"] = "analytic",
    net: Literal["mlp", "dcgan"] = "mlp",
) -> Recipe:
    """Variational autoencoder (lecture rows L4 to L7).

    Args:
        latent_dim: size of z
        likelihood: p(x given z)
        beta: weight of the KL; only 1 gives the ELBO
        elbo: the KL in closed form, or both terms at the sample
        net: of the encoder and the decoder

    Example:
        ganvas train vae --data mnist --latent-dim 2
    """
    from ganvas.likelihoods import LIKELIHOODS
    from ganvas.models.vae import VAE
    from ganvas.nets import NETS

    model = VAE(latent_dim=latent_dim, likelihood=LIKELIHOODS[likelihood](), beta=beta, elbo=elbo, net=NETS[net]())
    turns = {"vae": Turn(optimizer=Optimizer(lr=1e-3))}
    return Recipe(name="vae", model=model, training=Training(turns=turns, epochs=30, schedule="cosine"))
