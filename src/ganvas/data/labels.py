"""What a data set's labels say, by their names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ganvas.data.dataset import Dataset
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError


@checked
def attributes(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """The names of the values of each label column; classes are the values of one that is called "class".

    Raises:
        UserError: the data set has no labels.
    """
    labels = dataset.splits["train"].labels
    if labels is None:
        raise UserError(f"the data set {dataset.name!r} has no labels: take --labels, or a labelled data set.")
    from ganvas.data.avatars import VALUES

    def values(given: tuple[str, ...] | None, column: NDArray[np.int64]) -> tuple[str, ...]:
        return given or tuple(map(str, range(int(column.max()) + 1)))

    if dataset.attributes is None:
        return {"class": values(dataset.classes, labels)}
    columns = zip(dataset.attributes, labels.T, strict=True)
    return {name: values(VALUES.get(name), column) for name, column in columns}
