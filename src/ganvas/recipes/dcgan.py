"""DCGAN (Radford et al. 2015)."""

from __future__ import annotations

from typing import Literal, Unpack

from ganvas.parts.optimizers import Adam
from ganvas.recipes.base import RECIPES, Recipe, Training, Turn
from ganvas.recipes.facts import Facts
from ganvas.recipes.steady import IMAGES, LATENT_DIM, LOSS, MOST, betas, steadied
from ganvas.recipes.techniques import Techniques, chosen


@RECIPES.register
def dcgan(
    paper: bool = False,
    latent_dim: int | None = None,
    filters: int | None = None,
    kernel: Literal[4, 5] | None = None,
    generator: Literal["dcgan", "constant", "mlp"] = "dcgan",
    up: Literal["transposed", "resize"] | None = None,
    loss: str | None = None,
    facts: Facts | None = None,
    **techniques: Unpack[Techniques],
) -> Recipe:
    """DCGAN (lecture rows L12 to L16, and the GANs of L23 to L25).

    By default the nets of the widespread variant, but for a generator that interpolates, with what has steadied GANs
    since: the relativistic loss, R1, an average of the generator, a rate that falls to 0, and augmentation of few
    images. With --loss the loss alone, and that variant's nets and settings: kernels of 4, 64 filters, z normal. With
    --paper the published net: kernels of 5, filters 128-256-512-1024, z uniform in +-1. With --r1 Adam's betas are 0
    and 0.99, not 0.5 and 0.999 (Mescheder et al. 2018 have no momentum either).

    Args:
        paper: the published net and z
        latent_dim: size of z (default: 64; with --loss or --paper 100)
        filters: of the layer beside the image; they double with each layer (default: 32; with --loss 64)
        kernel: side of every kernel
        generator: constant has no batch norm and as many filters at every layer; mlp is 4 layers of 512
        up: how G doubles its maps: by transposed convolutions, or by interpolation, which leaves no checker pattern
            (default: resize; with --loss or --paper transposed)
        loss: minimax, non-saturating, wasserstein, ... (default: relativistic, and more)

    Example:
        ganvas train dcgan --data ./photos --size 64
    """
    from ganvas.ground.errors import UserError
    from ganvas.models.gan import GAN
    from ganvas.parts.nets.dcgan import DCGAN
    from ganvas.parts.priors import Normal, Uniform
    from ganvas.recipes.generators import make

    if up and generator == "mlp":
        raise UserError(f"up {up} is of convolutions, and the generator is an mlp: leave one of them away.")
    facts = facts or Facts()
    steady = loss is None and not paper and generator == "dcgan"
    taken = steadied(facts, techniques) if steady else {}
    filters, kernel = filters or (128 if paper else 32 if steady else 64), kernel or (5 if paper else 4)
    model = GAN(
        latent_dim=(LATENT_DIM if steady else 100) if latent_dim is None else latent_dim,
        generator=make(generator, filters, kernel, up or ("resize" if steady else "transposed")),
        discriminator=DCGAN(filters=filters, kernel=kernel),
        prior=Uniform() if paper else Normal(),
        loss=loss or (LOSS if steady else "non-saturating"),
        output="linear" if generator == "mlp" else "tanh",
        techniques=chosen(techniques, **taken),
    )
    turn = Turn(optimizer=Adam(lr=1e-3 if steady else 2e-4, betas=betas(techniques, taken)))
    turns = {"discriminator": turn, "generator": turn}
    if not steady:
        return Recipe(name="dcgan", model=model, training=Training(turns=turns, epochs=10, batch_size=128))
    training = Training(turns=turns, epochs=facts.epochs(IMAGES, MOST), batch_size=64, schedule="cosine")
    return Recipe(name="dcgan", model=model, training=training)
