"""data list, data show."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

Said = Callable[..., str]


def test_sets(said: Said) -> None:
    assert "digits" in said("data", "list") == said("data")
    shown = said("data", "show", "digits", "--size", 6, 4, "--channels", 3)
    assert "3 x 6 x 4 (channels x height x width)" in shown


def test_duplicates_and_a_sheet(said: Said, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    images[7] = images[3]
    np.save(tmp_path / "twice.npy", images)
    shown = said("data", "show", tmp_path / "twice.npy", "--range", 0, 200, "--out", tmp_path / "sheet.png")
    assert "1 rows are copies of others" in shown and "0 to 200 is black to white, as asked" in shown
    assert (tmp_path / "sheet.png").is_file()
