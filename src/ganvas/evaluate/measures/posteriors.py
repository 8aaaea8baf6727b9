"""The posteriors of a VAE over many images: does z know x, and is z over all x as the prior is?

With Q(z) the mean of Q(z given x) over the images, E KL(Q(z given x) || P(z)) = I(x; z) + KL(Q(z) || P(z)) (Hoffman &
Johnson 2016). In what follows M images have posteriors of d dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganvas.evaluate.measures import checks
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.parts.losses import normal_log_prob, reparametrised
from ganvas.parts.priors import Distribution, Normal
from ganvas.parts.priors.mixture import each_log_prob

BLOCK = 2**20  # log-densities that are in memory at a time: 8 MB
ACTIVE, USED = 0.01, 0.01  # variance of a unit's mean over the images; nats of a dimension's KL


def figures(mean: Tensor, log_variance: Tensor, prior: Distribution) -> dict[str, float]:
    """All that is said here of an encoder.

    Args:
        mean: of Q(z given x_i), (M, d).
        log_variance: likewise.
        prior: P(z).

    Returns:
        "kl", "mutual_information": means over the images, see `parts`. "active_units": see there. "aggregate_kl":
        KL(Q(z) || P(z)) / d, by the difference: where the mutual information has run out, too large. Beside N(0, I)
        also "unused_dimensions", the share of those with a mean KL under 0.01 nats.

    Raises:
        UserError: NaN, shapes that differ, fewer than 2 images.
    """
    m, v = _checked(mean, log_variance)
    found: dict[str, float] = {"active_units": active_units(m)}
    each = prior.kl_by_dimension(m, v)
    if each is not None:
        found["unused_dimensions"] = float((each.mean(0) < USED).double().mean())
    kl, information = (float(part.mean()) for part in parts(mean, log_variance, prior))
    return {**found, "kl": kl, "mutual_information": information, "aggregate_kl": (kl - information) / m.shape[1]}


def parts(mean: Tensor, log_variance: Tensor, prior: Distribution, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Of each image KL(Q(z given x) || P(z)), and log Q(z given x) - log Q(z) at a draw of z, each (M,), nats, float64.

    The mean of the second estimates I(x; z). x is one of the M images, so that it is at most log M: an estimate near
    log M has run out, and is but a lower bound of what z tells of an image among more. The mean of the difference
    estimates KL(Q(z) || P(z)). Memory does not grow with M^2.

    Args:
        mean: of Q(z given x_i), (M, d).
        log_variance: likewise.
        prior: P(z); beside N(0, I) the KL is exact, beside another one it is that of the draw.
        seed: of the draws.

    Raises:
        UserError: NaN, shapes that differ, fewer than 2 images.
    """
    m, v = _checked(mean, log_variance)
    draws = reparametrised(m, v, Draw(seed).normal("mutual information", tuple(m.shape)))
    each = prior.kl_by_dimension(m, v)
    if each is not None:
        kl = each.sum(1)
    else:
        with torch.no_grad():
            kl = normal_log_prob(draws, m, v) - prior.log_prob(draws.to(mean), Draw(0)).to(m)
    found, start = [], 0
    for z in torch.split(draws, max(1, BLOCK // len(m))):
        log_q = each_log_prob(z, m, v)  # log Q(z_i given x_j), (rows, M)
        found.append(log_q.diagonal(start) - log_q.logsumexp(1) + math.log(len(m)))
        start += len(z)
    return kl, torch.cat(found)


def active_units(mean: Tensor) -> int:
    """Dimensions whose mean (M, d) has a variance over the images above 0.01 (Burda et al. 2015, section 5.2).

    Raises:
        UserError: NaN, fewer than 2 images.
    """
    m, _ = _checked(mean, mean)
    return int((m.var(0) > ACTIVE).sum())


def mutual_information(mean: Tensor, log_variance: Tensor, seed: int = 0) -> float:
    """I(x; z) in nats, at most log M: see `parts`."""
    return float(parts(mean, log_variance, Normal(), seed)[1].mean())


def _checked(mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64, on the CPU."""
    m, v = (torch.from_numpy(part).double() for part in checks.features(mean=mean, log_variance=log_variance))
    if m.shape != v.shape or len(m) < 2:
        raise UserError(
            f"posteriors of means {tuple(m.shape)} and log-variances {tuple(v.shape)}: both are (M, d), with M > 1."
        )
    return m, v
