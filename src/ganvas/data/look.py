"""What lies in a source as it is, before anything is chosen for it: also where nothing could be trained on it."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.data import arrays, folder, imagefiles, parquet, shards
from ganvas.data.imagefiles import Files
from ganvas.ground.errors import UserError

SHOWN = 6  # sizes, modes and refused files that are named


def packed(source: str) -> Files | None:
    """The images of shards and parquet files, of a path or pattern; None: it is none, or a folder of images beside.

    Raises:
        UserError: a shard that is missing; once they are scanned, one or a parquet file that cannot be read.
    """
    path = Path(source)
    if path.is_dir() and imagefiles.holds_images(path):
        return None
    if tars := shards.find(source):
        return shards.read(tars)
    tables = parquet.find(path)
    return parquet.read(tables) if tables else None


def files_of(source: str) -> Files | None:
    """The image files of a path or pattern; None: it holds none, but perhaps arrays or tables.

    Raises:
        UserError: a zip, shard or parquet file that cannot be read.
    """
    path = Path(source)
    if (files := packed(source)) is not None:
        return files
    if path.is_dir() or path.suffix.lower() == ".zip":
        return imagefiles.in_place(path)
    return imagefiles.one(path) if path.is_file() and imagefiles.is_image(path) else None


def look(source: str) -> list[tuple[str, str]]:
    """(field, value) pairs: how many files and images, their sizes, modes and values; of arrays shape, type and values.

    Nothing for what is neither.
    """
    path = Path(source).expanduser().absolute()
    if path.suffix.lower() in (".npy", ".npz") and path.is_file():
        return [(f"array {name}", _array(value)) for name, value in sorted(arrays.read(path).items())]
    files = files_of(str(path))
    if files is None or not files.names:
        return []
    pages, refused = folder.Pages(), list[str]()
    for name, found in zip(files.names, folder.survey(files, str(path), progress=False), strict=True):
        if isinstance(found, str):
            refused.append(f"{name}: {found}")
        else:
            pages += found
    lines = [("files", f"{len(files.names):,}, of {len(pages):,} images")]
    lines += [("refused", line) for line in refused[:SHOWN]]
    lines += [("refused", f"and {len(refused) - SHOWN:,} more")] if len(refused) > SHOWN else []
    if pages:
        lines.append(("sizes", _counted(Counter(f"{page.size[0]} x {page.size[1]}" for page in pages))))
        lines.append(("modes", _counted(Counter(page.mode for page in pages))))
        low, high = min(page.low for page in pages), max(page.high for page in pages)
        wide = f"from {low:.7g} to {high:.7g}" if any(page.wide for page in pages) else "8 bits"
        lines.append(("values", wide))
    return lines


def _counted(counts: Counter[str]) -> str:
    """The most common ones, each with a bar of its share."""
    total, most = counts.total(), counts.most_common(SHOWN)
    named = [f"{name} {count:,} {'#' * max(1, round(20 * count / total))}" for name, count in most]
    rest = total - sum(count for _, count in most)
    return ", ".join(named + ([f"{len(counts) - SHOWN:,} others {rest:,}"] if rest else []))


def _array(values: Any) -> str:
    said = f"{values.dtype} {values.shape}"
    if values.dtype.kind not in "biuf" or not prod(values.shape) or not values.ndim:
        return said
    ends = [(part.min(), part.max(), part.size - np.isfinite(part).sum()) for part in arrays.chunks(values)]
    if bad := sum(int(odd) for _, _, odd in ends):
        return f"{said}, {bad:,} values are not numbers"
    return f"{said}, values from {min(low for low, _, _ in ends):.7g} to {max(high for _, high, _ in ends):.7g}"


def refusal(source: str, error: UserError) -> list[tuple[str, str]]:
    """What lies in a source that cannot be trained on, and why.

    Raises:
        UserError: the same error, where nothing can be said of the source.
    """
    try:
        lines = look(source)
    except UserError:
        lines = []
    if not lines:
        raise error
    return [*lines, ("train refuses", str(error))]
