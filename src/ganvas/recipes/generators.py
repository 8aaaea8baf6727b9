"""The three generators that Arjovsky et al. 2017 compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ganvas.nets.dcgan import DCGAN
    from ganvas.nets.mlp import MLP


def make(
    name: str, filters: int, kernel: Literal[4, 5], up: Literal["transposed", "resize"] = "transposed"
) -> DCGAN | MLP:
    """The net of "dcgan" (figure 5), "constant" (figure 6) or "mlp" (figure 7)."""
    from ganvas.nets.dcgan import DCGAN
    from ganvas.nets.mlp import MLP

    nets: dict[str, Any] = {
        "dcgan": DCGAN(filters=filters, kernel=kernel, up=up),
        "constant": DCGAN(filters=filters, kernel=kernel, norm="none", widen=False, up=up),
        "mlp": MLP(hidden=(512, 512, 512, 512)),
    }
    return nets[name]  # type: ignore[no-any-return]
