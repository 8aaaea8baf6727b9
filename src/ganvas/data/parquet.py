"""Parquet files with a column of encoded images, as Hugging Face writes them (needs the extra 'parquet')."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ganvas.data import arrays, unpacking
from ganvas.data.imagefiles import Files, Scanned
from ganvas.ground.errors import UserError

GROUPS = 4  # row groups that are in memory at a time


def find(path: Path) -> list[Path]:
    """The parquet file of that path, or those of a folder or of its subfolder `data`, where Hugging Face has them."""
    if not path.is_dir():
        return [path] if path.suffix.lower() == ".parquet" else []
    return sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet"))


def read(paths: Sequence[Path]) -> Scanned:
    """The images of parquet files, and their labels, if there is a column of them; files named train and test split.

    Raises:
        UserError: once they are scanned: the package is missing; a file that is none, without a column of images, or of
            other columns than the first; an image or label that is missing, by its row.
    """
    return Scanned(paths, lambda: _scan(paths))


def _scan(paths: Sequence[Path]) -> Files:
    try:
        pq = import_module("pyarrow.parquet")
    except ImportError as error:
        raise UserError("parquet files need the extra: pip install 'ganvas[parquet]'.") from error
    places: dict[str, tuple[int, int, int]] = {}  # the file, row group and row of each image
    labels: list[Any] = []
    opened: list[Any] = []
    splits = arrays.splits_of(paths)
    column = label = None
    for place, path in enumerate(paths):
        try:
            file = pq.ParquetFile(path, memory_map=True)
            if place == 0:
                column, label = _columns(file, path)
            if missing := [name for name in (column, label) if name and name not in file.schema_arrow.names]:
                raise UserError(f"{path} has no column {missing[0]!r}, which {paths[0].name} has.")
            # Equal images lie in the file once, and so in memory: a small file may say one of them a million times.
            leaves = [file.schema.column(i).path for i in range(len(file.schema))]
            leaves = [leaf for leaf in leaves if leaf in (column, f"{column}.bytes")]
            file = pq.ParquetFile(path, memory_map=True, read_dictionary=leaves)
            groups = range(file.num_row_groups)
            unpacking.check_file(path, sum(file.metadata.row_group(group).total_byte_size for group in groups))
            rows = [
                file.read_row_group(group, columns=[label])[label].to_pylist()
                if label
                else [None] * file.metadata.row_group(group).num_rows
                for group in groups
            ]
        except UserError:
            raise
        except Exception as error:  # pyarrow's own, of several lines, and others
            raise UserError(f"{path} cannot be read as a parquet file: {' '.join(str(error).split())}.") from error
        opened.append(file)
        named = _class_names(file, label)
        each = [(group, i, value) for group, part in enumerate(rows) for i, value in enumerate(part)]
        for row, (group, i, value) in enumerate(each):
            if named and value is not None and not (type(value) is int and -1 <= value < len(named)):
                raise UserError(f"{path} row {row}: {label} is {value}, no class; leave the row or the file out.")
            places[f"{splits[place]}{path.stem}-{row:07d}"] = place, group, i
            value = None if named and value == -1 else value  # Hugging Face's blank
            labels.append(named[value] if named and value is not None else value)
    lock = Lock()

    @lru_cache(GROUPS)
    def images(place: int, group: int) -> Any:
        return opened[place].read_row_group(group, columns=[column])[column]

    def encoded(name: str) -> bytes:
        with lock:
            value = images(*places[name][:2])[places[name][2]].as_py()
        if isinstance(value, dict):
            file = value.get("path")
            value = value["bytes"]
            if value is None and file:
                raise ValueError(f"its row has a path alone, {file!r}, and no bytes")
        if value is None:
            raise ValueError("its row has no image")
        return bytes(value)

    return Files(
        tuple(places),
        "",
        {},
        encoded,
        arrays.whole(np.array(labels, object), f"{paths[0]}: {label}") if label else None,
    )


def _columns(file: Any, path: Path) -> tuple[str, str | None]:
    """The names of the column of images, and of that of labels."""
    types = import_module("pyarrow").types
    schema = file.schema_arrow

    def holds_bytes(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    able = [field.name for field in schema if holds_bytes(field.type)]
    if not able:
        raise UserError(f"{path} has columns {schema.names}, and none holds encoded images (bytes, or bytes and path).")
    image = next((name for name in able if name in ("image", "img", "picture")), able[0])
    return image, next((name for name in arrays.LABELS if name in schema.names and name != image), None)


def _class_names(file: Any, label: str | None) -> list[str] | None:
    """The names of the classes that Hugging Face's metadata state."""
    try:
        facts = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])
        names = facts["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names]
