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
    hidden: tuple[int, ...] | None = None,
    scale: float | None = None,
) -> Recipe:
    """Variational autoencoder (lecture rows L4 to L7).

    Args:
        latent_dim: size of z
        likelihood: p(x given z)
        beta: weight of the KL; only 1 gives the ELBO
        elbo: the KL in closed form, or both terms at the sample
        net: of the encoder and the decoder
        hidden: units of the mlp's hidden layers, from the image inwards (default: 500 500)
        scale: standard deviation of the Gaussian (default: one for each value, by the decoder)

    Example:
        ganvas train vae --data mnist --latent-dim 2
    """
    from ganvas.errors import UserError
    from ganvas.likelihoods import LIKELIHOODS, Gaussian
    from ganvas.models.vae import VAE
    from ganvas.nets import NETS
    from ganvas.nets.mlp import MLP

    if hidden and net != "mlp":
        raise UserError(f"hidden is of the mlp, and the net is {net}: leave one of them away.")
    if scale is not None and likelihood != "gaussian":
        raise UserError(f"scale is of the gaussian, and the likelihood is {likelihood}: add --likelihood gaussian.")
    made = Gaussian(scale=scale) if scale is not None else LIKELIHOODS[likelihood]()
    chosen = MLP(hidden=hidden) if hidden else NETS[net]()
    model = VAE(latent_dim=latent_dim, likelihood=made, beta=beta, elbo=elbo, net=chosen)
    turns = {"vae": Turn(optimizer=Optimizer(lr=1e-3))}
    return Recipe(name="vae", model=model, training=Training(turns=turns, epochs=30, schedule="cosine"))
