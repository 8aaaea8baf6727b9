from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ganvas.cli import main
from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(lab: Lab) -> Outcome:
        """L2: how many seeds there are.

        Claim: there are two.
        """
        if len(lab.seeds) > 2:
            raise ValueError("too many")
        measures = [Measure("seeds", [float(len(lab.seeds))], "", "2")]
        return Outcome(measures, len(lab.seeds) == 2, f"quick: {lab.quick}", np.zeros((2, 2, 1), np.uint8))

    monkeypatch.setitem(FIGURES, "seeds", make)


def test_without_a_name_it_lists_the_figures(said: Callable[..., str], row: None) -> None:
    lines = said("reproduce").splitlines()
    assert len(lines) == len(FIGURES) and any(line.split()[:2] == ["L2", "seeds"] for line in lines)
    assert next(line for line in lines if " seeds " in line).endswith("how many seeds there are")


def test_a_verdict_is_no_error(said: Callable[..., str], row: None, tmp_path: Path) -> None:
    where = ["--out", tmp_path / "out", "--runs", tmp_path / "runs"]
    text = said("reproduce", "seeds", "--quick", *where)
    assert "Claim: there are two." in text and "**does not hold** in this quick version: quick: True" in text
    assert "**holds**: quick: False" in said("reproduce", "seeds", "--seeds", "2", *where)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"seeds.png", "seeds.json", "README.md"}


def test_a_failure_is(row: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    assert main(["reproduce", "seeds", *where]) == 1, "three seeds by default"
    assert capsys.readouterr().err.endswith("ganvas: 1 of 1 figures failed: seeds: too many\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sedes"], "unknown figure 'sedes'. Did you mean 'seeds'?"),
        (["seeds", "--seeds", "0"], "--seeds 0: it takes at least 1."),
    ],
)
def test_mistakes_are_explained(words: list[str], message: str, said: Callable[..., str], row: None) -> None:
    assert message in said("reproduce", *words, status=1)
