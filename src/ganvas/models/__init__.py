"""The families, one a file."""

from ganvas.arguments import checked
from ganvas.models import autoencoder, base, fitted, gan, semisupervised, vae
from ganvas.models.base import MODELS, Model

load = checked(base.load)

__all__ = ["MODELS", "Model", "autoencoder", "fitted", "gan", "load", "semisupervised", "vae"]
