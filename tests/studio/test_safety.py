"""What the studio refuses."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from ganvas.ground.errors import UserError
from ganvas.studio import app as studio
from ganvas.studio import safety

PNG = b"\x89PNG\r\n\x1a\n and more"


# Host, Origin, token


async def _length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("welcome")
    await socket.receive()


def _browser(**guard: Any) -> TestClient:
    guard = {"host": "127.0.0.1", "port": 8765, "token": None} | guard
    routes = [
        Route("/", _length),
        Route("/api/length", _length, methods=["GET", "POST"]),
        WebSocketRoute("/ws/talk", _socket),
    ]
    handlers: Any = {UserError: studio._refused, Exception: studio._failed}
    app = Starlette(routes=routes, middleware=[Middleware(safety.Guard, **guard)], exception_handlers=handlers)
    return TestClient(app, base_url=f"http://{guard['host']}:8765", follow_redirects=False)


def _talk(browser: TestClient) -> str:
    """The WebSocket's address; a relative one would be of the host "testserver"."""
    return str(browser.base_url.copy_with(scheme="ws", path="/ws/talk"))


def _refused_socket(browser: TestClient, headers: dict[str, str] | None = None) -> bool:
    try:
        with browser.websocket_connect(_talk(browser), headers=headers or {}) as socket:
            return bool(socket.receive_text() != "welcome")
    except (WebSocketDisconnect, WebSocketDenialResponse):
        return True


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:9000", "[::1]:8765", "localhost"])
def test_this_machines_names_pass_on_any_port(host: str) -> None:
    assert _browser().get("/api/length", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:8765", "127.0.0.1.evil.com", "localhost.evil.com:8765", "192.168.0.7", "", "a b"]
)
def test_another_name_is_refused(host: str) -> None:
    answer = _browser().get("/api/length", headers={"Host": host})
    assert answer.status_code == 403 and "open the address" in answer.json()["error"]
    assert _refused_socket(_browser(), {"Host": host})


def test_two_hosts_are_refused() -> None:
    headers = [("Host", "127.0.0.1:8765"), ("Host", "evil.com")]
    assert _browser().get("/api/length", headers=headers).status_code == 403


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8765", 200),
        ("http://evil.com", 403),
        ("http://127.0.0.1:9000", 403),
        ("http://localhost:8765", 403),
        ("http://127.0.0.1:8765.evil.com", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_a_request_comes_from_the_page_or_from_no_page(method: str, origin: str, status: int) -> None:
    headers = {"Origin": origin}
    assert _browser().request(method, "/api/length", headers=headers).status_code == status
    assert _refused_socket(_browser(), headers) == (status == 403)


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_a_picture_of_another_page_can_ask_nothing(site: str, status: int) -> None:
    headers = {"Sec-Fetch-Site": site}
    assert _browser().get("/api/length", headers=headers).status_code == status
    assert _browser().get("/", headers=headers).status_code == 200  # a link from elsewhere may lead here


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost", "LocalHost"])
def test_loopback(host: str) -> None:
    assert safety.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.0.7", "example.com", "127.0.0.1.example.com"])
def test_not_loopback(host: str) -> None:
    assert not safety.is_loopback(host)


def test_elsewhere_a_token_is_needed_that_becomes_a_cookie() -> None:
    browser = _browser(host="192.168.0.7", token="secret")
    assert browser.get("/api/length").status_code == 403
    assert browser.get("/").status_code == 403
    assert browser.get("/?token=wrong").status_code == 403
    assert browser.get("/api/length?token=secret").status_code == 403  # the token is for the printed address alone
    assert browser.get("/", headers={"Cookie": "ganvas-studio-8765=wrong"}).status_code == 403
    assert _refused_socket(browser)
    welcome = browser.get("/?token=secret")
    assert welcome.status_code == 303 and welcome.headers["location"] == "./"
    cookie = welcome.headers["set-cookie"].lower()
    assert cookie.startswith("ganvas-studio-8765=secret;") and "httponly" in cookie and "samesite=strict" in cookie
    assert browser.get("/api/length").status_code == 200
    assert not _refused_socket(browser)
    assert _refused_socket(browser, {"Origin": "http://evil.com"})
    assert browser.get("/api/length", headers={"Host": "studio.example"}).status_code == 200  # a name of the network's


def test_a_token_of_other_characters_is_refused() -> None:
    browser = _browser(host="192.168.0.7", token="secret")
    assert browser.get("/?token=%C3%A9").status_code == 403


def test_there_is_an_end_to_websockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "SOCKETS", 2)
    with _browser() as browser:
        talk = _talk(browser)
        with browser.websocket_connect(talk) as one, browser.websocket_connect(talk) as two:
            assert one.receive_text() == two.receive_text() == "welcome"
            assert _refused_socket(browser)
        assert not _refused_socket(browser)  # they have gone


