"""data list, data show."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ganvas.data import load, sources

Said = Callable[..., str]


def test_sets(said: Said) -> None:
    assert "digits" in said("data", "list") == said("data")
    shown = said("data", "show", "digits", "--size", 6, 4, "--channels", 3)
    assert "3 x 6 x 4 (channels x height x width)" in shown


@pytest.mark.parametrize("name", sources.names())
def test_the_list_says_how_large_a_set_is(name: str, said: Said) -> None:
    (line,) = (line for line in said("data", "list").splitlines() if line.split()[0] == name)
    assert re.search(r"\d+ x \d+|Points \(x, y\)", line), "its shape"
    assert re.search(r"fetched \(\d+ MB\)|computed|drawn here|in scikit-learn", line), "what is downloaded"
    assert re.search(r": [\d,]+ / .*[\d,]+.* / [\d,]+\.$", line), "how many"
    if "fetched" not in line and "drawn" not in line:
        splits = load(name).splits
        assert line.endswith(": " + " / ".join(f"{len(splits[part]):,}" for part in splits) + ".")


def test_duplicates_and_a_sheet(said: Said, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    images[7] = images[3]
    np.save(tmp_path / "twice.npy", images)
    shown = said("data", "show", tmp_path / "twice.npy", "--range", 0, 200, "--out", tmp_path / "sheet.png")
    assert "1 rows are copies of others" in shown and "0 to 200 is black to white, as asked" in shown
    assert (tmp_path / "sheet.png").is_file()
