"""The verb that searches settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from ganvas.cli.shared import DATA, table, takes


@takes("Data", "Training")
def _tuning(
    *,
    data: Annotated[str | None, "DATA", f"{DATA} (default: mnist)"] = None,
    minutes: Annotated[float, "FLOAT", "of the whole search"] = 60.0,
    over: Annotated[tuple[str, ...], "NAME[=...]...", "what varies: lr, lr=1e-4..1e-2, net=mlp,residual"] = (),
    by: Annotated[str | None, "METRIC", "that decides: kernel, nll, ... or loss (default: kernel)"] = None,
    jobs: Annotated[int, "INT", "trainings at once, each on a GPU of its own if there are some"] = 1,
    condition: Annotated[tuple[str, ...], "NAME...", "labels that the model is told: class, or attributes"] = (),
    lr: Annotated[float | None, "FLOAT", "learning rate (default: the recipe's)"] = None,
    out: Annotated[Path | None, "DIR", "the search's folder (default: runs/tune-RECIPE-DATA)"] = None,
    **settings: Any,
) -> None:
    """Search for the settings of a recipe that make the best model in some minutes, and say which of them can't be
    told apart. Many are trained briefly, a third of them longer; what is given as a flag stays as it is.
    `ganvas tune --resume DIR` continues a search, also while another process works on it.

    Example:
        ganvas tune vae --data ./photos --minutes 60 --over latent_dim lr
    """


def _resuming(
    *,
    resume: Annotated[Path, "DIR", "a search's folder"],
    minutes: Annotated[float | None, "FLOAT", "of the search in all, to search longer"] = None,
    jobs: Annotated[int, "INT", "trainings at once"] = 1,
) -> None:
    """Continue a search.

    Example:
        ganvas tune --resume runs/tune-vae-mnist
    """


def tune(words: list[str]) -> int:
    """Search a recipe's settings, or continue a search."""
    from ganvas.cli.flags import of_recipe

    asked = of_recipe("tune", words, FLAGS, RESUMING)
    if asked is None:
        return 0
    name, values = asked
    from ganvas import tuning

    tuned = tuning.tune(name, **values) if name else tuning.go_on(values["resume"], values["jobs"], values["minutes"])
    table(tuned.lines)
    return 0


FLAGS, RESUMING = _tuning, _resuming
HELP = """\
  tune RECIPE --data DATA       the settings that make the best model
"""
