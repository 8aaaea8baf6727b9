"""What a search may vary: settings of a training, each with a range or choices."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ganvas.ground.errors import UserError
from ganvas.ground.registry import flagged, kind, parameters
from ganvas.recipes.base import RECIPES, Recipe, Training, make

# By how much a default is varied where no range is given, of the settings that are varied where none is named.
USUAL = {"latent_dim": 4.0, "lr": 5.0, "beta": 4.0, "adversary": 3.0, "r1": 8.0, "filters": 2.0}
OTHERS = 4.0
LOGARITHMIC = 3.0  # a range whose ends differ by more than this factor is searched by the logarithm
FIXED = ("epochs", "device", "init", "seed", "snapshots")  # how long, where and from where, which a search decides
_RANGE = re.compile(r"(.+?)\.\.(.+)")


@dataclasses.dataclass(frozen=True)
class Axis:
    """A setting that is varied.

    Attributes:
        name: of the setting, as `ganvas.train` takes it.
        default: what the recipe takes by itself; None where it has no such setting by default.
        low: least value, with `high`.
        high: greatest value.
        choices: values, instead of a range.
        whole: whether the values of a range are whole numbers.
    """

    name: str
    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    whole: bool = False

    @property
    def logarithmic(self) -> bool:
        """Whether equal factors are equally far."""
        return self.low is not None and self.high is not None and 0 < self.low * LOGARITHMIC < self.high

    @property
    def start(self) -> Any:
        """The default, or what of the range or the choices is nearest to it."""
        if self.choices:
            return self.default if self.default in self.choices else self.choices[0]
        assert self.low is not None and self.high is not None
        if not isinstance(self.default, int | float):
            return self.grid(3)[1]
        return min(self.high, max(self.low, self.default))

    @property
    def words(self) -> str:
        """As it was asked for: "8..64", "mlp,residual"."""
        return ",".join(map(str, self.choices)) if self.choices else f"{self.low:g}..{self.high:g}"

    def place(self, value: Any) -> list[float]:
        """A value as coordinates in [0, 1]: one of a range or of numbers, of other choices one each."""
        if self.choices and not all(isinstance(each, int | float) for each in self.choices):
            return [float(value == each) for each in self.choices]
        low, high = (self.low, self.high) if not self.choices else (min(self.choices), max(self.choices))
        assert low is not None and high is not None
        if self.logarithmic or (self.choices and 0 < low * LOGARITHMIC < high):
            value, low, high = math.log(value), math.log(low), math.log(high)
        return [(value - low) / (high - low) if high > low else 0.0]

    def grid(self, n: int) -> list[Any]:
        """At most `n` values over the whole range; the choices."""
        if self.choices:
            return list(self.choices)
        assert self.low is not None and self.high is not None
        low, high = (math.log(self.low), math.log(self.high)) if self.logarithmic else (self.low, self.high)
        values = [low + (high - low) * i / (n - 1) for i in range(n)]
        values = [min(self.high, max(self.low, math.exp(v) if self.logarithmic else v)) for v in values]
        return sorted({round(value) for value in values}) if self.whole else values

    def distribution(self) -> Any:
        """As Optuna knows it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        assert self.low is not None and self.high is not None
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.logarithmic)
        return FloatDistribution(self.low, self.high, log=self.logarithmic)


def axes(recipe: str, made: Recipe, over: Sequence[str], fixed: Mapping[str, Any]) -> list[Axis]:
    """The settings that are varied, every value of which the recipe takes.

    Args:
        recipe: its name.
        made: the recipe as it is by default on the data, which has the defaults.
        over: "NAME", "NAME=LOW..HIGH" or "NAME=A,B,C" each; none: those of `USUAL` that it has.
        fixed: settings that are given, and don't vary.

    Raises:
        UserError: a setting that the recipe hasn't or that is given too, a range that is none, a value it refuses.
    """
    if not over:
        over = [name for name in USUAL if name not in fixed and _default(made, name)]
    found = [_axis(recipe, made, word) for word in over]
    names = [axis.name for axis in found]
    for axis in found:
        if axis.name in fixed:
            raise UserError(f"{axis.name} is given and to be varied, both: leave one of them away.")
        if names.count(axis.name) > 1:
            raise UserError(f"--over names {axis.name} twice.")
        for value in axis.choices or (axis.low, axis.high):
            _check(recipe, axis.name, int(value) if axis.whole else value)
    if not found:
        raise UserError(f"what of {recipe} is to be varied? For example: --over lr=1e-4..1e-2")
    return found


