"""The families, one a file."""

from ganvas.models import autoencoder, gan, semisupervised, vae
from ganvas.models.base import MODELS, Model, load

__all__ = ["MODELS", "Model", "autoencoder", "gan", "load", "semisupervised", "vae"]
