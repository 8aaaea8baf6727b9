"""The code of an image under a model that can't encode, found by gradient descent (Zhu et al. 2016, section 3.1)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganvas.arguments import checked
from ganvas.models import Model
from ganvas.models.base import CHUNK
from ganvas.randomness import Draw
from ganvas.registry import Count, Seed

log = logging.getLogger("ganvas")

TRIED = 2000  # samples, of which each image begins at the nearest ones
STARTS = 3
RATE = 0.1
MATCH = 0.5  # of the distance between two samples


@dataclass(frozen=True)
class Inverted:
    """What was found.

    Attributes:
        codes: z (N, latent_dim).
        distances: of each G(z) from its image: the root mean square over the values, (N,).
        apart: the median of that distance between two samples.
    """

    codes: Tensor
    distances: Tensor
    apart: float

    @property
    def matched(self) -> Tensor:
        """Which images (N,) were found: the distance is less than half of that between two samples."""
        return self.distances < MATCH * self.apart


@checked
def invert(model: Model, images: Any, steps: Count = 200, seed: Seed = 0) -> Inverted:
    """The codes whose images under a model are nearest to the given ones, by Adam from the nearest of 2,000 samples.

    A code stays where P(z) has its mass. Three starts are gone from for a quarter of the steps, and the best of them
    for the rest, since the error has many minima. An image's code does not depend on the others that come with it.

    Args:
        model: that decodes and has a P(z).
        images: as `encode` takes them.
        steps: of the gradient.
        seed: of the samples.

    Raises:
        UserError: images of another shape or range, or a model without P(z).
    """
    x, prior, d = model.rows(images), model.prior.held(), model.latent_dim
    tried = prior.sample(Draw(seed), (TRIED, d)).to(model.device)
    samples = model.chunks(model.decoded, tried).flatten(1)
    apart = float((samples[0::2] - samples[1::2]).square().mean(1).sqrt().median())
    codes, distances = [], []
    for some in torch.split(x, CHUNK // STARTS):
        nearest = torch.cdist(some.flatten(1), samples).topk(STARTS, largest=False).indices
        z = tried[nearest].flatten(0, 1)
        z, error = _descended(model, z, some.repeat_interleave(STARTS, 0), max(1, steps // 4))
        best = error.view(-1, STARTS).argmin(1) + STARTS * torch.arange(len(some), device=z.device)
        z, error = _descended(model, z[best], some, max(1, steps - steps // 4))
        codes.append(z)
        distances.append(error.sqrt())
    return Inverted(torch.cat(codes).cpu(), torch.cat(distances).cpu(), apart)


def codes(model: Model, images: Any) -> Tensor:
    """The codes (N, latent_dim) of `invert`; images that are not found are said in a warning."""
    found = invert(model, images)
    lost = (~found.matched).nonzero().flatten().tolist()
    if lost:
        far, places = found.distances[lost] / found.apart, ", ".join(map(str, lost[:5])) + " ..." * (len(lost) > 5)
        said = (
            "%d of %d images are not found (%s): what the model gives is %.0f %% as far off as two samples are apart."
        )
        log.warning(said, len(lost), len(found.codes), places, 100 * float(far.median()))
    return found.codes


def _descended(model: Model, z: Tensor, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The best codes on the way and their squared errors (N,), means over the values; the rate falls to 0."""
    best, least = z, torch.full((len(z),), torch.inf, device=z.device)
    moving = z.clone().requires_grad_(True)
    adam = torch.optim.Adam([moving], RATE, betas=(0.9, 0.99))
    with model.asked(), torch.inference_mode(False), torch.enable_grad():
        for step in range(steps + 1):
            each = (model.decoded(moving) - x).flatten(1).square().mean(1)
            better = each.detach() < least
            best = torch.where(better[:, None], moving.detach(), best)
            least = torch.where(better, each.detach(), least)
            adam.param_groups[0]["lr"] = RATE * (1 - step / (steps + 1))
            (moving.grad,) = torch.autograd.grad(each.sum(), moving)
            adam.step()
            with torch.no_grad():
                moving.copy_(model.prior.typical(moving))
    return best, least
