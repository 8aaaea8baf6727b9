"""The recipes: functions whose arguments are the flags and which return a `Recipe`. Listing them imports no torch."""

from __future__ import annotations

from typing import Literal

from ganvas.recipe import RECIPES, Optimizer, Recipe, Training, Turn

NetName = Literal["mlp", "dcgan"]


@RECIPES.register
def autoencoder(latent_dim: int = 32, net: NetName = "mlp") -> Recipe:
    """Autoencoder: a code of any size and the image back from it (lecture row L2)."""
    from ganvas.models.autoencoder import Autoencoder
    from ganvas.nets import NETS

    model = Autoencoder(latent_dim=latent_dim, net=NETS[net]())
    return Recipe(name="autoencoder", model=model, training=_single("autoencoder"))


@RECIPES.register
def denoising_autoencoder(
    latent_dim: int = 128,
    noise: Literal["gaussian", "masking", "salt-and-pepper"] = "gaussian",
    level: float = 0.5,
    net: NetName = "mlp",
) -> Recipe:
    """Denoising autoencoder: x + noise in, x out (Vincent et al. 2010; lecture row L3)."""
    from ganvas.models.autoencoder import DenoisingAutoencoder
    from ganvas.nets import NETS

    model = DenoisingAutoencoder(latent_dim=latent_dim, noise=noise, level=level, net=NETS[net]())
    return Recipe(name="denoising-autoencoder", model=model, training=_single("autoencoder"))


@RECIPES.register
def vae(
    latent_dim: int = 20,
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
    beta: float = 1.0,
    elbo: Literal["analytic", "sampled"] = "analytic",
    net: NetName = "mlp",
) -> Recipe:
    """Variational autoencoder (Kingma & Welling 2013; lecture rows L4 to L7)."""
    from ganvas.likelihoods import LIKELIHOODS
    from ganvas.models.vae import VAE
    from ganvas.nets import NETS

    model = VAE(latent_dim=latent_dim, likelihood=LIKELIHOODS[likelihood](), beta=beta, elbo=elbo, net=NETS[net]())
    return Recipe(name="vae", model=model, training=_single("vae"))


@RECIPES.register
def gan(
    latent_dim: int = 100,
    loss: Literal["non-saturating", "minimax"] = "non-saturating",
    k: int = 1,
    optimizer: Literal["adam", "sgd"] = "adam",
) -> Recipe:
    """Fully connected GAN by Algorithm 1 (Goodfellow et al. 2014; lecture rows L10 to L12)."""
    from ganvas.models.gan import GAN

    turn = Optimizer(name=optimizer, lr=2e-4 if optimizer == "adam" else 0.1, betas=(0.5, 0.999))
    turns = {"discriminator": Turn(optimizer=turn, moves=k), "generator": Turn(optimizer=turn)}
    model = GAN(latent_dim=latent_dim, loss=loss)
    return Recipe(name="gan", model=model, training=Training(turns=turns, epochs=50, batch_size=128))


@RECIPES.register
def dcgan(latent_dim: int = 100, filters: int = 64, kernel: Literal[4, 5] = 4) -> Recipe:
    """DCGAN (Radford et al. 2015; lecture rows L12 and L13); `filters` 128 and `kernel` 5 are the paper's."""
    from ganvas.models.gan import GAN
    from ganvas.nets.dcgan import DCGAN

    net = DCGAN(filters=filters, kernel=kernel)
    turn = Turn(optimizer=Optimizer(lr=2e-4, betas=(0.5, 0.999)))
    return Recipe(
        name="dcgan",
        model=GAN(latent_dim=latent_dim, generator=net, discriminator=net, output="tanh"),
        training=Training(turns={"discriminator": turn, "generator": turn}, epochs=10, batch_size=128),
    )


def _single(player: str) -> Training:
    return Training(turns={player: Turn(optimizer=Optimizer(lr=1e-3))}, epochs=30, schedule="cosine")
