"""The routes of the studio's server."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from ganvas.studio import app, connections, live, safety, server, studied
from ganvas.studio.app import make_app
from ganvas.training.run import Run

MakeRun = Callable[..., Run]


def test_runs(client: TestClient, make_run: MakeRun, runs: Path) -> None:
    assert client.get("/api/runs").json() == {"folder": str(runs), "runs": []}
    make_run("b/c")
    make_run("a")
    answer = client.get("/api/runs")
    assert [run["id"] for run in answer.json()["runs"]] == ["a", "b/c"]
    assert answer.headers["cache-control"] == "no-store"


def test_run(client: TestClient, make_run: MakeRun) -> None:
    make_run("b/c", recipe="gan", latent_dim=7)
    detail = client.get("/api/run?run=b/c").json()
    assert detail == client.get("/api/run?run=b%2Fc").json()
    assert detail["summary"]["latent"] == 7 and detail["recipe"]["model"]["latent_dim"] == 7
    assert detail["pictures"] == {"samples": [], "reconstructions": []} and detail["snapshots"] == []


def test_picture(client: TestClient, make_run: MakeRun) -> None:
    folder = make_run("a").path / "samples"
    folder.mkdir()
    Image.new("L", (3, 2), 200).save(folder / "epoch-0001.png")
    address = "/api/picture?run=a&file=samples/epoch-0001.png"
    answer = client.get(address)
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (3, 2)
    same = {"If-None-Match": answer.headers["etag"]}
    assert client.get(address, headers=same).status_code == 304
    Image.new("L", (5, 5)).save(folder / "epoch-0001.png")  # trained again, after a resume
    assert Image.open(io.BytesIO(client.get(address, headers=same).content)).size == (5, 5)


def test_curves(client: TestClient, make_run: MakeRun) -> None:
    rows = [{"step": i, "epoch": i, "split": "train", "loss": float(i)} for i in range(1, 5001)]
    run = make_run("a", rows=rows)
    answer = client.get("/api/curves?run=a").json()
    assert answer["cursor"] == (run.path / "metrics.jsonl").stat().st_size
    assert 1000 < len(answer["series"]["train/loss"]["step"]) <= 2000
    few = client.get("/api/curves?run=a&points=10").json()["series"]["train/loss"]
    assert len(few["step"]) <= 10 and few["step"][0] == few["value"][0] == 1 and few["step"][-1] == 5000


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("/api/run", 400, "/api/run needs run=."),
        ("/api/run?run=nothing", 404, "there is no 'nothing'"),
        ("/api/run?run=group", 404, "there is no run 'group': it has no recipe.json."),
        ("/api/run?run=..", 403, "'..' is no path in the folder"),
        ("/api/run?run=%2e%2e/runs/a", 403, "'../runs/a' is no path"),
        ("/api/run?run=%252e%252e", 404, "there is no '%2e%2e'"),
        ("/api/run?run=/etc", 403, "is no path"),
        ("/api/run?run=a%00", 403, "is no path"),
        ("/api/run?run=a%5c..", 403, "is no path"),
        ("/api/run?run=bad", 409, "recipe.json is damaged"),
        ("/api/picture?run=a", 400, "/api/picture needs file=."),
        ("/api/picture?run=a&file=recipe.json", 403, "is no picture"),
        ("/api/picture?run=a&file=samples/epoch-0009.png", 404, "there is no"),
        ("/api/picture?run=a&file=samples/../../a/x.png", 403, "is no picture"),
        ("/api/curves?run=nothing", 404, "there is no"),
        ("/api/curves?run=a&points=5", 400, "points=5: it takes 10 to 20,000."),
        ("/api/curves?run=a&points=1e3", 400, "points=1e3"),
        ("/api/curves?run=a&points=99999999999", 400, "points=99999999999"),
        ("/api/nothing", 404, ""),
        ("/../pyproject.toml", 404, ""),
        ("/%2e%2e/%2e%2e/app.py", 404, ""),
        ("/..%5capp.py", 404, ""),
        ("/%00", 404, ""),
    ],
)
def test_refusals(address: str, status: int, says: str, client: TestClient, make_run: MakeRun, runs: Path) -> None:
    make_run("a")
    (runs / "group").mkdir()
    (make_run("bad").path / "recipe.json").write_text("{")
    answer = client.get(address)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"] and says in answer.json()["error"]


def test_a_verb_that_a_model_lacks(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas.models.base import UnsupportedError

    def refuse(thorough: bool = True) -> Any:
        raise UnsupportedError("a model of kind gan has no encode")

    monkeypatch.setattr(client.app.state.shelf, "summaries", refuse)  # type: ignore[attr-defined]
    answer = client.get("/api/runs")
    assert (answer.status_code, answer.json()) == (409, {"error": "a model of kind gan has no encode"})


def test_a_fault_is_told_and_has_the_headers(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thorough: bool = True) -> Any:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(client.app.state.shelf, "summaries", fail)  # type: ignore[attr-defined]
    browser = TestClient(client.app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False)
    answer = browser.get("/api/runs")
    assert answer.status_code == 500 and "ZeroDivisionError" in answer.json()["error"]
    assert "secret" not in answer.text and answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_what_is_read_is_not_written(method: str, client: TestClient) -> None:
    for path in ("/api/runs", "/api/run", "/api/picture", "/api/curves", "/api/lessons"):
        answer = client.request(method, path)
        assert answer.status_code in (404, 405) and list(answer.json()) == ["error"]  # 404 where no page is built


def test_uploads_are_bounded_before_a_model_is_looked_for(client: TestClient) -> None:
    for verb in ("encode", "denoise", "neighbours"):
        answer = client.post(f"/api/{verb}?run=nothing", content=(bytes(2**20) for _ in range(17)))
        assert answer.status_code == 413 and "16 MiB" in answer.json()["error"]


def test_the_page(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page"
    monkeypatch.setattr(app, "PAGE", page)
    browser = TestClient(app.make_app(runs, host="localhost", port=8765), base_url="http://localhost:8765")
    answer = browser.get("/")
    assert answer.status_code == 404 and "make studio" in answer.json()["error"]
    assert browser.get("/api/runs").status_code == 200 and browser.get("/api/lessons").json() == []
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<title>studio</title>")
    (page / "assets" / "index-1a2b.js").write_text("1")
    (page / "lessons.json").write_text(json.dumps([{"name": "codes"}]))
    (page / "link").symlink_to(tmp_path)
    assert browser.get("/").text == "<title>studio</title>"
    assert browser.get("/").headers["cache-control"] == "no-cache"
    script = browser.get("/assets/index-1a2b.js")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "javascript" in script.headers["content-type"] and script.headers["x-content-type-options"] == "nosniff"
    assert browser.get("/link/runs").status_code == 404
    missing = browser.get("/assets/other.js")
    assert missing.status_code == 404 and missing.headers["cache-control"] == "no-store"
    assert browser.post("/").status_code == 405
    assert browser.get("/api/lessons").json() == [{"name": "codes"}]


def test_the_rules_hold_for_every_route(client: TestClient) -> None:
    def paths(routes: Any) -> list[str]:
        return [route.path or "/" for route in routes]

    for path in paths(client.app.routes):  # type: ignore[attr-defined]
        if path.startswith("/ws/"):
            address, foreign = f"ws://127.0.0.1:8765{path}", {"Origin": "http://evil.com"}
            with pytest.raises(WebSocketDisconnect), client.websocket_connect(address, headers=foreign):
                pass
        else:
            for headers in ({"Host": "evil.com"}, {"Origin": "http://evil.com"}):
                for method in ("GET", "POST"):
                    assert client.request(method, path, headers=headers).status_code == 403


def test_the_page_need_not_wait_for_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from ganvas.studio.app import make_app; "
        "make_app(Path('.'), host='localhost', port=1).state.shelf.summaries(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_run_that_can_not_be_read_to_an_end_stops_no_other(
    make_run: MakeRun, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "READING", 0.3)
    make_run("hangs")
    make_run("a")
    go_on, read = threading.Event(), app.safety.picture

    def picture(run: Path, file: str) -> Any:
        return read(run, file) if run.name == "a" else go_on.wait(60)

    monkeypatch.setattr(app.safety, "picture", picture)
    with TestClient(make_app(runs, host="127.0.0.1", port=8765), base_url="http://127.0.0.1:8765") as client:
        for _ in range(2 * app.LOST):
            answer = client.get("/api/picture?run=hangs&file=x.png")
            assert answer.status_code == 504 and "reading hangs" in answer.json()["error"]
        assert client.get("/api/picture?run=a&file=x.png").status_code == 404
        assert client.get("/api/runs").status_code == 200
        go_on.set()


def test_sizes_agree_with_the_documentation() -> None:
    assert (safety.UPLOAD, safety.MESSAGE, safety.SOCKETS) == (16 * 2**20, 4 * 2**20, 64)
    assert (connections.HEAD, connections.BODY, connections.RATE, connections.STUCK) == (10, 20, 16 * 2**10, 20)
    assert (connections.CONNECTIONS, connections.STRANGERS) == (256, 192)
    assert (app.READING, live.READING, studied.LOADING, studied.ASKING, server.END) == (30, 30, 30, 300, 1.7)
    assert (app.LOST, studied.LOST) == (24, 8)


def test_what_was_made_from_a_run(client: TestClient, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("b/c").path
    assert client.get("/api/run?run=b/c").json()["made"] == []
    pages = ["scores/my photos/index.html", "clusters-2/index.html", "zoë/index.html"]
    pictures = ["similar.png", "completed-3.png"]
    others = ["page/index.html", "page/space.json", "index.html", "a/b/c/index.html", "samples/epoch-0001.png"]
    others += [
        ".hidden/index.html",
        "scores/my photos/map.png",
        "samples/index.html",
        "clusters-2/clusters.csv",
        "ü.png",
    ]
    for age, name in enumerate([*pages, *pictures, *others]):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(f"<h1>{name}</h1>")
        os.utime(run / name, (1e9 - age, 1e9 - age))
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "index.html").write_text("secret")
    (run / "out").symlink_to(secret)
    (run / "inside").mkdir()
    (run / "inside" / "index.html").symlink_to(secret / "index.html")
    os.mkfifo(run / "pipe.png")
    detail = client.get("/api/run?run=b/c").json()
    assert [it["file"] for it in detail["made"]] == [*pages, *pictures]  # the newest first
    assert [it["page"] for it in detail["made"]] == [True, True, True, False, False]
    assert [it["changed"] for it in detail["made"]] == [1e9 - age for age in range(5)]

    for file in pages:
        answer = client.get("/api/page", params={"run": "b/c", "file": file})
        assert answer.text == f"<h1>{file}</h1>" and answer.headers["content-type"] == "text/html; charset=utf-8"
        (policy,) = answer.headers.get_list("content-security-policy")
        rules = dict((*part.strip().split(" ", 1), "")[:2] for part in policy.split(";"))
        assert rules["default-src"] == "'none'" and rules["sandbox"] == "" and rules["img-src"] == "data:"
        assert "script-src" not in rules and rules["style-src"] == "'unsafe-inline'"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for file, says in {
        "out/index.html": "leads out",
        "inside/index.html": "leads out",
        "../../../secret/index.html": "is no page",
        "x/../index.html": "is no page",
        "index.html": "is no page",
        ".hidden/index.html": "is no page",
        "clusters-2/clusters.csv": "is no page",
        "a/b/c/index.html": "is no page",
        f"{secret}/index.html": "is no page",
    }.items():
        answer = client.get("/api/page", params={"run": "b/c", "file": file})
        assert answer.status_code == 403 and says in answer.json()["error"], answer.text
    assert client.get("/api/page?run=b/c&file=gone/index.html").status_code == 404
    (run / "folder" / "index.html").mkdir(parents=True)
    (run / "pipe").mkdir()
    os.mkfifo(run / "pipe" / "index.html")
    for file in ("folder/index.html", "pipe/index.html"):
        assert client.get(f"/api/page?run=b/c&file={file}").status_code == 403


def test_a_run_s_folder_as_it_is_typed(
    client: TestClient, make_run: MakeRun, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("b/two words")
    monkeypatch.chdir(runs.parent)
    assert client.get("/api/run?run=b/two words").json()["path"] == "'runs/b/two words'"
    monkeypatch.chdir(runs / "b")
    assert client.get("/api/run?run=b/two words").json()["path"] == "'two words'"
    make_run("first")
    assert client.get("/api/run?run=first").json()["path"] == str(runs / "first")


def test_a_trial_of_a_search(client: TestClient, make_run: MakeRun, runs: Path, tmp_path: Path) -> None:
    make_run("plain")
    make_run("tuned/trials/0003-1")
    address = "/api/search.png?run=tuned/trials/0003-1"
    assert client.get("/api/run?run=plain").json()["search"] is None
    assert client.get("/api/run?run=tuned/trials/0003-1").json()["search"] is None
    assert client.get(address).status_code == 404
    (runs / "tuned" / "tune.json").write_text("{}")
    found = client.get("/api/run?run=tuned/trials/0003-1").json()["search"]
    assert found == {"path": str(runs / "tuned"), "picture": False}
    Image.new("L", (3, 2)).save(tmp_path / "outside.png")
    (runs / "tuned" / "tune.png").symlink_to(tmp_path / "outside.png")
    assert client.get(address).status_code == 403
    (runs / "tuned" / "tune.png").unlink()
    Image.new("L", (3, 2)).save(runs / "tuned" / "tune.png")
    assert client.get("/api/run?run=tuned/trials/0003-1").json()["search"]["picture"]
    assert Image.open(io.BytesIO(client.get(address).content)).size == (3, 2)
    assert client.get("/api/search.png?run=plain").status_code == 404


def test_a_search_above_the_folder_is_not_shown(make_run: MakeRun, runs: Path) -> None:
    make_run("tuned/trials/0003-1")
    (runs / "tuned" / "tune.json").write_text("{}")
    Image.new("L", (3, 2)).save(runs / "tuned" / "tune.png")
    only = make_app(runs / "tuned" / "trials", host="127.0.0.1", port=8765)
    with TestClient(only, base_url="http://127.0.0.1:8765") as client:
        assert client.get("/api/run?run=0003-1").json()["search"] is None
        assert client.get("/api/search.png?run=0003-1").status_code == 404
