"""What is printed and written of a row: NAME.png, NAME.json, and a gallery of all that lie in one folder."""

from __future__ import annotations

import datetime
import json
import sys
import time
import traceback
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ganvas.ground import drawing
from ganvas.ground.errors import UserError
from ganvas.ground.files import read_json, write_text
from ganvas.ground.provenance import commit, machine
from ganvas.reproduce.lab import Lab, Measure, Outcome, Row
from ganvas.version import __version__

NEEDS = {
    "matplotlib": "matplotlib",
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
    "PyWavelets": "pywt",
    "python-avatars": "python_avatars",
    "resvg-py": "resvg_py",
}
OUT = Path("reproduced")
COLUMNS = 4  # of thumbnails
MARK = "<!-- Written by `ganvas reproduce` from the JSON files beside it. -->"


def check(out: Path) -> None:
    """Refuse, before anything is trained, what would fail at the end.

    Raises:
        UserError: the extra is missing; the folder's README.md is somebody else's.
    """
    if missing := [name for name, module in NEEDS.items() if find_spec(module) is None]:
        raise UserError(f"`ganvas reproduce` needs {', '.join(missing)}: pip install 'ganvas[reproduce]'.")
    readme = out / "README.md"
    if readme.exists() and not readme.read_text(encoding="utf-8").startswith(MARK):
        raise UserError(f"{readme} is not a gallery, and would be written over: take another --out.")


def reproduce(rows: Sequence[Row], *, quick: bool, seeds: Sequence[int], out: Path, runs: Path) -> dict[str, str]:
    """Make rows one after another, and the gallery after each; one that fails does not stop the others.

    Returns:
        What went wrong, by the row's name.
    """
    check(out)
    failed = {}
    for it in rows:
        print(f"{', '.join(it.lecture)} {it.name}: {it.title}\n\nClaim: {it.claim}\n", flush=True)
        try:
            kept = None if quick else out / "kept"
            facts = make(it, Lab(quick=quick, seeds=tuple(seeds), runs=runs, kept=kept), out)
        except Exception as error:
            failed[it.name] = str(error) or type(error).__name__
            if not isinstance(error, UserError):
                traceback.print_exc()
            print(f"ganvas: {it.name}: {failed[it.name]}\n", file=sys.stderr)
            continue
        print(text(facts), out / f"{it.name}.png", out / f"{it.name}.json", gallery(out), "", sep="\n", flush=True)
    return failed


def make(it: Row, lab: Lab, out: Path) -> dict[str, Any]:
    """Make one row, write its picture and its JSON; returns what the JSON says."""
    began = time.monotonic()
    with drawing.style():
        outcome = it.make(lab)
        drawing.save(outcome.figure, out / f"{it.name}.png")
    facts = record(it, lab, outcome, time.monotonic() - began, out)
    write_text(out / f"{it.name}.json", json.dumps(facts, indent=2, allow_nan=False) + "\n")
    return facts


def record(it: Row, lab: Lab, outcome: Outcome, seconds: float, out: Path = OUT) -> dict[str, Any]:
    """A row as JSON values: the claim, the numbers, the verdict, and all that is needed to make it again."""
    words = ["ganvas", "reproduce", it.name, *["--quick"] * lab.quick]
    words += ["--seeds", str(len(lab.seeds)), *(["--out", str(out)] if out != OUT else [])]
    return {
        "name": it.name,
        "lecture": it.lecture,
        "title": it.title,
        "claim": it.claim,
        "holds": bool(outcome.holds),
        "reason": outcome.reason,
        "measures": [_measure(part) for part in outcome.measures],
        "quick": lab.quick,
        "seeds": lab.seeds,
        "command": " ".join(words),
        "ganvas": __version__,
        "commit": commit(),
        "machine": machine(),
        "trained": _machines(lab),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(seconds + lab.reused, 1),
        "seconds_reused": round(lab.reused, 1),
        "runs": [str(path) for path in lab.used],
        "summaries": lab.summaries,
    }


def _machines(lab: Lab) -> list[dict[str, Any]]:
    """Those that the runs were begun on, each once."""
    from ganvas.training.run import Run

    found = [*(Run(path).data.get("machine") for path in lab.used), *(it["machine"] for it in lab.summaries)]
    return [it for place, it in enumerate(found) if it and it not in found[:place]]


def _measure(it: Measure) -> dict[str, Any]:
    values = [float(value) for value in it.values]
    spread = {"mean": it.mean, "sd": it.sd, "error": it.error}
    return {"name": it.name, "values": values, **spread, "unit": it.unit, "expected": it.expected}


def spread(measure: dict[str, Any]) -> str:
    """A measure's value as one reads it: "12.3 ± 0.4 nats", the standard deviation over seeds or the error."""
    width = measure["sd"] if measure["sd"] is not None else measure["error"]
    error = f" ± {width:.2g}" if width is not None else ""
    return " ".join(filter(None, [f"{measure['mean']:.4g}{error}", str(measure["unit"])]))


def verdict(facts: dict[str, Any]) -> str:
    """ "**holds**" or "**does not hold**", in a quick version said to be one, and the reason."""
    said = ("**holds**" if facts["holds"] else "**does not hold**") + " in this quick version" * facts["quick"]
    return f"{said}: {facts['reason']}" if facts["reason"] else f"{said}."


