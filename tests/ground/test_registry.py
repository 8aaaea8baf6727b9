import inspect
from typing import Annotated, Any, Literal

import pytest

from ganvas.cli.flags import choices, flags
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.registry import (
    Count,
    Positive,
    Registry,
    as_json,
    build,
    dump,
    flagged,
    kind,
    parameters,
    settings,
    takes,
)

SHAPES = Registry("shape")


class Solid:
    """What all solids inherit."""


SOLIDS = Registry("solid", Solid)


@SHAPES.register
@settings
class RoundBox:
    sides: Count = 4


@settings
class Holder:
    shape: SHAPES.field = RoundBox()  # type: ignore[valid-type]
    name: str = "x"


def test_names_are_made_from_class_names() -> None:
    assert kind(RoundBox) == "round-box"
    assert list(SHAPES) == ["round-box"]


def test_json_in_and_out() -> None:
    holder = build(Holder, {"shape": {"kind": "round-box", "sides": 7}})
    assert holder.shape == RoundBox(sides=7)
    assert dump(holder) == {"kind": "holder", "shape": {"kind": "round-box", "sides": 7}, "name": "x"}
    assert build(Holder, {k: v for k, v in dump(holder).items() if k != "kind"}) == holder
    assert build(Holder, {"shape": "round-box"}).shape == RoundBox()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"shape": {"kind": "round-box", "sides": 0}}, "sides: 0 is refused: should be greater than or equal to 1"),
        ({"shape": {"kind": "roundbox"}}, "unknown shape 'roundbox'. Did you mean 'round-box'?"),
        ({"shape": 3}, "3 is not a shape"),
        ({"nme": "y"}, "unknown setting 'nme' of Holder"),
    ],
)
def test_refusals_name_the_value_and_the_remedy(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as refused:
        build(Holder, values)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@settings
class Cube(Solid):
    """Not registered."""

    edge: Positive = 1.0

    def volume(self) -> float:
        return self.edge**3


@settings
class Square:
    edge: Positive = 1.0


@pytest.fixture(autouse=True)
def none_is_known_before() -> None:
    SOLIDS.clear()


def test_an_object_of_ones_own_settings_is_known_from_then_on() -> None:
    assert not SOLIDS
    assert SOLIDS.parse(Cube(edge=2)) == Cube(edge=2)
    assert list(SOLIDS) == ["cube"]


def test_a_file_is_read_by_what_this_process_has_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its class in any module; none is imported for it."""
    assert SOLIDS.parse({"kind": "cube", "edge": 3}) == Cube(edge=3)
    SOLIDS.clear()
    monkeypatch.setattr("ganvas.ground.registry._SETTINGS", {})
    with pytest.raises(
        UserError, match=r"unknown solid 'cube'\. Known: \. One of your own is known once the module that"
    ):
        SOLIDS.parse({"kind": "cube", "edge": 3})


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Square(), "is not a solid: its class does not inherit Solid. Known: "),
        (3, "3 is not a solid: its class does not inherit Solid."),
        (Cube, "is not a solid: its class does not inherit Solid."),
        ({"kind": "square"}, "unknown solid 'square'"),
        ({"kind": "os.system"}, "unknown solid 'os.system'"),
    ],
)
def test_what_lacks_something_is_refused(value: Any, says: str) -> None:
    with pytest.raises(UserError) as refused:
        SOLIDS.parse(value)
    assert says in str(refused.value) and not SOLIDS


def test_a_name_that_is_taken_is_refused() -> None:
    def made(module: str) -> Any:
        body = {"__module__": module, "__qualname__": "Cube", "volume": lambda self: self.edge**3}
        return settings(type("Cube", (Solid,), {**body, "__annotations__": {"edge": float}}))

    first, again, other = made("one"), made("one"), made("two")
    SOLIDS.register(first)
    SOLIDS.register(first)
    SOLIDS.register(again)
    assert SOLIDS["cube"] is again, "as where a notebook's cell is run again"
    with pytest.raises(
        UserError, match=r"one\.Cube is the solid 'cube' already: give it another name, or a `kind` of its"
    ):
        SOLIDS.register(other)
    with pytest.raises(UserError, match="already"):
        SOLIDS.parse(other(edge=1))
    assert SOLIDS["cube"] is again


def test_a_class_may_have_another_name_in_files_than_its_own() -> None:
    @settings
    class Dice(Cube):
        kind = "cube"

    SOLIDS.register(Dice)
    assert kind(Dice) == "cube" and dump(Dice(edge=2)) == {"kind": "cube", "edge": 2}
    assert SOLIDS.parse({"kind": "cube", "edge": 2}) == Dice(edge=2)

    @settings
    class Loaded(Dice):
        pass

    assert kind(Loaded) == "loaded", "it is not inherited"


def test_settings_deep_in_values_are_json_too() -> None:
    assert as_json({"a": [Cube(edge=2), 1], "b": (None, Square())}) == {
        "a": [{"kind": "cube", "edge": 2}, 1],
        "b": (None, {"kind": "square", "edge": 1}),
    }


@settings
class Trip:
    """Two flags and a field."""

    days: Annotated[Count, "INT", "how many"] = 3
    by: Annotated[Literal["foot", "bike"] | None, "NAME", "of the way"] = None
    guide: bool = False


def test_a_function_takes_the_flags_of_settings() -> None:
    @takes(Trip)
    def go(place: str, **settings: Any) -> Any:
        return place, settings

    assert list(inspect.signature(go).parameters) == ["place", "days", "by", "settings"]
    assert list(parameters(go)) == ["place", "days", "by"] and list(flagged(Trip)) == ["days", "by"]
    assert checked(go)("hill", days=2, by="bike", guide=True) == ("hill", {"days": 2, "by": "bike", "guide": True})
    assert checked(go)("hill", days=None) == ("hill", {"days": None})
    for wrong in ({"days": 0}, {"days": "x"}, {"by": "car"}):
        with pytest.raises(UserError, match=f"{next(iter(wrong))}: .* is refused"):
            checked(go)("hill", **wrong)
    found = {flag.name: flag for flag in flags(go)}
    assert (found["days"].metavar, found["days"].help) == ("INT", "how many") and choices(found["by"].kind) == [
        "foot",
        "bike",
    ]

    @takes(unchecked=(Trip,))
    def roam(**settings: Any) -> Any:
        return settings

    assert checked(roam)(days="x") == {"days": "x"}
