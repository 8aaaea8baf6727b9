"""DCGAN (Radford et al. 2015)."""

from __future__ import annotations

from typing import Any, Literal, Unpack

from ganvas.recipe import RECIPES, Facts, Optimizer, Recipe, Training, Turn
from ganvas.recipes.techniques import Techniques, chosen

FEW = 10_000  # training images from which on a discriminator has enough of them without augmentation
# Weight of R1 over the variance of images in [-1, 1]: a gradient is one over a length, so the weight is one squared.
PENALTY = 6.5e-4
INSTEAD_OF_R1 = ("clip", "gradient_penalty", "minibatch_discrimination")  # techniques that it can't stand beside


@RECIPES.register
def dcgan(
    paper: bool = False,
    latent_dim: int | None = None,
    filters: int | None = None,
    kernel: Literal[4, 5] | None = None,
    generator: Literal["dcgan", "constant", "mlp"] = "dcgan",
    loss: str | None = None,
    facts: Facts | None = None,
    **techniques: Unpack[Techniques],
) -> Recipe:
    """DCGAN (lecture rows L12 to L16, and the GANs of L23 to L25).

    By default the nets of the widespread variant, with what has steadied GANs since: the relativistic loss, R1, an
    average of the generator, a rate that falls to 0, and augmentation of few images. With --loss the loss alone, and
    that variant's settings: kernels of 4, 64 filters, z normal. With --paper the published net: kernels of 5, filters
    128-256-512-1024, z uniform in +-1. With --r1 Adam's betas are 0 and 0.99, not 0.5 and 0.999 (Mescheder et al. 2018
    have no momentum either).

    Args:
        paper: the published net and z
        latent_dim: size of z (default: 64; with --loss or --paper 100)
        filters: of the layer beside the image; they double with each layer (default: 32; with --loss 64)
        kernel: side of every kernel
        generator: constant has no batch norm and as many filters at every layer; mlp is 4 layers of 512
        loss: minimax, non-saturating, wasserstein, ... (default: relativistic, and more)

    Example:
        ganvas train dcgan --data ./photos --size 64
    """
    from ganvas.models.gan import GAN
    from ganvas.nets.dcgan import DCGAN
    from ganvas.priors import Normal, Uniform
    from ganvas.recipes.generators import make

    facts = facts or Facts()
    steady = loss is None and not paper and generator == "dcgan"
    defaults: dict[str, Any] = {}
    if steady:
        loss = facts.choose("loss", loss, "relativistic", "with it a GAN learns at a high rate")
        weight = float(f"{PENALTY * 4 * facts.variance:.1g}")
        if not any(techniques.get(name) for name in INSTEAD_OF_R1):
            defaults["r1"] = facts.choose("r1", techniques.get("r1"), weight, "from the variance of the images")
        defaults["ema"] = facts.choose("ema", techniques.get("ema"), 0.999, "samples come from an average of G")
        if facts.images and facts.n < FEW and not techniques.get("augment"):
            defaults["augment"] = facts.choose("augment", None, True, f"{facts.n:,} training images")
    filters, kernel = filters or (128 if paper else 32 if steady else 64), kernel or (5 if paper else 4)
    model = GAN(
        latent_dim=(64 if steady else 100) if latent_dim is None else latent_dim,
        generator=make(generator, filters, kernel),
        discriminator=DCGAN(filters=filters, kernel=kernel),
        prior=Uniform() if paper else Normal(),
        loss=loss or "non-saturating",
        output="linear" if generator == "mlp" else "tanh",
        techniques=chosen(techniques, **defaults),
    )
    penalised = techniques.get("r1", defaults.get("r1"))
    turn = Turn(optimizer=Optimizer(lr=1e-3 if steady else 2e-4, betas=(0.0, 0.99) if penalised else (0.5, 0.999)))
    turns = {"discriminator": turn, "generator": turn}
    if not steady:
        return Recipe(name="dcgan", model=model, training=Training(turns=turns, epochs=10, batch_size=128))
    training = Training(turns=turns, epochs=facts.epochs(400_000, 2000), batch_size=64, schedule="cosine")
    return Recipe(name="dcgan", model=model, training=training)
