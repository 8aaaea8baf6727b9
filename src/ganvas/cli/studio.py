"""The verb that shows runs in a browser."""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ganvas.ground.errors import UserError

if TYPE_CHECKING:
    import socket

PORT, TRIES = 8765, 50
WARM = 3.0  # seconds after the start


def studio(
    runs: Annotated[Path, "RUNS", "a folder with runs in it"] = Path("runs"),
    /,
    *,
    port: Annotated[int | None, "INT", f"to listen on (default: {PORT}, or the next one that is free)"] = None,
    host: Annotated[str, "NAME", "to listen on; another than this machine's own needs a token"] = "127.0.0.1",
    browser: Annotated[bool, "", "print the address, and open nothing"] = True,
) -> None:
    """The runs of a folder in a browser: watch them learn, and walk through what they have learned.

    Example:
        ganvas studio runs
    """
    if any(find_spec(module) is None for module in ("starlette", "uvicorn", "websockets")):
        raise UserError("`ganvas studio` needs the extra: pip install 'ganvas[studio]'.")
    if not runs.is_dir():
        there = "is no folder" if runs.exists() else "does not exist"
        raise UserError(f"{runs} {there}: give a folder with runs in it, or train one: ganvas train vae --data mnist")
    with contextlib.closing(listen(host, port)) as listener:
        _serve(runs, listener, host, browser)


def _serve(runs: Path, listener: socket.socket, host: str, browser: bool) -> None:
    """Serve until Ctrl-C."""
    import secrets
    import socket
    import threading
    import webbrowser

    from ganvas.studio import app, safety, server

    if not (app.PAGE / "index.html").is_file():
        raise UserError("the studio's page is not built: `make studio` in the checkout builds it, which takes Node.")
    token = None if safety.is_loopback(host) else secrets.token_urlsafe(24)
    port = listener.getsockname()[1]
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    address = f"http://{name}:{port}/" + (f"?token={token}" if token else "")
    made = app.make_app(runs, host=host, port=port, token=token)
    print(f"{runs} is shown at {address}\nCtrl-C ends it.", flush=True)
    if browser:  # the socket listens already: a browser that is early waits
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    # The first model that is asked for does not wait for torch, nor does the first page.
    warming = threading.Timer(WARM, importlib.import_module, ["ganvas.latent.atlas"])
    warming.daemon = True
    warming.start()
    server.serve(made, listener, debug=logging.getLogger("ganvas").isEnabledFor(logging.DEBUG))


def listen(host: str, port: int | None) -> socket.socket:
    """A socket bound to a port of a host; to the first free one from 8765 on, where none is given.

    Raises:
        UserError: the port is taken or not allowed, or the host is not this machine.
    """
    import socket

    if port is not None and not 0 <= port < 2**16:
        raise UserError(f"--port {port}: ports go from 0, any that is free, to {2**16 - 1}.")
    try:
        family, *_, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise UserError(f"--host {host}: there is no such host. 127.0.0.1 is this machine alone.") from error
    for place in range(PORT, PORT + TRIES) if port is None else [port]:
        # Of a socket whose protocol is not named asyncio does not turn off Nagle's delay: 40 ms an answer.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":  # elsewhere it would take the port from another program
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address[0], place, *address[2:]))
            listener.listen(128)
            return listener
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                continue
            raise UserError(f"can't listen on {host}, port {place}: {error.strerror}.") from error
    if port is None:
        raise UserError(f"the ports {PORT} to {PORT + TRIES - 1} are taken: free one, or give another with --port.")
    raise UserError(
        f"port {port} is taken, perhaps by another studio: give another one, or none, and a free one is found."
    )


HELP = """\
  studio [RUNS]                 runs in a browser: watch, explore, learn
"""
VERBS: dict[str, Callable[..., None]] = {"studio": studio}
