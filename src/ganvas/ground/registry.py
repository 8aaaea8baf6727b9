"""Settings and names: what a person may choose, checked when it is chosen.

Every setting is a frozen dataclass, JSON in and out, validated when it is made, with unknown keys refused. Where one
of several may stand (a net, a likelihood, a prior, a model), a `Registry` knows them by their `kind`, and its `field`
is the type to annotate with. A new one is one decorated class in one file.

A file is read by what this process knows: nothing is imported because a file names it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar, dataclass_transform

import pydantic
from pydantic import ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError
from pydantic.dataclasses import is_pydantic_dataclass

from ganvas.ground.errors import UserError, unknown

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
LONGEST = 100  # letters of a value in a message
_SETTINGS: dict[tuple[str, str], type] = {}  # every class of settings of this process, by module and name

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass whose values are checked when it is made."""
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
    made: Any = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=config)(cls)
    _SETTINGS[cls.__module__, cls.__qualname__] = made
    return made  # type: ignore[no-any-return]


def kind(cls: type) -> str:
    """The name of a class in files and flags: `DenoisingAutoencoder` -> "denoising-autoencoder", `VAE` -> "vae".

    A class may have another name than that: `kind = "vae"` in its body.
    """
    own: str | None = vars(cls).get("kind")
    return own or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()


class Registry(dict[str, Any]):
    """The known classes or functions of one sort, by name.

    Args:
        what: what they are, for messages: "net", "likelihood", ...
        base: settings that inherit it are one without being registered; None: only registered ones are.
    """

    def __init__(self, what: str, base: type | None = None) -> None:
        super().__init__()
        self.what, self.base = what, base

    def __missing__(self, name: str) -> Any:
        raise unknown(self.what, name, self)

    def register(self, item: T) -> T:
        """Decorator: add a class under its `kind`, a function under its name with `-` for `_`.

        Raises:
            UserError: another one has that name. The same one again takes its place, as where a cell is run again.
        """
        name = kind(item) if isinstance(item, type) else str(item.__name__).replace("_", "-")  # type: ignore[attr-defined]
        if name in self and _place(self[name]) != _place(item):
            remedy = "give it another name" + (", or a `kind` of its own" if isinstance(item, type) else "")
            raise UserError(f"{'.'.join(_place(self[name]))} is the {self.what} {name!r} already: {remedy}.")
        self[name] = item
        return item

    def parse(self, value: Any) -> Any:
        """A setting from its JSON, `{"kind": name, ...}`; one that is made already passes, and is known from then on.

        Raises:
            UserError: a kind that is not known, or what is none.
        """
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict):
            if type(value) not in self.values():
                if lacks := self._lacks(type(value)):
                    raise UserError(f"{value!r} is not a {self.what}: {lacks}. Known: {', '.join(sorted(self))}.")
                self.register(type(value))
            return value
        if "kind" not in value:
            raise UserError(f'{value} names no {self.what}: it needs a "kind", one of {", ".join(sorted(self))}.')
        rest = dict(value)
        return build(self._named(str(rest.pop("kind"))), rest)

    def _named(self, name: str) -> Any:
        """The class of that name: a registered one, or settings of a module that this process has imported."""
        for cls in () if name in self else _SETTINGS.values():
            if kind(cls) == name and not self._lacks(cls):
                self.register(cls)
        if name not in self:
            own = "One of your own is known once the module that defines it is imported."
            raise UserError(f"{unknown(self.what, name, self)} {own}")
        return self[name]

    def _lacks(self, cls: type) -> str:
        """Why settings of this class are none of these; "" where they are."""
        if self.base is None:
            return "its class is not registered"
        if not issubclass(cls, self.base):
            return f"its class does not inherit {self.base.__name__}"
        return "" if is_pydantic_dataclass(cls) else "its class is not one of @settings"

    @property
    def field(self) -> Any:
        """The annotation of a setting that may be any of these."""
        return Annotated[Any, pydantic.PlainValidator(self.parse), PlainSerializer(dump)]


def _place(item: Any) -> tuple[str, str]:
    return item.__module__, item.__qualname__


def dump(value: Any) -> dict[str, Any]:
    """A setting as JSON values, with its `kind`."""
    return {"kind": kind(type(value)), **TypeAdapter(type(value)).dump_python(value, mode="json")}


def as_json(value: Any) -> Any:
    """Values with the settings among them as JSON values."""
    if isinstance(value, dict):
        return {name: as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(as_json, value))
    return dump(value) if is_pydantic_dataclass(type(value)) else value


def changed(value: T, changes: Mapping[str, Any]) -> T:
    """Settings with other values of some, checked anew.

    Raises:
        UserError: see `build`.
    """
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}  # type: ignore[arg-type]
    return build(type(value), {**fields, **changes})


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


def flagged(cls: type) -> dict[str, Any]:
    """The annotations of the fields of settings that are flags too: `Annotated[type, metavar, help]`, by name."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {name: hint for name, hint in hints.items() if len(_words(hint)) == 2}


def _words(hint: Any) -> list[str]:
    return [note for note in getattr(hint, "__metadata__", ()) if isinstance(note, str)]


def takes(*classes: type, unchecked: tuple[type, ...] = ()) -> Callable[[F], F]:
    """Decorator: the `**settings` of a function may be the flags of these settings too, which its signature then names.

    None, their default, says that one is not given. `unchecked`: whose values are checked elsewhere.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        *own, rest = signature.parameters.values()
        for cls in (*unchecked, *classes):
            for name, hint in flagged(cls).items():
                limits = [note for note in hint.__metadata__ if not isinstance(note, str)]
                kind = Annotated[(hint.__origin__, *limits)] if limits else hint.__origin__
                annotation: Any = Any if cls in unchecked else Annotated[(kind | None, *_words(hint))]
                own.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
        function.__signature__ = signature.replace(parameters=[*own, rest])  # type: ignore[attr-defined]
        return function

    return decorate


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """A function's parameters with their annotations resolved; those of `Unpack[TypedDict]` or `takes` one by one.

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
            found[name] = item.replace(annotation=hints.get(name, item.annotation))
            continue
        for several in typing.get_args(hints[name]):
            for key, hint in typing.get_type_hints(several, include_extras=True).items():
                default = False if typing.get_args(hint)[:1] == (bool,) else None
                found[key] = inspect.Parameter(key, item.KEYWORD_ONLY, annotation=hint, default=default)
    return found
