"""WebDataset's shards: tar files of groups, such as 0001.png, 0001.cls and 0001.json, read in place."""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.data import arrays, store
from ganvas.data.imagefiles import Files, Scanned, stamps, suffixes
from ganvas.ground.errors import UserError

_BRACE = re.compile(r"\{(\d+)\.\.(\d+)\}")
LARGEST = 2**29  # bytes of one image
MOST = 100_000  # shards of a pattern


def find(source: str) -> list[Path]:
    """The shards of a pattern such as "set-{000..127}.tar", of a folder, or the one of that path.

    Raises:
        UserError: one of the pattern isn't there.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return sorted(path.glob("*.tar"))
    if not (found := _BRACE.search(source)):
        return [path] if path.suffix.lower() == ".tar" else []
    first, last = found.groups()
    if int(last) < int(first):
        raise UserError(f"{source!r}: {first}..{last} counts down, and holds no shard.")
    if int(last) - int(first) >= MOST:
        raise UserError(f"{source!r} names {int(last) - int(first) + 1:,} shards: it takes at most {MOST:,}.")
    paths: list[Path] = []
    for number in range(int(first), int(last) + 1):
        paths += find(f"{source[: found.start()]}{number:0{len(first)}d}{source[found.end() :]}")
    if missing := [path for path in paths if not path.is_file()]:
        raise UserError(
            f"{source!r}: {len(missing):,} of {len(paths):,} shards are not there, the first {missing[0].name!r}."
        )
    return [path.absolute() for path in paths]


def read(paths: Sequence[Path]) -> Scanned:
    """The images of shards, and their labels: of .cls, or "label" in .json; shards named train and test split.

    Raises:
        UserError: once they are scanned: a file that is no tar, or a compressed one; two images in a group, or a group
            without its label.
    """
    return Scanned(paths, lambda: _files(paths))


def _files(paths: Sequence[Path]) -> Files:
    note = store.digest("shards", stamps(paths), *sorted(suffixes()))
    found = store.noted(note, lambda: _scan(paths))
    images: dict[str, tuple[Path, int, int]]
    images = {name: (paths[place], start, size) for name, (place, start, size) in found["images"].items()}

    def encoded(name: str) -> bytes:
        path, start, size = images[name]
        if size > LARGEST:
            raise ValueError(f"refused: {size:,} bytes, over {LARGEST:,}")
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    labels = arrays.whole(np.array(found["labels"], object), f"{paths[0]}: the labels") if found["labels"] else None
    return Files(tuple(images), "", found["ignored"], encoded, labels)


def _scan(paths: Sequence[Path]) -> dict[str, Any]:
    """What lies in the shards, JSON: "images" by name, "labels" of these or none, and how many were "ignored"."""
    images: dict[str, tuple[int, int, int]] = {}  # which shard, where in it the image begins, and its size
    labels: dict[str, Any] = {}
    ignored: Counter[str] = Counter()
    for place, (path, split) in enumerate(zip(paths, arrays.splits_of(paths), strict=True)):
        groups: dict[str, dict[str, tarfile.TarInfo]] = {}
        try:
            with tarfile.open(path, "r:") as shard:
                for member in shard:
                    folder, _, base = member.name.removeprefix("./").rpartition("/")
                    key, _, kind = base.partition(".")
                    if member.isreg() and key and kind and not member.issparse():
                        groups.setdefault(f"{folder}/{key}".strip("/"), {})[kind.lower()] = member
                for key, group in groups.items():
                    name = f"{split}{path.stem}-{key.replace('/', '-')}"
                    kinds = [kind for kind in group if f".{kind.rsplit('.', 1)[-1]}" in suffixes()]
                    if not kinds:
                        ignored.update(f".{kind}" for kind in group)
                        continue
                    if len(kinds) > 1:
                        raise UserError(f"{path}: {key!r} has {len(kinds)} images, {', '.join(kinds)}: it takes one.")
                    member = group[kinds[0]]
                    images[f"{name}.{kinds[0]}"] = place, member.offset_data, member.size
                    if (label := _label(shard, group, f"{path}: {key!r}")) is not None:
                        labels[f"{name}.{kinds[0]}"] = label
        except (OSError, tarfile.TarError) as error:
            raise UserError(f"{path} cannot be read as a tar file, not compressed: {error}.") from error
    if not images:
        raise UserError(f"{paths[0]} holds no images: {dict(ignored)}.")
    return {"images": images, "labels": [labels.get(name) for name in images if labels], "ignored": ignored}


def _label(shard: tarfile.TarFile, group: dict[str, tarfile.TarInfo], what: str) -> int | str | None:
    def text(kind: str) -> str:
        file = shard.extractfile(group[kind])
        return "" if file is None else file.read(2**20).decode("utf-8").strip()

    try:
        if "cls" in group:
            value: Any = text("cls")
        elif "json" in group:
            facts = json.loads(text("json"))
            value = next((facts[name] for name in arrays.LABELS if isinstance(facts, dict) and name in facts), None)
        else:
            return None
    except ValueError as error:
        raise UserError(f"{what}: its label cannot be read: {error}.") from error
    if value is None:
        return None
    return value if type(value) is int else str(value)
