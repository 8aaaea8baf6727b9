"""The nets by name."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

from torch import nn

from ganvas.ground.registry import Registry


class BaseNet(ABC):
    """Settings of a net, which makes an encoder and a decoder of any data that it fits.

    Attributes:
        dense: whether it has layers between all values alone, and knows nothing of images.
        optimizer: that trains it best.
    """

    dense: bool = False
    optimizer: Literal["adam", "muon"] = "adam"

    @abstractmethod
    def encoder(self, shape: tuple[int, ...], out: int) -> nn.Sequential:
        """(N, *shape) -> (N, out); the last layer is the head."""

    def code_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
        """(channels, h, w) of a code of data (N, *shape), if its numbers have places."""
        return None

    @abstractmethod
    def decoder(self, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """(N, latent) -> (N, *shape)."""


NETS = Registry("net", BaseNet)


if TYPE_CHECKING:
    Net = BaseNet
else:
    Net = NETS.field
