"""Generative adversarial network (Goodfellow et al. 2014)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, Unpack

from ganvas.parts.optimizers import SGD, Adam
from ganvas.parts.optimizers import chosen as by
from ganvas.recipes.base import RECIPES, Recipe, Training, Turn
from ganvas.recipes.facts import Facts
from ganvas.recipes.steady import IMAGES, LATENT_DIM, LOSS, MOST, betas, steadied
from ganvas.recipes.techniques import Techniques, chosen

if TYPE_CHECKING:
    from ganvas.models.gan import GAN

RATE, RISE = 1e-3, 200  # of residual nets
POINTS = 8  # numbers in a row that is a point, at most


@RECIPES.register
def gan(
    paper: bool = False,
    latent_dim: int | None = None,
    loss: str | None = None,
    k: int = 1,
    optimizer: Literal["adam", "sgd"] | None = None,
    momentum: float = 0.5,
    hidden: tuple[int, ...] | None = None,
    net: Literal["mlp", "residual"] | None = None,
    facts: Facts | None = None,
    **techniques: Unpack[Techniques],
) -> Recipe:
    """GAN by Algorithm 1 (lecture rows L10 to L12): fully connected, or of residual convolutions for larger images.

    The nets are chosen from the data: MLPs for points, rows of numbers and grey images of up to 32 x 32, else residual
    nets, which leave no checker pattern. With these, or for points, and without --loss the training is steadied too:
    the relativistic loss, R1, an average of the generator, a rate that falls to 0, and augmentation of few images
    (nearly what Huang et al. 2024 found enough). After a few minutes vae-gan is far nearer to images. Points, rows of
    at most 8 numbers, take nets of 4 layers of 64.

    The fully connected generator of images has batch norm, which the paper's has not: without it, and without the
    paper's dropout in the discriminator, the discriminator wins within five epochs and every sample is the same. With
    --paper the nets and settings are those of the paper's released code: maxout and dropout, z uniform in +-sqrt(3),
    SGD whose momentum rises from 0.5 to 0.7 over 250 epochs, half of D's cost, last biases of G at the logits of the
    mean training image, batches of 100. It differs in one thing: G moves after D, as Algorithm 1 says, not with it.

    Args:
        paper: the nets and settings of the paper's code
        latent_dim: size of z (default: 100, of residual nets 64)
        loss: minimax, wasserstein, hinge, ... (default: non-saturating, with residual nets or for points relativistic,
            and more)
        k: discriminator steps before each generator step
        optimizer: of both players; sgd is Algorithm 1's
        momentum: of sgd
        hidden: units of the generator's hidden layers, from the image inwards (default: 1200 1200)
        net: of both players (default: mlp of small grey images, else residual)

    Example:
        ganvas train gan --data mnist --optimizer sgd -k 1
    """
    from ganvas.ground.errors import UserError
    from ganvas.models.gan import GAN
    from ganvas.parts.nets.mlp import MLP
    from ganvas.parts.priors import Uniform

    if hidden and paper:
        raise UserError("the paper's nets have hidden layers of their own: leave --hidden or --paper away.")
    if net == "residual" and (hidden or paper):
        raise UserError("--hidden and --paper are of the mlp: leave them or --net residual away.")
    facts = facts or Facts()
    dense = facts.small or min(facts.shape[1:]) < 8
    net = facts.choose("net", net or ("mlp" if hidden or paper else None), "mlp" if dense else "residual", facts.size)
    sgd = SGD(lr=0.1, momentum=momentum)
    if net == "residual":
        model, adam, training = _residual(facts, latent_dim, loss, techniques)
    elif not (facts.images or hidden or paper) and facts.shape[0] <= POINTS:
        model, adam, training = _points(facts, latent_dim, loss, techniques)
    else:
        latent_dim, loss = 100 if latent_dim is None else latent_dim, loss or "non-saturating"
        made = chosen(techniques)
        if paper:
            optimizer = optimizer or "sgd"
            sgd = dataclasses.replace(sgd, decay=1.000004, last_momentum=0.7)
            adam = Adam(lr=2e-4, betas=(0.5, 0.999), decay=1.000004)
            model = GAN(
                latent_dim=latent_dim,
                prior=Uniform(bound=3**0.5),
                loss=loss,
                marginals=facts.images,
                generator=MLP(hidden=(1200, 1200), init=0.05),
                discriminator=MLP(hidden=(240, 240), activation="maxout", input_dropout=0.2, dropout=0.5, init=0.005),
                techniques=made,
            )
        else:
            adam = Adam(lr=2e-4, betas=(0.5, 0.999))
            generator = MLP(hidden=hidden or (1200, 1200), norm="batch")
            model = GAN(latent_dim=latent_dim, loss=loss, generator=generator, techniques=made)
        training = {"epochs": 250, "batch_size": 100} if paper else {}
    moves = by(optimizer or "adam", adam=adam, sgd=sgd)
    # The paper's code takes half of D's cost, which under SGD is half of its rate.
    judged = dataclasses.replace(moves, lr=moves.lr / 2) if paper and moves == sgd else moves
    turns = {"discriminator": Turn(optimizer=judged, moves=k), "generator": Turn(optimizer=moves)}
    return Recipe(name="gan", model=model, training=Training(turns=turns, **training))


def _points(
    facts: Facts, latent_dim: int | None, loss: str | None, techniques: Techniques
) -> tuple[GAN, Adam, dict[str, Any]]:
    from ganvas.models.gan import GAN
    from ganvas.parts.nets.mlp import MLP

    taken = steadied(facts, techniques) if loss is None else {}
    hidden = (64, 64, 64, 64)
    model = GAN(
        latent_dim=facts.shape[0] if latent_dim is None else latent_dim,
        generator=MLP(hidden=hidden),
        discriminator=MLP(hidden=hidden, activation="leaky-relu"),
        loss=loss or LOSS,
        techniques=chosen(techniques, **taken),
    )
    # With momentum the plain game loses every mode in some trainings (docs/log.md, 2026-11-30).
    adam = Adam(lr=RATE, betas=(0.0, 0.999))
    return model, adam, {"epochs": facts.epochs(2 * IMAGES, MOST), "batch_size": 64, "schedule": "cosine"}


def _residual(
    facts: Facts, latent_dim: int | None, loss: str | None, techniques: Techniques
) -> tuple[GAN, Adam, dict[str, Any]]:
    from ganvas.models.gan import GAN
    from ganvas.parts.nets.residual import Residual

    steady = loss is None
    taken = steadied(facts, techniques) if steady else {}
    nets = Residual(filters=16)  # with twice as many D is sure too soon
    model = GAN(
        latent_dim=LATENT_DIM if latent_dim is None else latent_dim,
        generator=nets,
        discriminator=nets,
        loss=loss or LOSS,
        output="linear" if steady else "tanh",  # at a high rate all of a batch can end where tanh is flat, and stay
        techniques=chosen(techniques, **taken),
    )
    adam = Adam(lr=RATE if steady else 2e-4, betas=betas(techniques, taken), rise=RISE if steady else 0)
    return model, adam, {"epochs": facts.epochs(IMAGES, MOST), "batch_size": 32, "schedule": "cosine"}
