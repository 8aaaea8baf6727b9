"""Generative adversarial network (Goodfellow et al. 2014)."""

from __future__ import annotations

from typing import Literal, Unpack

from ganvas.recipe import RECIPES, Optimizer, Recipe, Training, Turn
from ganvas.recipes.techniques import Techniques, chosen


@RECIPES.register
def gan(
    paper: bool = False,
    latent_dim: int = 100,
    loss: str = "non-saturating",
    k: int = 1,
    optimizer: Literal["adam", "sgd"] | None = None,
    momentum: float = 0.5,
    hidden: tuple[int, ...] | None = None,
    **techniques: Unpack[Techniques],
) -> Recipe:
    """Fully connected GAN by Algorithm 1 (lecture rows L10 to L12).

    The generator has batch norm, which the paper's has not: without it, and without the paper's dropout in the
    discriminator, the discriminator wins within five epochs and every sample is the same. With --paper the nets and
    settings are those of the paper's released code: maxout and dropout, z uniform in +-sqrt(3), SGD whose momentum
    rises from 0.5 to 0.7 over 250 epochs, batches of 100. It differs in two things: G moves after D, as Algorithm 1
    says, not with it; and the generator's last biases start at 0, not at the data's marginals.

    Args:
        paper: the nets and settings of the paper's code
        latent_dim: size of z
        loss: minimax, wasserstein, hinge, least-squares, relativistic, ...
        k: discriminator steps before each generator step
        optimizer: of both players; sgd is Algorithm 1's
        momentum: of sgd
        hidden: units of the generator's hidden layers, from the image inwards (default: 1200 1200)

    Example:
        ganvas train gan --data mnist --optimizer sgd -k 1
    """
    from ganvas.errors import UserError
    from ganvas.models.gan import GAN
    from ganvas.nets.mlp import MLP
    from ganvas.priors import Uniform

    if hidden and paper:
        raise UserError("the paper's nets have hidden layers of their own: leave --hidden or --paper away.")
    made = chosen(techniques)
    name = optimizer or ("sgd" if paper else "adam")
    if paper:
        moves = Optimizer(name=name, lr=0.1, momentum=momentum, last_momentum=0.7, decay=1.000004)
        model = GAN(
            latent_dim=latent_dim,
            prior=Uniform(bound=3**0.5),
            loss=loss,
            generator=MLP(hidden=(1200, 1200), init=0.05),
            discriminator=MLP(hidden=(240, 240), activation="maxout", input_dropout=0.2, dropout=0.5, init=0.005),
            techniques=made,
        )
    else:
        lr = 2e-4 if name == "adam" else 0.1
        moves = Optimizer(name=name, lr=lr, betas=(0.5, 0.999), momentum=momentum)
        generator = MLP(hidden=hidden or (1200, 1200), norm="batch")
        model = GAN(latent_dim=latent_dim, loss=loss, generator=generator, techniques=made)
    turns = {"discriminator": Turn(optimizer=moves, moves=k), "generator": Turn(optimizer=moves)}
    training = Training(turns=turns, epochs=250 if paper else 20, batch_size=100 if paper else 128)
    return Recipe(name="gan", model=model, training=training)
