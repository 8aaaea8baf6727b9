"""p(x given z): what a decoder's output means.

A decoder gives `parameters` numbers per value of x. Every log-probability is a sum over the values of one image, in
nats, of shape (N,); leading dimensions of the output, as of (K, N, ...) samples, are kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.randomness import Draw
from ganvas.registry import Positive, Registry, settings

LIKELIHOODS = Registry("likelihood")

if TYPE_CHECKING:
    Likelihood = Any
else:
    Likelihood = LIKELIHOODS.field


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
        scale: the standard deviation, or None for one that the decoder gives for each value.
    """

    scale: Positive | None = None
    images_only = False

    @property
    def parameters(self) -> int:
        """Numbers of decoder output per value."""
        return 1 if self.scale else 2

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
        if self.scale:
            mean, log_scale = output, output.new_tensor(math.log(self.scale))
        else:
            mean, log_scale = output.chunk(2, -3 if image else -1)
            # Below exp(-5) a single flat pixel could win any number of nats.
            log_scale = log_scale.clamp(-5, 5)
        return (mean.sigmoid() if image else mean), log_scale
