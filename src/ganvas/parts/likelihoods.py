"""p(x given z): what a decoder's output means.

A decoder gives `parameters` numbers per value of x. Every log-probability is a sum over the values of one image, in
nats, of shape (N,); leading dimensions of the output, as of (K, N, ...) samples, are kept.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from ganvas.data.ranges import EDGE
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Positive, Registry, settings
from ganvas.parts.nets.registry import BaseNet

Array = NDArray[np.float64]
LARGEST = 5.0  # of a log scale, either way: below exp(-5) a single flat pixel could win any number of nats


class BaseLikelihood(ABC):
    """What a model and a measure ask of P(x given z).

    Attributes:
        parameters: numbers of a decoder's output for each value of x.
        images_only: whether rows of numbers are refused.
        mass: whether it is a probability of levels, at most 1. If not it is a density, which is compared with others
            only on data without levels, see `measured`.
    """

    parameters: int
    images_only: bool = False
    mass: bool = False

    @abstractmethod
    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """log P(x given z) of x (N, *shape) by the decoder's output for it (..., N, ...): nats, (..., N)."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """E[x given z], (..., *shape)."""

    @abstractmethod
    def sample(self, output: Tensor, draw: Draw) -> Tensor:
        """x from P(x given z), of the mean's shape."""

    def log_prob_each(self, x: Tensor, output: Tensor) -> Tensor:
        """`log_prob` of each pixel, its channels together, (..., N, H, W), or of each number of a row, (..., N, d).

        Given z the pixels are independent: each is asked for as an image of its own.
        """
        if x.dim() == 4:
            x, output = x.movedim(1, -1), output.movedim(-3, -1)
        else:
            x, output = x[..., None], torch.unflatten(output, -1, (-1, x.shape[-1])).transpose(-1, -2)
        shape, single = np.broadcast_shapes(x.shape[:-1], output.shape[:-1]), (1, 1) if x.dim() == 4 else ()
        x, output = (part.expand(*shape, -1).reshape(-1, part.shape[-1], *single) for part in (x, output))
        return self.log_prob(x, output).reshape(shape)

    def decoder(self, net: BaseNet, latent_dim: int, shape: tuple[int, ...]) -> nn.Module:
        """The net (N, latent_dim) -> (N, parameters * C, ...) whose output it takes, of data (N, *shape)."""
        return net.decoder(latent_dim, (shape[0] * self.parameters, *shape[1:]))

    def observe(self, x: Tensor, draw: Draw) -> Tensor:
        """The data as a model is trained on them; x (N, ...) in [0, 1]."""
        return x

    def measured(self, x: Tensor, levels: int | None, draw: Draw) -> Tensor:
        """Data whose log P(x) can be compared with that of others: for a density without their levels."""
        return x if self.mass else dequantised(x, levels, draw)

    def bits(self, nats: Array, x: Tensor, levels: int | None) -> Array:
        """-log P(x) in bits per dimension, of nats per image (N,) for `measured` data (N, *shape).

        A density's is that of levels: each value has its levels' logarithm more (Theis et al. 2016, section 3.1).
        """
        spread = 0.0 if self.mass or levels is None or x.dim() != 4 else math.log2(levels)
        return nats / (math.log(2) * math.prod(x.shape[1:])) + spread

    def protocol(self, x: Tensor, levels: int | None) -> str:
        """Of what data (N, *shape) with so many levels `measured` makes log P(x), for a figure."""
        return "probability of levels" if self.mass else density_protocol(x.dim() == 4, levels)

    def vitals(self, x: Tensor, again: Tensor) -> dict[str, float]:
        """Whether data (N, *shape) can be of it, given their reconstructions: figures of the watch, or none."""
        return {}

    @contextmanager
    def calibrated(
        self, decoder: nn.Module, figures: dict[str, float], volume: float, values: int
    ) -> Iterator[dict[str, float]]:
        """While it lasts, what it learns beside a net is set by `figures` of images that the net has not seen.

        Args:
            decoder: that `decoder` gave.
            figures: "reconstruction" among them, -log P(x given z) in nats per image.
            volume: the share of it that is the units' of rows of numbers.
            values: of an image.

        Yields:
            The figures that they become.
        """
        yield figures


