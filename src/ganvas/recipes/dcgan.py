"""DCGAN (Radford et al. 2015)."""

from __future__ import annotations

from typing import Literal, Unpack

from ganvas.recipe import RECIPES, Optimizer, Recipe, Training, Turn
from ganvas.recipes.techniques import Techniques, chosen


@RECIPES.register
def dcgan(
    paper: bool = False,
    latent_dim: int = 100,
    filters: int | None = None,
    kernel: Literal[4, 5] | None = None,
    generator: Literal["dcgan", "constant", "mlp"] = "dcgan",
    loss: str = "non-saturating",
    **techniques: Unpack[Techniques],
) -> Recipe:
    """DCGAN (lecture rows L12 to L16, and the GANs of L23 to L25).

    By default the widespread variant: kernels of 4, 64 filters, z normal. With --paper the published net: kernels of 5,
    filters 128-256-512-1024, z uniform in +-1. With --r1 Adam's betas are 0 and 0.99, not 0.5 and 0.999 (Mescheder et
    al. 2018 have no momentum either).

    Args:
        paper: the published net and z
        latent_dim: size of z
        filters: of the layer beside the image; they double with each layer
        kernel: side of every kernel
        generator: constant has no batch norm and as many filters at every layer; mlp is 4 layers of 512
        loss: minimax, wasserstein, hinge, least-squares, relativistic, ...

    Example:
        ganvas train dcgan --data ./photos --size 64
    """
    from ganvas.models.gan import GAN
    from ganvas.nets.dcgan import DCGAN
    from ganvas.priors import Normal, Uniform
    from ganvas.recipes.generators import make

    filters, kernel = filters or (128 if paper else 64), kernel or (5 if paper else 4)
    model = GAN(
        latent_dim=latent_dim,
        generator=make(generator, filters, kernel),
        discriminator=DCGAN(filters=filters, kernel=kernel),
        prior=Uniform() if paper else Normal(),
        loss=loss,
        output="linear" if generator == "mlp" else "tanh",
        techniques=chosen(techniques),
    )
    betas = (0.0, 0.99) if techniques.get("r1") else (0.5, 0.999)
    turn = Turn(optimizer=Optimizer(lr=2e-4, betas=betas))
    turns = {"discriminator": turn, "generator": turn}
    return Recipe(name="dcgan", model=model, training=Training(turns=turns, epochs=10, batch_size=128))
