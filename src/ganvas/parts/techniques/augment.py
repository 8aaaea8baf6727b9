"""Changed images: of both kinds, which the generator does not learn; or of the real ones alone, which it does."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.ground.randomness import Draw
from ganvas.ground.registry import settings
from ganvas.parts.techniques.base import TECHNIQUES, Technique


@TECHNIQUES.register
@settings
class Augment(Technique):
    """Real images and fakes are changed alike, differentiably, before the discriminator sees them (Zhao et al. 2020).

    Attributes:
        policy: what is done, in this order.
    """

    policy: tuple[Literal["brightness", "translation", "cutout"], ...] = ("brightness", "translation", "cutout")
    of_images = True

    def view(self, images: Tensor, draw: Draw, which: Literal["real", "fake"]) -> Tensor:
        """Every image by its own draw."""
        for name in self.policy:
            images = AUGMENTATIONS[name](images, draw.uniform(f"{name} {which}", (len(images), 2), images.device))
        return images


@TECHNIQUES.register
@settings
class Mirror(Technique):
    """Real images are mirrored, left and right, with probability 1/2: twice the images where sides mean nothing."""

    of_images = True

    def view(self, images: Tensor, draw: Draw, which: Literal["real", "fake"]) -> Tensor:
        """Of fakes nothing is changed, so the generator learns mirrored images, too."""
        if which == "fake":
            return images
        turned = draw.uniform("mirror", (len(images), 1, 1, 1), images.device) < 0.5
        return torch.where(turned, images.flip(3), images)


def _brightness(images: Tensor, u: Tensor) -> Tensor:
    """Plus U(-0.5, 0.5)."""
    return images + (u[:, 0] - 0.5).view(-1, 1, 1, 1)


def _translation(images: Tensor, u: Tensor) -> Tensor:
    """Moved by up to an eighth of its sides, the rest made 0."""
    height, width = images.shape[2:]
    y, x = height // 8, width // 8
    rows = torch.arange(height, device=u.device) + _below(2 * y + 1, u[:, :1])
    columns = torch.arange(width, device=u.device) + _below(2 * x + 1, u[:, 1:])
    n = torch.arange(len(images), device=u.device)[:, None, None]
    padded = F.pad(images, (x, x, y, y)).permute(0, 2, 3, 1)
    return padded[n, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def _cutout(images: Tensor, u: Tensor) -> Tensor:
    """A box of half the sides, its middle anywhere, made 0."""
    rows, columns = (_half(side, u[:, i : i + 1]) for i, side in enumerate(images.shape[2:]))
    return images * ~(rows[:, None, :, None] & columns[:, None, None])


def _half(side: int, u: Tensor) -> Tensor:
    """Which of the places of a side (N, side) are in half of it, whose middle is anywhere."""
    half = side // 2
    place = torch.arange(side, device=u.device) - _below(side + 1 - half % 2, u) + half // 2
    return (place >= 0) & (place < half)


def _below(n: int, u: Tensor) -> Tensor:
    """Whole numbers 0 ... n - 1, equally probable, from u in [0, 1)."""
    return (u * n).long()


AUGMENTATIONS = {"brightness": _brightness, "translation": _translation, "cutout": _cutout}
