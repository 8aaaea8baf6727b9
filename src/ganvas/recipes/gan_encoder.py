"""An encoder for a GAN that is trained already: no recipe of its own, as it needs that GAN."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from ganvas.ground.errors import UserError
from ganvas.ground.registry import changed
from ganvas.recipes.base import Recipe
from ganvas.recipes.facts import Facts
from ganvas.recipes.nets import net_for, training

if TYPE_CHECKING:
    from ganvas.parts.nets.registry import BaseNet

IMAGES = 200_000  # that are seen, at least: as many samples come to them


def encoder_of(gan: Recipe, weights: Path, facts: Facts, net: BaseNet | None = None) -> Recipe:
    """The recipe of an encoder.

    Args:
        gan: the recipe of the GAN.
        weights: its run, or its model.
        facts: of its data.
        net: of the encoder; by default an MLP of small grey images, else a residual net.

    Raises:
        UserError: it is none of a GAN.
    """
    from ganvas.models.gan import GAN
    from ganvas.models.gan_encoder import GANEncoder

    if not isinstance(gan.model, GAN):
        raise UserError(f"{weights} is a run of {gan.name}, and an encoder is made for a GAN, which has none.")
    net = net or net_for(facts, None)
    how = training(facts, "encoder", net, None)
    epochs = max(how.epochs, facts.epochs(IMAGES, 300))
    how = changed(how, {"init": str(weights), "epochs": epochs, "seed": gan.training.seed})
    return dataclasses.replace(
        gan, name="gan-encoder", arguments={}, model=GANEncoder(gan=gan.model, net=net), training=how
    )
