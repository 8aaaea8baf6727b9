"""Where a run computes: its device, its precision, and the processes that share it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from ganvas.ground.arguments import device
from ganvas.ground.errors import UserError
from ganvas.training import peers

T = TypeVar("T")


def choose_device(name: str) -> torch.device:
    """The device of that name, see `ganvas.ground.arguments.device`.

    Raises:
        UserError: there is none such here.
    """
    found: torch.device = device(name)
    return found


def make_accelerator(where: torch.device) -> Accelerator:
    """The processes of this run: one, or those that `torchrun` or `accelerate launch` started, which are waited for.

    Precision is not its business: it would be fixed for the life of the Python process.

    Raises:
        UserError: not all of them have come.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    peers.watch(where)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="OMP_NUM_THREADS")
        return Accelerator(cpu=several and where.type == "cpu", device_placement=False, mixed_precision="no")


def on_main(accelerator: Accelerator, function: Callable[[], T]) -> T:
    """Call `function` in the main process; its result, or its refusal, is every process's."""
    outcome: list[T | UserError | None] = [None]
    if accelerator.is_main_process:
        try:
            outcome[0] = function()
        except UserError as error:
            outcome[0] = error
    if accelerator.num_processes > 1:
        broadcast_object_list(outcome)
    if isinstance(outcome[0], UserError):
        raise outcome[0]
    return outcome[0]  # type: ignore[return-value]


def mean(accelerator: Accelerator, parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Scalars, each the mean of its values in all processes."""
    if accelerator.num_processes == 1:
        return parts
    values = accelerator.reduce(torch.stack(list(parts.values())), "mean")
    return dict(zip(parts, values, strict=True))
