"""The command line: parse, call, print. torch is imported when a verb needs it, not before.

A verb is a function, see `ganvas.cli.flags`: its signature gives the flags, its docstring what it does and an example.
Each file here names its own in `VERBS`, and says in `HELP` what they are for.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ganvas.cli import (
    collection,
    completion,
    data,
    diagnose,
    evaluate,
    explore,
    export,
    models,
    reproduce,
    score,
    studio,
    training,
    tune,
)
from ganvas.cli.shared import taken_out
from ganvas.ground import threads
from ganvas.ground.errors import UserError, unknown
from ganvas.version import __version__

LIGHT = ("recipes", "data list", "data show")  # verbs that compute nothing
_FILES = (training, tune, diagnose, evaluate, score, data, models, explore, collection, export, studio, reproduce)
VERBS: dict[str, Callable[..., None]] = {
    name: verb for file in _FILES for name, verb in getattr(file, "VERBS", {}).items()
}
OF_RECIPES: dict[str, Callable[[list[str]], int]] = {
    name: getattr(file, name) for name, file in completion.OF_RECIPES.items()
}
HELP = f"""usage: ganvas VERB [...], or ganvas --version

{"".join(file.HELP for file in _FILES)}
  VERB --help                   a verb's flags; train RECIPE --help: a recipe's
  --threads N, --debug          with any verb: so many; an error's traceback
  --install-completion [SHELL]  Tab completes what is typed, in bash or zsh

example: ganvas train vae --data mnist --latent-dim 2
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0; 1 for an error; 2 for a flag that can't be; 130 after Ctrl-C;
    141 where nobody reads on what is printed, as after `| head`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    _to_stderr(debug)
    with _speaking(os.environ.get("RANK", "0") == "0"):
        try:
            status = _dispatch(_with_threads([word for word in words if word != "--debug"]))
            sys.stdout.flush()  # what can't be printed is found out here, and not when Python ends
            return status
        except BrokenPipeError:
            _print_no_more()
            return 141
        except (UserError, OSError) as error:
            if debug:
                raise
            # Where the process that prints is lost, another one does.
            print(f"ganvas: {error}", file=sys.__stderr__ if getattr(error, "aloud", False) else sys.stderr)
            return getattr(error, "status", 1)
        except KeyboardInterrupt:
            if debug:
                raise
            print("ganvas: stopped", file=sys.stderr)
            return 130


def _with_threads(words: list[str]) -> list[str]:
    """Takes `--threads N` out of the words, and has its effect."""
    counts, others = taken_out(words, "--threads")
    for count in counts:
        if not (count.isascii() and count.isdigit() and int(count)):
            from ganvas.cli.flags import UsageError

            raise UsageError(f"--threads takes a whole number from 1 on, not {count!r}")
        threads.choose(int(count))
    return others


def _print_no_more() -> None:
    """What is left to print goes nowhere: Python would complain of it at its end."""
    with contextlib.suppress(OSError, ValueError):  # what takes stdout's place may be no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _to_stderr(debug: bool) -> None:
    """What the package says on the way, such as what it chose, goes to stderr as it is."""
    log = logging.getLogger("ganvas")
    if not log.handlers:
        log.addHandler(_Stderr())
        log.setLevel(logging.INFO)
    if debug:
        log.setLevel(logging.DEBUG)


class _Stderr(logging.Handler):
    """Prints to what is stderr now."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr)


@contextlib.contextmanager
def _speaking(aloud: bool) -> Iterator[None]:
    """Of several processes that train together, one prints."""
    if aloud:
        yield
        return
    with Path(os.devnull).open("w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        print(f"ganvas {__version__}")
        return 0
    if words[0] == "--install-completion":
        completion.install(words[1:])
        return 0
    if words[0] == "--complete":  # what the shell's file asks at each Tab
        print("".join(f"{word}\n" for word in completion.complete(words[1:], VERBS)), end="")
        return 0
    if words[0] == "data":
        named = bool(words[1:]) and not words[1].startswith("-")
        if named and " ".join(words[:2]) not in VERBS:
            raise UserError(f"`ganvas data` takes list or show: ganvas data show {words[1]}")
        words = [" ".join(words[:2]), *words[2:]] if named else ["data list", *words[1:]]
    verb, *rest = words
    if verb not in LIGHT and not {"-h", "--help"} & set(rest):
        chosen = threads.settle()
        if chosen and verb in ("train", "tune", "evaluate", "reproduce"):
            print(chosen, file=sys.stderr)
    if verb in OF_RECIPES:
        return OF_RECIPES[verb](rest)
    if verb not in VERBS:
        raise unknown("verb", verb, [*OF_RECIPES, *VERBS])
    from ganvas.cli.flags import Command, wants_help

    command = Command(verb, VERBS[verb])
    if wants_help(rest):
        print(command)
        return 0
    values = command.parse(rest)
    VERBS[verb](*[values.pop(flag.name) for flag in command.flags if flag.positional], **values)
    return 0
