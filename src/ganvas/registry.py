"""Settings and names: what a person may choose, checked when it is chosen.

Every setting is a frozen dataclass, JSON in and out, validated when it is made, with unknown keys refused. Where one
of several may stand (a net, a likelihood, a prior, a model), a `Registry` knows them by the name of their class, and
its `field` is the type to annotate with. A new one is one decorated class in one file.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar, dataclass_transform

import pydantic
from pydantic import ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError

from ganvas.errors import UserError, unknown

T = TypeVar("T")
LONGEST = 100  # letters of a value in a message

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass whose values are checked when it is made."""
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
    made: Any = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=config)(cls)
    return made  # type: ignore[no-any-return]


def kind(cls: type) -> str:
    """The name a person uses for a class: `DenoisingAutoencoder` -> "denoising-autoencoder", `VAE` -> "vae"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()


class Registry(dict[str, Any]):
    """The known classes or functions of one sort, by name.

    Args:
        what: what they are, for messages: "net", "likelihood", ...
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def __missing__(self, name: str) -> Any:
        raise unknown(self.what, name, self)

    def register(self, item: T) -> T:
        """Decorator: add a class under its `kind`, a function under its name with `-` for `_`."""
        name = kind(item) if isinstance(item, type) else str(item.__name__).replace("_", "-")  # type: ignore[attr-defined]
        self[name] = item
        return item

    def parse(self, value: Any) -> Any:
        """A setting from its JSON, `{"kind": name, ...}`; one that is made already passes."""
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict):
            if type(value) not in self.values():
                raise UserError(f"{value!r} is not a {self.what}. Known: {', '.join(sorted(self))}.")
            return value
        if "kind" not in value:
            raise UserError(f'{value} names no {self.what}: it needs a "kind", one of {", ".join(sorted(self))}.')
        rest = dict(value)
        return build(self[str(rest.pop("kind"))], rest)

    @property
    def field(self) -> Any:
        """The annotation of a setting that may be any of these."""
        return Annotated[Any, pydantic.PlainValidator(self.parse), PlainSerializer(dump)]


def dump(value: Any) -> dict[str, Any]:
    """A setting as JSON values, with its `kind`."""
    return {"kind": kind(type(value)), **TypeAdapter(type(value)).dump_python(value, mode="json")}


def build(make: Callable[..., T], values: dict[str, Any]) -> T:
    """`make(**values)`, with every refusal turned into one or two lines for a person.

    Raises:
        UserError: an unknown key or a value out of range, with the value and what is allowed.
    """
    try:
        if isinstance(make, type) and hasattr(make, "__pydantic_fields__"):
            return TypeAdapter(make).validate_python(values)
        return make(**values)
    except ValidationError as error:
        raise explain(error) from error


def explain(error: ValidationError) -> UserError:
    """The first finding of a validation error, and how many more there are."""
    first, *more = error.errors()
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, UserError):
        return cause
    # Of a setting that may be a number or a word, the number's fault is told: its path and the word's are left out.
    more = [other for other in more if other["type"] != "literal_error" or other["loc"][:1] != first["loc"][:1]]
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith("constrained-")) or error.title
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        text = f"unknown setting {where!r} of {error.title}"
    else:
        said = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
        text = f"{where}: {_short(first['input'])} is refused: {said}"
    return UserError(text + (f" (and {len(more)} more)" if more else "") + ".")


def _short(value: Any) -> str:
    """A value as it is typed, or its beginning."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """A function's parameters with their annotations resolved; those of `**name: Unpack[TypedDict]` one by one.

    `facts` is left out: a recipe is given it, not told it.
    """
    # What it returns is left out: a recipe written inside a function may name a type that only that one knows.
    own = SimpleNamespace(__annotations__={k: v for k, v in function.__annotations__.items() if k != "return"})
    hints = typing.get_type_hints(own, function.__globals__, include_extras=True)
    found = {}
    for name, item in inspect.signature(function).parameters.items():
        if name == "facts":
            continue
        if item.kind is not item.VAR_KEYWORD:
            found[name] = item.replace(annotation=hints[name])
            continue
        (several,) = typing.get_args(hints[name])
        for key, hint in typing.get_type_hints(several, include_extras=True).items():
            default = False if typing.get_args(hint)[:1] == (bool,) else None
            found[key] = inspect.Parameter(key, item.KEYWORD_ONLY, annotation=hint, default=default)
    return found
