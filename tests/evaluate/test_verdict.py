from typing import Any

import pytest

from ganvas.evaluate.figures import Figure
from ganvas.evaluate.record import Record
from ganvas.evaluate.verdict import verdict


def records(*figures: Figure) -> list[Record]:
    return [Record("any", (it,), {}, {}) for it in figures]


def figure(name: str, value: float, error: float | None = None, n: int = 200, **facts: Any) -> Figure:
    return Figure(name, value, error, n, **facts)


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        (
            [figure("FID", 12.34, 0.5, of_data=3.6)],
            "further from .* than training images are (FID 12.3, .* images 3.6)",
        ),
        ([figure("FID", 12.34, 5.0, of_data=3.6)], "no further from "),
        ([figure("FID", 3.0, 0.1, of_data=3.6)], "no further from "),
        ([figure("kernel distance", 0.2, 0.01, of_data=-0.01)], "further from .* (kernel distance 0.2, .* -0.01)"),
        (
            [figure("coverage", 0.71, of_data=0.96)],
            "come near to 71 % of the real .* (coverage, of training images 96 %)",
        ),
        ([figure("recall", 0.71)], "71 % of the real images lie among them (recall)."),
        ([figure("modes", 24, unit="of 25")], "they reach 24 of 25 modes"),
        ([figure("copies of a training image", 0.0)], "0 of 200 are copies"),
        ([figure("copies of a training image", 0.015)], "3 of 200 are copies"),
        ([figure("ELBO", -87.34)], "at least -87.3 nats on average (ELBO)"),
        ([figure("ELBO", -87.34), figure("NLL", 85.2)], "at least -85.2 nats on average (NLL)"),
        (
            [figure("NLL", 85.2, unit="nats per image", note="few"), figure("NLL", 1.9, unit="bits per dimension")],
            "at least -85.2 nats on average (NLL)",
        ),
        ([figure("active units", 12, unit="of 20")], "the codes use 12 of 20 dimensions"),
        (
            [figure("linear probe of codes", 0.93), figure("linear probe of PCA", 0.91)],
            "reads 93 % of the labels from the codes, 91 % from as many numbers of PCA",
        ),
    ],
)
def test_each_figure_stands_beside_what_it_is_held_against(figures: list[Figure], says: str) -> None:
    said = verdict(records(*figures))
    assert said.startswith("In short: ") and said.endswith(".") and said.count("; ") == 0
    place = 0
    for part in says.split(" .* "):
        assert part in said[place:], said
        place = said.index(part, place)


def test_what_is_noted_as_misleading_is_not_taken_where_there_is_another() -> None:
    noted = figure("FID", 50.0, 1.0, of_data=9.0, note="far too large")
    assert "(KID 0.1, " in verdict(records(noted, figure("KID", 0.1, 0.01, of_data=0.0)))
    assert "(FID 50, " in verdict(records(noted))
    assert "FID 4," in verdict(records(noted, figure("FID", 4.0, 1.0, of_data=9.0)))


def test_what_is_not_known_is_not_said() -> None:
    assert verdict(records(figure("two-sample p-value", 0.3), figure("FID", 3.0))) == ""
