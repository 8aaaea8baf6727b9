"""`ganvas studio`: what it refuses, what it prints, and that it serves until Ctrl-C."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ganvas.cli import studio
from ganvas.ground.errors import UserError
from ganvas.studio import app

Said = Callable[..., str]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program has."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_refusals(said: Said, tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert "does not exist: give a folder with runs" in said("studio", tmp_path / "nothing", status=1)
    assert "is no folder: give a folder with runs" in said("studio", tmp_path / "file", status=1)
    assert f"port {taken} is taken" in said("studio", tmp_path, "--port", taken, status=1)
    assert "--port 70000: ports go from 0" in said("studio", tmp_path, "--port", 70000, status=1)
    assert "there is no such host" in said("studio", tmp_path, "--host", "no such host", status=1)
    assert "port 0: Cannot assign" in said("studio", tmp_path, "--host", "192.0.2.1", "--port", 0, status=1)
    monkeypatch.setattr(app, "PAGE", tmp_path / "page")
    assert "`make studio`" in said("studio", tmp_path, "--port", 0, status=1)
    monkeypatch.setattr(studio, "find_spec", lambda name: None)
    assert "pip install 'ganvas[studio]'" in said("studio", tmp_path, status=1)


def test_the_default_folder_is_named_when_it_is_missing(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "runs does not exist" in said("studio", status=1)


def test_the_next_free_port_is_taken(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio, "PORT", taken)
    with studio.listen("127.0.0.1", None) as listener:
        assert taken < listener.getsockname()[1] < taken + studio.TRIES
    monkeypatch.setattr(studio, "TRIES", 1)
    with pytest.raises(UserError, match=r"are taken: free one"):
        studio.listen("127.0.0.1", None)


SERVE = """
import sys, webbrowser
from pathlib import Path
from ganvas.cli import main
from ganvas.studio import app
app.PAGE = Path(sys.argv[1])
webbrowser.open = lambda address: print("opened", address, file=sys.stderr, flush=True)
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Starts the studio in a process of its own, with a page of one line; gives the process and the address."""
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("the page")
    processes = []

    def start(*words: object) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-c", SERVE, str(tmp_path / "page"), "studio", *map(str, words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout
        first, second = process.stdout.readline(), process.stdout.readline()
        found = re.search(r"http://\S+", first)
        assert found and second == "Ctrl-C ends it.\n"
        return process, found[0]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def _get(address: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(address, headers={name.title(): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_it_serves_until_ctrl_c(started: Callable[..., tuple[subprocess.Popen[str], str]], home: Path) -> None:
    process, address = started(home, "--port", 0)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    assert _get(address) == (200, "the page")
    ids = [path.parent.name for path in sorted(home.glob("*/recipe.json"))]  # other tests add to them
    assert {"dae", "vae"} <= set(ids)
    assert [run["id"] for run in json.loads(_get(f"{address}api/runs")[1])["runs"]] == ids
    assert _get(f"{address}api/runs", host="evil.com")[0] == 403
    with connect(f"{address.replace('http', 'ws')}ws/live") as socket:
        socket.send(json.dumps({"runs": True}))
        assert [run["id"] for run in json.loads(socket.recv(60))["runs"]] == ids
        process.send_signal(signal.SIGINT)  # while a page is open
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", f"opened {address}\n")


def test_a_body_without_an_end_is_cut_off(
    started: Callable[..., tuple[subprocess.Popen[str], str]], home: Path
) -> None:
    _, address = started(home, "--port", 0, "--no-browser")
    port = int(address.rstrip("/").rsplit(":", 1)[1])
    head = f"POST /api/encode?run=vae HTTP/1.1\r\nHost: localhost:{port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + bytes(2**16) + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), 60) as line:
        line.sendall(head.encode())
        sent = 0
        try:
            while sent < 2**30:  # it would never end by itself
                line.sendall(piece)
                sent += 2**16
        except OSError:
            pass
    assert sent < 2**30
    assert _get(f"{address}api/runs")[0] == 200


def test_a_large_body_is_refused_in_words(
    started: Callable[..., tuple[subprocess.Popen[str], str]], home: Path
) -> None:
    _, address = started(home, "--port", 0, "--no-browser")
    with contextlib.closing(http.client.HTTPConnection(address.split("/")[2], timeout=60)) as line:
        line.request("POST", "/api/encode?run=vae", bytes(40 * 2**20))  # as a browser sends it: with a stated length
        answer = line.getresponse()
        assert (answer.status, json.loads(answer.read())) == (413, {"error": "the studio takes at most 16 MiB."})
        line.request("GET", "/api/runs")
        assert line.getresponse().status == 200


def test_elsewhere_than_on_this_machine_it_has_a_token(
    started: Callable[..., tuple[subprocess.Popen[str], str]], home: Path
) -> None:
    _, address = started(home, "--port", 0, "--host", "0.0.0.0", "--no-browser")
    port, token = re.fullmatch(r"http://[^/]+:(\d+)/\?token=([\w-]{32})", address).groups()  # type: ignore[union-attr]
    here = f"127.0.0.1:{port}"
    assert _get(f"http://{here}/")[0] == _get(f"http://{here}/api/runs")[0] == 403
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{here}/ws/live")
    cookie = f"ganvas-studio-{port}={token}"
    assert _get(f"http://{here}/api/runs", cookie=cookie)[0] == 200
    with connect(f"ws://{here}/ws/live", additional_headers={"Cookie": cookie}) as line:
        line.send(json.dumps({"runs": True}))
        assert json.loads(line.recv(60))["runs"]
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{here}/ws/live", origin="http://evil.com", additional_headers={"Cookie": cookie})  # type: ignore[arg-type]
