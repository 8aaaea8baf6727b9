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

from ganvas.ground.errors import UserError

T = TypeVar("T")
REMEDY = "Does the disk that it lies on answer? If it does by now, start the studio again."


class SlowError(UserError):
    """Work that has not come to its end in time."""

    code = 504


@dataclass(eq=False)
class _Work:
    what: str
    of: str | None
    call: Callable[[], Any]
    answer: Future[Any] = field(default_factory=Future)


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
        self._shared: dict[str, _Work] = {}
        self._waiting: deque[_Work] = deque()
        self._left: set[_Work] = set()  # whose threads are left behind
        self._busy = 0
        self._lock = threading.Lock()

    async def do(self, what: str, function: Callable[[], T], *, of: str | None = None, once: bool = False) -> T:
        """What a function gives. Who stops waiting for it stops it for nobody else.

        Args:
            what: it does, for a sentence.
            function: to call.
            of: what it is about; while work of the same was left behind it is not tried.
            once: do it once for all who ask for the same while it goes on.

        Raises:
            SlowError: it takes too long, or is not tried.
        """
        with self._lock:
            work = self._shared.get(what) if once else None
            if work is None:
                work = _Work(what, of, function)
                self._refuse_hopeless(work)
                work.answer.set_running_or_notify_cancel()  # from now on it can't be cancelled
                if once:
                    self._shared[what] = work
                self._waiting.append(work)
                if self._busy < self.most:
                    self._busy += 1
                    threading.Thread(target=self._run, name=self.name, daemon=True).start()
                # It must not hold what is done by then.
                asyncio.get_running_loop().call_later(self.patience, self._give_up, weakref.ref(work))
        answer: T = await asyncio.wrap_future(work.answer)
        return answer

    def _run(self) -> None:
        while work := self._next():
            result, error = None, None
            try:
                result = work.call()
            except BaseException as raised:
                error = raised
            with self._lock:
                if work in self._left:
                    self._left.remove(work)
                    return  # another thread has its place
                self._answer(work, result, error)

    def _next(self) -> _Work | None:
        """Work for a thread, or its end."""
        with self._lock:
            while self._waiting:
                work = self._waiting.popleft()
                try:
                    self._refuse_hopeless(work)
                except SlowError as error:
                    self._answer(work, None, error)
                else:
                    return work
            self._busy -= 1
            return None

    def _answer(self, work: _Work, result: Any, error: BaseException | None) -> None:
        if self._shared.get(work.what) is work:
            del self._shared[work.what]
        if error:
            work.answer.set_exception(error)
        else:
            work.answer.set_result(result)

    def _refuse_hopeless(self, work: _Work) -> None:
        if work.of is not None and any(work.of == other.of for other in self._left):
            raise SlowError(f"{work.what} has not come to an end before. {REMEDY}")
        if len(self._left) >= self.lost:
            raise SlowError(f"{work.what} is not tried: {self.lost} others have not come to an end. {REMEDY}")

    def _give_up(self, about: weakref.ref[_Work]) -> None:
        work = about()
        with self._lock:
            if work is None or work.answer.done():
                return
            if work in self._waiting:
                self._waiting.remove(work)
            else:
                self._left.add(work)
                # Another thread takes its place, if only to see that there is nothing to do.
                threading.Thread(target=self._run, name=self.name, daemon=True).start()
            self._answer(work, None, SlowError(f"{work.what} takes more than {self.patience:g} s. {REMEDY}"))
