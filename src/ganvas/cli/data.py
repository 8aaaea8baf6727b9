"""Verbs about data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ganvas.cli.shared import DATA, Strict, table, takes
from ganvas.ground.errors import UserError

if TYPE_CHECKING:
    from ganvas.data import Dataset


def data_list() -> None:
    """The data sets that have a name: shape, what is fetched when they are first used, and how many there are to train
    on, to validate and to test; `ganvas data show DATA` describes one, or images of your own.

    Example:
        ganvas data list
    """
    from ganvas.data import names

    table(
        [
            *names().items(),
            ("", "(numbers: of train / validation / test)"),
            ("or your own", "a folder or zip of images, an image, .tar, .parquet, .npy, .npz, .amat, or .csv"),
        ]
    )


@takes("Data")
def data_show(
    data: Annotated[str, "DATA", DATA],
    /,
    *,
    strict: Strict = False,
    out: Annotated[Path | None, "PNG", "also a picture of 64 of its images"] = None,
    **how: Any,
) -> None:
    """What is in a data set, what was chosen for it, and how its images are prepared; of files of your own also what
    they are: sizes, modes, values. What `ganvas train vae` would choose for it is said; or why it would be refused.

    Example:
        ganvas data show ./photos --size 64
    """
    from ganvas.data import describe, names
    from ganvas.data.look import look, refusal
    from ganvas.recipes.base import Data

    try:
        found = Data(source=data).load(strict=strict, **how)
    except UserError as error:
        table(refusal(data, error))
        return
    table([*describe(found), *([] if data in names() else look(data)), *_chosen(found)])
    if out:
        from ganvas.data.loader import to_tensor
        from ganvas.ground import plots

        if len(found.shape) != 3 or found.shape[0] not in (1, 3, 4):
            raise UserError(f"--out {out}: rows of shape {found.shape} are no images that can be drawn.")
        part = max(found.splits.values(), key=len)
        images = to_tensor(part.images[: min(64, len(part))])
        print(plots.save(plots.grid(images[:, :3]), out))


def _chosen(dataset: Dataset) -> list[tuple[str, str]]:
    """What the recipe `vae` would choose, and why."""
    from ganvas.recipes import RECIPES
    from ganvas.recipes.facts import Facts

    facts = Facts.of(dataset)
    RECIPES["vae"](facts=facts)
    return [("vae would take", line) for line in facts.chosen]


HELP = """\
  data list                     the data sets that have a name
  data show DATA                what is in one, or in a folder, zip, .npy, .npz
"""
VERBS: dict[str, Callable[..., None]] = {"data list": data_list, "data show": data_show}
