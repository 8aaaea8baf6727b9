"""The code of an image under a model that can't encode, found by gradient descent (Zhu et al. 2016, section 3.1)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganvas.ground.arguments import checked
from ganvas.ground.registry import Count, Seed
from ganvas.models import Model
from ganvas.models.descent import MATCH, descended

log = logging.getLogger("ganvas")


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
    """The codes whose images under a model are nearest to the given ones, see `ganvas.models.descent.descended`.

    Args:
        model: that decodes and has a P(z).
        images: as `encode` takes them.
        steps: of the gradient.
        seed: of the samples.

    Raises:
        UserError: images of another shape or range, or a model without P(z).
    """
    x = model.rows(images)
    found = descended(model, x, torch.ones(x.shape[1:], dtype=torch.bool, device=x.device), steps=steps, seed=seed)
    return Inverted(found.codes[:, 0].cpu(), found.distances[:, 0].cpu(), found.apart)


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
