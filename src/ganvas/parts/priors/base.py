"""P(z): what a latent variable is drawn from.

A prior's `build` gives a `Distribution`, which a model asks for `sample` and `log_prob`. A fixed prior is that itself,
and has an inverse CDF where there is one; one that is learned is a module, trained with the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import AfterValidator
from torch import Tensor

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Registry, kind

DRAWS = 4096  # that stand for moments without a closed form
# Data (N, *shape) -> mean and log-variance of Q(z given x), each (N, d).
Encode = Callable[[Tensor], tuple[Tensor, Tensor]]


class Distribution:
    """What a model, a measure and an export ask of P(z).

    Attributes:
        bound: of every dimension, where it ends; None: nowhere.
        exact: whether `log_prob` is log P(z), and no estimate of it.
        discrete: whether z are some points and no others, of which `log_prob` is the mass.
        examples: training images that it starts from, see `prepare`.
    """

    bound: float | None = None
    exact: bool = True
    discrete: bool = False
    examples: int = 0

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        raise NotImplementedError(type(self).__name__)

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,)."""
        raise NotImplementedError(type(self).__name__)

    def weighed(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """`sample`, and its log P(z) in nats (N,); of a prior that is not exact `log_prob` at what z was drawn with."""
        z = self.sample(draw, shape, device)
        return z, self.log_prob(z, draw)

    def kl_by_dimension(self, mean: Tensor, log_variance: Tensor) -> Tensor | None:
        """KL(N(mean, exp(log_variance)) || P(z)) of each dimension, nats, (N, d); None where it has no closed form."""
        return None

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """How many numbers from N(0, 1) a code takes, k, and the function (N, k) -> z (N, d) of P(z).

        Phi, the normal distribution function, makes a uniform number of a normal one; and its sign is a fair coin.

        Raises:
            UserError: there is no such function.
        """
        raise UserError(f"a prior of kind {type(self).__name__} has no function of standard noise.")

    def typical(self, z: Tensor) -> Tensor:
        """The points (..., d) nearest to z where P(z) has nearly all of its mass; of most priors z itself."""
        return z

    def moments(self, d: int, plane: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation in each dimension (d,), or along the orthonormal rows (k, d) of a plane; float64.

        Where it has no closed form they are those of 4,096 draws.
        """
        z = self.sample(Draw(0), (DRAWS, d)).double()
        z = z if plane is None else z @ plane.T
        return z.mean(0), z.std(0, correction=0)

    def truncated(self, bound: float) -> Distribution:
        """Its middle, within +- bound of N(0, 1).

        Raises:
            UserError: it is neither N(0, I) nor a mixture of normals.
        """
        raise UserError(f"P(z) is of kind {kind(type(self))}: a normal or a mixture of normals can be truncated.")

    def held(self) -> Distribution:
        """Itself as it is now, to be asked many times."""
        return self

    def prepare(self, examples: Tensor) -> None:
        """Start from training data (`examples`, *shape)."""


class BasePrior:
    """Settings of a prior.

    Attributes:
        bound: see `Distribution`.
        exact: likewise.
        closed_form: whether the KL from a normal posterior has one.
    """

    bound: float | None = None
    exact: bool = True
    closed_form: bool = False

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> Distribution:
        """P(z) of so many dimensions, in a model of data of a shape that encodes by `encode`."""
        raise NotImplementedError(type(self).__name__)


PRIORS = Registry("prior", BasePrior)


class FixedPrior(Distribution, BasePrior):
    """Settings that are P(z) themselves: there is nothing to learn."""

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> Distribution:
        """Itself."""
        return self


def _fixed(prior: Any) -> Any:
    if not isinstance(prior, FixedPrior):
        raise UserError(
            f"a prior of kind {kind(type(prior))} is learned, and a GAN's is fixed: take normal or uniform."
        )
    return prior


if TYPE_CHECKING:
    Prior = BasePrior
    Noise = FixedPrior
else:
    Prior = PRIORS.field
    Noise = Annotated[Prior, AfterValidator(_fixed)]  # of a GAN


def halves(output: Tensor) -> tuple[Tensor, Tensor]:
    """A net's output (..., 2 d) as mean and log-variance (..., d), float32."""
    mean, log_variance = output.float().chunk(2, -1)
    # exp(10) is far from any variance that training asks for; a runaway one would end in inf - inf.
    return mean, log_variance.clamp(-20, 10)
