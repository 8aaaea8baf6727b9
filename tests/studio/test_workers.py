"""Work that never ends: who waits for it is told, and other work goes on."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from ganvas.studio.workers import SlowError, Workers

PATIENCE = 30.0  # seconds after which a test that waits has failed
SOON = 0.1


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """What work waits for; it is let go when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_what_it_gives_and_what_it_raises() -> None:
    workers = Workers("work", PATIENCE, most=2, lost=2)

    async def main() -> None:
        answers = [workers.do("it", lambda n=n: n * n) for n in range(100)]  # type: ignore[misc]
        assert await asyncio.gather(*answers) == [n * n for n in range(100)]
        with pytest.raises(ZeroDivisionError):
            await workers.do("it", lambda: 1 / 0)

    run(main)


def test_so_many_work_at_a_time(hang: threading.Event) -> None:
    workers, at_work = Workers("work", PATIENCE, most=3, lost=2), threading.Semaphore(0)

    async def main() -> None:
        tasks = [asyncio.create_task(workers.do("it", lambda: (at_work.release(), hang.wait()))) for _ in range(10)]
        for _ in range(3):
            await asyncio.to_thread(at_work.acquire)
        await asyncio.sleep(SOON)
        assert not at_work.acquire(blocking=False)
        hang.set()
        await asyncio.gather(*tasks)

    run(main)


def test_once_for_all_who_ask_at_a_time(hang: threading.Event) -> None:
    workers, calls = Workers("work", PATIENCE, most=3, lost=2), []

    def work() -> list[int]:
        hang.wait()
        calls.append(1)
        return calls

    async def main() -> None:
        tasks = [asyncio.create_task(workers.do("it", work, once=True)) for _ in range(5)]
        await asyncio.sleep(SOON)
        tasks[0].cancel()  # it goes on for the others
        hang.set()
        assert all(answer is calls for answer in (await asyncio.gather(*tasks, return_exceptions=True))[1:])
        assert await workers.do("it", work, once=True) == [1, 1]

    run(main)


def test_what_hangs_is_given_up_and_remembered_and_other_work_goes_on(hang: threading.Event) -> None:
    workers = Workers("work", SOON, most=2, lost=3)

    async def main() -> None:
        for n in range(3):  # more than work at a time
            with pytest.raises(SlowError, match=rf"^work {n} takes more than 0\.1 s\. Does the disk") as error:
                await workers.do(f"work {n}", hang.wait, of=str(n), once=True)
            assert error.value.code == 504
            assert n == 2 or await workers.do("other", lambda: n) == n  # noqa: B023
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(SlowError, match=r"^other work has not come to an end before"):
                await workers.do("other work", hang.wait, of="0")
        with pytest.raises(SlowError, match=r"^other is not tried: 3 others have not come to an end"):
            await workers.do("other", lambda: None)
        assert time.monotonic() - began < PATIENCE / 3, "these do not wait"
        hang.set()
        while workers._left:
            await asyncio.sleep(0.01)
        assert await workers.do("work 0", lambda: "done", of="0", once=True) == "done"

    run(main)
    assert (workers._shared, len(workers._waiting)) == ({}, 0)


def test_what_waits_behind_it_is_done_later_or_given_up(hang: threading.Event) -> None:
    workers = Workers("work", SOON, most=1, lost=2)

    async def main() -> None:
        first = asyncio.create_task(workers.do("first", hang.wait))
        await asyncio.sleep(SOON / 2)
        assert await workers.do("second", lambda: 2) == 2, "when the first is given up"
        with pytest.raises(SlowError):
            await first
        short = Workers("work", SOON, most=1, lost=2)
        short._busy = 1  # nobody comes to it
        with pytest.raises(SlowError, match="third takes more"):
            await short.do("third", lambda: 3, once=True)
        assert not short._shared and not short._left

    run(main)


def test_many_that_ask_for_what_hangs_leave_few_threads_behind(hang: threading.Event) -> None:
    workers = Workers("work", SOON, most=3, lost=100)

    async def main() -> None:
        asked = [workers.do("it", hang.wait, of="one") for _ in range(50)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(it, SlowError) for it in found) and len(workers._left) == 3
        assert await workers.do("it", lambda: 1, of="another") == 1

    run(main)


def test_threads_end_with_the_program() -> None:
    workers = Workers("the thread", PATIENCE, most=2, lost=2)
    seen: list[threading.Thread] = []
    run(lambda: workers.do("it", lambda: seen.append(threading.current_thread())))
    assert seen[0].daemon
    seen[0].join(PATIENCE)
    assert not seen[0].is_alive(), "without work it ends"
