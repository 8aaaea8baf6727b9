"""What has steadied GANs since DCGAN, chosen from the data: for recipes whose loss is not given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganvas.recipes.facts import Facts
    from ganvas.recipes.techniques import OfDiscriminators, Techniques

FEW = 10_000  # training images from which on a discriminator has enough of them without augmentation
# Weight of R1 over the variance of images in [-1, 1]: a gradient is one over a length, so the weight is one squared.
PENALTY = 6.5e-4
LAZY = 4  # faces at 32 x 32: a fifth less time, samples as good (docs/log.md, 2026-11-29)
INSTEAD_OF_R1 = ("clip", "gradient_penalty", "minibatch_discrimination")  # techniques that it can't stand beside
LOSS, LATENT_DIM = "relativistic", 64
IMAGES, MOST = 400_000, 2000  # images that are seen in a training, and passes over them, at most


def steadied(facts: Facts, techniques: OfDiscriminators, *, average: bool = True) -> dict[str, Any]:
    """The techniques that are taken unless others say otherwise: R1, an average of G, augmentation of few images.

    `average`: of a generator that has one.
    """
    facts.choose("loss", None, LOSS, "with it a GAN learns at a high rate")
    weight = float(f"{PENALTY * 4 * facts.variance:.1g}")
    taken: dict[str, Any] = {}
    if not any(techniques.get(name) for name in INSTEAD_OF_R1):
        taken["r1"] = facts.choose("r1", techniques.get("r1"), weight, "from the variance of the images")
        if weight and techniques.get("r1") is None:
            taken["lazy"] = facts.choose("lazy", techniques.get("lazy"), LAZY, "R1 at every fourth move spares a fifth")
    if average:
        taken["ema"] = facts.choose("ema", techniques.get("ema"), 0.999, "samples come from an average of G")
    if facts.images and facts.n < FEW and not techniques.get("augment"):
        taken["augment"] = facts.choose("augment", None, True, f"{facts.n:,} training images")
    return taken


def betas(techniques: Techniques, taken: dict[str, Any]) -> tuple[float, float]:
    """Adam's: with R1 or R2 no momentum (Mescheder et al. 2018), else that of DCGAN."""
    damped = taken.get("r1", techniques.get("r1")) or techniques.get("r2")
    return (0.0, 0.99) if damped else (0.5, 0.999)
