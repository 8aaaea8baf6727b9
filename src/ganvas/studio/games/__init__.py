"""Small games that train while somebody watches."""

from __future__ import annotations

import dataclasses
from typing import Any

from ganvas.ground.registry import dump
from ganvas.parts.losses import GAN_LOSSES
from ganvas.parts.techniques import TECHNIQUES
from ganvas.studio.games.base import GAMES as GAMES
from ganvas.studio.games.line import Line as Line
from ganvas.studio.games.plane import Plane as Plane


def options() -> dict[str, Any]:
    """What there is to choose from, for the page: losses and techniques, what they say of themselves, and defaults."""

    def first(item: Any) -> str:
        return str(item.__doc__).split("\n\n")[0].strip()

    def default(made: Any) -> float | bool:
        value = next((field.default for field in dataclasses.fields(made)), True)
        return value if isinstance(value, int | float) else True

    dressing = {name: made for name, made in TECHNIQUES.items() if not (made.of_images or made.of_init)}
    return {
        "losses": {name: first(loss) for name, loss in GAN_LOSSES.items()},
        "techniques": {name: {"value": default(made), "says": first(made)} for name, made in dressing.items()},
        "games": {name: dump(made()) for name, made in GAMES.items()},
    }
