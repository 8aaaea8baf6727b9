"""What a connection may take: a deadline for all that its client owes, and a share of the places.

Anybody can open a connection and say nothing. So there are places for so many, most of them for clients whose requests
have not been let in yet (`strangers`), and the rest for those whose have. Where a share is full the oldest stranger
goes, of the address that has the most: a client that does as it should is never kept waiting by those that don't.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

CONNECTIONS, STRANGERS = 256, 192  # at a time, and those of them that may be strangers
HEAD = 10.0  # seconds for the head of a request, and for the first byte of it
BODY, RATE = 20.0, 2**14  # seconds for a body, and one more for each so many bytes that have come
STUCK = 20.0  # seconds in which a client takes at least some of what waits for it
PERIOD = 1.0  # seconds between looks at all connections


class Line:
    """A connection, whichever protocol it speaks.

    Attributes:
        known: whether a request of it was let in.
        owed: seconds in which the client must have sent what is missing; None: it is the server's turn.
    """

    def __init__(self, lines: Lines, transport: asyncio.Transport) -> None:
        self.lines, self.transport = lines, transport
        self.address = _address(transport)
        self.known = False
        self.owed: float | None = HEAD
        self.since = self.moved = time.monotonic()
        self.came = self.waiting = 0

    def prove(self) -> None:
        """A request of it was let in."""
        self.known = True

    def owes(self, seconds: float | None) -> None:
        """What the client is to send next is due in so many seconds, if it was not due already."""
        if seconds != self.owed:
            self.owed, self.since, self.came = seconds, time.monotonic(), 0

    def late(self, now: float) -> bool:
        """Whether the client has neither sent what it owes nor taken what waits for it. It is asked now and then."""
        waiting = self.transport.get_write_buffer_size()
        if not waiting or waiting < self.waiting:
            self.moved = now
        self.waiting = waiting
        more = self.came / RATE if self.owed == BODY else 0.0
        return now - self.moved > STUCK or (self.owed is not None and now - self.since > self.owed + more)

    def close(self) -> None:
        """Without waiting for anything."""
        self.lines.leave(self)
        self.transport.abort()


class Lines:
    """The open connections of a server, the oldest first.

    Args:
        most: connections at a time.
        strangers: those of them that may be of clients that have not been let in.
    """

    def __init__(self, most: int = CONNECTIONS, strangers: int = STRANGERS) -> None:
        self.most, self.strangers = most, strangers
        self.open: dict[Line, None] = {}
        self._next: asyncio.TimerHandle | None = None

    def enter(self, transport: asyncio.Transport) -> Line:
        """A new connection; if there is no place for it another one goes, or itself."""
        line = Line(self, transport)
        self.open[line] = None
        if self._next is None:
            self._next = asyncio.get_running_loop().call_later(PERIOD, self._look)
        strangers = [each for each in self.open if not each.known]
        if len(strangers) > self.strangers or len(self.open) > self.most:
            self._weakest(strangers).close()
        return line

    def _weakest(self, strangers: list[Line]) -> Line:
        """The oldest stranger of the most frequent address; if only the new one is a stranger, who idles longest."""
        if len(strangers) > 1:
            ((most, _),) = Counter(line.address for line in strangers).most_common(1)
            return next(line for line in strangers if line.address == most)
        idle = [line for line in self.open if line.known and line.owed == HEAD]
        return min(idle, key=lambda line: line.since, default=strangers[0])

    def leave(self, line: Line) -> None:
        """It has been closed."""
        self.open.pop(line, None)

    def _look(self) -> None:
        now = time.monotonic()
        for line in [line for line in self.open if line.late(now)]:
            line.close()
        self._next = asyncio.get_running_loop().call_later(PERIOD, self._look) if self.open else None


class Http(H11Protocol):
    """uvicorn's HTTP, of which `h11` tells what a client has yet to send.

    A request finds its line in scope["state"]["line"], and so does the WebSocket that it may become.
    """

    def __init__(self, *arguments: Any, lines: Lines, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.lines = lines

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place."""
        super().connection_made(transport)
        self.line = self.lines.enter(transport)
        self.app_state = {**self.app_state, "line": self.line}

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave it."""
        super().connection_lost(exc)
        self.lines.leave(self.line)

    def data_received(self, data: bytes) -> None:
        """Take some bytes."""
        super().data_received(data)
        self.line.came += len(data)
        self._turn()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._turn()

    def resume_writing(self) -> None:
        """The client takes what it is sent."""
        super().resume_writing()
        self.line.moved = time.monotonic()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP. An answer that is under way is dropped: uvicorn would send it after this one."""
        if self.cycle and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _turn(self) -> None:
        owed = {h11.IDLE: HEAD, h11.SEND_BODY: BODY}.get(self.conn.their_state)
        self.line.owes(None if self.transport.get_protocol() is not self else owed)  # a WebSocket owes nothing


class Socket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, on the line that asked for it. It writes no more than the client takes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the line."""
        super().connection_made(transport)
        self.line: Line = self.app_state["line"]

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave its place."""
        super().connection_lost(exc)
        self.line.lines.leave(self.line)

    def data_received(self, data: bytes) -> None:
        """Take some bytes; at first the whole head, of which uvicorn does not say when websockets refuses it."""
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()

    def resume_writing(self) -> None:
        """The client takes what it is sent."""
        super().resume_writing()
        self.line.moved = time.monotonic()

    def handle_ping(self) -> None:
        """Answer, unless earlier answers still wait: else who pings and never reads would fill the memory."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()


def _address(transport: asyncio.BaseTransport) -> object:
    """Whose connection it is: an IPv4 address, or the network of an IPv6 address, in which one client may have many."""
    peer = transport.get_extra_info("peername")
    try:
        address = ipaddress.ip_address(peer[0])
    except (ValueError, TypeError, IndexError):  # a socket of another kind, or one that is gone
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return address
    return address.ipv4_mapped or address.packed[:8]
