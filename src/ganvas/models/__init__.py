"""The families, one a file, and what they share: verbs, evidence, conditions."""

from ganvas.models import autoencoder, denoiser, fitted, gan, gan_encoder, semisupervised, vae, vae_gan, vqvae
from ganvas.models.base import MODELS, Model, load

__all__ = [
    "MODELS",
    "Model",
    "autoencoder",
    "denoiser",
    "fitted",
    "gan",
    "gan_encoder",
    "load",
    "semisupervised",
    "vae",
    "vae_gan",
    "vqvae",
]
