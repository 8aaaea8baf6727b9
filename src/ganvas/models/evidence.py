"""log P(x) by importance sampling from a mixture that is adapted to each image, and whether to trust it.

P(x) = E_m[P(x given z) P(z) / m(z)] for any density m of z that is nowhere 0. An encoder's Q(z given x) alone misses
what it was never asked to cover: a second mode, or a mode beside where it looks. So m is a mixture of Q; of Student's
t distributions around modes of P(z given x) that are looked for by ascent from Q's mean and from the likeliest of many
draws of P(z), each with the curvature there (Laplace's approximation); and of P(z) itself, the defensive part, by which
no weight is above P(x given z) over its share (Hesterberg 1995). Each part gives a fixed number of draws, and all are
weighed by the density of the whole mixture: the balance heuristic (Veach & Guibas 1995; Owen & Zhou 2000), unbiased
for P(x) since nothing that a search saw is weighed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ganvas import losses, pareto
from ganvas.priors import Distribution
from ganvas.randomness import Draw

ENCODER, PRIOR = 0.25, 0.1  # shares of the draws; without modes Q's are all but P(z)'s
PILOTS = 1000  # draws of P(z), of which each image takes the likeliest
NEAR = 25  # once a pilot is taken, this share of them, the nearest to it, is taken no more
MODES, ASCENT, RATE = 8, 20, 0.1  # starts at most; steps of each, of so many of P(z)'s standard deviations at first
EFFORT = 16  # draws for each gradient of the search, at least: a gradient takes a little over two draws' time
FREEDOM = 6  # of the t distributions; even
HOPELESS = 10.0  # nats of mass below the best mode, at which a mode's draws are given to that one

# z (N, S, d) -> log P(x_n, z) (N, S), in nats, with a gradient.
LogJoint = Callable[[Tensor], Tensor]


class Evidence(NamedTuple):
    """Estimates of log P(x) of N images.

    Attributes:
        log_prob: (N,), nats; exp of it is unbiased, so it is a lower bound in expectation.
        error: its standard error by the spread of the weights, (N,), nats; inf of a single draw.
        khat: the shape of the weights' tail, (N,), see `ganvas.pareto`.
        draws: K.
    """

    log_prob: Tensor
    error: Tensor
    khat: Tensor
    draws: int

    @property
    def threshold(self) -> float:
        """Of k-hat for so many draws: min(1 - 1 / log10 K, 0.7)."""
        return pareto.threshold(self.draws)

    @property
    def doubtful(self) -> Tensor:
        """Numbers of the images whose estimate and error are not to be trusted, the worst first."""
        order = self.khat.argsort(descending=True)
        return order[self.khat[order] > self.threshold]


@dataclass(frozen=True)
class Modes:
    """Student's t distributions around modes of P(z given x): S of each of N images, or (without the N) of one.

    Attributes:
        center: (N, S, d).
        scale: (N, S, d, d): a draw is center + scale @ eps / sqrt(chi^2 / freedom).
        whitening: its inverse.
        volume: log |det whitening|, (N, S).
    """

    center: Tensor
    scale: Tensor
    whitening: Tensor
    volume: Tensor

    def __len__(self) -> int:
        return self.center.shape[-2]

    def of(self, i: int) -> Modes:
        """Those of image i."""
        return Modes(self.center[i], self.scale[i], self.whitening[i], self.volume[i])

    def log_prob(self, z: Tensor) -> Tensor:
        """log-density of each one of an image at z (k, d): (S, k), nats."""
        d = z.shape[1]
        away = torch.matmul(z - self.center[:, None], self.whitening.mT).square().sum(-1)
        constant = math.lgamma((FREEDOM + d) / 2) - math.lgamma(FREEDOM / 2) - 0.5 * d * math.log(FREEDOM * math.pi)
        return constant + self.volume[:, None] - 0.5 * (FREEDOM + d) * torch.log1p(away / FREEDOM)


def how_many(draws: int, d: int) -> int:
    """Modes of d dimensions that are looked for beside so many draws, so that the search takes little of the time.

    Each takes `ASCENT` gradients, and 2 d for its curvature.
    """
    return min(MODES, draws // (EFFORT * (ASCENT + 2 * d)))


def shares(draws: int, modes: int) -> tuple[int, int, int]:
    """How many of so many draws are Q's, each mode's, P(z)'s: 25 %, together 65 %, and 10 %; of one, it is Q's."""
    others = math.floor(PRIOR * draws)
    each = math.floor((1 - PRIOR - ENCODER) * draws / modes) if modes else 0
    return draws - others - modes * each, each, others


def likeliest(score: Tensor, pilots: Tensor, n: int) -> Tensor:
    """Starts for a search: of pilots (M, d) the n with the highest score (N, M), none near another: (N, n, d)."""
    distance, found = torch.cdist(pilots, pilots), []
    near = distance <= distance.kthvalue(max(1, len(pilots) // NEAR), 1, keepdim=True).values
    for _ in range(n):
        best = score.argmax(1)
        found.append(pilots[best])
        score = score.masked_fill(near[best], -math.inf)
    return torch.stack(found, 1)


def climbed(joint: LogJoint, start: Tensor, unit: Tensor, step: Tensor) -> Modes:
    """Modes of P(z given x) and the curvature there, from starts (N, S, d).

    Args:
        joint: log P(x, z), up to a constant of each image.
        start: of the ascents.
        unit: the size of z in each dimension, (d,): P(z)'s standard deviation.
        step: over which the curvature is taken, (N, d): about the posterior's standard deviation, so that kinks of a
            net are seen as what they are to the posterior.
    """
    with torch.inference_mode(False), torch.enable_grad():

        def slope(u: Tensor) -> tuple[Tensor, Tensor]:
            u = u.detach().requires_grad_()
            value = joint(u * unit)
            (gradient,) = torch.autograd.grad(value.sum(), u)
            return value.detach(), gradient.nan_to_num(0.0, 0.0, 0.0)

        u = (start / unit).clone()
        ascent = torch.optim.Adam([u], RATE, (0.8, 0.95), maximize=True)
        for i in range(ASCENT):
            ascent.param_groups[0]["lr"] = RATE * 0.05 ** (i / (ASCENT - 1))
            u.grad = slope(u)[1]
            ascent.step()
        u, step = u.detach(), (step / unit)[:, None].clamp(1e-4, 0.5)
        columns, gradient, value = [], torch.zeros_like(u), torch.zeros_like(u[..., 0])
        d = u.shape[-1]
        for i in range(d):
            h = step * torch.eye(d, device=u.device)[i]
            (up, there), (down, here) = slope(u + h), slope(u - h)
            columns.append((here - there).double() / (2 * step[..., i, None]))
            gradient, value = gradient + (there + here) / (2 * d), value + (up + down) / (2 * d)
    precision = torch.stack(columns, -1)
    eigen, axes = torch.linalg.eigh((precision + precision.mT) / 2)
    eigen = eigen.clamp(1.0, 1e8)  # no wider than P(z) in any direction
    along = (axes.mT @ gradient.double()[..., None])[..., 0] / eigen.sqrt()  # Newton's step, in standard deviations
    along = along / along.norm(dim=-1, keepdim=True).clamp(min=1.0)
    center = u + (axes @ (along / eigen.sqrt())[..., None])[..., 0].float()
    mass = value - 0.5 * eigen.log().sum(-1)
    mass = mass.nan_to_num(-math.inf, -math.inf, -math.inf)
    best = mass.argmax(1, keepdim=True)
    chosen = torch.where(mass > mass.gather(1, best) - HOPELESS, torch.arange(mass.shape[1], device=u.device), best)
    one = torch.arange(len(u), device=u.device)[:, None]
    center, axes, eigen = center[one, chosen], axes[one, chosen], eigen[one, chosen]
    scale = unit[:, None] * (axes / eigen.sqrt()[..., None, :]).float()
    whitening = (axes * eigen.sqrt()[..., None, :]).mT.float() / unit
    return Modes(center * unit, scale, whitening, 0.5 * eigen.log().sum(-1).float() - unit.log().sum())


@dataclass(frozen=True)
class Proposal:
    """The mixture of one image.

    Attributes:
        mean: of Q(z given x), (d,).
        log_variance: likewise.
        modes: of P(z given x); None: none are looked for.
        counts: draws of Q, of each mode, of P(z).
    """

    mean: Tensor
    log_variance: Tensor
    modes: Modes | None
    counts: tuple[int, int, int]

    def weighed(self, prior: Distribution, draw: Draw, first: int, k: int) -> tuple[Tensor, Tensor]:
        """The draws from `first` on, k of them: z (k, d), and log P(z) less the mixture's log-density (k,), nats.

        Those of Q come first, then those of each mode, then those of P(z).
        """
        own, each, others = self.counts
        modes, d, device = len(self.modes or ()), len(self.mean), self.mean.device
        ends = [0, own, *(own + each * (j + 1) for j in range(modes)), total := own + each * modes + others]
        parts = [max(0, min(b, first + k) - max(a, first)) for a, b in itertools.pairwise(ends)]
        here, moved, elsewhere = parts[0], sum(parts[1:-1]), parts[-1]
        eps = draw.normal("importance", (here + moved, d), device)
        z = losses.reparametrised(self.mean, self.log_variance, eps[:here])
        if self.modes and moved:
            uniform = draw.uniform("chi", (moved, FREEDOM // 2), device).clamp(min=1e-30)
            t = eps[here:] * (-FREEDOM / 2 / uniform.log().sum(1, keepdim=True)).sqrt()
            parted = zip(self.modes.center, self.modes.scale, t.split(parts[1:-1]), strict=True)
            z = torch.cat([z, *(center + one @ scale.T for center, scale, one in parted)])
        log_p = prior.log_prob(z, draw)
        if elsewhere:
            z, log_p = (torch.cat(pair) for pair in zip((z, log_p), prior.weighed(draw, (elsewhere, d), device)))
        density = losses.normal_log_prob(z, self.mean, self.log_variance) + math.log(own / total)
        if others:
            density = torch.logaddexp(density, log_p + math.log(others / total))
        if self.modes:
            density = torch.logaddexp(density, self.modes.log_prob(z).logsumexp(0) + math.log(each / total))
        return z, log_p - density


class Tally:
    """What is kept of the weights of N images, which come some draws at a time.

    Args:
        n: N.
        draws: K, of each image.
    """

    def __init__(self, n: int, draws: int, device: torch.device) -> None:
        self.draws = draws
        self.sums = torch.full((2, n), -math.inf, dtype=torch.float64, device=device)  # of weights, of their squares
        self.largest = torch.empty(n, 0, device=device)

    def add(self, log_weights: Tensor) -> None:
        """Of k more draws, (N, k)."""
        both = torch.stack([log_weights, 2 * log_weights]).double()
        self.sums = torch.logaddexp(self.sums, both.logsumexp(-1))
        most = torch.cat([self.largest, log_weights], 1)
        self.largest = most.topk(min(pareto.tail_length(self.draws) + 1, most.shape[1]), sorted=False).values


def evidence(tallies: list[Tally]) -> Evidence:
    """Of all images of tallies with as many draws each."""
    draws = tallies[0].draws
    first, second = torch.cat([tally.sums for tally in tallies], 1)
    excess = ((second - 2 * first).exp() - 1 / draws).clamp(min=0)  # the variance of the weights' mean over its square
    error = (excess * draws / (draws - 1)).sqrt() if draws > 1 else torch.full_like(excess, math.inf)
    khat = pareto.khat(torch.cat([tally.largest for tally in tallies]), draws)
    return Evidence((first - math.log(draws)).float(), error.float(), khat.float(), draws)
