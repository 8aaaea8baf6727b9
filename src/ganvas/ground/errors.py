"""The error that is meant for the person at the keyboard."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """What was wrong, the offending value, the remedy: one or two lines, shown without a traceback."""


def unknown(what: str, value: str, known: Iterable[str]) -> UserError:
    """The error for a name that is none of the known ones: prints it, the nearest one, and all of them."""
    names = sorted(set(known))
    near = difflib.get_close_matches(value, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"unknown {what} {value!r}.{hint} Known: {', '.join(names)}.")
