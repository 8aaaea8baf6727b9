"""A model goes to the Hub and comes back: by a server of our own that speaks its protocol, and no network."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
import yaml

import ganvas
from ganvas import hub
from ganvas.ground.errors import UserError

COMMIT = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """One model, me/digits; the files of another are none of ganvas."""

    server: Any

    def log_message(self, *_: object) -> None: ...

    def answer(self, value: Any, status: int = 200, **headers: str) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        at = f"http://127.0.0.1:{self.server.server_port}/me/digits"
        if self.headers.get("Authorization") != "Bearer hf_of_the_test":
            self.answer({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            self.answer({"url": at})
        elif "/preupload/" in self.path:
            files = [{"path": it["path"], "uploadMode": "regular"} for it in json.loads(asked)["files"]]
            self.answer({"files": [{**it, "shouldIgnore": False, "oid": None} for it in files]})
        elif "/commit/" in self.path:
            for part in map(json.loads, asked.splitlines()):
                if part["key"] == "file":
                    self.server.files[part["value"]["path"]] = base64.b64decode(part["value"]["content"])
            self.answer({"commitUrl": f"{at}/commit/{COMMIT}", "commitOid": COMMIT, "pullRequestUrl": None})
        else:  # the card is looked through
            self.answer({"errors": [], "warnings": []})

    def do_GET(self) -> None:
        files = self.server.files if "me/digits" in self.path else {"weights.bin": b"1"}
        if "nobody" in self.path:
            self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif "/tree/" in self.path:
            self.answer([{"type": "file", "path": name, "size": len(it), "oid": "1"} for name, it in files.items()])
        elif "/resolve/" in self.path:
            data = files[self.path.split(f"/resolve/{COMMIT}/")[1]]
            self.answer(data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=COMMIT)
        else:
            self.answer({"id": "me/digits", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})

    do_HEAD = do_GET  # noqa: N815


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as made:
        made.files = {}  # type: ignore[attr-defined]
        thread = Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ganvas.Run:
    path = tmp_path_factory.mktemp("runs") / "first"
    return ganvas.train("vae", data="digits", limit=100, hidden=(16,), latent_dim=2, epochs=1, out=path)


def said(server: Any, home: Path, *words: str, token: str = "hf_of_the_test") -> subprocess.CompletedProcess[str]:
    """What a command says, in a process of its own: the Hub's library reads its address once."""
    own = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(home), "HF_TOKEN": token}
    environment = {**os.environ, **own, "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home, timeout=100)


def test_a_model_goes_there_and_comes_back(server: Any, run: ganvas.Run, tmp_path: Path) -> None:
    flags = ["--license", "apache-2.0", "--data-license", "CC BY 4.0"]
    pushed = said(server, tmp_path, "-m", "ganvas", "push", str(run.path), "me/digits", *flags)
    assert pushed.stdout.strip().endswith(f"/me/digits/commit/{COMMIT}"), pushed.stderr
    assert set(server.files) == {"README.md", "samples.png", *hub.FILES}

    _, head, text = server.files["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "ganvas",
        "tags": ["ganvas", "vae", "safetensors"],
        "license": "apache-2.0",
    }
    assert 'ganvas.load("hf:me/digits")' in text and "Licence of the data: CC BY 4.0." in text
    (command,) = (line for line in text.splitlines() if line.startswith("ganvas train vae "))
    assert {"--latent-dim 2", "--data digits", "--epochs 1"} <= set(re.findall(r"--[\w-]+ \S+", command))
    assert "| elbo | " in text
    here = str(run.path.parent).encode()
    assert not any(here in data for data in server.files.values()), "a path of this machine"

    pulled = said(server, tmp_path, "-m", "ganvas", "pull", "me/digits")
    assert pulled.stdout == "digits\n", pulled.stderr
    assert torch.equal(ganvas.load(tmp_path / "digits").sample(3), run.model.sample(3))
    again = said(server, tmp_path, "-m", "ganvas", "pull", "me/digits")
    assert again.returncode == 1 and "digits is there already" in again.stderr
    loaded = said(server, tmp_path, "-c", 'import ganvas; print(ganvas.load("hf:me/digits"))')
    assert loaded.stdout == f"{run.model!r}\n", loaded.stderr


def test_what_the_hub_refuses_is_told_in_a_sentence(server: Any, run: ganvas.Run, tmp_path: Path) -> None:
    other = said(server, tmp_path, "-m", "ganvas", "pull", "them/weights")
    last = other.stderr.splitlines()[-1]
    assert last == "ganvas: hf:them/weights is no model of ganvas: it has no config.json and no model.safetensors."
    missing = said(server, tmp_path, "-m", "ganvas", "pull", "me/nobody")
    assert missing.stderr.startswith("ganvas: hf:me/nobody is not on the Hub") and missing.returncode == 1
    stranger = said(server, tmp_path, "-m", "ganvas", "push", str(run.path), "me/digits", token="hf_wrong")
    assert stranger.returncode == 1 and stranger.stderr.count("\n") == 1 and "hf:me/digits" in stranger.stderr
    assert not list(tmp_path.glob("nobody*")) and not list(tmp_path.glob("weights*"))


@pytest.mark.parametrize("name", ["digits", "me/digits/more", "../digits", "me/", "hf:me/digits", "me/di gits"])
def test_a_name_that_can_t_be(name: str, run: ganvas.Run) -> None:
    for ask in (lambda: hub.pull(name), lambda: hub.push(run.path, name)):
        with pytest.raises(UserError, match="is no name of a model on the Hub"):
            ask()


def test_the_card_of_a_gan_of_points_has_no_picture(tmp_path: Path) -> None:
    made = ganvas.train("gan", data="ring", limit=200, epochs=1, out=tmp_path / "run")
    text = hub.card(made.model, "me/ring", made, False, None, None)
    assert "samples.png" not in text and "license" not in text and "Licence of the data: not stated." in text
    assert "model.encode" not in text