LIKELIHOODS = Registry("likelihood", BaseLikelihood)


if TYPE_CHECKING:
    Likelihood = BaseLikelihood
else:
    Likelihood = LIKELIHOODS.field


def dequantised(x: Tensor, levels: int | None, draw: Draw) -> Tensor:
    """Images in [0, 1] with equidistant levels as (level + u) / levels, u uniform in [0, 1).

    A density of levels can be as high as one likes. Of these values, -log p + log levels for each of them is at least
    -log P of the levels (Theis et al. 2016, section 3.1).

    Args:
        x: (N, C, H, W); rows of numbers are as they are.
        levels: None: there are none, and nothing changes.
        draw: of u.
    """
    if levels is None or x.dim() != 4:
        return x
    return ((x * (levels - 1)).round() + draw.uniform("dequantise", tuple(x.shape), x.device)) / levels


def density_protocol(images: bool, levels: int | None) -> str:
    """Of what values a density is."""
    if not images:
        return "density of points"
    return "density of values in [0, 1]" if levels is None else f"density of dequantised images, {levels:,} levels"


class SharedScale(nn.Module):
    """A net's output, and beside it the logarithm of a learned scale as often as there are values.

    Args:
        net: (N, latent) -> (N, C, ...).
        shape: of the scales: () for one of all values, (C, 1, 1) for one a channel.
    """

    # Adam moves a parameter by about its rate at each step: this many times that, so that the scale keeps up.
    QUICK = 10.0

    def __init__(self, net: nn.Module, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.net = net
        self.log_scale = nn.Parameter(torch.full(shape, math.log(0.3) / self.QUICK))

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, 2 C, ...)."""
        mean: Tensor = self.net(z)
        return torch.cat([mean.float(), (self.QUICK * self.log_scale).expand_as(mean)], 1)

    @contextmanager
    def set_to(self, log_scale: float) -> Iterator[None]:
        """Another scale for all values, while it lasts."""
        before = self.log_scale.detach().clone()
        try:
            with torch.no_grad():
                self.log_scale.fill_(log_scale / self.QUICK)
            yield
        finally:
            with torch.no_grad():
                self.log_scale.copy_(before)


@LIKELIHOODS.register
@settings
class Bernoulli(BaseLikelihood):
    """Black or white pixels with probability sigmoid(output).

    Attributes:
        binarise: "stochastic" draws every grey level anew as black or white at each use (Burda et al. 2015); on static
            binarised data that draw changes nothing. "none" takes the grey level itself: the expected log-probability.
    """

    binarise: Literal["stochastic", "none"] = "stochastic"
    parameters = 1
    images_only = True
    mass = True

    def observe(self, x: Tensor, draw: Draw) -> Tensor:
        """The data as the model sees it, in {0, 1} or [0, 1]; x (N, ...) in [0, 1]."""
        return draw.binary("binarise", x) if self.binarise != "none" else x

    def protocol(self, x: Tensor, levels: int | None) -> str:
        """How grey levels become black or white, if there are any."""
        if bool(((x == 0) | (x == 1)).all()):
            return "static binarisation"
        return "stochastic binarisation" if self.binarise == "stochastic" else "expected over grey levels"

    def vitals(self, x: Tensor, again: Tensor) -> dict[str, float]:
        """{"black_and_white"}: the share of values that are about that."""
        return {"black_and_white": float(((x <= EDGE) | (x >= 1 - EDGE)).float().mean())}

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Sum over pixels of x log p + (1 - x) log(1 - p)."""
        x, output = x.flatten(1), output.flatten(output.dim() - x.dim() + 1)
        if output.numel() == x.numel():
            found: Tensor = _LogBernoulli.apply(output, x)  # type: ignore[no-untyped-call]
            return found
        # Of several z for each image: products of matrices, which need no room for x times the output.
        with torch.autocast(output.device.type, enabled=False):
            return torch.einsum("...nd,nd->...n", output, x) - F.softplus(output).sum(-1)

    def mean(self, output: Tensor) -> Tensor:
        """E[x given z]."""
        return output.sigmoid()

    def sample(self, output: Tensor, draw: Draw) -> Tensor:
        """x from P(x given z), of the mean's shape."""
        mean = self.mean(output)
        return (draw.uniform("x", tuple(mean.shape), mean.device) < mean).to(mean.dtype)


