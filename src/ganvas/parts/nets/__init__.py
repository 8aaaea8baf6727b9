"""Nets: they know shapes and nothing of losses. Each has `encoder(shape, out)` and `decoder(latent, shape)`."""

from ganvas.parts.nets import dcgan, mlp, residual, spatial
from ganvas.parts.nets.registry import NETS

__all__ = ["NETS", "dcgan", "mlp", "residual", "spatial"]
