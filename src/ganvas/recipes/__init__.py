"""Functions whose arguments are the flags and which return a `Recipe`. Listing them imports no torch."""

from ganvas.recipes.autoencoder import autoencoder, denoiser, denoising_autoencoder
from ganvas.recipes.base import RECIPES, Data, Recipe, Training, Turn, from_json, make
from ganvas.recipes.clustered import clustered_gan
from ganvas.recipes.dcgan import dcgan
from ganvas.recipes.facts import Facts
from ganvas.recipes.gan import gan
from ganvas.recipes.iwae import iwae
from ganvas.recipes.semisupervised import semisupervised_gan
from ganvas.recipes.vae import vae
from ganvas.recipes.vae_gan import vae_gan
from ganvas.recipes.vampprior import vampprior
from ganvas.recipes.vqvae import vq_vae
from ganvas.recipes.wgan import wgan

__all__ = [
    "RECIPES",
    "Data",
    "Facts",
    "Recipe",
    "Training",
    "Turn",
    "autoencoder",
    "clustered_gan",
    "dcgan",
    "denoiser",
    "denoising_autoencoder",
    "from_json",
    "gan",
    "iwae",
    "make",
    "semisupervised_gan",
    "vae",
    "vae_gan",
    "vampprior",
    "vq_vae",
    "wgan",
]
