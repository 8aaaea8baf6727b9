"""Evaluations side by side: which is best, and what lies within the error."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvas.evaluate.figures import Figure, Z
from ganvas.evaluate.record import Record
from ganvas.ground.errors import UserError

FORMATS = (".md", ".html", ".csv", ".json")
LEGEND = "bold: best; ≈: not told apart from the best at 95 % (by image, where the images are the same); * see the note"


@dataclass(frozen=True)
class Row:
    """One figure of several subjects, under one protocol, on the same data.

    Attributes:
        name: of the figure.
        unit: of its values.
        protocol: with the data and split.
        cells: by the subject's name; a subject without this figure has none.
        best: the names of the best, and of those that can't be told apart from it; none where neither way is better.
    """

    name: str
    unit: str
    protocol: str
    cells: Mapping[str, Figure]
    best: tuple[str, ...]


def compare(evaluations: Mapping[str, Sequence[Record]]) -> list[Row]:
    """The figures of several subjects by name and protocol; what is measured differently stands in rows of its own.

    A difference of two is told by its standard error: over the differences of the same images where both have the value
    of each, else the root of the sum of the squared errors. It is within the error below 1.96 of that.
    """
    table: dict[tuple[str, ...], dict[str, Figure]] = {}
    for subject, records in evaluations.items():
        for record in records:
            data = f"{record.data['name']}, {record.data['split']}, {record.data['shape']}"
            for it in record.figures:
                key = (it.name, it.unit, it.protocol, data, record.data["fingerprint"])
                table.setdefault(key, {})[subject] = it
    return [
        Row(name, unit, "; ".join(filter(None, [data, protocol])), cells, best(cells))
        for (name, unit, protocol, data, _), cells in table.items()
    ]


def best(cells: Mapping[str, Figure]) -> tuple[str, ...]:
    """The best, first, and those within the error of it; nothing of one alone."""
    way = next(iter(cells.values())).better
    if way == "" or len(cells) < 2:
        return ()
    first = min(cells, key=lambda name: _worse(cells[name].value, way))
    return (first, *(name for name in cells if name != first and not differ(cells[first], cells[name])))


def _worse(value: float, way: str | float) -> float:
    return value if way == "lower" else -value if isinstance(way, str) else abs(value - way)


def differ(a: Figure, b: Figure) -> bool:
    """Whether two figures are told apart at 95 %."""
    if a.each is not None and b.each is not None and a.each.shape == b.each.shape and len(a.each) > 1:
        error = float((a.each - b.each).std(ddof=1)) / math.sqrt(len(a.each))
    else:
        error = math.hypot(a.error or 0.0, b.error or 0.0)
    return abs(a.value - b.value) > Z * error


def spread(it: Figure) -> str:
    """A figure as one reads it, with half of its 95 % interval: "87.3 ± 0.49"."""
    if not it.error:
        return f"{it.value:.4g}"
    width = Z * it.error
    digits = min(8, max(0, 1 - math.floor(math.log10(width))))
    return f"{it.value:.{digits}f} ± {width:.{digits}f}"


def said(row: Row, name: str, bold: str = "") -> str:
    """A cell's text."""
    it = row.cells.get(name)
    if it is None:
        return "-"
    text = spread(it)
    text = (
        f"{bold}{text}{bold[:1] + '/' + bold[1:] if bold.startswith('<') else bold}" if name in row.best[:1] else text
    )
    return text + " ≈" * (name in row.best[1:]) + " *" * bool(it.note)


