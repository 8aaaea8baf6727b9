"""Losses as pure functions. Sums over an image's values, means over the batch; log-probabilities in nats."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.ground.errors import UserError
from ganvas.ground.processes import mean_over_processes
from ganvas.ground.registry import Registry


def kl_by_dimension(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) in nats, of each dimension: (N, d) -> (N, d)."""
    return 0.5 * (mean * mean + log_variance.exp() - 1 - log_variance)


def normal_log_prob(z: Tensor, mean: Tensor | float = 0.0, log_variance: Tensor | float = 0.0) -> Tensor:
    """log N(z; mean, variance) in nats: (..., d) -> (...,)."""
    if not isinstance(log_variance, Tensor):
        log_variance = z.new_full((), log_variance)  # `as_tensor` would make the host wait for a GPU
    return -0.5 * ((z - mean) ** 2 * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi)).sum(-1)


def reparametrised(mean: Tensor, log_variance: Tensor, eps: Tensor) -> Tensor:
    """z = mean + sigma * eps, a draw from N(mean, variance) where eps is one from N(0, I) (Kingma & Welling 2013)."""
    return mean + torch.exp(0.5 * log_variance) * eps


def importance_weighted(log_weights: Tensor, groups: int = 1) -> Tensor:
    """log of the mean weight (Burda et al. 2015, equation 8), or the mean of it over groups of the weights.

    Args:
        log_weights: (N, k), nats.
        groups: of k / groups weights each.

    Returns:
        (N,), nats.
    """
    apart = log_weights.reshape(len(log_weights), groups, -1)
    return (apart.logsumexp(2) - math.log(apart.shape[2])).mean(1)


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """|| x - y ||^2 of each image: (N, ...) -> (N,)."""
    return ((x - y) ** 2).flatten(1).sum(-1)


# A GAN loss: from the logits of real images (N,) and of fake ones (M,) to what each player descends, (the
# discriminator's cost, the generator's cost), scalars.
GanLoss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class GanLosses(Registry):
    """The losses by name, and where a loss has keyword arguments, with others than its defaults: "hinge(margin=2)"."""

    def __missing__(self, name: str) -> GanLoss:
        word, bracket, rest = name.partition("(")
        loss = super().__missing__(name) if not bracket else self[word.strip()]
        known = loss.__kwdefaults__ or {}
        try:
            given = {key.strip(): float(value) for key, value in (part.split("=") for part in rest[:-1].split(","))}
        except ValueError:
            given = {}
        if not given or not rest.endswith(")") or not given.keys() <= known.keys():
            takes = ", ".join(f"{key}={value:g}" for key, value in known.items())
            remedy = f'write "{word}({takes})" with other numbers.' if takes else "it has no parameters."
            raise UserError(f"{name!r} is not how the loss {word} is written: {remedy}")
        return partial(loss, **given)


GAN_LOSSES = GanLosses("GAN loss")
# The losses under which sigmoid(logit) is D(x), the probability that x is real.
PROBABILISTIC = ("minimax", "non-saturating")


@GAN_LOSSES.register
def minimax(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """min_G max_D E[log D(x)] + E[log(1 - D(G(z)))], D = sigmoid(logit). Goodfellow et al. 2014, equation 1."""
    return F.softplus(-real).mean() + F.softplus(fake).mean(), -F.softplus(fake).mean()


@GAN_LOSSES.register
def non_saturating(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The same for D; G ascends E[log D(G(z))]. Goodfellow et al. 2014, section 3."""
    return F.softplus(-real).mean() + F.softplus(fake).mean(), F.softplus(-fake).mean()


@GAN_LOSSES.register
def wasserstein(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """max_D E[D(x)] - E[D(G(z))], min_G of the same, D with a bounded slope. Arjovsky et al. 2017, equation 2."""
    return fake.mean() - real.mean(), -fake.mean()


@GAN_LOSSES.register
def hinge(real: Tensor, fake: Tensor, *, margin: float = 1.0) -> tuple[Tensor, Tensor]:
    """D is content beyond a margin. Lim & Ye 2017; Miyato et al. 2018, equations 16 and 17."""
    return F.relu(margin - real).mean() + F.relu(margin + fake).mean(), -fake.mean()


@GAN_LOSSES.register
def least_squares(
    real: Tensor, fake: Tensor, *, a: float = 0.0, b: float = 1.0, c: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Targets b of real images and a of fake ones for D, c of fake ones for G. Mao et al. 2017, equation 2.

    The defaults are their equation 9; a = -1, b = 1, c = 0, their equation 8, is Pearson's chi-squared divergence.
    """
    return 0.5 * ((real - b) ** 2).mean() + 0.5 * ((fake - a) ** 2).mean(), 0.5 * ((fake - c) ** 2).mean()


@GAN_LOSSES.register
def relativistic(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Each fake against a real image, N of each: E[-log sigmoid(real - fake)]. Jolicoeur-Martineau 2019, RSGAN."""
    return F.softplus(fake - real).mean(), F.softplus(real - fake).mean()


@GAN_LOSSES.register
def relativistic_average(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Each image against the mean of the other kind. Jolicoeur-Martineau 2019, RaSGAN, equation 14."""
    above, below = real - mean_over_processes(fake.mean()), fake - mean_over_processes(real.mean())
    return (
        F.softplus(-above).mean() + F.softplus(below).mean(),
        F.softplus(above).mean() + F.softplus(-below).mean(),
    )


def generator_sees_real(loss: GanLoss) -> bool:
    """Whether the generator's cost depends on the logits of real images: most don't, and spare a forward."""
    real, fake = torch.zeros(2, 2, requires_grad=True).unbind()
    (gradient,) = torch.autograd.grad(loss(real, fake)[1], real, allow_unused=True)
    return gradient is not None
