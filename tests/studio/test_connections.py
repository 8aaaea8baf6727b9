"""Connections: who is slow is closed, and takes no place from those who are not."""

import asyncio
import socket
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.sync.client import connect

from ganvas.studio import connections
from ganvas.studio.connections import BODY, HEAD, RATE, STUCK, Line, Lines
from ganvas.studio.server import _places

PATIENCE = 60.0  # seconds after which a test that waits has failed

# Lines and shares


class _Transport:
    """Of an address; what waits to be sent is set by the test."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address, self.waiting, self.aborted = address, 0, False

    def get_extra_info(self, name: str) -> Any:
        return self.address, 1234

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.aborted = True


@contextmanager
def _lines(most: int, strangers: int) -> Iterator[tuple[Lines, Callable[..., Line]]]:
    """Lines, and what opens one of an address."""
    lines = Lines(most, strangers)

    async def within(enter: Any) -> Any:
        return enter()

    with asyncio.Runner() as runner:
        transports = iter(_Transport, None)

        def enter(address: str = "127.0.0.1", known: bool = False, owed: float | None = HEAD) -> Line:
            transport: Any = next(transports)
            transport.address = address
            line: Line = runner.run(within(lambda: lines.enter(transport)))
            line.owes(owed)
            if known:
                line.prove()
            return line

        yield lines, enter


def _line(owed: float | None) -> tuple[Line, Any]:
    transport: Any = _Transport()
    line = Line(Lines(), transport)
    line.owes(owed)
    return line, transport


@pytest.mark.parametrize("owed", [HEAD, BODY])
def test_what_is_owed_is_due(owed: float) -> None:
    line, _ = _line(owed)
    assert not line.late(line.since + owed - 1)
    assert line.late(line.since + owed + 1)
    line.owes(None)  # it has come
    assert not line.late(line.since + 1000)


def test_a_body_that_comes_has_more_time_and_a_head_has_not() -> None:
    for owed, late in ((BODY, False), (HEAD, True)):
        line, _ = _line(owed)
        line.came = 5 * RATE
        assert line.late(line.since + owed + 4) == late
        assert line.late(line.since + owed + 6)


def test_bytes_that_come_late_do_not_move_the_day() -> None:
    line, _ = _line(HEAD)
    since = line.since
    line.came = 3
    line.owes(HEAD)
    assert line.since == since


def test_a_client_that_takes_nothing_is_late() -> None:
    line, transport = _line(None)
    now = line.moved
    transport.waiting = 1000
    assert not line.late(now + STUCK - 1)
    transport.waiting = 999
    assert not line.late(now + STUCK + 1), "it takes some"
    assert line.late(now + 2 * STUCK + 2)


def test_the_oldest_stranger_goes_and_none_that_is_known() -> None:
    with _lines(most=8, strangers=4) as (lines, enter):
        known = [enter(known=True) for _ in range(3)]
        strangers = [enter() for _ in range(10)]
        assert list(lines.open) == [*known, *strangers[-4:]]
        assert all(line.transport.aborted for line in strangers[:-4])  # type: ignore[attr-defined]


def test_a_refused_request_proves_nothing() -> None:
    with _lines(most=8, strangers=2) as (lines, enter):
        first = enter()
        first.owes(None)
        first.owes(HEAD)  # answered
        enter(), enter()
        assert first not in lines.open


def test_the_address_with_most_strangers_loses_one() -> None:
    with _lines(most=8, strangers=4) as (lines, enter):
        lone = enter("10.0.0.1")
        many = [enter("10.0.0.2") for _ in range(20)]
        assert list(lines.open) == [lone, *many[-3:]]
        networks = [enter(f"2001:db8::{n}") for n in range(20)]  # one client may have all of them
        assert lone in lines.open and sum(line in lines.open for line in networks) == 2


def test_among_the_known_the_one_that_idles_longest_makes_room() -> None:
    with _lines(most=4, strangers=2) as (lines, enter):
        busy = [enter(known=True, owed=None) for _ in range(2)]
        idle = [enter(known=True) for _ in range(2)]
        idle[0].since = idle[1].since + 1
        new = enter()
        assert list(lines.open) == [*busy, idle[0], new]
        new.prove()
        new.owes(None)
        last = enter(known=True, owed=None)
        assert list(lines.open) == [*busy, new, last]
        refused = enter()
        assert refused not in lines.open and refused.transport.aborted  # type: ignore[attr-defined]


def test_addresses() -> None:
    def address(peer: Any) -> object:
        return connections._address(SimpleNamespace(get_extra_info=lambda name: peer))  # type: ignore[arg-type]

    assert address(("10.0.0.1", 1)) == address(("10.0.0.1", 2)) == address(("::ffff:10.0.0.1", 1, 0, 0))
    assert address(("10.0.0.1", 1)) != address(("10.0.0.2", 1))
    assert address(("2001:db8::1", 1, 0, 0)) == address(("2001:db8::2", 1, 0, 0)) != address(("2001:db9::1", 1, 0, 0))
    assert address("") == "" and address(None) is None


@pytest.mark.parametrize(("soft", "hard", "raised", "places"), [
    (20_000, 20_000, None, (256, 192)),
    (256, 4096, 1024, (256, 192)),
    (256, -1, 1024, (256, 192)),
    (64, 400, 400, (100, 75)),
    (-1, -1, None, (256, 192)),
])  # fmt: skip
def test_connections_are_fewer_than_files_that_may_be_open(
    soft: int, hard: int, raised: int | None, places: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, it: limits.append(it))
    assert _places() == places
    assert limits == ([(raised, hard)] if raised else [])


# A real server


def _get(line: HTTPConnection, path: str = "/api/runs", **headers: str) -> int:
    line.request("GET", path, headers={name.title(): value for name, value in headers.items()})
    answer = line.getresponse()
    answer.read()
    return answer.status


def _open(port: int, said: bytes = b"") -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port), PATIENCE)
    line.sendall(said)
    return line


def _upgrade(path: str, more: str = "") -> bytes:
    head = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    return f"GET {path} HTTP/1.1\r\n{head}{more}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()


def _until_closed(line: socket.socket) -> None:
    line.settimeout(PATIENCE)
    try:
        while line.recv(2**16):
            pass
    except ConnectionError:  # it has not read all that was sent
        pass


SLOW = {
    "idle": b"",
    "head": b"GET /api/runs HTTP/1.1\r\nX: ",
    "body": b"POST /api/encode?run=first HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
    "refused body": b"POST /api/encode?run=first HTTP/1.1\r\nHost: evil.com\r\nContent-Length: 100000\r\n\r\n",
    "refused": b"GET /api/runs HTTP/1.1\r\nHost: evil.com\r\n\r\n",
    "unread": b"GET /api/runs HTTP/1.1\r\nHost: evil.com\r\n\r\n" * 20 + b"GET",
}


class _Slow(threading.Thread):
    """Slow clients of all sorts: some of them send a byte a second."""

    def __init__(self, port: int, n: int) -> None:
        super().__init__()
        self.lines = [(sort, _open(port, SLOW[sort])) for sort in (list(SLOW) * n)[:n]]
        self.stop = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stop.wait(1.0):
            for sort, line in self.lines:
                if sort not in ("idle", "refused"):
                    with suppress(OSError):
                        line.sendall(b"x")

    def end(self) -> None:
        self.stop.set()
        self.join()
        for _, line in self.lines:
            line.close()


def test_a_page_is_answered_beside_three_hundred_slow_clients(serve: Any, make_model: Any) -> None:
    make_model()
    server = serve("from ganvas.studio import connections as it; it.HEAD, it.BODY, it.STUCK = 4, 5, 5")
    address = f"ws://127.0.0.1:{server.port}/ws/decode?run=first"
    picture = struct.pack("<I3f", 1, 0, 0, 0)
    with connect(address) as dragged, closing(server.line()) as kept:
        dragged.send(picture)
        dragged.recv(PATIENCE)  # the model is loaded
        slow = _Slow(server.port, 300)
        try:
            took: dict[str, list[float]] = {"kept": [], "new": [], "drag": []}
            end = time.monotonic() + 6
            while time.monotonic() < end:
                began = time.perf_counter()
                assert _get(kept) == 200
                took["kept"].append(time.perf_counter() - began)
                began = time.perf_counter()
                with closing(server.line()) as new:
                    assert _get(new, "/api/lessons") == 200
                took["new"].append(time.perf_counter() - began)
                began = time.perf_counter()
                dragged.send(picture)
                dragged.recv(PATIENCE)
                took["drag"].append(time.perf_counter() - began)
                time.sleep(0.02)
            # The median: a machine that does other things, too, keeps a request waiting now and then.
            medians = {what: statistics.median(seconds) for what, seconds in took.items()}
            assert max(medians.values()) < 0.05, medians
            for _, line in slow.lines:
                _until_closed(line)
        finally:
            slow.end()
        dragged.send(picture)
        assert dragged.recv(PATIENCE)


SMALL = "from ganvas.studio import connections as it; it.CONNECTIONS, it.STRANGERS = 8, 4"


def test_refused_requests_take_no_place_of_others(serve: Any) -> None:
    server = serve(SMALL)
    with closing(server.line()) as kept:
        assert _get(kept) == 200
        lines = [server.line() for _ in range(20)]
        for line in lines:
            assert _get(line, host="evil.com") == 403
        assert _get(kept) == 200
        for line in lines:
            line.close()


def test_who_shows_the_token_is_no_stranger(serve: Any) -> None:
    server = serve(SMALL, "--host", "0.0.0.0")
    cookie = f"ganvas-studio-{server.port}={server.token}"
    with closing(server.line()) as kept, closing(server.line()) as stranger:
        assert _get(kept, cookie=cookie) == 200
        assert _get(stranger) == 403
        lines = [_open(server.port) for _ in range(20)]
        assert _get(kept, cookie=cookie) == 200
        with pytest.raises((ConnectionError, OSError)):
            stranger.sock.sendall(b"G")
            if not stranger.sock.recv(1):
                raise ConnectionResetError
        for line in lines:
            line.close()


def test_a_link_of_another_site_proves_nothing(serve: Any) -> None:
    server = serve(SMALL)
    with closing(server.line()) as line:
        assert _get(line, "/", **{"sec-fetch-site": "cross-site"}) == 200
        lines = [_open(server.port) for _ in range(20)]
        _until_closed(line.sock)
        for other in lines:
            other.close()


PING = b"\x89\xfd\0\0\0\0" + b"x" * 125


@pytest.mark.parametrize("load", ["pings", "codes"])
def test_a_websocket_that_does_not_read_fills_no_memory_and_is_closed(load: str, serve: Any, make_model: Any) -> None:
    make_model()
    server = serve("from ganvas.studio import connections as it; it.STUCK = 3")
    codes = struct.pack(">BBH4x", 0x82, 0xFE, 4 + 12 * 1000) + struct.pack("<I", 1) + bytes(12 * 1000)
    piece = PING * 500 if load == "pings" else codes
    status = Path(f"/proc/{server.process.pid}/status")
    with connect(f"ws://127.0.0.1:{server.port}/ws/decode?run=first") as other:
        other.send(struct.pack("<I3f", 1, 0, 0, 0))
        other.recv(PATIENCE)  # the model is loaded
    before = _memory(status)
    with closing(_open(server.port)) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(_upgrade("/ws/decode?run=first"))
        assert b"101" in line.recv(1000)
        sent, end = 0, time.monotonic() + PATIENCE
        try:
            while time.monotonic() < end:
                line.sendall(piece)
                sent += len(piece)
        except ConnectionError:
            pass
        assert time.monotonic() < end and sent > 2**20
        if before:
            assert _memory(status) - before < 100 * 2**20


def test_an_answer_that_is_not_read_is_given_up(serve: Any, make_run: Any) -> None:
    run = make_run()
    (run.path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30 * 2**20))
    server = serve("from ganvas.studio import connections as it; it.STUCK = 2")
    with closing(socket.socket()) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", server.port))
        line.sendall(b"GET /api/picture?run=first&file=large.png HTTP/1.1\r\nHost: localhost\r\n\r\n")
        end = time.monotonic() + PATIENCE
        with pytest.raises(ConnectionError):
            while time.monotonic() < end:
                time.sleep(0.2)
                line.sendall(b"x")
    with closing(server.line()) as other:
        assert _get(other, "/api/picture?run=first&file=large.png") == 200


def _memory(status: Path) -> int:
    """Bytes of a process, where /proc tells."""
    if not status.is_file():
        return 0
    (resident,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(resident) * 1024


@pytest.mark.parametrize("more", ["Content-Length: 4\r\n", "Cookie: " + "x" * 10_000 + "\r\n"])
def test_a_handshake_that_websockets_can_not_read_is_refused(more: str, serve: Any) -> None:
    server = serve()
    with closing(_open(server.port, _upgrade("/ws/live", more))) as line:
        assert line.recv(1000).startswith(b"HTTP/1.1 400 ")
        _until_closed(line)
