"""The other side of (e): a `Dataset` that opens each file with Pillow, behind a `DataLoader` of two workers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import peak_memory, serve
from PIL import Image
from torch import Tensor


class Folder(torch.utils.data.Dataset[Tensor]):
    """The images of a folder, scaled to a square: the files here are square."""

    def __init__(self, path: str, size: int) -> None:
        self.files, self.size = sorted(Path(path).iterdir()), size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.files[index]) as image:
            pixels = image.convert("RGB").resize((self.size, self.size), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float().div_(255)


def measure(path: str, size: int, batch_size: int) -> dict[str, Any]:
    """Figures of two epochs."""
    loader = torch.utils.data.DataLoader(
        Folder(path, size), batch_size, shuffle=True, num_workers=2, persistent_workers=True
    )
    answer = {}
    for epoch in ("first", "second"):
        with peak_memory() as memory:
            began = time.perf_counter()
            count = sum(len(batch) for batch in loader)
            seconds = time.perf_counter() - began
        answer[epoch] = {"images/s": count / seconds, **memory}
    return answer


if __name__ == "__main__":
    serve(measure)
