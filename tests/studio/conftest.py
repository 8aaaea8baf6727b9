"""Folders of runs: written as a training writes them, but without training. And a server in a process of its own."""

import http.client
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ganvas.ground.files import write_text
from ganvas.recipes import RECIPES
from ganvas.studio.app import make_app
from ganvas.training.run import Run, create

FACTS = {"fingerprint": "0", "shape": (1, 8, 8), "preparation": "", "versions": {}}
MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run: its id, recipe, state and rows of metrics."""

    def make(
        name: str = "first",
        *,
        recipe: str = "vae",
        state: dict[str, Any] | None = None,
        rows: Any = (),
        **settings: Any,
    ) -> Run:
        run = create(tmp_path / "runs" / name, RECIPES[recipe](**settings), FACTS)
        if rows:
            write_text(run.path / "metrics.jsonl", "".join(json.dumps(it) + "\n" for it in rows))
        if state:
            run.note(**{"step": 0, "steps": 100, "seconds": 1.0, **state})
        return run

    return make


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder that `make_run` fills."""
    (tmp_path / "runs").mkdir(exist_ok=True)
    return tmp_path / "runs"


@pytest.fixture
def client(runs: Path) -> Iterator[TestClient]:
    """A browser on the studio of that folder."""
    app = make_app(runs, host="127.0.0.1", port=8765)
    with TestClient(app, base_url="http://127.0.0.1:8765") as client:
        yield client


@pytest.fixture
def make_model(make_run: MakeRun) -> MakeRun:
    """Writes a run with a model, of codes of 3 numbers."""

    def make(name: str = "first") -> Run:
        from ganvas.models.base import FAMILIES

        run = make_run(name, latent_dim=3)
        config = run.recipe.model
        FAMILIES[type(config)](config, (1, 8, 8)).save(run.path / "model")
        return run

    return make


SERVE = """
import sys
from pathlib import Path
from ganvas.cli import main
from ganvas.studio import app
app.PAGE = Path(sys.argv[1])
exec(sys.argv[2])
sys.exit(main(["studio", *sys.argv[3:]]))
"""


class Server:
    """The studio in a process of its own.

    Attributes:
        port: that it listens on.
        said: the lines of its stderr.
    """

    def __init__(self, page: Path, first: str, words: tuple[object, ...]) -> None:
        words = (*words, "--port", 0, "--no-browser")
        command = [sys.executable, "-c", SERVE, str(page), first, *map(str, words)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said: list[str] = []
        assert self.process.stdout
        found = re.search(r":(\d+)/(?:\?token=(\S+))?", self.process.stdout.readline())
        assert found, self.process.communicate()
        self.port, self.token = int(found[1]), found[2]
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        self.said += iter(self.process.stderr.readline, "")

    def line(self) -> http.client.HTTPConnection:
        """A connection, not yet open."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout and self.process.stderr
        self.process.stdout.close()
        self.process.stderr.close()


MakeServer = Callable[..., Server]


@pytest.fixture
def serve(runs: Path, tmp_path: Path) -> Iterator[MakeServer]:
    """Starts a server of that folder.

    Its arguments are a program that is run before, and flags of `ganvas studio`.
    """
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("the page")
    servers: list[Server] = []

    def start(first: str = "", *words: object) -> Server:
        servers.append(Server(tmp_path / "page", first, (runs, *words)))
        return servers[-1]

    yield start
    for server in servers:
        server.end()
