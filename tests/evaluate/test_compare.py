import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from ganvas.evaluate.compare import best, compare, differ, markdown, notes, render, spread
from ganvas.evaluate.figures import Figure, mean
from ganvas.evaluate.record import Record
from ganvas.ground.errors import UserError

RANDOM = np.random.default_rng(0)
EACH = 100 + 30 * RANDOM.standard_normal(500)
FACTS: dict[str, Any] = {
    "seed": 0,
    "command": "ganvas evaluate <it>",
    "ganvas": "1",
    "commit": "abc",
    "machine": {"processor": "one", "cores": 2},
    "date": "2026-01-01",
    "seconds": 1.0,
}


def recorded(*figures: Figure, **data: str) -> list[Record]:
    where = {"name": "digits", "shape": "1 x 8 x 8", "fingerprint": "a" * 64, "split": "test", **data}
    return [Record("metric", figures, where, FACTS)]


def nll(shift: float, seed: int = 1, noise: float = 1.0) -> Figure:
    each = EACH + shift + noise * np.random.default_rng(seed).standard_normal(500)
    return mean("NLL", each, unit="nats", better="lower", protocol="K = 5")


@pytest.mark.parametrize(("shift", "seed"), [(0.05, 2), (0.2, 2), (0.08, 3), (1.0, 4)])
def test_the_same_images_are_compared_one_by_one(shift: float, seed: int) -> None:
    """By a paired test; the means' own errors of 1.3 would hide a difference of 1."""
    a, b = nll(0), nll(shift, seed)
    assert differ(a, b) == (ttest_rel(a.each, b.each).pvalue < 0.05)
    unpaired = Figure(b.name, b.value, b.error, b.n)
    assert not differ(a, unpaired)


def test_without_images_by_the_errors() -> None:
    a = Figure("x", 1.0, 0.3, 10)
    assert not differ(a, Figure("x", 1.9, 0.4, 10)) and differ(a, Figure("x", 2.0, 0.4, 10))  # 1.96 * 0.5 = 0.98
    assert differ(Figure("modes", 8, None, 10), Figure("modes", 7, None, 10))


@pytest.mark.parametrize(("way", "expected"), [("lower", ("a",)), ("higher", ("c", "b")), (2.0, ("b", "c")), ("", ())])
def test_the_best_and_those_within_the_error(way: Any, expected: tuple[str, ...]) -> None:
    cells = {name: Figure("x", value, 0.1, 10, better=way) for name, value in (("a", 1.0), ("b", 2.1), ("c", 2.2))}
    assert best(cells) == expected
    assert best({"a": cells["a"]}) == (), "one alone is not best"


def test_only_like_is_set_beside_like() -> None:
    rows = compare(
        {
            "a": recorded(nll(0), Figure("FID", 3.0, 0.1, 5, better="lower", protocol="inception")),
            "b": recorded(nll(1), Figure("FID", 2.0, 0.1, 5, better="lower", protocol="other")),
            "c": recorded(nll(2), fingerprint="b" * 64),
        }
    )
    assert [sorted(row.cells) for row in rows] == [["a", "b"], ["a"], ["b"], ["c"]]
    assert rows[0].best == ("a",) and rows[0].protocol == "digits, test, 1 x 8 x 8; K = 5"


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (87.3456, 0.25, "87.35 ± 0.49"),
        (1234.5, 30.0, "1234 ± 59"),
        (0.5, None, "0.5"),
        (0.98, 0.0001, "0.98000 ± 0.00020"),
        (16.0, 0.0, "16"),
    ],
)
def test_as_many_digits_as_the_error_allows(value: float, error: float | None, said: str) -> None:
    assert spread(Figure("x", value, error, 10)) == said


@pytest.fixture
def evaluations() -> dict[str, list[Record]]:
    few = Figure("recall", 0.5, 0.1, 10, better="higher", protocol="pca", note="take more")
    more = Figure("recall", 0.6, 0.1, 10, better="higher", protocol="pca")
    return {"runs/a": recorded(nll(0), few), "runs/<b>|": recorded(nll(1), more)}


def test_markdown(evaluations: dict[str, list[Record]]) -> None:
    text = markdown(compare(evaluations), list(evaluations))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1, "as many cells in each line"
    a = evaluations["runs/a"][0].figures[0]
    assert f"| NLL (nats) | **{spread(a)}** | " in text
    assert "| recall | 0.50 ± 0.20 ≈ * | **0.60 ± 0.20** |" in text
    assert "* runs/a, recall: take more." in text and notes(compare(evaluations)) == ["* runs/a, recall: take more."]


def test_html_has_the_pictures_and_escapes_names(evaluations: dict[str, list[Record]], tmp_path: Path) -> None:
    picture = tmp_path / "samples.png"
    picture.write_bytes(b"\x89PNG")
    text = render(evaluations, {"runs/<b>|": picture}, ".html")
    assert "<b>|" not in text.replace("&lt;b&gt;|", "") and text.count("data:image/png;base64,iVBORw==") == 1
    assert text.count("<tr>") == 1 + 2 + 2 and "<b>0.60 ± 0.20</b>" in text
    assert "http" not in text.replace('lang="en"', ""), "nothing is fetched"


def test_json_and_csv_have_everything(evaluations: dict[str, list[Record]]) -> None:
    rows = json.loads(render(evaluations, {}, ".json"))
    assert len(rows) == 4 and rows[0]["figure"] == "NLL" and rows[0]["subject"] == "runs/a"
    assert rows[0]["high"] - rows[0]["value"] == pytest.approx(1.96 * rows[0]["error"])
    lines = list(csv.DictReader(io.StringIO(render(evaluations, {}, ".csv"))))
    assert [float(line["value"]) for line in lines] == [row["value"] for row in rows]
    assert lines[1]["note"] == "take more" and lines[0]["fingerprint"] == "a" * 64
    assert math.isclose(float(lines[0]["low"]), rows[0]["low"])


def test_another_format() -> None:
    with pytest.raises(UserError, match=r"'.xlsx'; a comparison is written as .md, .html, .csv, .json"):
        render({}, {}, ".xlsx")
