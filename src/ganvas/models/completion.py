"""Images from a part of their pixels: draws from P(z given the visible ones), by a sequential Monte Carlo sampler.

Given z the pixels are independent, so the visible ones have a likelihood of their own. Particles from P(z) are led to
the posterior P(z) P(visible given z)^beta, beta from 0 to 1: at each step they are weighed, drawn again by their
weights, and moved by Langevin steps that leave the posterior of that beta as it is (Del Moral et al. 2006; the moves
are Roberts & Tweedie 1996's). The next beta is the one at which half of the particles would still count (Jasra et al.
2011). No encoder is asked, which has seen whole images alone, and modes are found where P(z) has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ganvas.ground.randomness import Draw
from ganvas.models.evidence import slope

PARTICLES = 100  # of an image, at least
SPARE = 4  # particles for each completion, at least
MOVES = 8  # of Langevin at each beta; the first half sets the size of the steps
COUNT = 0.5  # of the particles, that count after each step
LIMIT = 60  # steps, at most
TARGET = 0.574  # acceptance at which Langevin steps move best (Roberts & Rosenthal 1998)
LogDensity = Callable[[Tensor], Tensor]  # z (N, P, d) -> (N, P), nats, with a gradient


class Completed(NamedTuple):
    """Images whose missing pixels are filled in.

    Attributes:
        images: n completions of each image, (N, n, *shape); visible pixels are as they were given.
        codes: z of each, (N, n, latent_dim).
        distances: of what z gives from the visible values, by the root of their mean square, (N, n).
        apart: the median of that distance between two samples.
    """

    images: Tensor
    codes: Tensor
    distances: Tensor
    apart: float


def tempered(log_prior: LogDensity, log_likelihood: LogDensity, z: Tensor, seed: int) -> Tensor:
    """Draws (N, P, d) from P(z) P(x given z) of N images, up to a constant.

    Args:
        log_prior: of z.
        log_likelihood: log P(x given z) of each image.
        z: draws from P(z), (N, P, d).
        seed: of what follows.
    """
    beta = torch.zeros(len(z), 1, device=z.device)
    for step in range(LIMIT):
        with torch.no_grad():
            fits = log_likelihood(z)
        rise = _rise(fits, 1 - beta) if step < LIMIT - 1 else 1 - beta
        chosen = resampled(rise * fits, z.shape[1], Draw(seed, step))
        z, beta = z.gather(1, chosen[..., None].expand_as(z)), beta + rise

        def joint(z: Tensor, beta: Tensor = beta) -> Tensor:
            return log_prior(z) + beta * log_likelihood(z)

        z = langevin(joint, z, z.std(1).clamp(min=1e-6), Draw(seed, step))
        if bool((beta >= 1).all()):
            break
    return z


def _rise(fits: Tensor, most: Tensor) -> Tensor:
    """How far beta may rise, (N, 1), up to `most`, until as few particles count as `COUNT` says (N, P)."""

    def count(rise: Tensor) -> Tensor:
        return 1 / (rise * fits).softmax(1).square().sum(1, keepdim=True)

    enough, low, high = COUNT * fits.shape[1], torch.zeros_like(most), most
    if bool((count(most) >= enough).all()):
        return most
    for _ in range(40):
        middle = (low + high) / 2
        fine = count(middle) >= enough
        low, high = torch.where(fine, middle, low), torch.where(fine, high, middle)
    return torch.where(count(most) >= enough, most, low)


def resampled(log_weights: Tensor, n: int, draw: Draw) -> Tensor:
    """Places of n draws by their weights, (N, K) -> (N, n): systematic resampling (Kitagawa 1996)."""
    edges = log_weights.double().softmax(1).cumsum(1)
    start = draw.uniform("resample", (len(edges), 1), edges.device)
    at = (torch.arange(n, device=edges.device) + start.double()) / n * edges[:, -1:]
    return torch.searchsorted(edges, at).clamp(max=edges.shape[1] - 1)


def langevin(joint: LogDensity, z: Tensor, scale: Tensor, draw: Draw, moves: int = MOVES) -> Tensor:
    """z (N, P, d) after Metropolis-adjusted Langevin moves, which keep exp(joint) as it is.

    Args:
        joint: log-density up to a constant.
        z: where the chains begin.
        scale: about the density's standard deviation in each dimension, (N, d).
        draw: of the moves.
        moves: how many; in the first half the size of an image's steps follows how many of its chains are accepted.
    """
    n, chains, d = z.shape
    size = torch.full((n, 1, 1), d ** (-1 / 6), device=z.device)
    noise = draw.normal("langevin", (n, moves, chains, d), z.device)
    chance = draw.uniform("accept", (n, moves, chains), z.device).log()
    value, gradient = slope(joint, z)
    for move in range(moves):
        step, eps = size * scale[:, None], noise[:, move]
        there = z + 0.5 * step**2 * gradient + step * eps
        above, back = slope(joint, there)
        returning = (z - there - 0.5 * step**2 * back) / step
        gain = above - value + 0.5 * (eps.square() - returning.square()).sum(-1)
        accepted = chance[:, move] < gain  # a gain that is not a number is refused
        z = torch.where(accepted[..., None], there, z)
        value = torch.where(accepted, above, value)
        gradient = torch.where(accepted[..., None], back, gradient)
        if move < moves // 2:
            rate = gain.exp().clamp(max=1).nan_to_num(0.0).mean(1)
            size = size * torch.exp((rate - TARGET) / (1 + move) ** 0.6)[:, None, None]
    return z
