"""What the studio refuses: other hosts, other sites, paths that leave the folder, and what is too large.

A page of another site can make a browser send requests to this server, by its address or by a name that is made to
point to it (DNS rebinding). So the Host must be one of this machine's own names, and a request that says where it comes
from must come from the studio's own page. Where others than this machine can connect, they need a token as well.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import secrets
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ganvas.ground.errors import UserError

UPLOAD = 16 * 2**20  # bytes of a body
DROPPED = 2**28  # bytes of a larger body that are read to its end
PICTURE = 64 * 2**20  # bytes of a PNG, or of a page of a run
MESSAGE = 4 * 2**20  # bytes of a message on a WebSocket
SOCKETS = 64  # WebSockets at a time
OWN = ("same-origin", "none")  # where a browser says that a request of the page, or of the person, comes from

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self' ws://{host} wss://{host}; worker-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
# Of pages that lie in a run: whoever wrote them, they run no script, ask for nothing, and are no page of the studio.
STILL = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?", re.I)
_PICTURE = re.compile(r"(?:(?:samples|reconstructions)/)?[\w-][\w.-]*\.png", re.ASCII)
_PNG = b"\x89PNG\r\n\x1a\n"


class RefusedError(UserError):
    """A request that is not for this page or this person."""

    code = 403


class NotFoundError(UserError):
    """What is asked for is not there."""

    code = 404


class TooLargeError(UserError):
    """More bytes than the studio takes."""

    code = 413


def is_loopback(host: str) -> bool:
    """Whether a server on this host can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def plain(name: str) -> bool:
    """Whether a part of a path is a name and nothing else: no "..", not hidden, in UTF-8, no control characters."""
    return bool(name) and name.isprintable() and name[0] != "." and "\\" not in name and "/" not in name


def inside(folder: Path, path: str) -> Path:
    """The file or folder at a relative path, `/` between its parts, "." for the folder itself; it exists.

    Args:
        folder: absolute, without links.
        path: from a request.

    Raises:
        RefusedError: it leads out of the folder, by its parts or by a link, or to something hidden.
        NotFoundError: there is nothing.
    """
    parts = [] if path == "." else path.split("/")
    if not all(map(plain, parts)):
        raise RefusedError(f"{path!r} is no path in the folder.")
    try:
        found = folder.joinpath(*parts).resolve(strict=True)
    except (OSError, RuntimeError) as error:  # missing, too long, a circle of links
        raise NotFoundError(f"there is no {path!r}.") from error
    if not found.is_relative_to(folder):
        raise RefusedError(f"{path!r} is a link that leads out of the folder.")
    return found


def picture(run: Path, file: str) -> tuple[bytes, os.stat_result]:
    """A PNG of a run: of its samples or reconstructions, or beside them.

    Raises:
        RefusedError: another file, or one that leads out of the run.
        NotFoundError: there is none.
        TooLargeError: it has over 64 MiB.
    """
    if not is_picture(file):
        raise RefusedError(f"{file!r} is no picture: the studio shows NAME.png, samples/ and reconstructions/.")
    data, facts = read(inside(run.resolve(), file), PICTURE)
    if not data.startswith(_PNG):
        raise RefusedError(f"{file!r} is no PNG.")
    return data, facts


def is_picture(file: str) -> bool:
    """Whether it is the name of a picture of a run."""
    return _PICTURE.fullmatch(file) is not None


def is_page(file: str) -> bool:
    """Whether it is the name of a page of a run: an index.html one or two folders below."""
    *folders, name = file.split("/")
    return name == "index.html" and len(folders) in (1, 2) and all(map(plain, folders))


def page(run: Path, file: str) -> bytes:
    """A page of a run, HTML. It is answered with the policy `STILL` alone.

    Raises:
        RefusedError: another file, or one that leads out of the run.
        NotFoundError: there is none.
        TooLargeError: it has over 64 MiB.
    """
    if not is_page(file):
        raise RefusedError(f"{file!r} is no page: the studio shows FOLDER/index.html of a run.")
    return read(inside(run.resolve(), file), PICTURE)[0]


def copied(folder: Path, path: str, to: Path) -> Path:
    """A copy in another folder of a regular file of this one; raises as `inside` and `opened` do."""
    copy = to / path
    copy.parent.mkdir(parents=True, exist_ok=True)
    with opened(inside(folder.resolve(), path)) as file, copy.open("wb") as target:
        shutil.copyfileobj(file, target, 2**20)
    return copy


