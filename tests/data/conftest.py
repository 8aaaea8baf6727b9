from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """A cache of its own for each test; those that ask for `shared_cache` keep the user's, so MNIST is fetched once."""
    if "shared_cache" not in request.fixturenames:
        folder = tmp_path_factory.mktemp("cache")
        monkeypatch.setenv("GANVAS_CACHE", str(folder))
        return folder
    return None


@pytest.fixture
def shared_cache() -> None:
    """Asks for the user's cache."""


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def pictures(tmp_path: Path, random: np.random.Generator) -> Callable[..., Path]:
    """Writes `n` random images into a folder and returns it."""

    def write(n: int = 10, shape: tuple[int, ...] = (8, 8, 3), where: str = "photos", suffix: str = "png") -> Path:
        folder = tmp_path / where
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(n):
            pixels = random.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index:04d}.{suffix}")
        return folder

    return write
