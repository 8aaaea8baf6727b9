"""The order of the house: floors, and no circles."""

import importlib.util
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def house() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_house", DOCS / "make_house.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_file_imports_one_that_imports_it(house: ModuleType) -> None:
    """Directly or by others; annotations count, too. A circle raises, and names its files."""
    assert len(list(TopologicalSorter(house.modules(called=False)).static_order())) > 200


def test_rooms_are_in_floors(house: ModuleType) -> None:
    """What a function imports when it is called counts, too."""
    order = list(TopologicalSorter(house.rooms()).static_order())
    assert order[:4] == ["ground", "data", "parts", "models"] and order[-2:] == ["studio", "cli"]


def test_the_picture_is_current(house: ModuleType) -> None:
    assert (DOCS / "house.svg").read_text() == house.drawn(), "run: python docs/make_house.py"


def test_imports_are_found(house: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    lines = ["import a", "from b import c, d", "if TYPE_CHECKING:", "    from e import f", "def g():", "    import h"]
    file.write_text("\n".join(lines))
    known = dict.fromkeys(["a", "b", "b.c", "e", "h"], file)
    assert house.imports(file, known, called=False) == {"a", "b", "b.c", "e"}
    assert house.imports(file, known, called=True) == {"a", "b", "b.c", "e", "h"}


def test_superfluous_arrows_are_left_out(house: ModuleType) -> None:
    below = {"roof": {"wall", "ground"}, "wall": {"ground"}, "ground": set()}
    assert house.nearest(below) == {"roof": {"wall"}, "wall": {"ground"}, "ground": set()}
    assert house.floors(below) == {"roof": 2, "wall": 1, "ground": 0}