def opened(path: Path | str) -> BinaryIO:
    """A regular file that is no link, open for reading.

    Raises:
        NotFoundError: there is none.
        RefusedError: it is a link, a folder or a pipe, or can't be read.
    """
    name = Path(path).name
    try:
        # A pipe would be waited for, were it opened without O_NONBLOCK.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no {name}.") from error
    except OSError as error:
        link = error.errno == errno.ELOOP
        raise RefusedError(f"{name} {'is a link' if link else f'cannot be read: {error.strerror}'}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RefusedError(f"{name} is no regular file.")
    return os.fdopen(descriptor, "rb", buffering=0)


def read(path: Path | str, most: int) -> tuple[bytes, os.stat_result]:
    """The bytes of a file, and its stat; raises as `opened` does.

    Raises:
        TooLargeError: it has more than `most` bytes.
    """
    with opened(path) as file:
        facts = os.fstat(file.fileno())
        if facts.st_size > most:
            raise TooLargeError(f"{Path(path).name} has {facts.st_size:,} bytes, more than {most:,}.")
        return file.read(most), facts


class Guard:
    """ASGI middleware: checks each request before anything else sees it, and adds headers to each answer.

    Args:
        app: what is guarded.
        host: that the server listens on.
        port: likewise; it is in the cookie's name, because browsers don't tell ports apart there.
        token: that a browser must have, from the printed address and then as a cookie; None: none.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, token: str | None) -> None:
        self.app, self.token, self.cookie = app, token, f"ganvas-studio-{port}"
        # With a token, another name for this server is of no use to another site: its cookie is not sent there.
        own = f"[{host}]" if ":" in host else host
        self.names = None if token else {"localhost", "127.0.0.1", "[::1]", own.lower()}
        self.sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let it pass."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        try:
            greeting = self._check(scope)
        except UserError as error:
            await _refuse(error, scope, receive, send)
            return
        line = scope.get("state", {}).get("line")  # see `ganvas.studio.connections`
        if line and Headers(scope=scope).get("sec-fetch-site", "none") in OWN:
            line.prove()
        if scope["type"] == "http":
            await (greeting or self.app)(scope, _bounded(receive), _with_headers(scope, send))
            return
        self.sockets += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.sockets -= 1

    def _check(self, scope: Scope) -> Response | None:
        """Raises what is wrong with a request; returns what greets a browser that brings the token."""
        headers = Headers(scope=scope)
        host, *more = headers.getlist("host") or [""]
        name = _HOST.fullmatch(host)
        if more or not name or (self.names is not None and name[1].lower() not in self.names):
            raise RefusedError(f"{host!r} is no name of this server: open the address that `ganvas studio` printed.")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            raise RefusedError(f"requests from {origin} are refused: only the studio's own page may ask.")
        path = scope["path"]
        if path.startswith(("/api/", "/ws/")) and headers.get("sec-fetch-site", "none") not in OWN:
            raise RefusedError("requests from other sites are refused: only the studio's own page may ask.")
        if _length(headers) > UPLOAD:
            raise _too_large()
        if scope["type"] == "websocket" and self.sockets >= SOCKETS:
            raise RefusedError(f"{SOCKETS} connections are open: close some of the studio's tabs.")
        return self._greeting(scope) if self.token else None

    def _greeting(self, scope: Scope) -> Response | None:
        connection, token = HTTPConnection(scope), str(self.token)
        if _same(connection.cookies.get(self.cookie, ""), token):
            return None
        if scope["type"] == "http" and scope["path"] == "/" and _same(connection.query_params.get("token", ""), token):
            response = RedirectResponse("./", 303)  # the token leaves the address, and the browser's history
            response.set_cookie(self.cookie, token, httponly=True, samesite="strict")
            response.headers["Cache-Control"] = "no-store"
            return response
        raise RefusedError("this studio needs its token: open the address that `ganvas studio` printed, with ?token=.")


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())


def _too_large() -> TooLargeError:
    return TooLargeError(f"the studio takes at most {UPLOAD // 2**20} MiB.")


async def _refuse(error: UserError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": str(error)})
        return
    answer = JSONResponse({"error": str(error)}, getattr(error, "code", 400))
    await answer(scope, receive, _with_headers(scope, send))


def _bounded(receive: Receive) -> Receive:
    """`receive` that raises TooLargeError where a body, of any stated length or none, is over the limit."""
    taken = 0

    async def wrapped() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > UPLOAD:
            raise _too_large()
        return message

    return wrapped


def _with_headers(scope: Scope, send: Send) -> Send:
    """`send` that adds the headers; and cuts the line where a refused body is long, or has no stated length.

    The rest of any other is read and dropped: a browser whose line is cut while it sends would not see the answer.
    """
    given = Headers(scope=scope)
    host = given["host"] if _HOST.fullmatch(given.get("host", "")) else "localhost"
    own = HEADERS | {"Content-Security-Policy": POLICY.format(host=host)}
    added = [(name.lower().encode(), value.encode()) for name, value in own.items()]
    endless = "transfer-encoding" in given or _length(given) > DROPPED

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            cut = [(b"connection", b"close")] * (endless and message["status"] >= 400)
            said = list(message.get("headers", []))
            named = {name.lower() for name, _ in said}  # a page of a run has a policy of its own
            message = {**message, "headers": [*said, *(it for it in added if it[0] not in named), *cut]}
        await send(message)

    return wrapped


def _length(headers: Headers) -> int:
    """Of a body, as stated; the server refuses what is no number."""
    text = headers.get("content-length", "")
    return int(text[:18]) if text.isascii() and text.isdecimal() else 0
