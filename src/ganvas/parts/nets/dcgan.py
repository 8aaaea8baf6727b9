"""The nets of DCGAN (Radford et al. 2015), for any size that halves down to a small base."""

from __future__ import annotations

import itertools
from typing import Literal

from torch import nn

from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count, settings
from ganvas.parts.nets.convolution import Conv2d, ConvTranspose2d
from ganvas.parts.nets.layers import BatchNorm, Resize
from ganvas.parts.nets.registry import NETS, BaseNet


def halvings(side: int) -> int:
    """How often `side` halves before it is odd or under 4: 64 -> 4, 28 -> 2."""
    n = 0
    while side % 2 == 0 and side // 2 >= 4:
        side, n = side // 2, n + 1
    return n


def base(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(strided layers, base height, base width) for images (C, H, W).

    Sides that do not halve down to 4 ... 15 are padded to the next ones that do.

    Raises:
        UserError: points, or images too small or too long.
    """
    if len(shape) != 3:
        raise UserError(f"the DCGAN net needs images, the data is points of shape {shape}: take --net mlp.")
    _, height, width = shape
    n = min(halvings(height), halvings(width))
    if n and max(height, width) >> n <= 15:
        return n, height >> n, width >> n
    # As often as leaves a base of at least 4, where the longer side still comes down to 15.
    n = max(0, (min(height, width) // 4).bit_length() - 1)
    if min(height, width) < 8 or -(-max(height, width) >> n) > 15:
        raise UserError(
            f"the DCGAN net can't make {height} x {width}: sides from 8 on, the longer less than 4 times the shorter. "
            "Take another --size, or --net mlp."
        )
    return n, -(-height >> n), -(-width >> n)


def margins(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """What is added left, right, above and below of images (C, H, W) so that they halve down to the base."""
    n, height, width = base(shape)
    x, y = (width << n) - shape[2], (height << n) - shape[1]
    return x // 2, x - x // 2, y // 2, y - y // 2


@NETS.register
@settings
class DCGAN(BaseNet):
    """Strided convolutions down, transposed ones up, filters doubling towards the latent code.

    Attributes:
        filters: of the layer next to the image; 128 in the paper, 64 in the widespread PyTorch example.
        kernel: 5 as in the paper, or 4 as in that example.
        norm: batch norm, not beside the image and not on the head; or none.
        widen: whether filters double, up to 8 times the first (1024 in the paper), or are the same at every layer.
        up: "transposed" convolutions, or "resize": interpolation and a convolution of 3 x 3, which leave no checker
            pattern (Odena et al. 2016).
    """

    filters: Count = 64
    kernel: Literal[4, 5] = 4
    norm: Literal["batch", "none"] = "batch"
    widen: bool = True
    up: Literal["transposed", "resize"] = "transposed"

    def _filters(self, n: int) -> list[int]:
        """Of n layers, from the image inwards."""
        return [self.filters << min(i, 3) if self.widen else self.filters for i in range(n)]

    def _norm(self, channels: int) -> nn.Module:
        return BatchNorm(channels) if self.norm == "batch" else nn.Identity()

    def encoder(self, shape: tuple[int, ...], out: int) -> nn.Sequential:
        """(N, C, H, W) -> (N, out): the discriminator's net."""
        n, height, width = base(shape)
        channels = [shape[0], *self._filters(n)]
        around = margins(shape)
        layers: list[nn.Module] = [nn.ReplicationPad2d(around)] if any(around) else []
        for i, (a, b) in enumerate(itertools.pairwise(channels)):
            bias = i == 0 or self.norm == "none"
            layers.append(Conv2d(a, b, self.kernel, 2, (self.kernel - 1) // 2, bias=bias))
            layers += [self._norm(b) if i else nn.Identity(), nn.LeakyReLU(0.2, inplace=True)]
        head = nn.Linear(channels[-1] * height * width, out)
        return _initialise(nn.Sequential(*layers, nn.Flatten(), head))

    def decoder(self, latent: int, shape: tuple[int, ...]) -> nn.Module:
        """(N, latent) -> (N, C, H, W), with no activation at the end: the generator's net."""
        n, height, width = base(shape)
        channels = [*reversed(self._filters(n)), shape[0]]
        bias = self.norm == "none"
        layers: list[nn.Module] = [
            nn.Linear(latent, channels[0] * height * width, bias=bias),
            nn.Unflatten(1, (channels[0], height, width)),
            self._norm(channels[0]),
            nn.ReLU(inplace=True),
        ]
        for i, (a, b) in enumerate(itertools.pairwise(channels)):
            last = i == n - 1
            height, width = 2 * height, 2 * width
            if self.up == "resize":
                layers += [Resize((height, width)), Conv2d(a, b, 3, padding=1, bias=bias or last)]
            else:
                padding, more = (self.kernel - 1) // 2, self.kernel % 2
                up = ConvTranspose2d(a, b, self.kernel, 2, padding, output_padding=more, bias=bias or last)
                layers.append(up)
            layers += [] if last else [self._norm(b), nn.ReLU(inplace=True)]
        around = margins(shape)
        if any(around):
            layers.append(nn.ZeroPad2d((-around[0], -around[1], -around[2], -around[3])))  # what is negative is cut off
        return _initialise(nn.Sequential(*layers))


def _initialise(net: nn.Sequential) -> nn.Sequential:
    """Weights N(0, 0.02), batch-norm gains N(1, 0.02), biases 0 (Radford et al. 2015, section 4)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, BatchNorm):
            nn.init.normal_(module.weight, 1.0, 0.02)
    return net
