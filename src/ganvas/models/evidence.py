"""log P(x) by importance sampling from a mixture that is adapted to each image, and whether to trust it.

P(x) = E_m[P(x given z) P(z) / m(z)] for any density m of z that is nowhere 0. An encoder's Q(z given x) alone misses
what it was never asked to cover: a second mode, or a mode beside where it looks. So m is a mixture of Q; of Student's
t distributions around modes of P(z given x) that are looked for, with the curvature there (Laplace's approximation);
and of P(z) itself, the defensive part, by which no weight is above P(x given z) over its share (Hesterberg 1995). Each
part gives a fixed number of draws, and all are weighed by the density of the whole mixture, the balance heuristic
(Veach & Guibas 1995; Owen & Zhou 2000): unbiased for P(x), since draws that the search saw are not among them.

A search can fail, of many narrow modes in many dimensions above all. Then the draws of P(z) may say so: where they find
what the others do not they weigh far more, and the tail of the weights is heavy, which k-hat tells
(`ganvas.models.pareto`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ganvas.ground.randomness import Draw
from ganvas.models import pareto
from ganvas.parts import losses
from ganvas.parts.priors import Distribution

ENCODER, PRIOR = 0.15, 0.1  # shares of the draws; without modes Q's are all but P(z)'s
LEAST = 500  # draws beside which modes are looked for: with fewer the search would be most of the work
PILOTS, NEAR = 1000, 10  # draws of P(z) that all images share; of those, nearest to one taken, that are not taken
STARTS, ASCENT, AGAIN = 8, 15, 5  # first ascents; their steps; and those from where the first modes cover too little
RATE, LAST = 0.2, 0.05  # of the first step, in P(z)'s standard deviations, at most; the last one's share of it
MODES, EFFORT = 6, 100  # first modes at most; draws for each dimension of one, whose curvature takes two gradients
SAME = 3.0  # of Q's standard deviations, by the root of their mean square, within which two ascents found one mode
EXACT = "donot_use_mm_for_euclid_dist"  # of `cdist`: squares multiplied out would lose small distances
FREEDOM = 6  # of the t distributions; even
HOPELESS = 10.0  # nats of mass below the best mode, at which a mode's draws are given to that one

# z (N, S, d) -> log P(x_n given z) (N, S), in nats, with a gradient.
LogLikelihood = Callable[[Tensor], Tensor]


class Evidence(NamedTuple):
    """Estimates of log P(x) of N images.

    Attributes:
        log_prob: (N,), nats; exp of it is unbiased, so it is a lower bound in expectation.
        error: its standard error by the spread of the weights, (N,), nats; inf of a single draw.
        khat: the shape of the weights' tail, (N,), see `ganvas.models.pareto`.
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

    def each(self) -> list[Modes]:
        """Those of each image."""
        return [Modes(*of) for of in zip(self.center, self.scale, self.whitening, self.volume, strict=True)]

    def beside(self, others: Modes) -> Modes:
        """These, and others of the same images."""
        pairs = zip(vars(self).values(), vars(others).values(), strict=True)
        return Modes(*(torch.cat(pair, 1) for pair in pairs))

    def log_prob(self, z: Tensor) -> Tensor:
        """log-density of each one of an image at z (k, d): (S, k), nats."""
        d = z.shape[1]
        away = torch.matmul(z - self.center[:, None], self.whitening.mT).square().sum(-1)
        constant = math.lgamma((FREEDOM + d) / 2) - math.lgamma(FREEDOM / 2) - 0.5 * d * math.log(FREEDOM * math.pi)
        return constant + self.volume[:, None] - 0.5 * (FREEDOM + d) * torch.log1p(away / FREEDOM)


