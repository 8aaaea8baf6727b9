"""Verbs about data sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from ganvas.cli.shared import DATA, Channels, Labels, Limit, Range, Size, Strict, table


def data_list() -> None:
    """The data sets that have a name; `ganvas data show DATA` describes one, or images of your own.

    Example:
        ganvas data list
    """
    from ganvas.data import names

    table(
        [
            *names().items(),
            ("or your own", "a folder or zip of images, an image, .npy, .npz, .amat, or .csv of numbers"),
        ]
    )


def data_show(
    data: Annotated[str, "DATA", DATA],
    /,
    *,
    size: Size = None,
    channels: Channels = None,
    labels: Labels = None,
    range: Range = None,
    limit: Limit = None,
    strict: Strict = False,
) -> None:
    """What is in a data set, and how its images are prepared.

    Example:
        ganvas data show ./photos --size 64
    """
    from ganvas.data import describe, load

    table(describe(load(data, size=size, channels=channels, labels=labels, range=range, limit=limit, strict=strict)))


HELP = """\
  data list                     the data sets that have a name
  data show DATA                what is in one, or in a folder, zip, .npy, .npz
"""
VERBS: dict[str, Callable[..., None]] = {"data list": data_list, "data show": data_show}
