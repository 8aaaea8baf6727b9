"""What the server prints of clients that leave, of bytes that are no HTTP, and of its own faults: a line each.

Anybody can send anything, as often as they like. So of each kind a few lines a minute are printed, and then how many
more there were. With `ganvas studio --debug` the traceback of an error is printed, too.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from pathlib import Path

LOGGERS = "uvicorn", "asyncio", "websockets", "ganvas.studio"
LINES, MINUTE = 5, 60.0  # of a kind, in so many seconds
LONGEST = 300  # characters of a line
PACKAGE = Path(__file__).parents[1]
WORDS = {"Exception in ASGI application": "the studio has a fault"}


class Brief(logging.Handler):
    """Prints a line for a record.

    Args:
        debug: print tracebacks, too.
    """

    def __init__(self, debug: bool = False) -> None:
        super().__init__(logging.WARNING)
        self.debug = debug
        self._kinds: dict[str, tuple[float, int]] = {}  # since when, and how many

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, unless as many of its kind were printed just now."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, asyncio.CancelledError):  # what is under way when the server ends
            return
        try:
            said = record.getMessage().strip().split("\n")[0].rstrip(".")
            said = WORDS.get(said, said)
            kind = f"{record.name} {str(record.msg)[:40]} {type(error).__name__}"
            now = time.monotonic()
            since, n = self._kinds.get(kind, (now, 0))
            if now - since > MINUTE:
                since, n = now, 0
            self._kinds[kind] = since, n + 1
            if n < LINES:
                self._print(said + (f": {brief(error)}" if error else ""))
                if self.debug and error:
                    traceback.print_exception(error, file=sys.stderr)
            elif n == LINES:
                timer = threading.Timer(since + MINUTE - now, self._sum_up, [kind, said])
                timer.daemon = True
                timer.start()
        except Exception:  # as every handler does
            self.handleError(record)

    def _sum_up(self, kind: str, said: str) -> None:
        _, n = self._kinds.pop(kind)
        self._print(f"{said}: {n - LINES:,} more of these within a minute.")

    def _print(self, line: str) -> None:
        line = "".join(letter if letter.isprintable() else "?" for letter in line[:LONGEST])
        print(f"ganvas studio: {line}", file=sys.stderr, flush=True)


def brief(error: BaseException) -> str:
    """An error's type, message and place: the innermost of ganvas's own, if there is one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
    message = " ".join(str(error).split())
    place = f" ({Path((own or frames)[-1].filename).name}:{(own or frames)[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if message else ''}{message[: LONGEST // 2]}{place}"


def settle(debug: bool) -> None:
    """Let all that the server logs be printed so."""
    handler = Brief(debug)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
