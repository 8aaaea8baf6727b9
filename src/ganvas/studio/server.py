"""The server below the routes: how many connections it takes, and that it ends."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from ganvas.studio import connections, logs, playground, safety, studied

GRACE = 1  # seconds for answers that are under way when the server is to end
END = 1.7  # seconds after which it ends, whatever is under way
TURN, QUEUE = 32, 1024  # connections that are taken before those that are there are served again; that wait meanwhile
FILES = 1024  # that are open at a time, at most: connections on their way in and out, models, pipes


class Server(uvicorn.Server):
    """uvicorn's, which ends soon after it is told to.

    A thread that reads from a disk that hangs can't be ended, and Python waits for it at its end: this does not. Nor
    does it wait for torch, which takes a second to go.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve. asyncio knows one number for both, what it takes at once and what waits."""
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(QUEUE)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End, at Ctrl-C or SIGTERM."""
        if not self.should_exit:
            end = threading.Timer(END, _end, [0 if sig == signal.SIGINT else 128 + sig])
            end.daemon = True
            end.start()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is under way."""
        await super().shutdown(sockets)
        _clear()


def serve(app: Starlette, listener: socket.socket, debug: bool = False) -> None:
    """Serve an app until Ctrl-C, which ends the process.

    Args:
        app: with its routes.
        listener: a socket that listens.
        debug: print the tracebacks of errors.
    """
    logs.settle(debug)
    lines = connections.Lines(*_places())
    config = uvicorn.Config(
        app,
        http=functools.partial(connections.Http, lines=lines),  # type: ignore[arg-type]
        ws=connections.Socket,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=TURN,
        timeout_graceful_shutdown=GRACE,
        ws_max_size=safety.MESSAGE,
        ws_per_message_deflate=False,  # what is gained on the way is lost at the ends
    )
    try:
        Server(config).run([listener])
    except KeyboardInterrupt:
        _end(0)


def _places() -> tuple[int, int]:
    """Connections at a time, and those of them for strangers: fewer, where few files may be open."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return connections.CONNECTIONS, connections.STRANGERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES:
        soft = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    else:
        soft = FILES
    most = max(4, min(connections.CONNECTIONS, soft // 4))
    return most, most * connections.STRANGERS // connections.CONNECTIONS


def _clear() -> None:
    """Leave no process and no copy behind."""
    playground.end()
    studied.clear()


def _end(status: int) -> None:
    clearing = threading.Thread(target=_clear, daemon=True)
    clearing.start()
    clearing.join(0.2)  # where the copies lie may hang, too
    with contextlib.suppress(OSError, ValueError):  # nobody reads any more
        sys.stdout.flush()
    os._exit(status)