def text(facts: dict[str, Any]) -> str:
    """What is printed when a row is made: its numbers and the verdict."""
    table = [("", f"mean ± sd, {len(facts['seeds'])} seeds" if len(facts["seeds"]) > 1 else "one seed", "expected")]
    table += [(part["name"], spread(part), part["expected"]) for part in facts["measures"]]
    widths = [max(len(line[column]) for line in table) for column in (0, 1)]
    lines = [f"{line[0]:<{widths[0]}}  {line[1]:<{widths[1]}}  {line[2]}".rstrip() for line in table]
    return "\n".join([*lines, "", verdict(facts)])


def gallery(out: Path) -> Path:
    """Write OUT/README.md from the JSON files that are there."""
    found = [read_json(path) for path in sorted(out.glob("*.json"))]
    made = [facts for facts in found if isinstance(facts, dict) and {"lecture", "measures", "claim"} <= facts.keys()]
    made.sort(key=lambda facts: (facts["lecture"][0][0], int(facts["lecture"][0][1:]), facts["name"]))
    lecture, papers = ([it for it in made if it["lecture"][0][0] == letter] for letter in "LP")
    lines = [MARK, *_at_a_glance([*lecture, *papers])]
    if papers:
        table = [line for it in papers for line in _beside(it)]
        head = ["| figure | ours | the paper's | seeds | verdict |", "| --- | --- | --- | --- | --- |"]
        lines += ["", "# Figures of papers", "", *head, *table]
    if lecture:
        summary = [
            f"| {', '.join(it['lecture'])} | [{_cell(it['title'])}](#{it['name']}) | {_short(it)} |" for it in lecture
        ]
        lines += ["", "# The lecture's figures", "", "| row | figure | claim |", "| --- | --- | --- |", *summary]
    write_text(out / "README.md", "\n".join([*lines, *map(_section, [*papers, *lecture])]) + "\n")
    return out / "README.md"


def _at_a_glance(made: list[dict[str, Any]]) -> list[str]:
    """A thumbnail and the verdict of each, in a table."""
    cells = [
        f'<a href="#{it["name"]}"><img src="{it["name"]}.png" width="190" alt="{it["name"]}"></a><br>'
        f"{', '.join(it['lecture'])} [{it['name']}](#{it['name']})<br>{_short(it)}"
        for it in made
    ]
    rows = [cells[place : place + COLUMNS] for place in range(0, len(cells), COLUMNS)]
    table = ["| " + " | ".join([*row, *[""] * (COLUMNS - len(row))]) + " |" for row in rows]
    return ["", "# At a glance", "", "|  " * COLUMNS + "|", "| --- " * COLUMNS + "|", *table]


def _beside(facts: dict[str, Any]) -> list[str]:
    """A line for each number that a paper has, too; the verdict, which is of them all, in the first."""
    quick = " (quick version)" * facts["quick"]
    verdict = "holds" if facts["holds"] else f"does not hold: {facts['reason']}"
    return [
        f"| [{_cell(facts['title'])}](#{facts['name']}): {_cell(it['name'])} | {_cell(spread(it))}{quick} "
        f"| {_cell(it['expected'])} | {len(facts['seeds'])} | {_cell('' if place else verdict)} |"
        for place, it in enumerate(it for it in facts["measures"] if it["expected"])
    ]


def _short(facts: dict[str, Any]) -> str:
    return f"{'holds' if facts['holds'] else '**does not hold**'}{' (quick version)' if facts['quick'] else ''}"


def _cell(words: Any) -> str:
    return str(words).replace("|", "\\|")


def _named(machine: dict[str, Any]) -> str:
    gpu = f"{machine['gpu']}, " if machine["gpu"] else ""
    return f"{gpu}{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}"


def _section(facts: dict[str, Any]) -> str:
    several = len(facts["seeds"]) > 1
    head = f"| measured | {'mean ± sd over seeds' if several else 'one seed'} | expected |"
    numbers = [
        f"| {_cell(it['name'])} | {_cell(spread(it))}{' (standard error)' * (it['error'] is not None)} "
        f"| {_cell(it['expected'])} |"
        for it in facts["measures"]
    ]
    where = _named(facts["machine"])
    trained = [_named(it) for it in facts.get("trained", [])]
    if trained not in ([], [where]):
        where = f"trained on {' and on '.join(trained)}, put together on {where}"
    seeds = ", ".join(map(str, facts["seeds"]))
    made = f"ganvas {facts['ganvas']}, commit {facts['commit']}" if facts["commit"] else f"ganvas {facts['ganvas']}"
    took = f"{facts['seconds']:,.0f} s, of which {facts['seconds_reused']:,.0f} s in runs that were there already"
    return f"""
## <a id="{facts["name"]}"></a>{", ".join(facts["lecture"])}: {facts["title"]}

![{facts["name"]}]({facts["name"]}.png)

Claim: {facts["claim"]}

{head}
| --- | --- | --- |
{chr(10).join(numbers)}

{verdict(facts)}

`{facts["command"]}`{" (quick version)" * facts["quick"]}: seeds {seeds}; {made}; {facts["date"]}; {where}; {took}."""
