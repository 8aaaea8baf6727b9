"""The pages of docs/metrics: every example runs, and prints what its comments say."""

import functools
import io
import itertools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import examples

import ganvas
from ganvas import evaluate

METRICS = Path(__file__).parents[1] / "docs" / "metrics"
PAGES = sorted(METRICS.glob("*.md"))
NUMBER = r"(?<![\w.])-?(?:\d+(?:\.\d+)?(?:e-?\d+)?|inf|nan)(?!\w)"


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ganvas.Run]:
    """`ganvas.train` into a folder of its own; pages that train the same model share it."""
    real, number = ganvas.train, itertools.count()
    folder = tmp_path_factory.mktemp("runs")
    return functools.cache(lambda recipe, **settings: real(recipe, out=folder / str(next(number)), **settings))


def expected(program: str) -> dict[int, list[tuple[float, float]]]:
    """What each print is said to print, (number, tolerance): its comment, and the comments alone on the next lines.

    A number without a tolerance is rounded: `0.97` is anything from 0.965 to 0.975.
    """
    said: dict[int, list[tuple[float, float]]] = {}
    place = 0
    for number, line in enumerate(program.splitlines(), 1):
        code, _, comment = line.partition("# ")
        if code.strip():
            place = number if code.strip().startswith("print(") else 0
        for value, tolerance in re.findall(rf"({NUMBER})(?: ± ({NUMBER}))?", comment if place else ""):
            half_unit = 0.5000001 * 10.0 ** -len(value.partition(".")[2])
            said.setdefault(place, []).append((float(value), float(tolerance) if tolerance else half_unit))
    return said


def printed(program: str, page: Path) -> dict[int, list[float]]:
    """The numbers that each line's prints print when the program runs."""
    found: dict[int, list[float]] = {}

    def note(*values: Any) -> None:
        text = io.StringIO()
        print(*values, file=text)
        found.setdefault(sys._getframe(1).f_lineno, []).extend(map(float, re.findall(NUMBER, text.getvalue())))

    exec(compile(program, page.name, "exec"), {"print": note})
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_print_what_they_say(
    page: Path, train: Callable[..., ganvas.Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ganvas, "train", train, raising=False)
    monkeypatch.chdir(tmp_path)
    program = examples(page)
    said, found = expected(program), printed(program, page)
    assert said.keys() == found.keys(), "a print without a number in its comment, or a comment without one"
    for line, values in said.items():
        assert len(values) == len(found[line]), (line, values, found[line])
        for (value, tolerance), number in zip(values, found[line], strict=True):
            assert number == pytest.approx(value, rel=0, abs=tolerance), f"{page.name}, line {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if "://" not in link and not (page.parent / link).is_file()]
    assert page.stem == "README" or "https://" in "".join(links), "a page cites its source"


def test_every_page_is_in_the_index() -> None:
    index = (METRICS / "README.md").read_text(encoding="utf-8")
    assert {page.name for page in PAGES} - {"README.md"} == set(re.findall(r"\]\(([\w-]+\.md)\)", index))


@pytest.mark.parametrize(
    "name", [*evaluate.__all__, "annealed", "features", "kernel_distance", "log_prob", "memorising", "parzen"]
)
def test_every_measure_is_on_a_page(name: str) -> None:
    assert any(re.search(rf"\b{name}\b", page.read_text(encoding="utf-8")) for page in PAGES)


def test_a_wrong_number_is_found() -> None:
    program = 'for n in (1, 2):\n    print(f"{n / 4:.3f} of {n}")  # 0.25 of 1\n    # 0.4 ± 0.2 of 2\nx = 3  # 3\n'
    said, found = expected(program), printed(program, Path("page"))
    assert list(said) == list(found) == [2]
    assert found[2] == [0.25, 1, 0.5, 2]
    assert [value for value, _ in said[2]] == [0.25, 1, 0.4, 2]
    assert [tolerance for _, tolerance in said[2]] == pytest.approx([0.005, 0.5, 0.2, 0.5], rel=1e-6)
