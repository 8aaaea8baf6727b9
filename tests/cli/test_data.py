"""data list, data show."""

from collections.abc import Callable

Said = Callable[..., str]


def test_sets(said: Said) -> None:
    assert "digits" in said("data", "list") == said("data")
    shown = said("data", "show", "digits", "--size", 6, 4, "--channels", 3)
    assert "3 x 6 x 4 (channels x height x width)" in shown
