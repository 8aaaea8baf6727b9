"""What a notebook shows of runs, models and images."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.registry import Count

if TYPE_CHECKING:
    from ganvas.evaluate.anomaly.anomalies import Scored
    from ganvas.models import Model
    from ganvas.training.run import Run

WIDTH, HEIGHT = 360, 160  # of a curve, in CSS pixels
COLOURS = {"train": "#8a8f98", "validation": "#d4380d"}
SHOWN = 32  # samples of a model
CHANNELS = (1, 3, 4)
PICTURES = ("samples", "reconstructions")


@checked
def show(images: Any, columns: Count | None = None) -> Image.Image:
    """Images as one picture, which a notebook draws; `.save("file.png")` and `.show()` are the picture's own.

    Args:
        images: (N, C, H, W) or (N, H, W, C), floats in [0, 1] or uint8; a tensor, an array, PIL images, paths; one
            image may come alone. Points (N, 2) are drawn as dots.
        columns: in a row; about as many as rows by default.

    Raises:
        UserError: no images, or some that differ in size, or of another range.
    """
    from ganvas.data.reading import read_rows
    from ganvas.ground import plots

    rows = read_rows(images, _shape(images))
    if not len(rows):
        raise UserError("there are no images to show.")
    picture = plots.grid(rows, columns)
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)


def _shape(images: Any) -> tuple[int, ...]:
    """(C, H, W) of images, or (2,) of points; of pictures and files: of the first."""
    while isinstance(images, list | tuple) and images:
        images = images[0]
    if isinstance(images, str | Path):
        from ganvas.data import pixels

        try:
            page = pixels.survey(Path(images).read_bytes(), 1)[0]
        except Exception as error:  # Pillow raises whatever its parsers run into
            raise UserError(f"{str(images)!r} cannot be read as an image: {pixels.reason(error)}.") from error
        return {"L": 1, "RGBA": 4}.get(page.mode, 3), *page.size
    if isinstance(images, Image.Image):
        return len(images.getbands()) if images.mode in ("L", "RGB", "RGBA") else 3, images.height, images.width
    shape = tuple(getattr(images, "shape", ()))
    if 0 in shape:
        raise UserError(f"images of shape {shape}: there are no images to show.")
    if len(shape) == 2 and shape[1] == 2:
        return shape[1:]
    if len(shape) == 2:
        return 1, *shape
    if len(shape) == 3 and shape[0] not in CHANNELS and shape[2] not in CHANNELS:
        return 1, *shape[1:]
    if len(shape) in (3, 4):
        shape = shape[-3:]
        if shape[0] in CHANNELS:
            return shape
        if shape[2] in CHANNELS:
            return shape[2], *shape[:2]
    raise UserError(f"images of shape {shape}: show takes (N, C, H, W) or (N, H, W, C), of 1, 3 or 4 channels.")


def of_run(run: Run) -> str:
    """A run as HTML: what it is, curves, test figures, findings, its newest pictures."""
    rows, state = run.metrics, run.state
    parts = [_title(repr(run).strip("<>"))]
    parts += [_curve(rows, name) for name in _curved(rows)]
    if test := state.get("test"):
        parts.append(_table({f"test {name}": f"{value:.4g}" for name, value in test.items()}))
    for finding in run.findings:
        parts.append(f"<p>{html.escape(str(finding))}</p>")
    for kind in PICTURES:
        if files := sorted((run.path / kind).glob("*.png")):
            parts.append(f"<figure><figcaption>{kind}</figcaption>{_picture(Image.open(files[-1]))}</figure>")
    return "<div>" + "".join(parts) + "</div>"


def page(run: Run, lines: Sequence[tuple[str, str]]) -> str:
    """A run as one HTML file to look at and to mail: what it is, what the watch found, its newest pictures, all curves.

    `lines`: names and values; settings, which stand folded at the end, begin with two spaces.
    """
    from ganvas.ground.sheet import figure, sheet

    rows = run.metrics
    pictures = [(kind, files[-1]) for kind in PICTURES if (files := sorted((run.path / kind).glob("*.png")))]
    names = dict.fromkeys(name for row in rows if row["split"] in COLOURS for name in row)
    curves = [_curve(rows, name) for name in names if name not in ("step", "epoch", "split")]
    found = [str(finding) for finding in run.findings]
    settings = [(name.strip(), value) for name, value in lines if name.startswith("  ")]
    folded = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in settings)
    return sheet(
        f"{run.recipe.name}: {run.path.name}",
        [*(it for it in lines if not it[0].startswith("  ")), *(("finding", text) for text in found)],
        "" if found else "The watch has found nothing wrong.",
        [
            *(figure(_picture(Image.open(file)), f"{kind}, {file.stem}", wide=True) for kind, file in pictures),
            *curves,
            f"<details><summary>settings</summary><table>{folded}</table></details>",
        ],
    )


def of_model(model: Model) -> str:
    """A model as HTML: what it is, and samples where it draws any."""
    parts = [_title(repr(model).strip("<>"))]
    if hasattr(type(model), "sample") and len(model.shape) == 3 and model.shape[0] in (1, 3, 4):
        parts.append(_picture(show(model.sample(SHOWN), 8)))
    return "<div>" + "".join(parts) + "</div>"


def of_scored(found: Scored) -> str:
    """Scores as HTML: how many alarms, and the strangest images, below each what the model gives for it."""
    from ganvas.ground import plots

    parts = [_title(repr(found).strip("<>"))]
    if found.strangest.dim() == 4 and found.strangest.shape[1] in CHANNELS:
        picture = plots.rows(found.strangest, found.imitations, columns=8)
        parts.append(_picture(Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)))
    return "<div>" + "".join(parts) + "</div>"


def _title(text: str) -> str:
    return f"<p><b>{html.escape(text)}</b></p>"


def _table(values: Mapping[str, str]) -> str:
    cells = "".join(f"<tr><td>{html.escape(name)}</td><td>{value}</td></tr>" for name, value in values.items())
    return f"<table>{cells}</table>"


def _picture(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _curved(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The figures that are worth a curve: the loss of each player."""
    names = dict.fromkeys(name for row in rows if row["split"] == "train" for name in row)
    return [name for name in names if name.rpartition("/")[2] == "loss"]


