"""The codes of a data set, as a file."""

from __future__ import annotations

import zipfile
from pathlib import Path

from numpy.lib import format as npy

from ganvas.data import Dataset
from ganvas.data.loader import to_tensor
from ganvas.data.store import tracked
from ganvas.files import replace
from ganvas.models import Model
from ganvas.models.base import CHUNK


def write_codes(path: Path, model: Model, dataset: Dataset) -> Path:
    """Write an .npz that is never whole in memory: for each split float32 codes (N, latent_dim), and its labels.

    Args:
        path: of the file, which is written aside and renamed.
        model: one that encodes.
        dataset: whose images it takes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, lambda part: _write(part, model, dataset))
    return path


def _write(path: Path, model: Model, dataset: Dataset) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, split in dataset.splits.items():
            starts = range(0, len(split), CHUNK)
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(split), model.config.latent_dim)}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                npy.write_array_header_1_0(file, header)
                for start in tracked(starts, len(starts), f"encoding {name}", True):
                    codes = model.encode(to_tensor(split.images[start : start + CHUNK], model.device))
                    file.write(codes.cpu().numpy().astype("<f4").tobytes())
            if split.labels is not None:
                with archive.open(f"{name}_labels.npy", "w", force_zip64=True) as file:
                    npy.write_array(file, split.labels, allow_pickle=False)
