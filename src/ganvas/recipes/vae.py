"""Variational autoencoder (Kingma & Welling 2013)."""

from __future__ import annotations

from typing import Literal

from ganvas.recipes.base import RECIPES, Recipe
from ganvas.recipes.facts import Facts
from ganvas.recipes.nets import Kind, latent_dim_for, likelihood_for, net_for, training


@RECIPES.register
def vae(
    latent_dim: int | None = None,
    likelihood: Kind | None = None,
    beta: float = 1.0,
    elbo: Literal["analytic", "sampled"] = "analytic",
    net: Literal["mlp", "dcgan", "residual", "spatial"] | None = None,
    hidden: tuple[int, ...] | None = None,
    scale: float | None = None,
    fit: int | None = None,
    optimizer: Literal["adam", "muon"] | None = None,
    facts: Facts | None = None,
) -> Recipe:
    """Variational autoencoder (lecture rows L4 to L7). What is not said is chosen from the data.

    Args:
        latent_dim: size of z (default: 20 of small grey images, else 64, or 128 above 32 x 32)
        likelihood: p(x given z) (default: bernoulli of black and white, else gaussian); discretised-logistic gives the
            levels of 8 or 16 bits a probability, one learned scale a channel
        beta: weight of the KL; only 1 gives the ELBO
        elbo: the KL in closed form, or both terms at the sample
        net: of the encoder and the decoder (default: mlp of small grey images, else residual)
        hidden: units of the mlp's hidden layers, from the image inwards (default: 500 500)
        scale: standard deviation of the Gaussian; 0: one for each value, by the decoder (default: one, learned)
        fit: normals of a mixture that becomes P(z) after training, fitted to the codes; 0: none, P(z) stays N(0, I)
            (default: one for 5 training images, at most 100; 0 of codes of up to 3 and where beta is not 1)
        optimizer: muon, whose usual rate is 2e-3, or adam (default: muon with the residual net)

    Example:
        ganvas train vae --data mnist --latent-dim 2
    """
    from ganvas.ground.errors import UserError
    from ganvas.models.vae import VAE
    from ganvas.parts.likelihoods import Bernoulli

    if hidden and net not in (None, "mlp"):
        raise UserError(f"hidden is of the mlp, and the net is {net}: leave one of them away.")
    if scale is not None and likelihood not in (None, "gaussian"):
        raise UserError(f"scale is of the gaussian, and the likelihood is {likelihood}: leave one of them away.")
    facts = facts or Facts()
    if scale is not None:
        likelihood = "gaussian"
    made = net_for(facts, "mlp" if hidden else net, hidden)
    chosen = likelihood_for(facts, likelihood, "shared" if scale is None else scale or None)
    latent_dim = latent_dim_for(facts, latent_dim, small=20, net=made)
    # Five codes for each normal: with fewer of these, samples lie nearer to training images than validation images do.
    # Not where codes are to be seen on a plane, and not where another beta shows what it does to N(0, I).
    plain = latent_dim <= 3 or beta != 1
    fit = 0 if plain and fit is None else facts.choose("fit", fit, min(100, facts.n // 5), "P(z) after training")
    model = VAE(
        latent_dim=latent_dim,
        likelihood=chosen,
        beta=beta,
        elbo=elbo,
        net=made,
        fit=fit,
    )
    return Recipe(
        name="vae", model=model, training=training(facts, "vae", made, optimizer, quick=chosen == Bernoulli())
    )
