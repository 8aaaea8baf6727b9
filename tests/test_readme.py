import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ganvas

README = Path(__file__).parents[1] / "README.md"
DOCS = README.parent / "docs"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path], dict[str, Any]]:
    """Runs a file's examples one after another, as they stand but for smaller data and one epoch."""
    train, number = ganvas.train, itertools.count()

    def small(recipe: str, data: str, **settings: Any) -> ganvas.Run:
        return train(recipe, data=data, out=tmp_path / str(next(number)), **{"epochs": 1, **settings})

    def examples(file: Path) -> dict[str, Any]:
        found = re.findall(r"```python\n(.*?)```", file.read_text(encoding="utf-8"), re.S)
        names: dict[str, Any] = {}
        exec("\n".join(found).replace('"mnist"', '"digits"'), names)
        return names

    monkeypatch.setattr(ganvas, "train", small, raising=False)
    return examples


def test_the_readme_s_example_runs(run: Callable[[Path], dict[str, Any]]) -> None:
    names = run(README)
    assert names["images"].shape == (64, 1, 8, 8)
    assert names["codes"].shape == (64, 2) and names["nats"].shape == (64,)


@pytest.mark.filterwarnings("ignore:.*singular")
def test_the_guide_s_examples_run(run: Callable[[Path], dict[str, Any]]) -> None:
    names = run(DOCS / "guide.md")
    assert names["plane"].shape == (400, 1, 8, 8) and names["ways"].shape == (2, 10, 1, 8, 8)
    assert names["nine"].shape == (9, 1, 8, 8) and names["distances"].shape == (10, 1)


def test_the_verdicts_are_those_of_the_results() -> None:
    page = (DOCS / "lecture.md").read_text()
    said = dict(re.findall(r"\(\.\./results/README\.md#([\w-]+)\) (holds|does not hold)", page))
    files = sorted((README.parent / "results").glob("*.json"))
    made = [facts for facts in (json.loads(file.read_text()) for file in files) if "lecture" in facts]
    assert said == {facts["name"]: "holds" if facts["holds"] else "does not hold" for facts in made}
    assert not any(facts["quick"] for facts in made)
    assert all((README.parent / "results" / f"{facts['name']}.png").is_file() for facts in made)


def test_the_speeds_are_those_of_the_benchmark() -> None:
    said = (DOCS / "speed.md").read_text()
    rows = re.findall(r"^\|.*\|$", said, re.M)
    measured = (README.parent / "benchmarks" / "table.md").read_text().splitlines()
    assert len(rows) > 10 and set(rows) <= set(measured)


PAGES = [
    README,
    *DOCS.rglob("*.md"),
    *(page for name in ("results", "benchmarks") for page in (README.parent / name).glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(README.parent)))
def test_links_lead_somewhere(page: Path) -> None:
    """To files that are there, and to headings that these have."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text):
        file, _, heading = "".join(target).partition("#")
        if file.startswith(("http:", "https:", "mailto:")):
            continue
        other = page.parent / file if file else page
        assert other.exists(), f"{page.name} links to {file}, which is not there"
        if heading:
            said = other.read_text(encoding="utf-8")
            slugs = {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in said.splitlines()}
            anchors = re.findall(r"(?:id|name)=\"([^\"]+)\"", said)
            assert heading in {*anchors, *slugs}, f"{page.name} links to #{heading} of {other.name}, which is not there"
