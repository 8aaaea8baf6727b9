"""ganvas: train, measure, explain and explore autoencoders, VAEs and GANs."""

__version__ = "0.1.0"
