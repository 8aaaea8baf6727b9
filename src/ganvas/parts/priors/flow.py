"""A normalising flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Count, settings
from ganvas.parts.losses import normal_log_prob
from ganvas.parts.priors.base import PRIORS, BasePrior, Distribution, Encode


@PRIORS.register
@settings
class Flow(BasePrior):
    """N(0, I) bent to where the codes are by invertible layers (real NVP, Dinh et al. 2017).

    Each layer moves and scales half of the dimensions as the other half says, which comes to z = f(e) with e from
    N(0, I), and log P(z) = log N(f^-1(z)) + log |det df^-1/dz|.

    Attributes:
        layers: couplings; each keeps the half that the last one moved.
        hidden: units of the two hidden layers of each.
    """

    layers: Annotated[int, Field(ge=2)] = 8
    hidden: Count = 128

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> Couplings:
        """Layers that change nothing at first: the prior starts as N(0, I)."""
        return Couplings(self, latent_dim)


class Couplings(nn.Module, Distribution):
    """Affine couplings, each after an order of the dimensions that is drawn once."""

    orders: Tensor

    def __init__(self, config: Flow, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 2:
            raise UserError(
                f"a flow moves one half of the dimensions by the other: latent_dim is {latent_dim}, take 2."
            )
        self.kept = latent_dim // 2
        moved = latent_dim - self.kept
        self.nets = nn.ModuleList(
            nn.Sequential(
                nn.Linear(self.kept, config.hidden),
                nn.SiLU(),
                nn.Linear(config.hidden, config.hidden),
                nn.SiLU(),
                nn.Linear(config.hidden, 2 * moved),
            )
            for _ in range(config.layers)
        )
        for net in self.nets:
            nn.init.zeros_(net[-1].weight)  # type: ignore[index]
            nn.init.zeros_(net[-1].bias)  # type: ignore[index]
        orders = torch.stack([torch.randperm(latent_dim) for _ in range(config.layers)])
        # A dimension that one layer keeps the next one moves.
        orders[1::2] = orders[::2][: len(orders[1::2])].roll(self.kept, 1)
        self.register_buffer("orders", orders)

    def _settings(self, net: nn.Module, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and log-scale of the other half, the latter within +-2."""
        shift, log_scale = net(kept).to(kept.dtype).chunk(2, -1)
        return shift, 2 * torch.tanh(log_scale / 2)

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,)."""
        volume = z.new_zeros(z.shape[:-1])
        for net, order in zip(self.nets, self.orders, strict=True):
            kept, moved = z[..., order].tensor_split((self.kept,), -1)
            shift, log_scale = self._settings(net, kept)
            z = torch.cat([kept, (moved - shift) * torch.exp(-log_scale)], -1)[..., order.argsort()]
            volume = volume - log_scale.sum(-1)
        return normal_log_prob(z) + volume

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        with torch.no_grad():
            return self.bent(draw.normal("prior", shape, self.orders.device)).to(device)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """d numbers, bent."""
        return d, self.bent

    def bent(self, noise: Tensor) -> Tensor:
        """f: the z (N, d) that N(0, I)'s draws (N, d) become."""
        z = noise
        for net, order in zip(reversed(self.nets), self.orders.flip(0), strict=True):
            kept, moved = z[..., order].tensor_split((self.kept,), -1)
            shift, log_scale = self._settings(net, kept)
            z = torch.cat([kept, moved * torch.exp(log_scale) + shift], -1)[..., order.argsort()]
        return z
