#!/usr/bin/env bash
# A server is given a socket that it shall listen on, so that its port is known before it starts. One expects it to answer
# as quickly as one that opens the port itself. asyncio switches Nagle's algorithm off (TCP_NODELAY) only where the
# socket's `proto` says TCP. `socket.socket(AF_INET, SOCK_STREAM)` has proto 0, and what it accepts inherits that: an
# answer of a head and a body in two writes can wait 40 ms for the client's delayed acknowledgement. With IPPROTO_TCP as
# the third argument, or a host and a port, it is off.
# uvicorn 0.35.0 with h11 0.16.0 on Python's own asyncio (3.11 to 3.13), Linux. ganvas studio names IPPROTO_TCP.
# Exits with 1 if this is no longer so.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q uvicorn==0.35.0 h11==0.16.0
"$dir/env/bin/python" - <<'PYTHON'
import asyncio
import platform
import socket
import urllib.request

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

print("uvicorn", uvicorn.__version__, "Python", platform.python_version())
seen: list[int] = []


class Looking(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        own = transport.get_extra_info("socket")
        seen.append(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


async def app(scope: dict, receive, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answer"})


async def asked(listener: socket.socket | None) -> int:
    """TCP_NODELAY of a connection to a server with this socket, or one of its own."""
    config = uvicorn.Config(app, port=0, http=Looking, loop="asyncio", lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener] if listener else None))
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    answer = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/").read())
    assert answer == b"answer"
    server.should_exit = True
    await serving
    return bool(seen.pop())


def bound(*proto: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, *proto)
    listener.bind(("127.0.0.1", 0))
    return listener


found = {
    "its own port": asyncio.run(asked(None)),
    "socket(AF_INET, SOCK_STREAM)": asyncio.run(asked(bound())),
    "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)": asyncio.run(asked(bound(socket.IPPROTO_TCP))),
}
for what, said in found.items():
    print(f"{what}: TCP_NODELAY {'on' if said else 'off'}")
raise SystemExit(list(found.values()) != [True, False, True])
PYTHON
