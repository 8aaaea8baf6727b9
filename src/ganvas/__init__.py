"""ganvas: train, measure, explain and explore autoencoders, VAEs and GANs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganvas import explore
    from ganvas.training.run import Run
    from ganvas.training.stored import load
    from ganvas.training.train import resume, train

__version__ = "0.1.0"
__all__ = ["Run", "explore", "load", "resume", "train"]

_HOMES = {
    "train": "ganvas.training.train",
    "resume": "ganvas.training.train",
    "Run": "ganvas.training.run",
    "load": "ganvas.training.stored",
}


def __getattr__(name: str) -> Any:
    """The public names, loaded when they are first asked for: `import ganvas` alone imports no torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "explore":
        return import_module("ganvas.explore")
    raise AttributeError(f"module 'ganvas' has no attribute {name!r}")
