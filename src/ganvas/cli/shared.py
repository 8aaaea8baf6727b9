"""Flags that several verbs have, and how they print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
RunFolder = Annotated[Path, "RUN", "a run's folder, or a model's"]
DATA = "a named set, a folder, zip, .npy or .npz"
Size = Annotated[int | tuple[int, int] | None, "H [W]", "side, or height and width, that images are fitted to"]
Channels = Annotated[Literal[1, 3, 4] | None, "1|3|4", "1 makes images grey, 3 colour, 4 keeps transparency"]
Range = Annotated[tuple[float, float] | None, "LOW HIGH", "values that are black and white (default: the data's)"]
Strict = Annotated[bool, "", "stop at a file that can't be read"]
Device = Annotated[str, "NAME", "auto, cpu, cuda, cuda:1 or mps"]
Where = Annotated[tuple[str, ...], "NAME=VALUE...", "what a conditional model is told: class=7, or --class 7"]
ModelData = Annotated[str | None, "DATA", f"{DATA} (default: the run's)"]


def taken_out(words: Sequence[str], flag: str) -> tuple[list[str], list[str]]:
    """The values of `--flag VALUE` or `--flag=VALUE`, "" where none follows; and the other words."""
    values, others, left = [], [], iter(words)
    for word in left:
        if word == flag or word.startswith(f"{flag}="):
            values.append(word.partition("=")[2] or next(left, ""))
        else:
            others.append(word)
    return values, others


def takes(*names: str) -> Callable[[F], F]:
    """Decorator: a verb has the flags of these settings of `ganvas.recipes` too, which `ganvas.cli.flags` imports."""

    def decorate(function: F) -> F:
        function.takes = names  # type: ignore[attr-defined]
        return function

    return decorate


def table(lines: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, the values under one another."""
    rows = list(lines)
    width = max([16, *(len(name) for name, _ in rows)])
    for name, value in rows:
        print(f"{name:<{width}} {value}")
