"""The network itself is compared with another implementation in test_oracles.py."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ganvas.evaluate.networks import inception
from ganvas.ground.errors import UserError


@pytest.mark.parametrize(("height", "width", "side"), [(5, 7, 12), (20, 9, 6), (1, 1, 4), (6, 6, 6)])
def test_resize_by_hand(height: int, width: int, side: int) -> None:
    images = np.random.default_rng(0).random((2, 3, height, width)).astype(np.float32)
    expected = np.empty((2, 3, side, side))
    for i in range(side):
        for j in range(side):
            y, x = i * height / side, j * width / side
            top, left = int(y), int(x)
            below, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = images[:, :, top, left] * (1 - x % 1) + images[:, :, top, right] * (x % 1)
            lower = images[:, :, below, left] * (1 - x % 1) + images[:, :, below, right] * (x % 1)
            expected[:, :, i, j] = upper * (1 - y % 1) + lower * (y % 1)
    np.testing.assert_allclose(inception.resized(torch.from_numpy(images), side), expected, atol=2e-6)


def test_levels() -> None:
    grey = torch.arange(256, dtype=torch.float32).view(1, 1, 16, 16) / 255
    found = inception.prepared(grey)
    assert found.shape == (1, 3, 299, 299) and torch.equal(found[:, 0], found[:, 2])
    assert found[0, 0, 0, 0] == -1 and found.max() == 127 / 128
    assert torch.equal(inception.prepared((grey + 0.4 / 255).clamp(max=1)), found)  # as if it had been saved


def test_weights_have_the_published_names(accepted: Path) -> None:
    state = torch.load(accepted, weights_only=True)
    assert len(state) == 566  # as the published file
    shapes = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Mixed_5b.branch5x5_2.bn.running_var": (64,),
        "Mixed_6e.branch7x7dbl_5.conv.weight": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "fc.weight": (1008, 2048),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def test_loading_draws_nothing(accepted: Path) -> None:
    before = torch.get_rng_state()
    inception.load(accepted)
    assert torch.equal(torch.get_rng_state(), before)


def test_other_weights_are_refused(random_inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"has SHA-256 \w{8}.*FID have 6726825d\.\.\.: download https://.* not FID"):
        inception.load(random_inception)
    with pytest.raises(UserError, match=r"no file .*pt_inception-2015-12-05-6726825d\.pth, from https://"):
        inception.load(tmp_path / "none.pth")
    state = torch.load(random_inception, weights_only=True)
    weight = state.pop("fc.bias")
    for content in (state, state | {"fc.bias": weight[1:]}, [1], {"a": Path()}):
        torch.save(content, tmp_path / "other.pth")
        digest = hashlib.sha256((tmp_path / "other.pth").read_bytes()).hexdigest()
        monkeypatch.setattr(inception, "SHA256", digest)
        with pytest.raises(UserError, match=r"other\.pth does not hold the weights of FID .* download https://"):
            inception.load(tmp_path / "other.pth")


@pytest.fixture
def server(accepted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[bytes]]:
    """A server on this machine in the place of the published address, and the answers that it will give."""
    answers: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.pop(0)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(inception, "URL", f"http://127.0.0.1:{running.server_port}/weights")
        monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
        yield answers
        running.shutdown()


def test_the_weights_are_downloaded_once(server: list[bytes], accepted: Path) -> None:
    server.append(accepted.read_bytes())
    inception.load()
    file = inception.fetched()  # no second answer is there
    assert file.name == inception.FILE and file.read_bytes() == accepted.read_bytes()


def test_a_spoilt_download_is_refused(server: list[bytes], tmp_path: Path) -> None:
    server.append(b"spoilt")
    with pytest.raises(UserError, match=r"can't be downloaded \(.*hash.*inception:PATH"):
        inception.load()
    assert not list((tmp_path / "cache/weights").iterdir())


def test_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    monkeypatch.setattr(inception, "URL", "http://127.0.0.1:9/weights")
    with pytest.raises(UserError, match=r"Get http://127.0.0.1:9/weights by another road.*weights'.*inception:PATH"):
        inception.load()
