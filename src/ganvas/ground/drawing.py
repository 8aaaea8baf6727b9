"""How the figures look: one style, and pictures of images inside of matplotlib's axes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganvas.ground import plots
from ganvas.ground.files import replace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

INK, GREY = "#222222", "#9a9a9a"
# Okabe & Ito's colours, told apart by colour-blind readers too; ours comes first, what it stands beside after it.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE: dict[str, Any] = {
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}


def style() -> AbstractContextManager[Any]:
    """While it is entered, matplotlib draws as we do; the lab enters it around every row."""
    import matplotlib
    from cycler import cycler

    chosen: Any = {**STYLE, "axes.prop_cycle": cycler(color=COLOURS)}
    return matplotlib.rc_context(chosen)


def figure(width: float, height: float) -> Figure:
    """An empty figure of this many inches, its axes laid out so that nothing overlaps."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def show(axes: Axes, images: Tensor, title: str = "", columns: int | None = None) -> None:
    """Images (N, C, H, W) in [0, 1] as a grid in `axes`, with neither ticks nor frame."""
    picture = plots.grid(images, columns)
    axes.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=255)
    axes.set(title=title, xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def strips(axes: Axes, rows: Mapping[str, Tensor]) -> None:
    """Rows of images (N, C, H, W) under one another in `axes`, each with its name before it."""
    import torch

    columns = len(next(iter(rows.values())))
    show(axes, torch.cat(list(rows.values())), columns=columns)
    height = axes.get_images()[0].get_size()[0] / len(rows)
    axes.set_yticks([(place + 0.5) * height for place in range(len(rows))], list(rows))
    axes.tick_params(length=0)


def packed(images: Tensor) -> str:
    """Images (N, C, H, W) in [0, 1] as text, a WebP file in base 64: near them, and a tenth as long."""
    from PIL import Image

    rows = (plots.visible(images).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).flatten(0, 1).numpy()
    file = io.BytesIO()
    Image.fromarray(rows.squeeze(-1) if rows.shape[-1] == 1 else rows).save(file, "WebP", quality=90)
    return base64.b64encode(file.getvalue()).decode()


def unpacked(text: str, n: int) -> Tensor:
    """The n images that were `packed`, (n, 3, H, W) in [0, 1]; grey ones have three equal channels."""
    import torch
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        rows = torch.from_numpy(np.array(image.convert("RGB")))
    return torch.unflatten(rows, 0, (n, -1)).permute(0, 3, 1, 2).float() / 255


def save(drawn: Any, path: Path) -> Path:
    """Write a matplotlib Figure, or a picture uint8 (H, W, C), as PNG, aside first."""
    if not hasattr(drawn, "savefig"):
        return plots.save(drawn, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, lambda part: drawn.savefig(part, format="png"))
    return path
