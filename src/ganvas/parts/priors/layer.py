"""A layer of latent variables above."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Count, settings
from ganvas.parts.losses import normal_log_prob, reparametrised
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.nets.registry import Net
from ganvas.parts.priors.base import PRIORS, BasePrior, Distribution, Encode, Prior, halves
from ganvas.parts.priors.fixed import Normal


@PRIORS.register
@settings
class StochasticLayer(BasePrior):
    """A layer of latent variables above: P(z) = E_P(u)[P(z given u)], with a posterior Q(u given z) of its own.

    Attributes:
        latent_dim: size of u.
        net: between z and u, both ways.
        prior: P(u).
    """

    latent_dim: Count = 50
    net: Net = MLP(hidden=(100, 100), activation="tanh")
    prior: Prior = Normal()
    exact = False

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> LatentLayer:
        """Nets of their own."""
        return LatentLayer(self, latent_dim)


class LatentLayer(nn.Module, Distribution):
    """Q(u given z) and P(z given u), diagonal normals, and P(u)."""

    exact = False

    def __init__(self, config: StochasticLayer, latent_dim: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = config.net.encoder((latent_dim,), 2 * config.latent_dim)
        self.decoder = config.net.decoder(config.latent_dim, (2 * latent_dim,))
        self.prior = config.prior.build(config.latent_dim, (latent_dim,), self.posterior)

    def posterior(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of Q(u given z), each (N, latent_dim) from z (N, d)."""
        return halves(self.encoder(z))

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z, u) - log Q(u given z) at one u from Q, whose exp has the mean P(z); (..., d) -> (...,)."""
        rows = z.reshape(-1, z.shape[-1])
        posterior = self.posterior(rows)
        u = reparametrised(*posterior, draw.normal("posterior of u", tuple(posterior[0].shape), z.device))
        return self._weight(rows, u, self.prior.log_prob(u, draw.above()), posterior).reshape(z.shape[:-1])

    def _weight(self, z: Tensor, u: Tensor, log_p: Tensor, posterior: tuple[Tensor, Tensor]) -> Tensor:
        """log P(z, u) - log Q(u given z) of rows, with log P(u): (N,)."""
        return normal_log_prob(z, *halves(self.decoder(u))) + log_p - normal_log_prob(u, *posterior)

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        with torch.no_grad():
            u = self.prior.sample(draw.above(), (shape[0], self.config.latent_dim), self._device)
            return self._below(u, draw, shape).to(device)

    def weighed(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """z (N, d), and log P(z, u) - log Q(u given z) at the u from P(u) that z was drawn with, (N,).

        P(z) itself can't be had; but a mixture of P(z, u) and Q(z) Q(u given z) has a density, which takes no more.
        """
        with torch.no_grad():
            u, log_p = self.prior.weighed(draw.above(), (shape[0], self.config.latent_dim), self._device)
            z = self._below(u, draw, shape)
            return z.to(device), self._weight(z, u, log_p, self.posterior(z)).to(device)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _below(self, u: Tensor, draw: Draw, shape: tuple[int, int]) -> Tensor:
        """z (N, d) from P(z given u)."""
        return reparametrised(*halves(self.decoder(u)), draw.normal("prior", shape, u.device))

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """Those of u, and d more."""
        k, above = self.prior.held().from_noise(self.config.latent_dim)
        return k + d, lambda noise: reparametrised(*halves(self.decoder(above(noise[:, :k]))), noise[:, k:])
