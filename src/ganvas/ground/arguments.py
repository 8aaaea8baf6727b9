"""One check at the door of every public call: its annotations say what it takes, and what they don't is refused.

`@checked` reads them. A number is one whoever made it: NumPy's, or a tensor's. Text is no number, and True is none.
"""

from __future__ import annotations

import inspect
import numbers
import operator
import os
import re
import sys
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np
from pydantic.fields import FieldInfo

from ganvas.ground.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")
_DOORS: dict[Callable[..., Any], Any] = {}  # of each function that has one, and of each door itself
SHOWN = 60  # characters of a value in a message
NAME, PATH = 255, 4096  # bytes of a name, and of a path, that file systems take


@dataclass(frozen=True)
class Rule:
    """What a parameter takes, where its type alone does not say: the note of an `Annotated`.

    Attributes:
        words: after "it takes".
        take: gives the value as the function takes it. ValueError, with what is wrong or without, refuses it; UserError
            does in its own words.
    """

    words: str
    take: Callable[[Any], Any]


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: arguments that the annotations don't name are refused before the function begins; defaults never are.

    Raises:
        UserError: with the parameter's name, the value, and what it takes.
    """
    if function in _DOORS:
        return _DOORS[function]  # type: ignore[no-any-return]
    signature = inspect.signature(function)

    @cache
    def hints() -> dict[str, Any]:
        return {name: _resolved(item.annotation, function) for name, item in signature.parameters.items()}

    @wraps(function)
    def door(*values: P.args, **named: P.kwargs) -> R:
        try:
            given = signature.bind(*values, **named)
        except TypeError:
            return function(*values, **named)  # one that is missing or unknown, in Python's own words
        for name, value in given.arguments.items():
            try:
                given.arguments[name] = take(hints()[name], value)
            except UserError:  # of a rule that says it all
                raise
            except ValueError as error:
                what = f"{name}: {shown(value)} is refused: it takes {words(hints()[name])}"
                raise UserError(f"{what}{': ' if str(error) else ''}{error}.") from None
        return function(*given.args, **given.kwargs)

    _DOORS[function] = _DOORS[door] = door
    return door


def _resolved(hint: Any, function: Callable[..., Any]) -> Any:
    """An annotation that is text as what it names; Any, where its module knows that for the type checker alone."""
    own = inspect.unwrap(function)  # another decorator may lie between, of another module
    known = {"os": os, "torch": sys.modules.get("torch"), **own.__globals__}
    try:
        return eval(hint, known) if isinstance(hint, str) else hint
    except (NameError, AttributeError):
        return Any


def _unaliased(hint: Any) -> Any:
    """What a `type` statement names; NumPy's NDArray is made by one from 2.5 on, which is no type to `isinstance`."""
    while hasattr(alias := get_origin(hint) or hint, "__value__"):
        hint = alias.__value__
    return hint


def take(hint: Any, value: Any) -> Any:
    """A value as a parameter with this annotation takes it.

    Raises:
        ValueError: it is none.
    """
    if hint is Any or hint is inspect.Parameter.empty or isinstance(hint, TypeVar):
        return value
    hint = _unaliased(hint)
    origin = get_origin(hint)
    if origin is Annotated:
        return _noted(hint, value)
    if origin in (Union, types.UnionType):
        return _one_of(get_args(hint), value)
    if origin is Literal:
        plain = value if isinstance(value, str) else _whole(value)
        return _known(plain in get_args(hint), plain)
    if origin is tuple:
        return _tuple(get_args(hint), value)
    if hint in _PLAIN:
        return _PLAIN[hint](value)
    if hint is _of_torch("Tensor"):
        return _finite(tensor(value))
    if hint is _of_torch("device"):
        return device(value)
    return _known(isinstance(value, origin or hint), value)


