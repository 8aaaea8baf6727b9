"""The server ends, whatever hangs."""

import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from ganvas.studio.server import END

# It ends after 1.7 seconds; a machine that does other things, too, takes its time to see it.
SOON = 4.0

HANG = {
    "a load": "import time; from ganvas.studio import studied; studied._model = lambda *_: time.sleep(10**6)",
    "a disk": "import time; from ganvas.studio.shelf import Shelf; Shelf.detail = lambda *_: time.sleep(10**6)",
}
ASKED = {"a load": "/api/space?run=first", "a disk": "/api/run?run=first"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("what", list(HANG))
def test_it_ends_while_something_hangs(
    what: str, how: signal.Signals, serve: Any, make_model: Any, tmp_path: Path
) -> None:
    make_model()
    copies = tmp_path / "copies"
    copies.mkdir()
    server = serve(f"import tempfile; tempfile.tempdir = {str(copies)!r}; {HANG[what]}")
    with closing(server.line()) as hangs, closing(server.line()) as other:
        hangs.request("GET", ASKED[what])
        other.request("GET", "/api/lessons")
        assert other.getresponse().read() == b"[]"
        _until(lambda: what != "a load" or any(copies.iterdir()))
        began = time.monotonic()
        server.process.send_signal(how)
        server.process.wait(60)
        assert time.monotonic() - began < SOON
    assert server.process.returncode in ((0,) if how == signal.SIGINT else (-how, 128 + how))
    assert not list(copies.iterdir())
    assert not any("Traceback" in line for line in server.said)


def test_a_thread_that_python_waits_for_keeps_it_no_longer(serve: Any) -> None:
    hang = "import threading, time; threading.Thread(target=time.sleep, args=[10**6]).start()"
    server = serve(hang)
    with closing(server.line()) as line:
        line.request("GET", "/api/lessons")
        assert line.getresponse().read() == b"[]"
    began = time.monotonic()
    server.process.send_signal(signal.SIGINT)
    server.process.wait(60)
    assert server.process.returncode == 0 and time.monotonic() - began < SOON < END + 3


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the process in /proc")
def test_playgrounds_end_with_it(serve: Any, make_model: Any) -> None:
    make_model()
    server = serve(HANG["a load"])
    with connect(f"ws://127.0.0.1:{server.port}/ws/play") as page, closing(server.line()) as hangs:
        assert "options" in str(page.recv(120))
        page.send('{"settings": {"kind": "plane", "units": 16, "layers": 1}, "run": true}')
        assert isinstance(page.recv(120), bytes)
        hangs.request("GET", ASKED["a load"])
        pid = server.process.pid
        children = [task.joinpath("children").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
        (child,) = [int(each) for some in children for each in some]
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        _until(lambda: not _alive(child))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
