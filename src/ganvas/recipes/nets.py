"""The nets and lengths of training that fit the data, of all that encode."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from ganvas.ground.errors import UserError

if TYPE_CHECKING:
    from ganvas.parts.likelihoods import BaseLikelihood
    from ganvas.parts.nets.registry import BaseNet
    from ganvas.recipes.base import Training
    from ganvas.recipes.facts import Facts

MANY = 20_000  # images, of which an epoch of large batches still is some hundred steps
GRID = 8  # places on the longer side of a code, about: the work of a transformer over them grows with their number
COMPONENTS = 500  # of a learned prior
Kind = Literal["bernoulli", "gaussian", "discretised-logistic"]


def net_for(facts: Facts, name: Any, hidden: tuple[int, ...] | None = None) -> BaseNet:
    """The net of that name; None: an MLP for rows of numbers and small grey images, else a residual net.

    Args:
        facts: of the data.
        name: "mlp", "dcgan", "residual", "spatial", or None; or the settings of a net.
        hidden: units of an MLP's layers.
    """
    from ganvas.parts.nets import NETS
    from ganvas.parts.nets.mlp import MLP
    from ganvas.parts.nets.residual import Residual
    from ganvas.parts.nets.spatial import Spatial

    name = facts.choose("net", name, "mlp" if facts.small or min(facts.shape[1:]) < 8 else "residual", facts.size)
    if name == "mlp":
        return MLP(hidden=hidden or ((500, 500) if facts.images else (128, 128)), he=facts.images)
    if name == "spatial":
        return Spatial(halvings=halvings_for(facts))
    return Residual(filters=32) if name == "residual" else NETS.parse(name)


def halvings_for(facts: Facts) -> int:
    """How often the sides of images halve down to a grid of 8 places or fewer on the longer one, at least once."""
    return max(1, (-(-max(facts.shape[1:], default=1) // GRID) - 1).bit_length())


def latent_dim_for(facts: Facts, given: int | None, small: int, net: BaseNet) -> int:
    """The size of the code; None: `small` of small grey images, 64 of others up to 32 x 32, 128 of larger ones.

    Of rows of numbers it is half of these, at most `small`; of a net that keeps places it is the net's.
    """
    if given is None and facts.images and (places := net.code_shape(facts.shape)):
        return facts.choose("latent_dim", None, math.prod(places), " x ".join(map(str, places)))
    most = max(facts.shape[1:], default=0)
    chosen = min(small, max(1, facts.shape[0] // 2)) if not facts.images else 64 if most <= 32 else 128
    return facts.choose("latent_dim", given, small if facts.images and facts.small else chosen, facts.size)


def likelihood_for(facts: Facts, name: Any, scale: float | Literal["shared"] | None = "shared") -> BaseLikelihood:
    """The likelihood of that name; None: Bernoulli of black and white images, else Gaussian.

    Args:
        facts: of the data.
        name: a `Kind`, or None; or the settings of a likelihood.
        scale: of the Gaussian.

    Raises:
        UserError: "bernoulli" of images with more than 256 levels that are not black and white.
    """
    from ganvas.parts.likelihoods import LIKELIHOODS, DiscretisedLogistic, Gaussian

    why = "nearly all pixels are black or white" if facts.black_and_white else "the data are not black and white"
    if name == "bernoulli" and facts.images and not facts.black_and_white and facts.levels > 256:
        raise UserError(
            f"likelihood bernoulli: the data have {facts.levels:,} levels, which are no chances of black or white; "
            "take gaussian or discretised-logistic, or draw black and white with --binarise."
        )
    name = facts.choose("likelihood", name, "bernoulli" if facts.black_and_white else "gaussian", why)
    if name == "discretised-logistic":
        return DiscretisedLogistic(levels=facts.levels)
    return Gaussian(scale=scale) if name == "gaussian" else LIKELIHOODS.parse(name)


def prior_for(name: Any, components: int | None, facts: Facts) -> Any:
    """The prior of that name, "mixture" and "vamp" with so many components; or that of settings of a prior."""
    from ganvas.parts.priors import PRIORS

    if name not in ("mixture", "vamp"):
        return PRIORS.parse(name)
    if name == "vamp" and facts.n < COMPONENTS:
        components = facts.choose("components", components, facts.n, "each starts as a training image")
    return PRIORS[name](components=components or COMPONENTS)


def training(
    facts: Facts, player: str, net: BaseNet, optimizer: Literal["adam", "muon"] | None, *, quick: bool = False
) -> Training:
    """How a player that encodes is trained: residual nets by Muon, which takes a third of Adam's time.

    30 epochs of 50,000 images with an MLP and 5 with convolutions, and of fewer images more, so that enough steps are
    made. Of few images, longer trainings than `longest` only overfit. `quick`: an MLP learns from many images in 15
    epochs, by larger batches at a higher rate, which has to rise at first (docs/log.md, 2026-11-29).
    """
    from ganvas.parts.optimizers import Adam, Muon, chosen
    from ganvas.recipes.base import Training, Turn

    if net.optimizer != "adam":
        optimizer = facts.choose("optimizer", optimizer, net.optimizer, "convolutions")
    if net.dense:
        epochs, batch_size, longest = facts.epochs(1_500_000, 300), facts.batch_size(128, 16), 100
    else:
        epochs = facts.epochs(max(100_000, min(20 * facts.n, 250_000)), 150)
        batch_size, longest = facts.batch_size(64, 32), 20
    adam = Adam()
    if quick and net.dense and facts.n >= MANY:
        epochs, batch_size, adam = facts.epochs(750_000, 300), 256, Adam(lr=3e-3, rise=200, betas=(0.9, 0.99))
    turn = Turn(optimizer=chosen(optimizer or "adam", adam=adam, muon=Muon(lr=2e-3)))
    return Training(
        turns={player: turn},
        epochs=epochs,
        batch_size=batch_size,
        schedule="cosine",
        longest=max(epochs, longest),
    )
