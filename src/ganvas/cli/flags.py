"""Flags from a function: its signature gives them, annotations and docstring their help, tyro their values."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import io
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from ganvas.cli.shared import taken_out
from ganvas.ground.errors import UserError
from ganvas.ground.registry import parameters, takes
from ganvas.recipes import base

METAVARS = {int: "INT", float: "FLOAT", str: "NAME", Path: "PATH", tuple[int, ...]: "INT..."}
_FLAG = re.compile(r"--?[a-zA-Z]")


class UsageError(UserError):
    """Words that are no command."""

    status = 2


def wants_help(words: Sequence[str]) -> bool:
    """Whether -h or --help is among the words."""
    return "-h" in words or "--help" in words


@dataclasses.dataclass(frozen=True)
class Flag:
    """A parameter of a function.

    Attributes:
        name: in the function.
        kind: its type.
        default: its default.
        metavar: what stands for its value in the help.
        help: what it does.
        positional: whether its value stands without a word before it.
    """

    name: str
    kind: Any
    default: Any
    metavar: str
    help: str
    positional: bool

    @property
    def word(self) -> str:
        """As one types it: --batch-size, -n."""
        name = self.name.replace("_", "-")
        return f"-{name}" if len(name) == 1 else f"--no-{name}" if self.default is True else f"--{name}"

    def __str__(self) -> str:
        """Its lines in the help, 80 columns wide."""
        head = self.metavar if self.positional else f"{self.word} {self.metavar}".rstrip()
        plain = isinstance(self.default, str | int | float | Path) and not isinstance(self.default, bool)
        default = f"{self.default:g}" if isinstance(self.default, float) else self.default
        text = self.help + f" (default: {default})" * plain
        lines = textwrap.wrap(text.strip(), 54) or [""]
        fits = len(head) <= 22 or (len(lines) == 1 and len(head) + len(lines[0]) <= 76)
        first = f"  {head:<22}  {lines.pop(0)}\n" if fits else f"  {head}\n"
        return first + "".join(f"{'':26}{line}\n" for line in lines)


def flags(function: Callable[..., Any]) -> list[Flag]:
    """A function's parameters, and the flags of the settings that it takes; `Annotated[type, metavar, help]` says more,
    or else the docstring's Args do."""
    if (names := getattr(function, "takes", ())) and not hasattr(function, "__signature__"):
        takes(*(getattr(base, name) for name in names))(function)
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(function) or "", re.M | re.S)
    entries = re.findall(r"^ {2,4}(\w+)(?: \(.*?\))?:(.*(?:\n {5,}.*)*)", section[1] if section else "", re.M)
    said = {name: " ".join(text.split()) for name, text in entries}
    found = []
    for name, item in parameters(function).items():
        hint = item.annotation
        kind = hint.__origin__ if typing.get_origin(hint) is Annotated else hint
        if Any in typing.get_args(kind):  # what can't be typed
            continue
        notes = [note for note in getattr(hint, "__metadata__", ()) if isinstance(note, str)]
        metavar, text = notes or ("|".join(choices(kind)) or METAVARS.get(_parts(kind)[0], ""), said.get(name, ""))
        kind = bool if _parts(kind) == [bool] else kind
        found.append(Flag(name, kind, item.default, metavar, text, item.kind is item.POSITIONAL_ONLY))
    return found


def choices(kind: Any) -> list[str]:
    """The values of a type that is a Literal, or one or None."""
    return [str(value) for part in _parts(kind) if typing.get_origin(part) is Literal for value in part.__args__]


def _parts(kind: Any) -> Sequence[Any]:
    """The types of a union, None left out."""
    union = typing.get_origin(kind) in (types.UnionType, typing.Union)
    return [part for part in typing.get_args(kind) if part is not type(None)] if union else [kind]


