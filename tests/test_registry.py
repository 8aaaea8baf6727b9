from typing import Any

import pytest

from ganvas.errors import UserError
from ganvas.registry import Count, Registry, build, dump, kind, settings

SHAPES = Registry("shape")


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