def words(hint: Any) -> str:
    """What a parameter with this annotation takes."""
    hint = _unaliased(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, *notes = parts
        rule = next((note for note in notes if isinstance(note, Rule)), None)
        return rule.words if rule else f"{words(base)} {_limits(notes)}".strip()
    if origin in (Union, types.UnionType):
        return _or(words(part) for part in parts if part is not type(None))  # which is a default, and no remedy
    if origin is Literal:
        return _or(map(repr, parts))
    if origin is tuple:
        return "several, each " + words(parts[0]) if parts[-1] is ... else f"{len(parts)}, each {words(parts[0])}"
    if hint is _of_torch("Tensor"):
        return "a tensor or an array of finite numbers"
    if hint is _of_torch("device"):
        return "a device"
    return _WORDS.get(origin or hint) or f"a {getattr(origin or hint, '__name__', hint)}"


def shown(value: Any) -> str:
    """A value in a message: short, and of an array its shape."""
    if hasattr(value, "shape") and hasattr(value, "dtype") and np.ndim(value):
        return f"a {type(value).__name__} of {value.dtype} {tuple(value.shape)}"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a number of many digits, or whatever an object's repr does
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."


def tensor(value: Any) -> Any:
    """Real numbers of any origin as a tensor; one that is a tensor stays where it is.

    Raises:
        ValueError: no numbers, or parts that differ in shape.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        return torch.from_numpy(np.array(array(value), order="C"))  # a copy, which may be written to
    plain = value.layout is torch.strided and not value.is_quantized and value.device.type != "meta"
    if not plain or value.is_complex():
        raise ValueError(f"a {value.layout} tensor of {value.dtype} on {value.device}; plain real numbers are needed")
    return value.detach()


def array(value: Any) -> Any:
    """Real numbers of any origin as an array in the machine's byte order.

    Raises:
        ValueError: no numbers, or parts that differ in shape.
    """
    if hasattr(value, "detach"):
        value = tensor(value).cpu()
        value = value if value.dtype is not _of_torch("bfloat16") else value.float()  # which NumPy has not
    try:
        found = np.asarray(value)
    except Exception as error:  # of lists NumPy speaks of inhomogeneous shapes; an object's __array__ raises anything
        parts = f"whose {len(value)} parts differ in shape: all must have one" if hasattr(value, "__len__") else ""
        raise ValueError(f"a {type(value).__name__} {parts or 'that is no array'}") from error
    if found.dtype.kind not in "biuf" or found.dtype.itemsize > 8:
        raise ValueError(f"{found.dtype} values ({type(value).__name__}); numbers are needed")
    return found.astype(found.dtype.newbyteorder("="), copy=False)


def device(value: Any) -> Any:
    """The device of that name; "auto": a GPU, else the CPU. Of several processes each gets the GPU of its local rank.

    Raises:
        UserError: there is none such here.
    """
    import torch

    name = str(value)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    try:
        if not re.fullmatch(r"(cpu|cuda|mps)(:\d{1,3})?", name):
            raise RuntimeError("known are auto, cpu, cuda, cuda:1 and mps.")
        found = torch.device(name)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"--device {name} can't be used here: {said.rstrip('.')}. Take --device cpu.") from error
    return found


def path(value: Any) -> Any:
    """A path that a file system takes; text stays text.

    Raises:
        ValueError: it is none.
    """
    try:
        encoded = os.fsencode(_known(isinstance(value, str | os.PathLike), value))
    except (TypeError, UnicodeEncodeError) as error:
        raise ValueError from error
    if not encoded or b"\0" in encoded or len(encoded) > PATH or max(map(len, encoded.split(b"/"))) > NAME:
        raise ValueError("no file has such a name")
    if encoded.startswith(b"~") and os.path.expanduser(encoded) == encoded:  # noqa: PTH111 - Path raises RuntimeError
        raise ValueError("there is no such user")
    return value


def folder_to_be(value: Any) -> Any:
    """A path where a folder is, or can be made.

    Raises:
        ValueError: neither.
    """
    place = Path(path(value)).absolute()
    there = next(each for each in (place, *place.parents) if os.path.lexists(each))
    if not there.is_dir():
        raise ValueError(f"{there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{there} can't be written into")
    return value


def _noted(hint: Any, value: Any) -> Any:
    base, *notes = get_args(hint)
    if rule := next((note for note in notes if isinstance(note, Rule)), None):
        return rule.take(value)
    value = take(base, value)
    for limit in _metadata(notes):
        for name, holds in _LIMITS.items():
            if hasattr(limit, name) and not holds(value, getattr(limit, name)):
                raise ValueError
    return value


def _metadata(notes: list[Any]) -> list[Any]:
    return [limit for note in notes for limit in (note.metadata if isinstance(note, FieldInfo) else [note])]


def _limits(notes: list[Any]) -> str:
    said = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
    found = [(said[name], getattr(limit, name)) for limit in _metadata(notes) for name in said if hasattr(limit, name)]
    return " and ".join(f"{word} {'2^63' if end == 2**63 else f'{end:,}'}" for word, end in found)


def _or(parts: Iterable[str]) -> str:
    *most, last = dict.fromkeys(parts)
    return f"{', '.join(most)} or {last}" if most else last


def _one_of(hints: tuple[Any, ...], value: Any) -> Any:
    """As the first of these types takes it; where one is a path or device, text is its name."""
    refusals = []
    named = any((get_origin(hint) or hint) in (os.PathLike, Path, _of_torch("device")) for hint in hints)
    for hint in hints:
        if not (hint is str and named):
            try:
                return take(hint, value)
            except ValueError as error:
                refusals.append(error)
    raise max(refusals, key=lambda error: len(str(error)))


def _tuple(hints: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    several = list(value) if isinstance(value, list | tuple | np.ndarray) else _known(False, value)
    if hints[-1] is ...:
        return tuple(take(hints[0], part) for part in several)
    _known(len(several) == len(hints), value)
    return tuple(take(hint, part) for hint, part in zip(hints, several, strict=True))


def _known(true: bool, value: Any) -> Any:
    if not true:
        raise ValueError
    return value


def _whole(value: Any) -> int:
    logical = isinstance(value, bool | np.bool_) or str(getattr(value, "dtype", "")).removeprefix("torch.") == "bool"
    try:
        return operator.index(_known(not logical, value))
    except Exception as error:  # of a tensor with several values, torch's own
        raise ValueError from error


def _real(value: Any) -> float:
    try:
        found = float(value) if isinstance(value, numbers.Real) else float(_whole(value))
    except OverflowError as error:
        raise ValueError from error
    return _known(not isinstance(value, bool | np.bool_) and np.isfinite(found), found)  # type: ignore[no-any-return]


def _finite(value: Any) -> Any:
    if not bool(value.isfinite().all()):
        raise ValueError("it holds NaN or infinite values")
    return value


def _logical(value: Any) -> bool:
    return bool(_known(isinstance(value, bool | np.bool_), value))


def _of_torch(name: str) -> Any:
    """torch's class of that name; where torch isn't imported no annotation names it."""
    return getattr(sys.modules.get("torch"), name, object())


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    int: _whole,
    float: _real,
    bool: _logical,
    None: lambda value: _known(value is None, value),
    type(None): lambda value: _known(value is None, value),
    str: lambda value: _known(isinstance(value, str) and "\0" not in value, value),
    Path: lambda value: Path(path(value)),
    os.PathLike[str]: path,
}
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    None: "None",
    type(None): "None",
    str: "text",
    Path: "a path",
    Collection: "several",
    Mapping: "a dict",
    Sequence: "a list",
    os.PathLike: "a path",
    np.ndarray: "an array",
    Callable: "a function",
}
_LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "lt": operator.lt,
}


def _device_name(value: Any) -> str:
    device(value)
    return str(value)


def _model(value: Any) -> Any:
    # A family without codes says so itself.
    return _known(
        hasattr(value, "verbs") or all(hasattr(value, name) for name in ("decode", "latent_dim", "shape")), value
    )


def _absolute(value: Any) -> str:
    return str(Path(path(value)).absolute())


def _table(value: Any) -> Path:
    return Path(_known(Path(path(value)).suffix.lower() in (".npz", ".csv"), value))


Numbers = Annotated[Any, Rule("a tensor or an array of numbers", tensor)]
Device = Annotated[Any, Rule("auto, cpu, cuda, cuda:1 or mps", device)]
DeviceName = Annotated[str, Rule("auto, cpu, cuda, cuda:1 or mps", _device_name)]
Decodes = Annotated[Any, Rule("a model, as ganvas.load gives", _model)]
Absolute = Annotated[str, Rule("text or a path", _absolute)]
OutTable = Annotated[Path, Rule("a path that ends in .npz or .csv", _table)]
OutFolder = Annotated[str | os.PathLike[str], Rule("a folder that is there or can be made", folder_to_be)]
Source = Annotated[Any, Rule("a name, a path, or data", lambda value: path(value) if isinstance(value, str) else value)]
