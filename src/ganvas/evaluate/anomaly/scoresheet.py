"""The scores of images as a table, and a page that shows the strangest ones first."""

from __future__ import annotations

import csv
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.evaluate.anomaly.anomalies import Scored, heat, imitations
from ganvas.evaluate.anomaly.scores import Rows
from ganvas.ground import plots
from ganvas.ground.sheet import coloured, embedded, figure, sheet
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
        cards.append(figure(pictures[i], f"{title}<br>{figures}, {alarm}"))
    said = (
        f"The {len(shown):,} strangest of {len(found):,}, the strangest first. Each image, what the model gives for "
        "it, and where they differ: black is no difference, white the largest on this page."
    )
    return sheet("What does not belong", lines, said, cards)


def _pictures(model: Model, images: Tensor) -> list[str]:
    """An image, its imitation and their difference side by side, as HTML; of rows of numbers nothing."""
    if images.dim() != 4:
        return [""] * len(images)
    again = imitations(model, images)
    triples = zip(coloured(images), coloured(again), heat(images, again), strict=True)
    return [embedded(plots.grid(torch.stack(triple), 3)) for triple in triples]


def _named(rows: Rows, classes: tuple[str, ...] | None) -> tuple[list[Any], list[Any], list[Any]]:
    """Names, places in the source and labels; "" where nobody knows."""
    blank = np.full(len(rows), "")
    names, order, labels = (
        blank if found is None else found for found in map(rows.known, ("names", "order", "labels"))
    )
    if labels.ndim == 2:
        words = [" ".join(map(str, row)) for row in labels.tolist()]
    else:
        known = [None if label == "" or label < 0 else label for label in labels.tolist()]
        words = ["" if label is None else classes[label] if classes else label for label in known]
    return names.tolist(), order.tolist(), words
