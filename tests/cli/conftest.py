"""A tiny run of each sort, and commands as a person types them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas.cli import main

TINY = ["--data", "digits", "--epochs", "1", "--latent-dim", "3", "--device", "cpu", "--out"]


@pytest.fixture(scope="package", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each sort, trained by the command line."""
    folder = tmp_path_factory.mktemp("cli")
    for name, recipe, more in (("vae", "vae", ["--likelihood", "bernoulli"]), ("dae", "denoising-autoencoder", [])):
        assert main(["train", recipe, *more, *TINY, str(folder / name)]) == 0
    shutil.copytree(folder / "vae" / "model", folder / "model")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Colour images of two sizes, none the model's."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(12):
        pixels = random.integers(0, 256, (20, 20 + i % 2 * 5, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command prints: on stdout, or, where it fails, on stderr."""

    def run(*words: object, status: int = 0) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == status
        captured = capsys.readouterr()
        if status:
            assert captured.out == ""
            assert captured.err.startswith("ganvas: ") and captured.err.count("\n") <= 2
        return captured.err if status else captured.out

    return run


@pytest.fixture
def opened() -> Callable[[Path], np.ndarray]:
    """The pixels of a file."""

    def read(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            return np.array(image)

    return read
