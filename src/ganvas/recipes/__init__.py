"""The recipes: functions whose arguments are the flags and which return a `Recipe`. Listing them imports no torch."""

from ganvas.recipe import RECIPES
from ganvas.recipes.autoencoder import autoencoder, denoising_autoencoder
from ganvas.recipes.clustered import clustered_gan
from ganvas.recipes.dcgan import dcgan
from ganvas.recipes.gan import gan
from ganvas.recipes.iwae import iwae
from ganvas.recipes.semisupervised import semisupervised_gan
from ganvas.recipes.vae import vae
from ganvas.recipes.vampprior import vampprior
from ganvas.recipes.wgan import wgan

__all__ = [
    "RECIPES",
    "autoencoder",
    "clustered_gan",
    "dcgan",
    "denoising_autoencoder",
    "gan",
    "iwae",
    "semisupervised_gan",
    "vae",
    "vampprior",
    "wgan",
]