def how_many(draws: int, d: int) -> tuple[int, int]:
    """Modes that are looked for beside so many draws of d dimensions: first ones, and where those cover too little.

    The search takes under a fifth of the time of 5,000 draws of 20 dimensions, and two thirds of that of 1,000: from
    fewer starts a second mode is missed too often.
    """
    if draws < LEAST:
        return 0, 0
    first = max(2, min(MODES, draws // (EFFORT * d)))
    return first, (first + 1) // 2


def shares(draws: int, modes: int) -> tuple[int, int, int]:
    """How many of so many draws are Q's, each mode's, P(z)'s: 15 %, together 75 %, and 10 %; a single one is Q's."""
    others = math.floor(PRIOR * draws)
    each = math.floor((1 - PRIOR - ENCODER) * draws / modes) if modes else 0
    return draws - others - modes * each, each, others


def likeliest(score: Tensor, places: Tensor, near: Tensor, n: int) -> Tensor:
    """Of places (N, M, d) the n with the highest score (N, M), none `near` (N, M, M) another: (N, n, d).

    With N = 1 all images have the same places.
    """
    found, image = [], torch.arange(len(score), device=score.device)
    places, near = places.expand(len(score), -1, -1), near.expand(len(score), -1, -1)
    for _ in range(n):
        best = score.argmax(1)
        found.append(places[image, best])
        score = score.masked_fill(near[image, best], -math.inf)
    return torch.stack(found, 1)


def neighbours(places: Tensor) -> Tensor:
    """Which of places (N, M, d) are among the nearest to which: (N, M, M)."""
    distance = torch.cdist(places, places, compute_mode=EXACT)
    return distance <= distance.kthvalue(min(NEAR, places.shape[1]), -1, keepdim=True).values


class Pilots(NamedTuple):
    """Draws from P(z) that all images share.

    Attributes:
        z: (1, M, d).
        unit: their standard deviation in each dimension, (d,).
        near: see `neighbours`.
        rate: of an ascent's first step, in this unit: not over the next valley.
    """

    z: Tensor
    unit: Tensor
    near: Tensor
    rate: float

    @classmethod
    def of(cls, z: Tensor) -> Pilots:
        """Of draws (M, d)."""
        unit = z.std(0).clamp(min=1e-6)
        nearest = torch.cdist(z / unit, z / unit).kthvalue(2).values.median()
        return cls(z[None], unit, neighbours(z[None] / unit), min(RATE, float(nearest) / math.sqrt(z.shape[1])))


def search(
    likelihood: LogLikelihood,
    prior: Distribution,
    posterior: tuple[Tensor, Tensor],
    score: Tensor,
    pilots: Pilots,
    draws: int,
    seeds: Sequence[int],
) -> Modes:
    """Modes of P(z given x) for each of N images.

    First by ascents from Q's mean and from the likeliest pilots: many meet, and of those that don't the highest are
    kept. Then a fiftieth of the draws are tried: where they weigh most the modes cover too little, along a ridge for
    example, and there one is put, too (Raftery & Bao 2010, incremental mixture importance sampling).

    Args:
        likelihood: of the N images.
        prior: P(z), whose log-density is exact.
        posterior: mean and log-variance of Q(z given x), each (N, d).
        score: log P(x given z) at the pilots, (N, M).
        pilots: draws from P(z).
        draws: K.
        seeds: of each image.
    """
    mean, log_variance = posterior
    first, again = how_many(draws, mean.shape[1])
    unit, rate, step = pilots.unit, pilots.rate, (0.5 * log_variance).exp()

    def joint(z: Tensor) -> Tensor:
        return likelihood(z) + prior.log_prob(z, Draw(0))

    start = torch.cat([mean[:, None], likeliest(score, pilots.z, pilots.near, STARTS - 1)], 1)
    top, value = ascended(joint, start, unit, rate, ASCENT)
    white = top / step[:, None]
    same = torch.cdist(white, white, compute_mode=EXACT) < SAME * math.sqrt(len(unit))
    found = laplace(joint, likeliest(value, top, same, first), unit, step)
    tries = draws // 50
    each = (Proposal(*of, shares(tries, first)) for of in zip(mean, log_variance, found.each(), strict=True))
    tried = [one.weighed(prior, Draw(seed), 0, tries) for one, seed in zip(each, seeds, strict=True)]
    z, log_weight = (torch.stack(part) for part in zip(*tried, strict=True))
    start = likeliest(likelihood(z) + log_weight, z, neighbours(z), again)
    return found.beside(laplace(joint, ascended(joint, start, unit, rate, AGAIN)[0], unit, step))


def slope(joint: LogLikelihood, z: Tensor) -> tuple[Tensor, Tensor]:
    """log P(x, z) at z (N, S, d), (N, S), and its gradient."""
    with torch.inference_mode(False), torch.enable_grad():
        z = z.detach().requires_grad_()
        value = joint(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), gradient.nan_to_num(0.0, 0.0, 0.0)


def ascended(joint: LogLikelihood, start: Tensor, unit: Tensor, rate: float, steps: int) -> tuple[Tensor, Tensor]:
    """The highest places, (N, S, d), on ways up from as many starts, and log P(x, z) there.

    Args:
        joint: log P(x, z).
        start: (N, S, d).
        unit: the size of z in each dimension, (d,): P(z)'s standard deviation.
        rate: of Adam's first step, in this unit.
        steps: how many.
    """
    u = start / unit
    best, top = start, torch.full_like(start[..., 0], -math.inf)
    adam = torch.optim.Adam([u], rate, (0.8, 0.95), maximize=True)
    for i in range(steps):
        adam.param_groups[0]["lr"] = rate * LAST ** (i / (steps - 1))
        value, gradient = slope(joint, u * unit)
        higher = value > top
        best, top = torch.where(higher[..., None], u * unit, best), torch.where(higher, value, top)
        u.grad = gradient * unit
        adam.step()
    return best, top


def laplace(joint: LogLikelihood, place: Tensor, unit: Tensor, step: Tensor) -> Modes:
    """Laplace's approximation of P(z given x) at places (N, S, d).

    Args:
        joint: log P(x, z).
        place: about where the modes are.
        unit: the size of z in each dimension, (d,): P(z)'s standard deviation.
        step: over which the curvature is taken, (N, d): about the posterior's standard deviation, so that kinks of a
            net are seen as what they are to the posterior.
    """
    step = (step / unit)[:, None].clamp(1e-4, 0.5)
    d, columns, gradient, value = place.shape[-1], [], torch.zeros_like(place), torch.zeros_like(place[..., 0])
    for along in torch.eye(d, device=place.device):
        h = step * along * unit
        (up, down), (there, here) = (both.chunk(2, 1) for both in slope(joint, torch.cat([place + h, place - h], 1)))
        columns.append((here - there).double() * unit / (2 * (step * along).sum(-1, keepdim=True)))
        gradient, value = gradient + (there + here) * unit / (2 * d), value + (up + down) / (2 * d)
    precision = torch.stack(columns, -1)
    eigen, axes = torch.linalg.eigh((precision + precision.mT) / 2)
    sigma = eigen.clamp(1.0, 1e8).rsqrt()  # no wider than P(z) in any direction
    # A step of Newton's, by a standard deviation at most.
    newton = sigma * (axes.mT @ gradient.double()[..., None])[..., 0]
    newton = newton / newton.norm(dim=-1, keepdim=True).clamp(min=1.0)
    center = (place / unit).double() + (axes @ (sigma * newton)[..., None])[..., 0]
    mass = (value + sigma.log().sum(-1)).nan_to_num(-math.inf, -math.inf, -math.inf)
    heaviest = mass.max(1, keepdim=True)
    own = torch.arange(mass.shape[1], device=mass.device)
    chosen = torch.where(mass >= heaviest.values - HOPELESS, own, heaviest.indices)
    image = torch.arange(len(mass), device=mass.device)[:, None]
    center, axes, sigma = center[image, chosen], axes[image, chosen], sigma[image, chosen]
    scale, whitening = unit[:, None] * axes * sigma[..., None, :], (axes / sigma[..., None, :]).mT / unit
    volume = -sigma.log().sum(-1) - unit.double().log().sum()
    return Modes(*(part.to(unit.dtype) for part in (center * unit, scale, whitening, volume)))


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
            parted = zip(self.modes.center, self.modes.scale, torch.split(t, parts[1:-1]), strict=True)
            z = torch.cat([z, *(center + one @ scale.T for center, scale, one in parted)])
        log_p = prior.log_prob(z, draw)
        if elsewhere:
            drawn, of_drawn = prior.weighed(draw, (elsewhere, d), device)
            z, log_p = torch.cat([z, drawn]), torch.cat([log_p, of_drawn])
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
