"""Codes whose images are nearest to given ones, by gradient descent (Zhu et al. 2016, section 3.1; Yeh et al. 2017)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganvas.ground.randomness import Draw

TRIED = 2000  # samples, of which each image begins at the nearest ones
STARTS = 3  # for each code that is kept
TOGETHER = 500  # codes that move at a time
RATE = 0.1
MATCH = 0.5  # of the distance between two samples, below which a code gives its image


class Descended(NamedTuple):
    """What was found.

    Attributes:
        codes: z, the nearest first, (N, n, latent_dim).
        distances: of each G(z) from its image: the root mean square over the visible values, (N, n).
        apart: the median of that distance between two samples.
    """

    codes: Tensor
    distances: Tensor
    apart: float


def descended(model: Any, x: Tensor, seen: Tensor, n: int = 1, steps: int = 200, seed: int = 0) -> Descended:
    """The n codes whose images are nearest to each of x, by Adam from the nearest of 2,000 samples.

    A code stays where P(z) has its mass. Three starts for each code are gone from for a quarter of the steps, and the
    best of them for the rest, since the error has many minima. An image's codes do not depend on the others that come
    with it.

    Args:
        model: a `LatentVariable` of `ganvas.models.base`.
        x: (N, *shape).
        seen: which values count, bool, as one of x.
        n: how many codes for each image.
        steps: of the gradient.
        seed: of the samples.
    """
    prior, starts, seen = model.prior.held(), STARTS * n, seen.flatten()
    tried = prior.sample(Draw(seed), (max(TRIED, starts), model.latent_dim)).to(model.device)
    samples = model.chunks(model.decoded, tried).flatten(1)[:, seen]
    apart = float((samples[0::2] - samples[1::2]).square().mean(1).sqrt().median())
    codes, distances = [], []
    for some in torch.split(x.flatten(1)[:, seen], max(1, TOGETHER // starts)):
        nearest = torch.cdist(some, samples).topk(starts, largest=False).indices
        z = tried[nearest].flatten(0, 1)
        z, error = _moved(model, z, some.repeat_interleave(starts, 0), seen, max(1, steps // 4))
        best = error.view(-1, starts).topk(n, largest=False).indices
        best += starts * torch.arange(len(some), device=z.device)[:, None]
        z, error = _moved(model, z[best.flatten()], some.repeat_interleave(n, 0), seen, max(1, steps - steps // 4))
        order = error.view(-1, n).argsort(1)
        codes.append(z.view(len(some), n, -1).gather(1, order[..., None].expand(-1, -1, z.shape[1])))
        distances.append(error.sqrt().view(-1, n).gather(1, order))
    return Descended(torch.cat(codes), torch.cat(distances), apart)


def _moved(model: Any, z: Tensor, x: Tensor, seen: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The best codes on the way and their squared errors (N,), means over the values; the rate falls to 0."""
    best, least = z, torch.full((len(z),), torch.inf, device=z.device)
    moving = z.clone().requires_grad_(True)
    adam = torch.optim.Adam([moving], RATE, betas=(0.9, 0.99))
    with model.asked(), torch.inference_mode(False), torch.enable_grad():
        for step in range(steps + 1):
            each = (model.decoded(moving).flatten(1)[:, seen] - x).square().mean(1)
            better = each.detach() < least
            best = torch.where(better[:, None], moving.detach(), best)
            least = torch.where(better, each.detach(), least)
            adam.param_groups[0]["lr"] = RATE * (1 - step / (steps + 1))
            (moving.grad,) = torch.autograd.grad(each.sum(), moving)
            adam.step()
            with torch.no_grad():
                moving.copy_(model.prior.typical(moving))
    return best, least