class Command:
    """What may follow `ganvas`.

    Args:
        name: the verb, and the recipe after `train` or `tune`.
        function: gives the flags; its docstring's first paragraph and Example are in the help.
        shared: gives further flags.
    """

    def __init__(self, name: str, function: Callable[..., Any], shared: Callable[..., Any] | None = None) -> None:
        doc = inspect.getdoc(function) or ""
        example = re.search(r"^Examples?:\n +(.*)", doc, re.M)
        self.name, self.about = name, " ".join(doc.split("\n\n")[0].split())
        self.example = example[1] if example else f"ganvas {name} --data mnist --epochs 5"
        self.example = self.example.replace("ganvas train", f"ganvas {name.split()[0]}")  # a recipe's own is of train
        self.groups = [flags(part) for part in (function, shared) if part]
        self.flags = [flag for group in self.groups for flag in group]
        self.words = {flag.word: flag for flag in self.flags if not flag.positional}
        self.words |= {f"--{word[1:]}": flag for word, flag in self.words.items() if len(word) == 2}
        self.takes = " ".join(flag.metavar for flag in self.flags if flag.positional)

    def __str__(self) -> str:
        """The text that --help prints."""
        usage = " ".join(filter(None, ["usage: ganvas", self.name, self.takes, "[flags]" * bool(self.words)]))
        groups = ["".join(map(str, group)) for group in self.groups if group]
        if sum(group.count("\n") for group in groups) > 32:  # too long for a screen: the shared flags by name alone
            words = " ".join(flag.word for flag in self.groups[-1])
            groups[-1] = textwrap.fill(f"and those of `ganvas {self.name.split()[0]} --help`: {words}", 80) + "\n"
        return "\n".join([usage + "\n", textwrap.fill(self.about, 80) + "\n", *groups, f"example: {self.example}"])

    def parse(self, words: Sequence[str]) -> dict[str, Any]:
        """The values of the flags.

        Raises:
            UsageError: in a line or two, the word that can't be, and what is near it.
        """
        if "--where" in self.words:
            words = _with_class(words)
        for word in words:
            if _FLAG.match(word) and _name(word) not in self.words:
                raise self._refusal(f"unknown flag {_name(word)!r}", _name(word), self.words)
        try:
            values, rest = _read(self.flags, words)
        except SystemExit:
            raise self._explain(words) from None
        if rest:
            raise self._refusal(f"{rest[0]!r} is one word too many", rest[0], self.words)
        return values

    def _explain(self, words: Sequence[str]) -> UsageError:
        """Why words can't be read: the flag that fails by itself too, or else what is missing."""
        starts = [place for place, word in enumerate(words) if _FLAG.match(word)]
        for start, end in itertools.pairwise([*starts, len(words)]):
            flag = self.words[_name(words[start])]
            try:
                _read([flag], words[start:end])
            except SystemExit:
                given = " ".join([*words[start].split("=", 1)[1:], *words[start + 1 : end]])
                what = f"{flag.word} takes {flag.metavar}, not {repr(given) if given else 'nothing'}"
                return self._refusal(what, given, choices(flag.kind))
        return UsageError(f"`ganvas {self.name}` takes {self.takes}. For example: {self.example}")

    def _refusal(self, what: str, word: str, known: Iterable[str]) -> UsageError:
        near = difflib.get_close_matches(word, list(known), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return UsageError(f"{what}.{hint} `ganvas {self.name} --help` shows the flags.")


def of_recipe(
    verb: str, words: Sequence[str], shared: Callable[..., Any], resuming: Callable[..., Any]
) -> tuple[str, dict[str, Any]] | None:
    """What is asked of a verb whose flags depend on a recipe.

    Args:
        verb: that takes a recipe's name, or --resume.
        words: that follow it.
        shared: gives the flags that it has beside the recipe's.
        resuming: gives those that go with --resume.

    Returns:
        The recipe, "" with --resume, and the values of the flags; None where the help was printed.

    Raises:
        UserError: no recipe, an unknown one, or a word that can't be.
    """
    from ganvas.recipes import RECIPES

    if any(word.split("=")[0] == "--resume" for word in words) and not wants_help(words):
        return "", Command(verb, resuming).parse(words)
    if not words or (words[0].startswith("-") and not wants_help(words[:1])):
        raise UserError(f"`ganvas {verb}` takes a recipe: {', '.join(RECIPES)}. For example: ganvas {verb} vae")
    name, *rest = words
    help_ = wants_help(words[:1])
    command = Command(f"{verb} RECIPE", shared) if help_ else Command(f"{verb} {name}", RECIPES[name], shared)
    if help_ or wants_help(rest):
        print(command)
        return None
    return name, command.parse(rest)


def _name(word: str) -> str:
    return word.split("=")[0].replace("_", "-")


def _with_class(words: Sequence[str]) -> list[str]:
    """`--class 7` as `--where class=7`, among what else --where has."""
    values, others = taken_out(words, "--class")
    if values and "--where" not in others:
        others.append("--where")
    place = others.index("--where") + 1 if values else 0
    return [*others[:place], *(f"class={value}" for value in values), *others[place:]]


def _read(flags: Sequence[Flag], words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The values of flags, and the words left over; SystemExit where tyro can't read them."""
    import tyro

    def collect(**values: Any) -> dict[str, Any]:
        return values

    hints: dict[str, Any] = {flag.name: flag.kind for flag in flags}
    hints |= {flag.name: Annotated[flag.kind, tyro.conf.Positional] for flag in flags if flag.positional}
    hints |= {f.name: Annotated[f.kind, tyro.conf.arg(aliases=[f.word])] for f in flags if len(f.name) == 1}
    only = inspect.Parameter.KEYWORD_ONLY
    default = {f.name: False if f.kind is bool and f.default is None else f.default for f in flags}
    parameters = [inspect.Parameter(f.name, only, annotation=hints[f.name], default=default[f.name]) for f in flags]
    collect.__annotations__, collect.__signature__ = hints, inspect.Signature(parameters)  # type: ignore[attr-defined]
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands)
    with contextlib.redirect_stderr(io.StringIO()):  # its messages fill boxes
        values, rest = tyro.cli(collect, args=words, config=config, add_help=False, return_unknown_args=True)
    # A switch that was not touched says nothing where that is not the same as False.
    untouched = {f.name: None for f in flags if f.kind is bool and f.default is None and not values[f.name]}
    return values | untouched, rest
