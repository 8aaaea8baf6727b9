"""Nets whose codes keep their places: a grid of numbers in place of a list."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count, settings
from ganvas.parts.nets.layers import Resize
from ganvas.parts.nets.registry import NETS, BaseNet
from ganvas.parts.nets.residual import Block, Size, convolution, linear


@NETS.register
@settings
class Spatial(BaseNet):
    """Residual blocks of convolutions, and nothing between an image and the grid of its code that mixes all places.

    A code (N, channels, h, w) is flat here, (N, channels h w), as every net's is. Sides that do not halve evenly are
    rounded up on the way in and met exactly on the way out.

    Attributes:
        channels: numbers of a code at each of its places.
        halvings: of the image's sides, down to the grid's.
        filters: of the maps of half the image's side; each further halving has twice as many, at most four times.
        blocks: at each size below the image's own.
    """

    channels: Count = 4
    halvings: Count = 2
    filters: Count = 32
    blocks: Count = 1
    optimizer = "muon"

    def code_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(channels, h, w)."""
        return self.channels, *self._sizes(shape)[-1]

    def _sizes(self, shape: tuple[int, ...]) -> list[Size]:
        """Of the maps, from the image inwards.

        Raises:
            UserError: no images.
        """
        if len(shape) != 3:
            raise UserError(f"the spatial net needs images, the data is rows of shape {shape}: take --net mlp.")
        sizes = [shape[1:]]
        for _ in range(self.halvings):
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        return sizes

    def _maps(self, place: int) -> int:
        """After so many halvings more than one."""
        return self.filters << min(place, 2)

    def _blocks(self, place: int) -> list[nn.Module]:
        return [Block(self._maps(place)) for _ in range(self.blocks)]

    def encoder(self, shape: tuple[int, ...], out: int) -> nn.Sequential:
        """(N, C, H, W) -> (N, out): as many at each place, or where that can't be each from all places."""
        image, *inner = self._sizes(shape)
        layers: list[nn.Module] = [convolution(shape[0], self.filters, 4, stride=2, grown=image), *self._blocks(0)]
        for place, size in enumerate(inner[1:], 1):
            layers += [Resize(size), convolution(self._maps(place - 1), self._maps(place), 1), *self._blocks(place)]
        maps, (height, width) = self._maps(len(inner) - 1), inner[-1]
        if out % (height * width):
            return nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Flatten(), linear(maps * height * width, out))
        head = convolution(maps, out // (height * width), 3)
        return nn.Sequential(*layers, nn.LeakyReLU(0.2), head, nn.Flatten())

    def decoder(self, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """(N, latent) -> (N, C, H, W), with no activation at the end; what is left of a code is of the whole image.

        Raises:
            UserError: fewer numbers than a code has.
        """
        image, *inner = self._sizes(shape)
        code = self.code_shape(shape)
        if latent < math.prod(code):
            said = f"a code of the spatial net has {' x '.join(map(str, code))} = {math.prod(code)} numbers"
            raise UserError(f"{said}, and {latent} are given: take so many, or --net residual.")
        deepest = len(inner) - 1
        layers: list[nn.Module] = [
            Grid(code, latent - math.prod(code), self._maps(deepest)),
            *self._blocks(deepest),
        ]
        for place in reversed(range(deepest)):
            layers += [convolution(self._maps(place + 1), self._maps(place), 1), Resize(inner[place])]
            layers += self._blocks(place)
        last = max(16, self.filters // 2)
        layers += [nn.LeakyReLU(0.2), convolution(self.filters, last, 3), Resize(image), nn.LeakyReLU(0.2)]
        return nn.Sequential(*layers, convolution(last, shape[0], 3, gain=0.3))


class Grid(nn.Module):
    """A flat code as maps (N, filters, h, w), to which what stands after it adds the same at every place."""

    def __init__(self, code: tuple[int, int, int], more: int, filters: int) -> None:
        super().__init__()
        self.code = code
        self.places = convolution(code[0], filters, 3)
        self.whole = nn.Linear(more, filters, bias=False) if more else None

    def forward(self, z: Tensor) -> Tensor:
        """(N, channels h w + more) -> (N, filters, h, w)."""
        code, more = torch.tensor_split(z, [math.prod(self.code)], 1)
        maps: Tensor = self.places(code.reshape(-1, *self.code))
        return maps if self.whole is None else maps + self.whole(more)[..., None, None]
