"""Pictures of images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganvas.files import replace


def grid(images: Tensor, columns: int | None = None) -> NDArray[np.uint8]:
    """Images (N, C, H, W) in [0, 1], row by row, as one picture uint8 (H', W', C) with lines between them.

    Points (N, 2) are drawn as dots on a square from -1.2 to 1.2 times the largest coordinate.
    """
    if images.dim() == 2:
        canvas = np.full((256, 256, 1), 255, np.uint8)
        xy = images.detach().cpu().numpy()
        reach = 1.2 * max(1e-6, float(np.abs(xy).max()))
        places = np.clip(((xy / reach + 1) * 128).astype(int), 0, 255)
        canvas[255 - places[:, 1], places[:, 0]] = 0
        return canvas
    n, c, h, w = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    zoom = max(1, 56 // max(h, w))
    cells = (images.detach().float().cpu().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    cells = cells.repeat(zoom, 1).repeat(zoom, 2)
    h, w = h * zoom, w * zoom
    canvas = np.full((rows * (h + 2) + 2, columns * (w + 2) + 2, c), 90, np.uint8)
    for i, cell in enumerate(cells):
        y, x = 2 + i // columns * (h + 2), 2 + i % columns * (w + 2)
        canvas[y : y + h, x : x + w] = cell
    return canvas


def rows(*images: Tensor, columns: int = 10) -> NDArray[np.uint8]:
    """Batches (N, C, H, W) of one size under one another: ten of the first, the same ten of the next, and so on."""
    columns = min(columns, len(images[0]))
    parts = zip(*(torch.split(batch.cpu(), columns) for batch in images), strict=True)
    full = [torch.cat([part, part.new_ones(columns - len(part), *part.shape[1:])]) for row in parts for part in row]
    return grid(torch.cat(full), columns)


def save(picture: NDArray[np.uint8], path: Path) -> Path:
    """Write a picture uint8 (H, W, C) as PNG, aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    replace(path, lambda part: image.save(part, format="PNG"))
    return path
