"""The flags that every recipe of a GAN takes: a technique each; its value is the technique's first setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict, cast

if TYPE_CHECKING:
    from ganvas.parts.techniques import Technique


class OfDiscriminators(TypedDict, total=False):
    """Where a technique has more settings, Python takes a dict of them too; 0 leaves away one that the recipe takes."""

    feature_matching: Annotated[float | None, "W", "weight of || E f(x) - E f(G(z)) ||^2"]
    minibatch_discrimination: Annotated[int | None, "B", "kernels that compare a batch's images (100)"]
    label_smoothing: Annotated[float | None, "T", "D's target for real images (0.9)"]
    clip: Annotated[float | None, "C", "D's weights stay in [-C, C] (0.01)"]
    gradient_penalty: Annotated[float | None, "W", "weight of (|| grad D || - 1)^2 (10)"]
    r1: Annotated[float | None, "W", "weight of || grad D ||^2 / 2 at real images (10)"]
    r2: Annotated[float | None, "W", "the same at fakes (that of --r1, or 10)"]
    lazy: Annotated[int | None, "K", "penalties at every K-th move, K times as heavy"]
    spectral_norm: Annotated[bool, "", "D's weights over their largest singular value"]
    augment: Annotated[bool, "", "change real and fake images alike before D"]
    mirror: Annotated[bool, "", "real images, or the same left to right"]
    freeze: Annotated[int | None, "N", "D's N lowest layers stay as --init has them (3)"]
    techniques: tuple[Any, ...]  # settings of further ones, which no flag can say


class Techniques(OfDiscriminators, total=False):
    """Those of the generator too."""

    historical_averaging: Annotated[float | None, "W", "weight of || theta - its past mean ||^2"]
    virtual_batch_norm: Annotated[int | None, "N", "reference images of G's batch norm (64)"]
    ema: Annotated[float | None, "D", "samples from a moving average of G (0.999)"]


def chosen(techniques: OfDiscriminators, **defaults: Any) -> tuple[Technique, ...]:
    """The techniques that are asked for.

    Args:
        techniques: by name.
        defaults: those that a recipe takes where nothing else is said.
    """
    import dataclasses

    from ganvas.ground.errors import UserError
    from ganvas.ground.registry import build, changed
    from ganvas.parts.techniques import TECHNIQUES

    asked = {**defaults, **{name: value for name, value in techniques.items() if value is not None}}
    lazy = asked.pop("lazy", None)
    if asked.get("r2") is True and asked.get("r1"):
        asked["r2"] = asked["r1"]
    made = [TECHNIQUES.parse(one) for one in cast(Any, asked.pop("techniques", ()))]
    for flag, value in asked.items():
        if value is None or value is False or value == 0:
            continue
        technique = TECHNIQUES[flag.replace("_", "-")]
        if value is True:
            value = {}
        elif not isinstance(value, dict):
            value = {dataclasses.fields(technique)[0].name: value}
        try:
            made.append(build(technique, value))
        except UserError as error:
            raise UserError(f"--{flag.replace('_', '-')}: {error}") from error
    if lazy is None:
        return tuple(made)
    if not any("every" in one.__dataclass_fields__ for one in made):
        raise UserError(f"--lazy {lazy}: it is of --r1, --r2 or --gradient-penalty, and there is none of them.")
    return tuple(changed(one, {"every": lazy}) if "every" in one.__dataclass_fields__ else one for one in made)
