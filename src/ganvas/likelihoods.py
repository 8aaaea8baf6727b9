"""p(x given z): what a decoder's output means.

A decoder gives `parameters` numbers per value of x. Every log-probability is a sum over the values of one image, in
nats, of shape (N,); leading dimensions of the output, as of (K, N, ...) samples, are kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.randomness import Draw
from ganvas.registry import Positive, Registry, settings

LIKELIHOODS = Registry("likelihood")

if TYPE_CHECKING:
    Likelihood = Any
else:
    Likelihood = LIKELIHOODS.field


def decoder(likelihood: Any, net: Any, latent_dim: int, shape: tuple[int, ...]) -> Any:
    """The net (N, latent_dim) -> (N, parameters * C, ...) whose output the likelihood of data (N, *shape) takes."""
    if getattr(likelihood, "shared", False):
        return SharedScale(net.decoder(latent_dim, shape))
    return net.decoder(latent_dim, (shape[0] * likelihood.parameters, *shape[1:]))


class SharedScale(nn.Module):
    """A net's output, and beside it as many times the logarithm of one learned scale."""

    # Adam moves a parameter by about its rate at each step: this many times that, so that the scale keeps up.
    QUICK = 10.0

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.log_scale = nn.Parameter(torch.tensor(math.log(0.3) / self.QUICK))

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, 2 C, ...)."""
        mean: Tensor = self.net(z)
        return torch.cat([mean.float(), (self.QUICK * self.log_scale).expand_as(mean)], 1)


@LIKELIHOODS.register
@settings
class Bernoulli:
    """Black or white pixels with probability sigmoid(output).

    Attributes:
        binarise: "stochastic" draws every grey level anew as black or white at each use (Burda et al. 2015); on static
            binarised data that draw changes nothing. "none" takes the grey level itself: the expected log-probability.
    """

    binarise: Literal["stochastic", "none"] = "stochastic"
    parameters = 1
    images_only = True

    def observe(self, x: Tensor, draw: Draw) -> Tensor:
        """The data as the model sees it, in {0, 1} or [0, 1]; x (N, ...) in [0, 1]."""
        return (draw.uniform("binarise", tuple(x.shape), x.device) < x).to(x.dtype) if self.binarise != "none" else x

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Sum over pixels of x log p + (1 - x) log(1 - p)."""
        x, output = x.flatten(1), output.flatten(output.dim() - x.dim() + 1)
        if output.numel() == x.numel():
            return (x * output - F.softplus(output)).sum(-1)
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


@LIKELIHOODS.register
@settings
class Gaussian:
    """Real values with mean sigmoid(output) for images, the output itself for points.

    Attributes:
        scale: the standard deviation; "shared": one of all values, learned (Rybkin et al. 2021); None: one for each
            value, given by the decoder.
    """

    scale: Positive | Literal["shared"] | None = None
    images_only = False

    @property
    def parameters(self) -> int:
        """Numbers of decoder output per value."""
        return 2 if self.scale is None or self.shared else 1

    @property
    def shared(self) -> bool:
        """Whether one learned scale, which stands beside every mean in the output, is that of all values."""
        return self.scale == "shared"

    def observe(self, x: Tensor, draw: Draw) -> Tensor:
        """The data as it is."""
        return x

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

    def _split(self, output: Tensor) -> tuple[Tensor, Tensor]:
        image = output.dim() >= 4
        if isinstance(self.scale, float):
            mean, log_scale = output, output.new_tensor(math.log(self.scale))
        else:
            mean, log_scale = output.chunk(2, -3 if image else -1)
            # Below exp(-5) a single flat pixel could win any number of nats.
            log_scale = log_scale.clamp(-5, 5)
        return (mean.sigmoid() if image else mean), log_scale
