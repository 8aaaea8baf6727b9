"""ganvas: train, measure, explain and explore autoencoders, VAEs and GANs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ganvas.version import __version__ as __version__

if TYPE_CHECKING:
    from ganvas import data
    from ganvas.latent import explore
    from ganvas.notebook import show
    from ganvas.training.run import Run, load
    from ganvas.training.train import resume, train
    from ganvas.tuning.tune import tune

__all__ = ["Run", "data", "explore", "load", "resume", "show", "train", "tune"]

_MODULES = {"data": "ganvas.data", "explore": "ganvas.latent.explore"}
_HOMES = {
    "train": "ganvas.training.train",
    "resume": "ganvas.training.train",
    "Run": "ganvas.training.run",
    "load": "ganvas.training.run",
    "show": "ganvas.notebook",
    "tune": "ganvas.tuning",
}


def __getattr__(name: str) -> Any:
    """The public names, loaded when they are first asked for: `import ganvas` alone imports no torch."""
    if name not in __all__:
        raise AttributeError(f"module 'ganvas' has no attribute {name!r}; it has {', '.join(__all__)}")
    import_module("ganvas.ground.threads").settle()  # before torch is imported, which reads it once
    if name in _MODULES:
        return import_module(_MODULES[name])
    found = getattr(import_module(_HOMES[name]), name)
    # The door stands here, too: the studio imports `load` and must not wait for NumPy.
    return found if isinstance(found, type) else import_module("ganvas.ground.arguments").checked(found)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
