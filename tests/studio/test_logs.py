"""What is printed of clients that leave or send no text, and of the studio's own faults."""

import contextlib
import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from ganvas.studio import logs
from ganvas.studio.logs import LINES, LONGEST, Brief, brief

# Records


@pytest.fixture
def log() -> Callable[..., None]:
    """Gives a record to a handler."""

    def write(handler: Brief, message: str, *values: Any, error: BaseException | None = None, name: str = "a") -> None:
        info = (type(error), error, error.__traceback__) if error else None
        handler.handle(logging.LogRecord(name, logging.ERROR, "file", 1, message, values, info))

    return write


def fault(kind: type[Exception], *words: str) -> Exception:
    try:
        raise kind(*words)
    except kind as error:
        return error


def test_a_line_each(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log(Brief(), "%s went\nwrong.\n", "it")
    log(Brief(), "Exception in ASGI application\n", error=fault(ZeroDivisionError, "by\nzero"))
    log(Brief(), "x" * 1000 + "\x1b[31m")
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "ganvas studio: it went"
    assert second.startswith("ganvas studio: the studio has a fault: ZeroDivisionError: by zero (test_logs.py:")
    assert third == "ganvas studio: " + "x" * LONGEST
    log(Brief(), "a \x1b[31m terminal's bell \a")
    assert capsys.readouterr().err == "ganvas studio: a ?[31m terminal's bell ?\n"


def test_what_is_under_way_at_the_end_is_no_fault(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import asyncio

    log(Brief(), "Exception in ASGI application", error=asyncio.CancelledError())
    assert capsys.readouterr().err == ""


def test_debug_shows_the_traceback(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log(Brief(debug=True), "It broke", error=fault(ValueError, "no"))
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("ganvas studio: It broke: ValueError: no")
    assert said[1].startswith("Traceback") and said[-1] == "ValueError: no"


def test_so_many_of_a_kind_and_then_their_number(
    log: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MINUTE", 2.0)
    handler = Brief()
    for n in range(100):
        log(handler, "number %s", n)
    log(handler, "another kind")
    log(handler, "number %s", 0, error=fault(ValueError))
    log(handler, "number %s", 0, name="another's")
    said = capsys.readouterr().err.splitlines()
    assert said[:LINES] == [f"ganvas studio: number {n}" for n in range(LINES)] and len(said) == LINES + 3
    end = time.monotonic() + 60
    while not (told := capsys.readouterr().err) and time.monotonic() < end:
        time.sleep(0.05)
    assert told == f"ganvas studio: number {LINES}: {100 - LINES} more of these within a minute.\n"
    log(handler, "number %s", 1)
    assert capsys.readouterr().err == "ganvas studio: number 1\n"


def test_the_place_is_the_innermost_of_ganvas(capsys: pytest.CaptureFixture[str]) -> None:
    from ganvas.studio.shelf import _json

    with pytest.raises(TypeError) as raised:
        _json(None, "file", dict)  # type: ignore[arg-type]
    assert " (shelf.py:" in brief(raised.value)
    assert brief(ValueError()) == "ValueError"
    group = ExceptionGroup("several", [ExceptionGroup("again", [fault(KeyError, "a")])])
    assert brief(group).startswith("KeyError: 'a' (test_logs.py:")


# A real server

HOST = b"Host: localhost\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
POST = b"POST /api/encode?run=first HTTP/1.1\r\n"


def _frame(kind: int, data: bytes, first: int = 0x80) -> bytes:
    return struct.pack(">BBH4x", first | kind, 0x80 | 126, len(data)) + data


def _socket(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n".encode() + HOST + UPGRADE


RUDE = {
    "no HTTP": os.urandom(300) + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "no chunk": POST + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "no chunk of a refused body": POST + b"Host: evil.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelzz\r\n",
    "no HTTP after a request": b"GET /api/runs HTTP/1.1\r\n" + HOST + b"\r\n" + b"\xff\xfe\r\n\r\n",
    "letters that are none": "GET /é?run=\xff HTTP/1.1\r\n".encode("latin-1") + HOST + b"\r\n",
    "names that are none": b"GET /%ff%00/%f0?run=%ff HTTP/1.1\r\n" + HOST + b"Origin: \xff\r\n\r\n",
    "half a body": POST + HOST + b"Content-Length: 1000\r\n\r\nabc",
    "half a head": b"GET / HTTP/1.1\r\nX",
    "much at once": (b"GET /api/runs HTTP/1.1\r\n" + HOST + b"\r\n") * 100,
    "another protocol": b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}
FRAMES = {
    "no UTF-8": _frame(1, b"\xff\xfe"),
    "no UTF-8 in parts": _frame(1, b"\xe2", first=0) + _frame(0, b"\x82"),
    "noise": os.urandom(300),
    "a bad close": _frame(8, b"\0\1\xff\xff"),
    "half a frame": b"\x81\xfe\1",
    "a part of nothing": _frame(0, b"{}"),
    "bytes": _frame(2, b"abcdefgh"),
    "words": _frame(1, b'{"runs": true, "settings": {"kind": 3}}'),
}


def _send(port: int, said: list[bytes], how: str) -> None:
    """Send, and leave: waiting for the answer, without, or with a reset."""
    with socket.create_connection(("127.0.0.1", port), 60) as line, contextlib.suppress(OSError):
        line.settimeout(0.1)
        for part in said:
            line.sendall(part)
            if how != "at once":
                with contextlib.suppress(TimeoutError):
                    line.recv(2**16)
        if how == "half closed":
            line.shutdown(socket.SHUT_WR)
            line.recv(2**16)
        if how == "reset":
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _settled(server: Any) -> list[str]:
    """The lines that were printed, once nothing more is to come."""
    with contextlib.closing(server.line()) as line:
        line.request("GET", "/api/lessons")
        assert line.getresponse().read() == b"[]"
    time.sleep(0.3)
    said = server.said[:]
    server.said.clear()
    return said


def test_rude_clients_are_worth_a_line(serve: Any, make_run: Any) -> None:
    make_run()
    server = serve("from ganvas.studio import logs; logs.LINES = 10**6")  # each line is printed
    said = {name: [data] for name, data in RUDE.items()}
    for path in ("/ws/live", "/ws/decode?run=first", "/ws/play"):
        said |= {f"{path} {name}": [_socket(path), data] for name, data in FRAMES.items()}
    printed = {}
    for name, parts in said.items():
        for how in ("answered", "at once", "half closed", "reset"):
            _send(server.port, parts, how)
        printed[name] = _settled(server)
    assert {name: lines for name, lines in printed.items() if len(lines) > 4} == {}
    lines = [line for some in printed.values() for line in some]
    assert all(line.startswith("ganvas studio: ") and "fault" not in line for line in lines), lines
    assert any("UTF-8" in line for line in lines) and any("Invalid HTTP" in line for line in lines)


def test_many_of_them_are_worth_a_few_lines(serve: Any) -> None:
    server = serve()
    for _ in range(50):
        _send(server.port, [RUDE["TLS"]], "at once")
    assert 1 <= len(_settled(server)) <= LINES


BROKEN = "from ganvas.studio import app; app.Library.curves = lambda self, *more: 1 / 0"


@pytest.mark.parametrize("debug", [False, True])
def test_a_fault_of_the_studio_is_found(debug: bool, serve: Any, make_run: Any) -> None:
    make_run()
    server = serve(BROKEN, *["--debug"] * debug)
    with contextlib.closing(server.line()) as line:
        line.request("GET", "/api/curves?run=first")
        assert line.getresponse().status == 500
    said = _settled(server)
    assert said[0].startswith("ganvas studio: the studio has a fault: ZeroDivisionError: division by zero (app.py:")
    assert len(said) == 1 if not debug else said[1].startswith("Traceback")


def test_settle_is_for_all_that_the_server_logs() -> None:
    before = {name: (logging.getLogger(name).handlers, logging.getLogger(name).propagate) for name in logs.LOGGERS}
    try:
        logs.settle(debug=False)
        for name in ("uvicorn.error", "asyncio", "websockets.server", "ganvas.studio"):
            logger: logging.Logger | None = logging.getLogger(name)
            while logger and not logger.handlers and logger.propagate:
                logger = logger.parent
            assert logger and isinstance(logger.handlers[0], Brief)
    finally:
        for name, (handlers, propagate) in before.items():
            logging.getLogger(name).handlers, logging.getLogger(name).propagate = handlers, propagate