class _LogBernoulli(torch.autograd.Function):
    """Sum over the last dimension of x log p + (1 - x) log(1 - p), p = sigmoid(output): its gradient is x - p."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, x: Tensor) -> Tensor:
        """Both (..., d)."""
        ctx.save_for_backward(output, x)
        return torch.addcmul(F.softplus(output), x, output, value=-1).sum(-1).neg_()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """By output and x."""
        output, x = ctx.saved_tensors
        gradient, asked = gradient[..., None], ctx.needs_input_grad[1]
        return (x - output.sigmoid()) * gradient, (gradient * output).view_as(x) if asked else None


@LIKELIHOODS.register
@settings
class Gaussian(BaseLikelihood):
    """Real values with mean sigmoid(output) for images, the output itself for points.

    Attributes:
        scale: the standard deviation; "shared": one of all values, learned (Rybkin et al. 2021); None: one for each
            value, given by the decoder.
    """

    scale: Positive | Literal["shared"] | None = None

    @property
    def parameters(self) -> int:  # type: ignore[override]
        """Numbers of decoder output per value."""
        return 1 if isinstance(self.scale, float) else 2

    def decoder(self, net: BaseNet, latent_dim: int, shape: tuple[int, ...]) -> nn.Module:
        """A net; with a shared scale that one stands beside every mean in the output."""
        if self.scale == "shared":
            return SharedScale(net.decoder(latent_dim, shape))
        return super().decoder(net, latent_dim, shape)

    def vitals(self, x: Tensor, again: Tensor) -> dict[str, float]:
        """{"scale_over_error"} of a fixed scale, by the root mean squared error."""
        if not isinstance(self.scale, float):
            return {}
        return {"scale_over_error": self.scale / max(1e-12, float((again - x).square().mean().sqrt()))}

    def mean(self, output: Tensor) -> Tensor:
        """E[x given z]."""
        return self._split(output)[0]

    def sample(self, output: Tensor, draw: Draw) -> Tensor:
        """x from P(x given z), of the mean's shape."""
        mean, log_scale = self._split(output)
        return mean + log_scale.exp() * draw.normal("x", tuple(mean.shape), mean.device)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Sum over values of log N(x; mean, scale^2); a density, so it may be above 0."""
        mean, log_scale = self._split(output)
        error = (x - mean) * torch.exp(-log_scale)
        terms = -0.5 * error * error - log_scale - 0.5 * math.log(2 * math.pi)
        return terms.flatten(mean.dim() - x.dim() + 1).sum(-1)

    @contextmanager
    def calibrated(
        self, decoder: nn.Module, figures: dict[str, float], volume: float, values: int
    ) -> Iterator[dict[str, float]]:
        """A shared scale is that of errors in images that the nets have not seen.

        Learned by gradients it is that of the training images, which are reconstructed better the longer they are
        seen. Others are then far less likely than their reconstructions are bad, and the best epoch would be one in
        which the nets have learned little (for classifiers: Guo et al. 2017).
        """
        if not isinstance(decoder, SharedScale):
            yield figures
            return
        cost, learned = figures["reconstruction"], decoder.QUICK * decoder.log_scale.item()
        scale, nats = self.likeliest(cost - volume, min(LARGEST, max(-LARGEST, learned)), values)
        less = cost - nats - volume
        changes = {"loss": -less, "elbo": less, "reconstruction": -less}
        with decoder.set_to(scale):
            yield {name: value + changes.get(name, 0.0) for name, value in figures.items()}

    def likeliest(self, nats: float, log_scale: float, values: int) -> tuple[float, float]:
        """The logarithm of the shared scale under which an image would have cost the fewest nats, and how many.

        By the mean squared error, which is all that the cost depends on beside the scale.

        Args:
            nats: -log P(x given z), its mean over images.
            log_scale: that it had been measured with.
            values: of an image.
        """
        constant = 0.5 * values * math.log(2 * math.pi)
        variance = math.exp(2 * log_scale)
        squared_error = 2 * variance * (nats - constant - values * log_scale) / values
        best = min(LARGEST, max(-LARGEST, 0.5 * math.log(max(squared_error, 1e-30))))
        return best, constant + values * (best + 0.5 * squared_error * math.exp(-2 * best))

    def _split(self, output: Tensor) -> tuple[Tensor, Tensor]:
        image = output.dim() >= 4
        if isinstance(self.scale, float):
            mean, log_scale = output, output.new_tensor(math.log(self.scale))
        else:
            mean, log_scale = output.chunk(2, -3 if image else -1)
            log_scale = log_scale.clamp(-LARGEST, LARGEST)
        return (mean.sigmoid() if image else mean), log_scale


@LIKELIHOODS.register
@settings
class DiscretisedLogistic(BaseLikelihood):
    """Grey levels, each with what a logistic distribution has in its bin; the first and the last bin are open.

    P(x) = F((x + h - m) / s) - F((x - h - m) / s), F the sigmoid, m = output + 1/2, and h half the distance of two
    levels (Kingma et al. 2016, section 4.2; Salimans et al. 2017, equation 2). A probability, which is at most 1: so
    its figures are those of papers on 8-bit images.

    Attributes:
        levels: equidistant ones from 0 to 1: 256 of 8-bit images; x is taken as the nearest.
        scale: s: "channel": one for each channel, learned; None: one for each value, given by the decoder.
    """

    levels: Annotated[int, Field(ge=2)] = 256
    scale: Literal["channel"] | None = "channel"
    parameters = 2
    images_only = True
    mass = True

    def decoder(self, net: BaseNet, latent_dim: int, shape: tuple[int, ...]) -> nn.Module:
        """A net; learned scales stand beside the means in the output."""
        if self.scale is None:
            return super().decoder(net, latent_dim, shape)
        return SharedScale(net.decoder(latent_dim, shape), (shape[0], 1, 1))

    def protocol(self, x: Tensor, levels: int | None) -> str:
        """Its own levels."""
        return f"probability of {self.levels:,} levels"

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Sum over values of log P(level); x (N, ...) in [0, 1]."""
        mean, log_scale = self._split(output)
        top = self.levels - 1
        level = (x * top).round()
        # A difference of sigmoids is a product, of which each factor has a logarithm that neither ends nor loses
        # digits: F(a) - F(b) = F(a) F(-b) (1 - exp(b - a)).
        above, below = ((level + side) / top - mean for side in (0.5, -0.5))
        sharp = torch.exp(-log_scale)
        up = torch.where(level < top, F.logsigmoid(above * sharp), 0.0)
        down = torch.where(level > 0, F.logsigmoid(-below * sharp), 0.0)
        inside = torch.where((level > 0) & (level < top), torch.log(-torch.expm1(-sharp / top)), 0.0)
        return (up + down + inside).flatten(mean.dim() - x.dim() + 1).sum(-1)

    def mean(self, output: Tensor) -> Tensor:
        """E[x given z], but for the rounding to levels: of the logistic that is cut to [0, 1]."""
        mean, log_scale = self._split(output)
        scale = log_scale.exp()
        return scale * (F.softplus(mean / scale) - F.softplus((mean - 1) / scale))

    def sample(self, output: Tensor, draw: Draw) -> Tensor:
        """x from P(x given z), of the mean's shape."""
        mean, log_scale = self._split(output)
        u = draw.uniform("x", tuple(mean.shape), mean.device).clamp(1e-7, 1 - 1e-7)
        x = mean + log_scale.exp() * u.logit()
        return (x.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)

    def _split(self, output: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = output.chunk(2, -3)
        # Far below a bin's width nothing is won, and with a soft floor there is always a way back.
        floor = -math.log(self.levels - 1) - 4
        return mean + 0.5, floor + F.softplus(log_scale.clamp(max=7) - floor)