def _curve(rows: Iterable[Mapping[str, Any]], name: str) -> str:
    """A figure over the epochs as SVG, a line for each split."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["split"] in COLOURS and name in row:
            found.setdefault(row["split"], []).append((row["epoch"], row[name]))
    points = [point for line in found.values() for point in line]
    if len(points) < 3:
        return ""
    last = max(x for x, _ in points)
    # The first losses are often far above the rest, which alone is worth looking at.
    values = sorted(y for _, y in points)
    low, high = values[0], values[int(0.95 * (len(values) - 1))]
    scale = (HEIGHT - 40) / (high - low or 1.0)
    lines = []
    for split, line in found.items():
        places = " ".join(
            f"{40 + (WIDTH - 50) * x / last:.1f},{HEIGHT - 20 - scale * (min(y, high) - low):.1f}" for x, y in line
        )
        lines.append(f'<polyline points="{places}" fill="none" stroke="{COLOURS[split]}" stroke-width="1.5"/>')
    texts = [
        (40, 12, f"{name} ({', '.join(found)})"),
        (0, 24, f"{high:.4g}"),
        (0, HEIGHT - 20, f"{low:.4g}"),
        (WIDTH - 80, HEIGHT - 4, f"epoch {last:.4g}"),
    ]
    written = "".join(f'<text x="{x}" y="{y}">{html.escape(text)}</text>' for x, y, text in texts)
    style = 'style="font: 10px sans-serif; fill: #8a8f98"'
    return f'<svg width="{WIDTH}" height="{HEIGHT}" {style}>{"".join(lines)}{written}</svg>'
