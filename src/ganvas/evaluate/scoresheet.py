"""The scores of images as a table, and a page that shows the strangest ones first."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganvas import plots
from ganvas.evaluate.anomalies import Scored, heat, imitations
from ganvas.evaluate.scores import Rows
from ganvas.models import Model

COLUMNS = ("file", "label", "order", "score", "p_value", "alarm")


def write_table(path: Path, found: Scored, rows: Rows, classes: tuple[str, ...] | None) -> None:
    """A line an image, in the order of `rows`: its file as `write_codes` names it, label, place in the source, score,
    p-value, and 1 for an alarm.
    """
    names, order, labels = _named(rows, classes)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        said = ([f"{score:.6g}", f"{p:.6g}"] for score, p in zip(found.scores, found.p_values, strict=True))
        lines = zip(names, labels, order, said, found.alarms, strict=True)
        table.writerows([name, label, at, *both, int(alarm)] for name, label, at, both, alarm in lines)


def page(
    found: Scored, model: Model, rows: Rows, classes: tuple[str, ...] | None, lines: Sequence[tuple[str, str]], n: int
) -> str:
    """One HTML file: what was found, and the n strangest images, each beside what the model gives for it.

    Args:
        found: the scores.
        model: that gave them.
        rows: the images.
        classes: the names of their labels.
        lines: names and values, for its head.
        n: how many.
    """
    shown = found.order[:n]
    names, order, labels = _named(rows.part(shown), classes)
    pictures = _pictures(model, rows[shown])
    cards = []
    for i, place in enumerate(shown):
        alarm = "<b>alarm</b>" if found.alarms[place] else "no alarm"
        words = [names[i] or f"number {order[i] if order[i] != '' else place}", labels[i]]
        title = ", ".join(html.escape(str(word)) for word in words if word != "")
        figures = f"score {found.scores[place]:.4g}, p {found.p_values[place]:.3g}"
        cards.append(f"<figure>{pictures[i]}<figcaption>{title}<br>{figures}, {alarm}</figcaption></figure>")
    head = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in lines)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>What does not belong</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; }}
td, th {{ border-bottom: 1px solid #8884; padding: .3rem .8rem; text-align: left; vertical-align: top; }}
figure {{ display: inline-block; margin: 1rem 1rem 0 0; vertical-align: top; width: 16rem; overflow-wrap: anywhere; }}
img {{ image-rendering: pixelated; width: 100%; }}
figcaption {{ font-size: 13px; }}
</style>
<h1>What does not belong</h1>
<table>{head}</table>
<p>The {len(shown):,} strangest of {len(found):,}, the strangest first. Each image, what the model gives for it,
and where they differ: black is no difference, white the largest on this page.</p>
{"".join(cards)}
</html>
"""


def _pictures(model: Model, images: Tensor) -> list[str]:
    """An image, its imitation and their difference side by side, as HTML; of rows of numbers nothing."""
    if images.dim() != 4:
        return [""] * len(images)
    again = imitations(model, images)
    triples = zip(coloured(images), coloured(again), heat(images, again), strict=True)
    return [_embedded(plots.grid(torch.stack(triple), 3)) for triple in triples]


def coloured(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with three channels: of other than 3 and 4 the mean."""
    channels = images.shape[1]
    return images[:, :3] if channels in (3, 4) else images.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def _embedded(picture: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def _named(rows: Rows, classes: tuple[str, ...] | None) -> tuple[list[Any], list[Any], list[Any]]:
    """Names, places in the source and labels; "" where nobody knows."""
    blank = np.full(len(rows), "")
    names, order, labels = (
        blank if found is None else found for found in map(rows.known, ("names", "order", "labels"))
    )
    if labels.ndim == 2:
        words = [" ".join(map(str, row)) for row in labels.tolist()]
    else:
        words = [classes[label] if classes and label != "" else label for label in labels.tolist()]
    return names.tolist(), order.tolist(), words
