"""The codes of a data set, as a file."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ganvas.data import Dataset, Split
from ganvas.data.loader import to_tensor
from ganvas.data.store import tracked
from ganvas.ground.arguments import OutTable, checked
from ganvas.ground.files import replace
from ganvas.models import Model
from ganvas.models.base import CHUNK
from ganvas.models.inversion import invert


@checked
def write_codes(path: OutTable, model: Model, dataset: Dataset) -> Path:
    """Write the codes of each split, with what leads back to its images; never whole in memory.

    An .npz holds for each split float32 codes (N, latent_dim), and as SPLIT_labels, SPLIT_names, SPLIT_order and
    classes what the data set knows. A .csv has a line an image: split, name, label, order, z0, z1, ...

    The codes of a GAN are found by `ganvas.models.inversion.invert`, and with them is how far off what it gives for
    them is: SPLIT_distances, or a column distance before z0.

    Args:
        path: of the file, .npz or .csv, which is written aside and renamed.
        model: one that encodes, or a GAN.
        dataset: whose images it takes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_csv if path.suffix.lower() == ".csv" else _write
    replace(path, lambda part: write(part, model, dataset))
    return path


def _codes(model: Model, split: Split, name: str) -> Iterator[tuple[slice, NDArray[Any], NDArray[Any] | None]]:
    """Rows of a split, their codes, and of a GAN the distances of what it gives for them."""
    starts = range(0, len(split), CHUNK)
    for start in tracked(starts, len(starts), f"encoding {name}", True):
        rows = slice(start, start + CHUNK)
        images = to_tensor(split.images[rows], model.device)
        if hasattr(model, "encode"):
            yield rows, model.encode(images).flatten(1).cpu().numpy().astype("<f4"), None
        else:
            found = invert(model, images)
            yield rows, found.codes.numpy().astype("<f4"), found.distances.numpy()


def _write_csv(path: Path, model: Model, dataset: Dataset) -> None:
    columns = ["label"] if dataset.attributes is None else list(dataset.attributes)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        far = [] if hasattr(model, "encode") else ["distance"]
        table.writerow(["split", "name", *columns, "order", *far, *(f"z{i}" for i in range(model.latent_dim))])
        for name, split in dataset.splits.items():
            for rows, codes, distances in _codes(model, split, name):
                n = len(codes)
                off = [[]] * n if distances is None else [[f"{distance:.4g}"] for distance in distances]
                names = [""] * n if split.names is None else split.names[rows].tolist()
                order = [""] * n if split.order is None else split.order[rows].tolist()
                labels = [[""] * len(columns)] * n
                if split.labels is not None:
                    labels = [_label(row, dataset) for row in split.labels[rows]]
                lines = zip(names, labels, order, off, codes, strict=True)
                table.writerows([name, file, *label, at, *far, *map(str, z)] for file, label, at, far, z in lines)


def _label(row: Any, dataset: Dataset) -> list[Any]:
    if np.ndim(row):
        return list(row.tolist())
    return [("" if row < 0 else dataset.classes[row]) if dataset.classes else int(row)]


def _write(path: Path, model: Model, dataset: Dataset) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, split in dataset.splits.items():
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(split), model.latent_dim)}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                npy.write_array_header_1_0(file, header)
                off = []
                for _, codes, distances in _codes(model, split, name):
                    file.write(codes.tobytes())
                    off += [] if distances is None else [distances]
            if off:
                _put(archive, f"{name}_distances", np.concatenate(off))
            for kind, values in (("labels", split.labels), ("names", split.names), ("order", split.order)):
                if values is not None:
                    _put(archive, f"{name}_{kind}", values)
        if dataset.classes is not None:
            _put(archive, "classes", np.array(dataset.classes))


def _put(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        npy.write_array(file, np.asarray(values), allow_pickle=False)
