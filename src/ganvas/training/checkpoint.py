"""Checkpoints: everything that moves in a run, in one safetensors file."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganvas.errors import UserError
from ganvas.files import replace

KEEP = 2


def save(folder: Path, step: int, tensors: dict[str, Tensor], facts: dict[str, str]) -> Path:
    """Write the checkpoint of `step`; then drop all but the newest two."""
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:09d}.safetensors"
    tensors = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    replace(path, lambda part: save_file(tensors, part, metadata=facts))
    for old in sorted(folder.glob("step-*.safetensors"))[:-KEEP]:
        old.unlink()
    return path


def load(path: Path, part: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a checkpoint whose names begin with `part`, named by what follows it; and its facts.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(part)]  # noqa: SIM118
            return {name.removeprefix(part): file.get_tensor(name) for name in names}, file.metadata()
    except SafetensorError as error:
        raise UserError(
            f"{path} is damaged ({error}); remove it, and the run goes on from the checkpoint before it, or anew."
        ) from error