def words(settings: Mapping[str, Any]) -> str:
    """Settings as a person reads them: "latent_dim 20, lr 0.001"."""
    return ", ".join(f"{name} {shown(value)}" for name, value in settings.items())


def shown(value: Any) -> str:
    """A value to 4 digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _axis(recipe: str, made: Recipe, word: str) -> Axis:
    name, given, values = word.partition("=")
    name = name.strip().lstrip("-").replace("-", "_")
    whole = _whole(recipe, made, name)
    default = _default(made, name)
    if not given:
        if isinstance(default, bool) or not isinstance(default, int | float) or not default:
            raise UserError(
                f"--over {name}: {recipe} takes {'none' if default is None else default} by default, around which "
                f"there is no range: give one, as in --over {name}=LOW..HIGH, or values, as in {name}=A,B,C."
            )
        factor = USUAL.get(name, OTHERS)
        low, high = default / factor, default * factor
        return Axis(name, default, max(1, round(low)) if whole else low, round(high) if whole else high, whole=whole)
    if ends := _RANGE.fullmatch(values):
        low, high = (_number(name, end) for end in ends.groups())
        whole = whole and all(isinstance(end, int) for end in (low, high))
        if not low < high:
            raise UserError(f"--over {word}: a range goes from its lesser end to its greater one.")
        return Axis(name, default, low, high, whole=whole)
    choices = tuple(_value(each.strip()) for each in values.split(","))
    if len(set(choices)) < 2 or "" in choices:
        raise UserError(f"--over {word}: it takes LOW..HIGH, or two values or more, as in {name}=A,B.")
    return Axis(name, default, choices=choices)


def _whole(recipe: str, made: Recipe, name: str) -> bool:
    """Whether a setting takes whole numbers alone.

    Raises:
        UserError: the recipe has no such setting.
    """
    fields = {field.name: field.type for field in dataclasses.fields(made.model)}
    own = {key: item.annotation for key, item in parameters(RECIPES[recipe]).items()}
    known = {"lr": float, **flagged(Training), **fields, **own}
    known = {key: hint for key, hint in known.items() if key not in FIXED}
    if name not in known:
        raise UserError(f"--over {name}: {recipe} has no setting {name!r}; it has {', '.join(sorted(known))}.")
    return "float" not in str(known[name])


def _default(made: Recipe, name: str) -> Any:
    """What a recipe has of a setting: of its players, its training, its model, or of what stands in its model."""
    if name == "lr":
        return next(iter(made.training.turns.values())).optimizer.lr
    default = next(_found(made, name), None)
    return kind(type(default)) if dataclasses.is_dataclass(default) else default


def _found(made: Recipe, name: str) -> Iterator[Any]:
    if name in flagged(Training):
        yield getattr(made.training, name)
    if hasattr(made.model, name):
        yield getattr(made.model, name)
    values = [getattr(made.model, field.name) for field in dataclasses.fields(made.model)]
    for part in [*values, *(each for several in values if isinstance(several, tuple) for each in several)]:
        if not dataclasses.is_dataclass(part):
            continue
        if kind(type(part)) == name.replace("_", "-"):  # a technique, whose flag is its first setting
            yield getattr(part, dataclasses.fields(part)[0].name)
        if hasattr(part, name):
            yield getattr(part, name)


def _check(recipe: str, name: str, value: Any) -> None:
    """A recipe with this value, or what it says of it.

    Raises:
        UserError: it is refused.
    """
    if name == "lr":
        if not value > 0:
            raise UserError(f"--over lr: {value:g} is refused: a rate is above 0.")
    elif name in flagged(Training):
        dataclasses.replace(make(recipe, {}).training, **{name: value})
    else:
        make(recipe, {name: value})


def _number(name: str, word: str) -> float | int:
    value: float | int | str = _value(word.strip())
    if isinstance(value, str) or not math.isfinite(value):
        raise UserError(f"--over {name}: {word!r} is no number that a range could end at.")
    return value


def _value(word: str) -> Any:
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return word
