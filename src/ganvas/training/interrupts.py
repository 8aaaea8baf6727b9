"""Ctrl-C and its like: a training ends its step and writes a checkpoint before it stops."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HUP = getattr(signal, "SIGHUP", signal.SIGTERM)
STOPS = (signal.SIGINT, signal.SIGTERM, HUP)  # Ctrl-C, a scheduler's end, a terminal that is closed


@contextmanager
def stop_on_interrupt() -> Iterator[list[float]]:
    """Collect the first of STOPS instead of raising it; another one, a second later, raises at once.

    A closed terminal that is ignored, as under nohup, stays so.
    """
    asked: list[float] = []

    def ask(number: int, _: Any) -> None:
        # A launcher passes on the Ctrl-C that the terminal has sent already: that is not a second one.
        if asked and time.monotonic() - asked[0] > 1:
            raise KeyboardInterrupt
        asked.append(time.monotonic())

    try:
        wanted = [number for number in STOPS if number != HUP or signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, ask) for number in wanted}
    except ValueError:  # not in the main thread: Ctrl-C does not come here
        before = {}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
