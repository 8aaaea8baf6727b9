"""The families, one a file."""

from ganvas.models import autoencoder, fitted, gan, semisupervised, vae
from ganvas.models.base import MODELS, Model, load

__all__ = ["MODELS", "Model", "autoencoder", "fitted", "gan", "load", "semisupervised", "vae"]
