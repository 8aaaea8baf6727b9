"""Mixtures of normals: learned with a model, made of its posteriors, or fitted to codes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Count, settings
from ganvas.parts.losses import reparametrised
from ganvas.parts.priors.base import PRIORS, BasePrior, Distribution, Encode, FixedPrior
from ganvas.parts.priors.fixed import Normal, TruncatedNormal

# Of `fit_mixture`: the least variance, as a share of the codes'; nats a code that a step must add; numbers at a time.
FLOOR, GAIN, BLOCK = 1e-4, 1e-4, 2**20
RIDGE, INNER = 1.0, 10  # of weights by labels: what holds them near those of all, in codes; steps for each step of EM


@PRIORS.register
@settings
class Mixture(BasePrior):
    """Normals of learned means, variances and weights.

    Attributes:
        components: how many.
    """

    components: Count = 100

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> NormalMixture:
        """Components that start as N(m, I) with m from N(0, I)."""
        mixture = NormalMixture()
        mixture.mean = nn.Parameter(torch.randn(self.components, latent_dim))
        mixture.log_variance = nn.Parameter(torch.zeros(self.components, latent_dim))
        mixture.logit = nn.Parameter(torch.zeros(self.components))
        return mixture


@PRIORS.register
@settings
class Vamp(BasePrior):
    """The mean of the posteriors of learned pseudo-inputs (Tomczak & Welling 2018, equation 9).

    Attributes:
        components: how many pseudo-inputs.
    """

    components: Count = 500

    def build(self, latent_dim: int, shape: tuple[int, ...], encode: Encode) -> VampMixture:
        """Pseudo-inputs that start grey, a little of each differing; `VampMixture.prepare` makes images of them."""
        return VampMixture(self.components, shape, encode)


class NormalMixture(nn.Module, Distribution):
    """sum_k w_k N(z; m_k, s_k^2): mean and log_variance (K, d), weights the softmax of logit (K,).

    Or of logit (N, K), for the N codes that it is then asked for.

    Attributes:
        noise: what (z - m_k) / s_k is drawn from, N(0, I) unless it is truncated.
    """

    noise: FixedPrior = Normal()
    mean: Tensor
    log_variance: Tensor
    logit: Tensor

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (K, d), log-variance (K, d), log-weight (K,)."""
        return self.mean, self.log_variance.clamp(-20, 10), self.logit.log_softmax(-1)

    def log_prob(self, z: Tensor, draw: Draw) -> Tensor:
        """log P(z) in nats, (..., d) -> (...,)."""
        mean, log_variance, log_weight = self.components()
        if isinstance(self.noise, Normal):
            return mixture_log_prob(z, mean, log_variance, log_weight)
        within = (z[..., None, :] - mean) * torch.exp(-log_variance / 2)
        each = self.noise.log_prob(within, draw) - log_variance.sum(-1) / 2
        return (each + _weighing(log_weight, z)).logsumexp(-1)

    def sample(self, draw: Draw, shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
        """z (N, d)."""
        with torch.no_grad():
            mean, log_variance, log_weight = self.components()
            edges = log_weight.exp().cumsum(-1)
            u = draw.uniform("component", (shape[0],), edges.device)[:, None] * edges[..., -1:]
            chosen = torch.searchsorted(edges, u if edges.dim() == 2 else u[:, 0]).view(-1)
            chosen = chosen.clamp(max=edges.shape[-1] - 1)
            eps = self.noise.sample(draw, shape, edges.device)
            return reparametrised(mean[chosen], log_variance[chosen], eps).to(device)

    def from_noise(self, d: int) -> tuple[int, Callable[[Tensor], Tensor]]:
        """1 + d numbers: the first one chooses the component."""
        mean, log_variance, log_weight = (part.detach().clone() for part in self.components())
        edges = log_weight.exp().cumsum(-1)
        _, within = self.noise.from_noise(d)

        def drawn(noise: Tensor) -> Tensor:
            share = (torch.erf(noise[:, :1] / math.sqrt(2)) + 1) / 2 * edges[..., -1:]
            chosen = (edges < share).sum(1).clamp(max=edges.shape[-1] - 1)
            return reparametrised(mean[chosen], log_variance[chosen], within(noise[:, 1:]))

        return 1 + d, drawn

    def held(self) -> Distribution:
        """A mixture that does not learn: the posteriors of pseudo-inputs are computed once."""
        return fixed(*self.components(), self.noise)

    def truncated(self, bound: float) -> NormalMixture:
        """Each normal within +- bound of its standard deviations, in every dimension."""
        found = copy.copy(self)
        found.noise = TruncatedNormal(bound=bound)
        return found


class ToldMixture(NormalMixture):
    """P(z given c): the same normals whatever c, with the softmax of logit + c `by` as weights; by (width, K)."""

    by: Tensor

    @classmethod
    def of_parts(cls, mean: Tensor, log_variance: Tensor, logit: Tensor, by: Tensor) -> ToldMixture:
        """Mean and log_variance (K, d), logit (K,), by (width, K)."""
        made = cls()
        for name, value in {"mean": mean, "log_variance": log_variance, "logit": logit, "by": by}.items():
            made.register_buffer(name, value)
        return made

    @classmethod
    def empty(cls, components: int, d: int, width: int) -> ToldMixture:
        """One whose numbers are still to be loaded."""
        shapes = ((components, d), (components, d), (components,), (width, components))
        return cls.of_parts(*map(torch.zeros, shapes))

    def of(self, told: Tensor) -> NormalMixture:
        """That of one c (1, width) for all codes, or of one for each code (N, width)."""
        logit = self.logit + told.to(self.by.dtype) @ self.by
        return fixed(self.mean, self.log_variance, logit[0] if told.shape[0] == 1 else logit, self.noise)


class VampMixture(NormalMixture):
    """1/K sum_k Q(z given u_k): inputs (K, *shape), of images cut to [0, 1]."""

    def __init__(self, components: int, shape: tuple[int, ...], encode: Encode) -> None:
        super().__init__()
        self.encode = encode
        self.image = len(shape) == 3
        self.inputs = nn.Parameter(0.5 * self.image + 0.01 * torch.randn(components, *shape))
        self.examples = components

    def prepare(self, examples: Tensor) -> None:
        """Pseudo-inputs start as training data (K, *shape)."""
        with torch.no_grad():
            self.inputs.copy_(examples)

    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (K, d), log-variance (K, d), log-weight (K,), all weights 1/K."""
        mean, log_variance = self.encode(self.inputs.clamp(0, 1) if self.image else self.inputs)
        return mean, log_variance, mean.new_full((len(mean),), -math.log(len(mean)))


def fixed(mean: Tensor, log_variance: Tensor, logit: Tensor, noise: FixedPrior | None = None) -> NormalMixture:
    """A mixture that does not learn: mean and log_variance (K, d), logit (K,)."""
    mixture = NormalMixture()
    mixture.noise = noise or mixture.noise
    for name, value in {"mean": mean, "log_variance": log_variance, "logit": logit}.items():
        mixture.register_buffer(name, value)
    return mixture


def mixture_log_prob(z: Tensor, mean: Tensor, log_variance: Tensor, log_weight: Tensor) -> Tensor:
    """log sum_k w_k N(z; m_k, s_k^2) in nats, (..., d) -> (...,); mean, log_variance (K, d), log_weight (K,).

    With log_weight (N, K) the codes (N, ..., d) have weights of their own.
    """
    return (each_log_prob(z, mean, log_variance) + _weighing(log_weight, z)).logsumexp(-1).to(z.dtype)


def _weighing(log_weight: Tensor, z: Tensor) -> Tensor:
    """Log-weights (K,), or of each code by itself (N, K), as they are added to (..., K) of codes z (..., d)."""
    return log_weight if log_weight.dim() == 1 else log_weight.view(len(z), *[1] * (z.dim() - 2), -1)


def each_log_prob(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; m_k, s_k^2) for each k in nats, float64, (..., d) -> (..., K); mean, log_variance (K, d)."""
    # The square multiplied out is two matrix products; in float32 its terms would cancel too much.
    z, mean, log_variance = z.double(), mean.double(), log_variance.double()
    with torch.autocast(z.device.type, enabled=False):
        precision = torch.exp(-log_variance)
        constant = (mean * mean * precision + log_variance + math.log(2 * math.pi)).sum(-1)
        return z @ (mean * precision).T - 0.5 * (z * z @ precision.T + constant)


def fit_mixture(
    codes: Tensor, components: int, seed: int = 0, steps: int = 500, told: Tensor | None = None
) -> NormalMixture:
    """The mixture of diagonal normals under which codes are most likely, by EM (Dempster et al. 1977), in float64.

    It starts from codes that lie far apart (k-means++, Arthur & Vassilvitskii 2007), and ends where a step adds less
    than 1e-4 nats a code. The likelihood has no bound where a normal shrinks onto one code: in each dimension its
    variance is at least a ten-thousandth of that of all codes.

    Args:
        codes: (N, d).
        components: at most N / 2.
        seed: of the start.
        steps: at most.
        told: labels as rows (N, width): the weights depend on them then, and it is a `ToldMixture`.

    Raises:
        UserError: another shape, NaN, too few codes, or too few that differ; a spread that a mixture can't have.
    """
    if components < 1 or steps < 1:
        raise UserError(f"{components} components by {steps} steps: it takes at least 1 of each.")
    if codes.dim() != 2 or len(codes) < 2 * components:
        raise UserError(
            f"codes of shape {tuple(codes.shape)}: {components} components take (N, d), N at least {2 * components}."
        )
    if not bool(torch.isfinite(codes).all()):
        raise UserError("the codes hold NaN or infinite values.")
    z = codes.detach().cpu().double()
    centre, scale = z.mean(0), z.std(0)
    scale = scale.clamp(min=math.exp(-10) / math.sqrt(FLOOR))
    z = (z - centre) / scale
    mean, variance = _apart(z, components, seed)
    logit, by, before = z.new_zeros(components), None, -math.inf
    if told is not None:
        rows, which = torch.unique(told.detach().cpu().double(), dim=0, return_inverse=True)
        by = z.new_zeros(rows.shape[1], components)
    else:
        rows, which = z.new_zeros(1, 1), torch.zeros(len(z), dtype=torch.int64)
    for _ in range(steps):
        log_weight = (logit + (0 if by is None else rows @ by)).log_softmax(-1).view(-1, components)
        mean, variance, counts, log_p = _maximised(z, mean, variance, log_weight, which)
        logit = counts.sum(0).log() if by is None else logit
        if by is not None:
            logit, by = _weights(counts, rows, logit, by)
        if log_p - before < GAIN:
            break
        before = log_p
    log_variance = variance.log() + 2 * scale.log()
    if float(log_variance.max()) > 10:
        raise UserError(
            f"codes of standard deviation {scale.max():.3g}: a mixture has normals of up to {math.exp(5):.0f}."
        )
    parts = (mean * scale + centre).float(), log_variance.float(), logit.log_softmax(0).float()
    return fixed(*parts) if by is None else ToldMixture.of_parts(*parts, by.float())


def _weights(counts: Tensor, rows: Tensor, logit: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (K,) and what labels change of them (width, K), under which components are likelier to have been chosen
    `counts` (U, K) times where the labels are rows (U, width): some steps of a logistic regression."""
    logit, by = logit.clone().requires_grad_(), by.clone().requires_grad_()
    search = torch.optim.LBFGS([logit, by], max_iter=INNER, line_search_fn="strong_wolfe")
    n = counts.sum()

    def loss() -> Tensor:
        search.zero_grad()
        log_p = (counts * (logit + rows @ by).log_softmax(-1)).sum() - RIDGE / 2 * by.square().sum()
        (-log_p / n).backward()  # type: ignore[no-untyped-call]
        return -log_p / n

    with torch.enable_grad():
        search.step(loss)  # type: ignore[no-untyped-call]
    return logit.detach(), by.detach()


def _apart(z: Tensor, components: int, seed: int) -> tuple[Tensor, Tensor]:
    """Means and variances (K, d): a mean is a code drawn by its squared distance from the others."""
    first, *others = Draw(seed).uniform("means", (components,)).tolist()
    chosen = [z[int(first * len(z))]]
    closest, nearest = chosen[0].expand_as(z), (z - chosen[0]).square().sum(1)
    for u in others:
        edges = nearest.cumsum(0)
        if not edges[-1] > 0:
            raise UserError(f"{components} components: the codes have only {len(chosen)} different values.")
        chosen.append(z[torch.searchsorted(edges, u * edges[-1], right=True)])
        distance = (z - chosen[-1]).square().sum(1)
        closest = torch.where((distance < nearest)[:, None], chosen[-1], closest)
        nearest = torch.minimum(distance, nearest)
    variance = (z - closest).square().mean(0).clamp(min=FLOOR)
    return torch.stack(chosen), variance.expand(components, -1)


def _maximised(
    z: Tensor, mean: Tensor, variance: Tensor, log_weight: Tensor, which: Tensor
) -> tuple[Tensor, Tensor, Tensor, float]:
    """A step of EM, of codes z (N, d) with the weights log_weight (U, K) at `which` (N,).

    Returns:
        Means and variances (K, d) after it, how many codes are each component's (U, K), and the mean log-likelihood
        before it in nats.
    """
    counts, first, second, total = torch.zeros_like(log_weight), torch.zeros_like(mean), torch.zeros_like(mean), 0.0
    size = max(1, BLOCK // len(mean))
    for part, of in zip(torch.split(z, size), torch.split(which, size), strict=True):
        each = each_log_prob(part, mean, variance.log()) + log_weight[of]
        log_p = each.logsumexp(1, keepdim=True)
        share = torch.exp(each - log_p)  # of the code that is each component's (rows, K)
        counts.index_add_(0, of, share)
        first, second = first + share.T @ part, second + share.T @ part.square()
        total += float(log_p.sum())
    counts = counts.clamp(min=1e-300)
    of_all = counts.sum(0)[:, None]
    mean = first / of_all
    variance = (second / of_all - mean.square()).clamp(min=FLOOR)
    return mean, variance, counts, total / len(z)
