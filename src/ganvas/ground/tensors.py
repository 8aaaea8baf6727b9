"""Tensors in a safetensors file, each with its checksum: what a disk has changed is found when it is read.

The checksums stand in the file's metadata, so that there is one file to rename. CRC-32 finds every flipped bit; it is
no guard against a person who changes a file on purpose.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganvas.ground.errors import UserError
from ganvas.ground.files import replace

SUMS, FORMAT, OURS = "checksums", "format", "ganvas 1"  # two marks: a bit that hides one leaves the other


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> None:
    """Write tensors, and facts as text, aside first.

    Raises:
        WriteError: see `ganvas.ground.files.writing`.
    """
    kept = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    facts = dict(facts or {})
    sums = {name: checksum(name, tensor) for name, tensor in kept.items()} | {"": _text(facts)}

    def write(part: Path) -> None:
        save_file(kept, part, metadata=facts | {FORMAT: OURS, SUMS: json.dumps(sums)})
        _order(part)

    replace(path, write)


def _order(path: Path) -> None:
    """Put a file's facts in order: safetensors 0.8 writes them in another one each time, and equal models differ."""
    with path.open("rb+") as file:
        n = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(n))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= n:
            file.seek(8)
            file.write(text.ljust(n))


def load(path: Path, part: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors whose names begin with `part`, named by what follows it; and the facts.

    A file without checksums, of an earlier release or another program, is taken as it is.

    Raises:
        UserError: the file is damaged.
        FileNotFoundError: there is none.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(part)]  # noqa: SIM118
            found = {name: file.get_tensor(name) for name in names}
            facts = dict(file.metadata() or {})
        ours, sums = facts.pop(FORMAT, None) == OURS, json.loads(facts.pop(SUMS, "null"))
        if ours or sums is not None:
            seen = {name: checksum(name, tensor) for name, tensor in found.items()} | {"": _text(facts)}
            kept = {name: value for name, value in sums.items() if name.startswith(part) or not name}
            if wrong := sorted(name for name in seen.keys() | kept.keys() if seen.get(name) != kept.get(name)):
                raise ValueError(f"the checksum of {wrong[0] or 'its facts'} is another")
    except (SafetensorError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}).") from error
    return {name.removeprefix(part): tensor for name, tensor in found.items()}, facts


def checksum(name: str, tensor: Tensor) -> int:
    """The CRC-32 of a tensor on the CPU, of its name, type and shape: a few GB a second."""
    about = f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, zlib.crc32(about))


def _text(facts: Mapping[str, str]) -> int:
    return zlib.crc32(json.dumps(facts, sort_keys=True).encode())