# Sizes


@pytest.mark.parametrize("length", [safety.UPLOAD + 1, safety.DROPPED + 1, 10**30])
def test_a_body_that_says_it_is_too_large_is_not_read(length: int) -> None:
    answer = _browser().post("/api/length", headers={"Content-Length": str(length)}, content=b"")
    assert answer.status_code == 413 and answer.json() == {"error": "the studio takes at most 16 MiB."}
    assert (answer.headers.get("connection") == "close") == (length > safety.DROPPED)


def test_the_largest_body_passes() -> None:
    assert _browser().post("/api/length", content=bytes(safety.UPLOAD)).text == str(safety.UPLOAD)


@pytest.mark.parametrize("stated", [None, b"10"])
def test_a_body_is_bounded_while_it_comes(stated: bytes | None) -> None:
    taken, sent = 0, []

    async def receive() -> Any:
        nonlocal taken
        taken += 2**20
        return {"type": "http.request", "body": bytes(2**20), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost")] + ([(b"content-length", stated)] if stated else [])
    scope = {"type": "http", "method": "POST", "path": "/api/length", "query_string": b"", "headers": headers}
    anyio.run(_browser().app, scope, receive, send)
    assert sent[0]["status"] == 413 and safety.UPLOAD < taken <= safety.UPLOAD + 2**20


# Headers


@pytest.mark.parametrize("path", ["/", "/api/length", "/nothing"])
def test_every_answer_has_the_headers(path: str) -> None:
    headers = _browser().get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert policy["connect-src"].split()[:2] == ["'self'", "ws://127.0.0.1:8765"]
    assert policy["frame-ancestors"] == "'none'" and policy["img-src"] == "'self' data: blob:"
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


# Paths


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """runs/ beside a secret."""
    secret, runs = tmp_path / "secret", tmp_path / "runs"
    for place in (secret, runs / "a_b" / "samples", runs / ".hidden"):
        place.mkdir(parents=True)
    for file in (secret / "x.png", runs / "a_b" / "samples" / "epoch-0001.png", runs / "a_b" / "x.png"):
        file.write_bytes(PNG)
    (runs / "out").symlink_to(secret)
    (runs / "in").symlink_to(runs / "a_b")
    (runs / "circle").symlink_to(runs / "circle")
    yield runs.resolve()


OUT = """
    .. ../secret a_b/.. a_b/../../secret ./a_b / a_b/ a_b//samples .hidden ..\\secret a_b\\.. out out/x.png in/../x
"""


@pytest.mark.parametrize("path", ["", "a_b\0", "a_b\n", "\udc80", *OUT.split()])
def test_no_path_leaves_the_folder(path: str, folder: Path) -> None:
    with pytest.raises(safety.RefusedError):
        safety.inside(folder, path)
    with pytest.raises(safety.RefusedError):
        safety.inside(folder, str(folder.parent / "secret"))


@pytest.mark.parametrize("path", ["nothing", "%2e%2e", "%2e%2e/secret", "%252e%252e", "circle", "x" * 5000, "~"])
def test_what_is_not_there(path: str, folder: Path) -> None:
    with pytest.raises(safety.NotFoundError):
        safety.inside(folder, path)


def test_what_is_inside(folder: Path) -> None:
    assert safety.inside(folder, ".") == folder
    assert safety.inside(folder, "a_b/samples") == folder / "a_b" / "samples"
    assert safety.inside(folder, "in") == folder / "a_b"  # a link that stays inside


@pytest.mark.parametrize("file", ["x.png", "samples/epoch-0001.png"])
def test_pictures(file: str, folder: Path) -> None:
    assert safety.picture(folder / "a_b", file)[0] == PNG


NO_PICTURES = """
    recipe.json samples model/x.png samples/../x.png ../x.png samples/a/x.png /x.png .x.png text.png link.png
    pipe.png folder.png samples/text.svg samples\\x.png
"""


@pytest.mark.parametrize("file", ["", "x.png\0", "x.png\n", *NO_PICTURES.split()])
def test_what_is_no_picture(file: str, folder: Path) -> None:
    run = folder / "a_b"
    for name in ("recipe.json", "text.png", "samples/text.svg"):
        (run / name).write_text("<script>")
    for place in ("model", "samples/a", "folder.png"):
        (run / place).mkdir()
    for name in ("model/x.png", "samples/a/x.png", ".x.png"):
        (run / name).write_bytes(PNG)
    (run / "link.png").symlink_to(folder.parent / "secret" / "x.png")
    os.mkfifo(run / "pipe.png")
    with pytest.raises(safety.RefusedError):
        safety.picture(run, file)


def test_a_picture_that_is_too_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "PICTURE", 10)
    with pytest.raises(safety.TooLargeError):
        safety.picture(folder / "a_b", "x.png")