def by_protocol(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows of each protocol together, in the order in which they first come."""
    return [
        (name, [row for row in rows if row.protocol == name]) for name in dict.fromkeys(row.protocol for row in rows)
    ]


def notes(rows: Sequence[Row]) -> list[str]:
    """The notes of all figures, each once."""
    found = {f"* {name}, {row.name}: {it.note}." for row in rows for name, it in row.cells.items() if it.note}
    return sorted(found)


def markdown(rows: Sequence[Row], names: Sequence[str]) -> str:
    """A table with a row for each figure and a column for each subject."""
    head = ["figure", *names]
    lines = [head, ["---"] * len(head)]
    for protocol, part in by_protocol(rows):
        lines.append([f"*{protocol}*", *[""] * len(names)])
        for row in part:
            unit = f" ({row.unit})" if row.unit else ""
            lines.append([row.name + unit, *(said(row, name, "**") for name in names)])
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n".join([table, "", f"± half a 95 % interval; {LEGEND}.", *notes(rows), ""])


def page(rows: Sequence[Row], evaluations: Mapping[str, Sequence[Record]], pictures: Mapping[str, Path]) -> str:
    """One HTML file with the table, the samples of each subject, and how each was measured."""
    names = list(evaluations)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["figure", *names])
    lines = []
    for protocol, part in by_protocol(rows):
        lines.append(f'<tr><th colspan="{len(names) + 1}">{html.escape(protocol)}</th></tr>')
        for row in part:
            unit = f" <small>{html.escape(row.unit)}</small>" if row.unit else ""
            cells = "".join(f"<td>{said(row, name, '<b>')}</td>" for name in names)
            lines.append(f"<tr><td>{html.escape(row.name)}{unit}</td>{cells}</tr>")
    figures = "".join(
        f'<figure><img alt="samples of {html.escape(name)}" '
        f'src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
        for name, path in pictures.items()
    )
    made = "".join(
        f"<li>{html.escape(name)}: {html.escape(how)}</li>"
        for name, records in evaluations.items()
        for how in dict.fromkeys(_how(record) for record in records)
    )
    remarks = "".join(f"<p>{html.escape(note)}</p>" for note in notes(rows))
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(", ".join(names))}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
td, th {{ border-bottom: 1px solid #8884; padding: .3rem .8rem; text-align: left; white-space: nowrap; }}
figure {{ display: inline-block; margin: 1rem 1rem 0 0; vertical-align: top; }}
img {{ image-rendering: pixelated; max-width: 100%; width: 20rem; }}
</style>
<h1>{html.escape(", ".join(names))}</h1>
<table><tr>{head}</tr>{"".join(lines)}</table>
<p>± half a 95 % interval; {html.escape(LEGEND)}.</p>
{remarks}{figures}<h2>How</h2><ul>{made}</ul>
</html>
"""


def _how(record: Record) -> str:
    facts = record.facts
    on = facts["machine"]
    made = f"ganvas {facts['ganvas']}, commit {facts['commit']}, seed {facts['seed']}, {facts['date']}"
    return f"{facts['command']} ({made}; {on['processor']}, {on['cores']} cores)"


def flat(evaluations: Mapping[str, Sequence[Record]]) -> list[dict[str, Any]]:
    """A row for each figure of each subject, with everything that is known of it."""
    found = []
    for subject, records in evaluations.items():
        for record in records:
            for it in record.figures:
                low, high = it.interval or (None, None)
                figure = {name: value for name, value in vars(it).items() if name != "each"}
                row = {"subject": subject, "metric": record.metric, **figure, "low": low, "high": high}
                found.append({**row, **record.data, "figure": it.name, **record.facts})
    return found


def render(evaluations: Mapping[str, Sequence[Record]], pictures: Mapping[str, Path], suffix: str) -> str:
    """The comparison as the text of a file.

    Raises:
        UserError: another suffix than FORMATS.
    """
    if suffix not in FORMATS:
        raise UserError(f"--out ends in {suffix!r}; a comparison is written as {', '.join(FORMATS)}.")
    rows, names = compare(evaluations), list(evaluations)
    if suffix == ".md":
        return markdown(rows, names)
    if suffix == ".html":
        return page(rows, evaluations, pictures)
    records = flat(evaluations)
    if suffix == ".json":
        return json.dumps(records, indent=2, allow_nan=False) + "\n"
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for record in records for key in record)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
