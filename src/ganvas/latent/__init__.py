"""Latent space, explored: manifolds, interpolation, arithmetic, directions, maps, clusters."""
