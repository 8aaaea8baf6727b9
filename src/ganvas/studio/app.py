"""The routes of the studio's server, see docs/studio.md."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from ganvas.ground.errors import UserError
from ganvas.studio import asks, decoding, made, playground, safety
from ganvas.studio.curves import Library
from ganvas.studio.live import Live
from ganvas.studio.shelf import Shelf
from ganvas.studio.workers import Workers

PAGE = Path(__file__).parent / "page"
POINTS = 10, 20_000  # of a curve, at least and at most
READERS, READING, LOST = 8, 30.0, 24  # threads that read runs, seconds that they may take, and those that may hang


class Json(JSONResponse):
    """JSON in ASCII: half of a surrogate pair, which a run's files may hold, has no UTF-8. It is not cached."""

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, {"Cache-Control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


class Page(StaticFiles):
    """The built page. What Vite has put a hash into the name of never changes; the rest is asked for anew each time."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; in a checkout the page may not be built."""
        if not PAGE.is_dir():
            raise HTTPException(404, "there is no page: in a checkout `make studio` builds it.")
        await super().__call__(scope, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, "index.html" for the folder."""
        response = await super().get_response(path, scope)
        hashed = path.startswith("assets/")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return response


def runs(request: Request) -> Response:
    """All runs of the folder."""
    shelf: Shelf = request.app.state.shelf
    return Json({"folder": str(shelf.folder), "runs": list(shelf.summaries().values())})


def run(request: Request) -> Response:
    """All of one run but its curves."""
    return Json(request.app.state.shelf.detail(_asked(request, "run")))


def picture(request: Request) -> Response:
    """A PNG of a run."""
    path = request.app.state.shelf.find(_asked(request, "run"))
    return _png(request, path, _asked(request, "file"))


def search(request: Request) -> Response:
    """The picture of the search that a run is a trial of."""
    shelf: Shelf = request.app.state.shelf
    folder = made.search(shelf.folder, shelf.find(_asked(request, "run")))
    if folder is None:
        raise safety.NotFoundError("this run is no trial of a search.")
    return _png(request, folder, "tune.png")


def _png(request: Request, folder: Path, file: str) -> Response:
    data, facts = safety.picture(folder, file)
    tag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/png", headers=headers)


def page(request: Request) -> Response:
    """A page that lies in a run."""
    path = request.app.state.shelf.find(_asked(request, "run"))
    headers = {"Content-Security-Policy": safety.STILL, "Cache-Control": "no-cache"}
    return Response(safety.page(path, _asked(request, "file")), media_type="text/html", headers=headers)


def curves(request: Request) -> Response:
    """The metrics of a run as columns."""
    path = request.app.state.shelf.find(_asked(request, "run"))
    given = request.query_params.get("points", "2000")
    if not (given.isascii() and given.isdecimal() and len(given) < 9 and POINTS[0] <= int(given) <= POINTS[1]):
        raise UserError(f"points={given}: it takes {POINTS[0]} to {POINTS[1]:,}.")
    library: Library = request.app.state.curves
    return Json(library.curves(path, int(given)))


def lessons(request: Request) -> Response:
    """What the project's own figures show, as `make studio` has put it beside the page."""
    file = PAGE / "lessons.json"
    return Json(json.loads(file.read_bytes()) if file.is_file() else [])


def by_thread(read: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    """An answer that is made by a thread, of files of which any may lie on a disk that hangs."""

    async def answer(request: Request) -> Response:
        workers: Workers = request.app.state.reading
        of = request.query_params.get("run", request.url.path)
        return await workers.do(f"reading {of}", lambda: read(request), of=of)

    return answer


def _asked(request: Request, name: str) -> str:
    if name not in request.query_params:
        raise UserError(f"{request.url.path} needs {name}=.")
    return request.query_params[name]


def _refused(request: Request, error: Exception) -> Response:
    # A verb that the model lacks is an AttributeError, too.
    code = getattr(error, "code", 409 if isinstance(error, AttributeError) else 400)
    return Json({"error": str(error)}, code)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Json({"error": error.detail}, error.status_code, error.headers)


def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


def _failed(request: Request, error: Exception) -> Response:
    said = f"the studio has a fault ({type(error).__name__}): the terminal that it runs in shows more."
    return Json({"error": said}, 500, safety.HEADERS)


def make_app(folder: Path, *, host: str, port: int, token: str | None = None) -> Starlette:
    """The studio of a folder of runs.

    Args:
        folder: with runs in it.
        host: that the server listens on.
        port: likewise.
        token: what a browser must know; None where nobody but this machine can connect.
    """
    shelf = Shelf(folder)
    routes = [
        Route("/api/runs", by_thread(runs)),
        Route("/api/run", by_thread(run)),
        Route("/api/picture", by_thread(picture)),
        Route("/api/search.png", by_thread(search)),
        Route("/api/page", by_thread(page)),
        Route("/api/curves", by_thread(curves)),
        Route("/api/lessons", by_thread(lessons)),
        *asks.ROUTES,
        WebSocketRoute("/ws/live", Live(shelf).serve),
        *decoding.ROUTES,
        *playground.ROUTES,
        Mount("/", Page(directory=PAGE, html=True, check_dir=False)),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(safety.Guard, host=host, port=port, token=token)],
        exception_handlers={UserError: _refused, HTTPException: _http, ClientDisconnect: _left, Exception: _failed},
    )
    app.state.shelf, app.state.curves = shelf, Library()
    app.state.reading = Workers("reading", READING, READERS, LOST)
    return app
