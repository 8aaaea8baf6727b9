"""The three generators that Arjovsky et al. 2017 compare."""

from __future__ import annotations

from typing import Any, Literal


def make(name: Any, filters: int, kernel: Literal[4, 5], up: Literal["transposed", "resize"] = "transposed") -> Any:
    """The net of "dcgan" (figure 5), "constant" (figure 6) or "mlp" (figure 7); or that of settings of a net."""
    from ganvas.parts.nets import NETS
    from ganvas.parts.nets.dcgan import DCGAN
    from ganvas.parts.nets.mlp import MLP

    nets: dict[str, Any] = {
        "dcgan": DCGAN(filters=filters, kernel=kernel, up=up),
        "constant": DCGAN(filters=filters, kernel=kernel, norm="none", widen=False, up=up),
        "mlp": MLP(hidden=(512, 512, 512, 512)),
    }
    return nets[name] if isinstance(name, str) else NETS.parse(name)
