"""What changes, pushed: what is told, when, and that no client waits for another."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from ganvas.ground.errors import UserError
from ganvas.studio import live
from ganvas.studio.curves import ANEW
from ganvas.studio.live import Client, Live
from ganvas.studio.shelf import Shelf
from ganvas.training.run import Run

MakeRun = Callable[..., Run]
LIVE = "ws://127.0.0.1:8765/ws/live"


def line(step: int, **figures: Any) -> dict[str, Any]:
    return {"step": step, "epoch": step / 10, "split": "train", **(figures or {"loss": 1 / step})}


def append(run: Run, *rows: dict[str, Any]) -> None:
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def shelf(runs: Path) -> Shelf:
    return Shelf(runs)


@pytest.fixture
def watcher(shelf: Shelf) -> Callable[..., Callable[[], list[dict[str, Any]]]]:
    """A client that asks, and then what is new at each call."""

    def watching(**asked: Any) -> Callable[[], list[dict[str, Any]]]:
        client = Client(shelf)
        client.ask(json.dumps(asked))
        news = lambda: client.news(shelf.summaries())  # noqa: E731
        news.client = client  # type: ignore[attr-defined]
        return news

    return watching


# Runs


def test_at_first_all_runs_then_those_that_changed(make_run: MakeRun, watcher: Any) -> None:
    first = make_run("a", state={"state": "running"}, rows=[line(10)])
    make_run("b")
    news = watcher(runs=True)
    (told,) = news()
    assert [summary["id"] for summary in told["runs"]] == ["a", "b"]
    assert news() == []
    append(first, line(20))
    (told,) = news()
    assert [(summary["id"], summary["step"]) for summary in told["runs"]] == [("a", 20)]
    make_run("c")
    (told,) = news()
    assert [summary["id"] for summary in told["runs"]] == ["c"]
    first.path.rename(first.path.with_name("d"))
    gone, told = news()
    assert gone == {"gone": ["a"]} and [summary["id"] for summary in told["runs"]] == ["d"]


def test_a_run_that_goes_bad_is_told(make_run: MakeRun, watcher: Any) -> None:
    run = make_run("a")
    news = watcher(runs=True)
    news()
    (run.path / "data.json").unlink()
    (told,) = news()
    assert told == {"runs": [{"id": "a", "ok": False, "error": "it has no data.json."}]}


def test_nothing_is_told_of_what_is_not_asked_for(make_run: MakeRun, watcher: Any) -> None:
    run = make_run("a", rows=[line(10)])
    news = watcher()
    append(run, line(20))
    assert news() == []


# Curves


def test_rows_that_are_new(make_run: MakeRun, watcher: Any) -> None:
    rows = [line(10), line(20), line(30, loss=float("nan"))]
    run = make_run("a", rows=rows[:1])
    file = run.path / "metrics.jsonl"
    news = watcher(curves={"a": file.stat().st_size})
    assert news() == [{"detail": "a"}]
    append(run, *rows[1:])
    assert news() == [{"curves": "a", "cursor": file.stat().st_size, "rows": [rows[1], {**rows[2], "loss": None}]}]
    with file.open("a") as half:
        half.write('{"step": 40, ')
    assert news() == []


def test_what_was_written_before_the_question_is_told(make_run: MakeRun, watcher: Any) -> None:
    make_run("a", rows=[line(10), line(20)])
    _, told = watcher(curves={"a": 0})()
    assert told["rows"] == [line(10), line(20)]


def test_a_resume_asks_for_the_whole(make_run: MakeRun, watcher: Any) -> None:
    run = make_run("a", rows=[line(step) for step in range(10, 200, 10)])
    size = (run.path / "metrics.jsonl").stat().st_size
    news = watcher(curves={"a": size})
    news()
    run.truncate_metrics(50)
    append(run, *(line(step) for step in range(60, 300, 10)))  # longer than before
    assert {"curves": "a", "cursor": ANEW, "rows": []} in news()
    append(run, line(300))
    assert news() == []  # until the whole was asked for
    cursor = (run.path / "metrics.jsonl").stat().st_size
    news.client.ask(json.dumps({"curves": {"a": cursor}}))
    append(run, line(310))
    assert [told["rows"] for told in news() if "curves" in told] == [[line(310)]]


def test_one_that_is_far_behind_asks_for_the_whole(
    make_run: MakeRun, watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEHIND", 100)
    make_run("a", rows=[line(step) for step in range(10, 200, 10)])
    assert {"curves": "a", "cursor": ANEW, "rows": []} in watcher(curves={"a": 0})()


def test_rows_on_their_way_are_not_sent_twice(make_run: MakeRun, watcher: Any) -> None:
    run = make_run("a", rows=[line(10)])
    size = (run.path / "metrics.jsonl").stat().st_size
    news = watcher(curves={"a": size})
    news()
    append(run, line(20))
    news()
    news.client.ask(json.dumps({"curves": {"a": size}, "runs": False}))  # written before the row has come
    append(run, line(30))
    assert [told["rows"] for told in news() if "curves" in told] == [[line(30)]]


def test_pictures_and_findings(make_run: MakeRun, watcher: Any) -> None:
    run = make_run("a")
    news = watcher(curves={"a": 0})
    assert news() == [{"detail": "a"}]
    assert news() == []
    (run.path / "samples").mkdir()
    assert news() == [{"detail": "a"}]
    (run.path / "samples" / "epoch-0001.png").touch()
    os.utime(run.path / "samples", (0, time.time() + 5))  # a clock's tick later
    assert news() == [{"detail": "a"}]
    (run.path / "findings.json").write_text("[]")
    assert news() == [{"detail": "a"}]
    assert news() == []


def test_a_run_that_is_not_there_yet(make_run: MakeRun, watcher: Any) -> None:
    news = watcher(curves={"a": 0, "../a": 0, "": 0})
    assert news() == []
    make_run("a", rows=[line(10)])
    assert [told["rows"] for told in news() if "curves" in told] == [[line(10)]]


BAD = ["", "{", "[]", '{"curves": []}', '{"curves": {"a": "b"}}', '{"curves": {"a": true}}', '{"curves": {"a": 1.5}}']


@pytest.mark.parametrize("text", [*BAD, "[" * 10_000, '{"runs": true}' + " " * live.MESSAGE])
def test_what_is_no_question(text: str, shelf: Shelf) -> None:
    with pytest.raises(UserError, match="/ws/live takes"):
        Client(shelf).ask(text)


def test_there_is_an_end_to_curves(shelf: Shelf) -> None:
    with pytest.raises(UserError, match="at most 64"):
        Client(shelf).ask(json.dumps({"curves": {str(i): 0 for i in range(65)}}))


# Over WebSockets


def test_over_a_websocket(client: TestClient, make_run: MakeRun) -> None:
    run = make_run("a", state={"state": "running"}, rows=[line(10)])
    with client.websocket_connect(LIVE) as socket:
        socket.send_text(json.dumps({"runs": True, "curves": {"a": 0}}))
        seen: dict[str, Any] = {}
        while not seen.keys() >= {"runs", "detail", "curves"}:
            seen |= socket.receive_json()
        assert seen["rows"] == [line(10)]
        append(run, line(20))
        while seen["runs"][0].get("step") != 20 or seen["rows"] != [line(20)]:
            seen |= socket.receive_json()


@pytest.mark.parametrize("word", ["nonsense", b"bytes"])
def test_nonsense_ends_the_connection(word: str | bytes, client: TestClient) -> None:
    with client.websocket_connect(LIVE) as socket:
        socket.send_bytes(word) if isinstance(word, bytes) else socket.send_text(word)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == 1008


class _Socket:
    """A client as `Live` sees it: one that takes what it is sent, or never does."""

    def __init__(self, slow: bool = False) -> None:
        self.slow, self.taken, self.words = slow, asyncio.Queue[Any](), asyncio.Queue[str]()
        self.stuck = asyncio.Event()

    async def accept(self) -> None:
        pass

    async def receive_text(self) -> str:
        word = await self.words.get()
        if not word:
            raise WebSocketDisconnect
        return word

    async def send_text(self, text: str) -> None:
        if self.slow:
            self.stuck.set()
            await asyncio.Event().wait()
        await self.taken.put(json.loads(text))


def _together(shelf: Shelf, test: Callable[[Live, Callable[[_Socket], None]], Awaitable[None]]) -> None:
    async def within() -> None:
        it = Live(shelf)
        async with asyncio.TaskGroup() as tasks:

            def connect(socket: _Socket) -> None:
                socket.words.put_nowait(json.dumps({"runs": True}))
                tasks.create_task(it.serve(socket))  # type: ignore[arg-type]

            await test(it, connect)
        assert not it.clients
        if it.watch:
            await it.watch  # nobody is there: it ends

    asyncio.run(asyncio.wait_for(within(), 60))


def test_a_client_that_takes_nothing_costs_nobody_else(
    make_run: MakeRun, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PERIOD", 0.01)
    run = make_run("a", state={"state": "running"}, rows=[line(10)])

    async def test(it: Live, connect: Callable[[_Socket], None]) -> None:
        slow, quick = _Socket(slow=True), _Socket()
        connect(slow)
        await slow.stuck.wait()
        connect(quick)
        for step in (20, 30, 40):
            append(run, line(step))
            while (await quick.taken.get())["runs"][0]["step"] != step:
                pass
        for socket in (slow, quick):
            socket.words.put_nowait("")

    _together(shelf, test)


def test_a_folder_that_can_not_be_looked_at_stops_nothing(
    make_run: MakeRun, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live, "PERIOD", 0.01)
    make_run("a")
    real, faults = shelf.summaries, [OSError("gone"), ValueError("a fault")]
    monkeypatch.setattr(shelf, "summaries", lambda thorough: _raise(faults.pop()) if faults else real(thorough))

    async def test(it: Live, connect: Callable[[_Socket], None]) -> None:
        socket = _Socket()
        connect(socket)
        assert [summary["id"] for summary in (await socket.taken.get())["runs"]] == ["a"]
        socket.words.put_nowait("")

    _together(shelf, test)
    assert caplog.text.count("can't be looked at") == 2


def _raise(error: Exception) -> Any:
    raise error


def test_one_task_looks_for_all(make_run: MakeRun, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run("a")

    async def test(it: Live, connect: Callable[[_Socket], None]) -> None:
        sockets = [_Socket() for _ in range(20)]
        for socket in sockets:
            connect(socket)
        watches = {it.watch}
        for socket in sockets:
            await socket.taken.get()
            watches.add(it.watch)
        assert len(watches - {None}) == 1
        for socket in sockets:
            socket.words.put_nowait("")

    _together(shelf, test)
