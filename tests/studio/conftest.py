"""Folders of runs: written as a training writes them, but without training."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ganvas.files import write_text
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
