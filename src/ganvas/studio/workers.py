"""Threads for work that may never end, as reading from a disk that hangs.

Such a thread can't be ended, so it is left behind: those who ask are told, other work goes on without it, and the
program ends without it.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ganvas.errors import UserError

T = TypeVar("T")
REMEDY = "Does the disk that it lies on answer? If it does by now, start the studio again."


class SlowError(UserError):
    """Work that has not come to its end in time."""

    code = 504


@dataclass(eq=False)
class _Work:
    what: str
    call: Callable[[], Any]
    answer: Future[Any] = field(default_factory=Future)
    left: bool = False  # its thread is left behind


class Workers:
    """Threads that work for an event loop.

    Args:
        name: of the threads.
        patience: seconds after which work is given up.
        most: threads that work at a time; those left behind do not count.
        lost: threads left behind with which no more work is taken.
    """

    def __init__(self, name: str, patience: float, most: int, lost: int) -> None:
        self.name, self.patience, self.most, self.lost = name, patience, most, lost
        self._works: dict[str, _Work] = {}  # that are waiting or under way, left behind or not
        self._waiting: deque[_Work] = deque()
        self._busy = self._left = 0
        self._lock = threading.Lock()

    async def do(self, what: str, function: Callable[[], T], *, once: bool = False) -> T:
        """What a function gives. Who stops waiting for it stops it for nobody else.

        Args:
            what: it does, for a sentence.
            function: to call.
            once: do it once for all who ask for the same while it goes on.

        Raises:
            SlowError: it takes too long, or too many threads are left behind.
        """
        with self._lock:
            work = self._works.get(what) if once else None
            if work is None:
                if self._left >= self.lost:
                    raise SlowError(f"{what} is not tried, for {self._left} of its kind go on without an end. {REMEDY}")
                work = _Work(what, function)
                work.answer.set_running_or_notify_cancel()  # from now on it can't be cancelled
                if once:
                    self._works[what] = work
                self._waiting.append(work)
                self._hire()
                # It must not hold what is done by then.
                asyncio.get_running_loop().call_later(self.patience, self._give_up, weakref.ref(work))
        answer: T = await asyncio.wrap_future(work.answer)
        return answer

    def _hire(self) -> None:
        while self._waiting and self._busy < self.most:
            self._busy += 1
            threading.Thread(target=self._run, args=[self._waiting.popleft()], name=self.name, daemon=True).start()

    def _run(self, work: _Work) -> None:
        while True:
            result, error = None, None
            try:
                result = work.call()
            except BaseException as raised:
                error = raised
            with self._lock:
                self._end(work)
                if work.left:
                    self._left -= 1
                    return  # another thread has its place
                if error:
                    work.answer.set_exception(error)
                else:
                    work.answer.set_result(result)
                if not self._waiting:
                    self._busy -= 1
                    return
                work = self._waiting.popleft()

    def _end(self, work: _Work) -> None:
        if self._works.get(work.what) is work:
            del self._works[work.what]

    def _give_up(self, about: weakref.ref[_Work]) -> None:
        work = about()
        with self._lock:
            if work is None or work.answer.done():
                return
            if work in self._waiting:
                self._waiting.remove(work)
                self._end(work)
            else:
                work.left = True
                self._busy, self._left = self._busy - 1, self._left + 1
                self._hire()
            work.answer.set_exception(SlowError(f"{work.what} takes more than {self.patience:g} s. {REMEDY}"))
