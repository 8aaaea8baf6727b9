"""docs/own-images.md: what `python benchmarks/own_images.py` found, with its pictures."""

from __future__ import annotations

import json
import shutil
import statistics
from collections import Counter
from typing import Any

from own_images import BEFORE, MINUTES, NEW, OLD, RESULTS, ROOT, SAMPLES, SEEDS, SETS, SHARP, result, seeds, sides

DOCS = ROOT / "docs" / "own-images"
FEATURES = {"pca": "64 principal components of its training images", "classifier": "a classifier trained on its labels"}
TITLES = {
    "emoji": "A folder of PNGs",
    "patches": "Patches of photographs",
    "digits": "An array with labels",
    "faces": "Photographs of faces",
    "brain": "A medical volume",
    "table": "A table",
}
WHO = {NEW: "ganvas, vae", OLD: f"previous default ({BEFORE})", SHARP: "ganvas, vae-gan"}
TOP = f"""\
# Your own images

Six sets that nobody here made, each trained by one bare command. What the command chose is listed as it was printed;
the pictures are those of the first seed. Beside it stands the default of the previous release (commit {BEFORE}) on the
same images. It can't read some of the sets; it was given those as bytes, in the size and the splits that ganvas chose.

How it was measured: `python benchmarks/own_images.py --measure` finds how many epochs {MINUTES} minutes hold on two
quiet cores, by `--minutes {MINUTES}` here and by images a second there. Where longer training would only overfit,
`--minutes` ends sooner; the time that this takes, by the measured speed, is in the table. Each run is then trained for
that many epochs, on one core beside other work. The
figures compare {SAMPLES:,} samples with the test images: the kernel distance (lower is better; that of the training
images is the least that can be expected), precision and recall, density and coverage (higher is better). The squared
error is that of reconstructions of test images, by itself and over that of PCA with as many numbers as the codes have
(20 in the previous default; below 1 is better than PCA). Where a kernel distance is within its own error, the column
"times lower" divides by that error and says "over". Median of seeds {", ".join(map(str, SEEDS))}, with the smallest and
the largest.

Two of the sets are learned by `vae-gan` too, one seed: it takes longer for as many steps, and its images are sharper.
Principal components do not see that, so the kernel distance can't tell the two.
"""


def page() -> str:
    """The page's Markdown, of the runs that have a result; its pictures are copied beside it."""
    rows = {(name, who): rows for name in SETS for who in sides(name) if (rows := found(name, who))}
    lengths = json.loads((RESULTS / "lengths.json").read_text())
    made = {name: {who: rows[name, who] for who in sides(name) if (name, who) in rows} for name in SETS}
    sections = [section(name, part, lengths) for name, part in made.items() if NEW in part]
    machines = Counter(row["machine"]["processor"] for part in rows.values() for row in part)
    commits = sorted({row["commit"] for part in rows.values() for row in part})
    missing = [
        f"{name} by {who}, seed{'s' * (len(left) > 1)} {', '.join(left)}"
        for name in SETS
        for who in sides(name)
        if (left := [str(seed) for seed in seeds(who) if not result(name, who, seed).exists()])
    ]
    if missing:
        sections.append(f"Still to be measured: {'; '.join(missing)}.\n")
    end = (
        f"Trained on cores of {', '.join(machines)}; commits {', '.join(commits)}; "
        "`python benchmarks/own_images.py`, then `python benchmarks/own_images.py --write`.\n"
    )
    return "\n".join([TOP, summary(rows), *sections, end])


def found(name: str, who: str) -> list[dict[str, Any]]:
    """The results of a set's runs, a seed each."""
    files = [result(name, who, seed) for seed in seeds(who)]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def summary(rows: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """Both kernel distances of every set, and how many times lower ours is."""
    lines = [
        "| set | kernel distance, ganvas | previous default | of the training images | times lower |",
        "|---|---|---|---|---|",
    ]
    for name in SETS:
        ours, before = (rows.get((name, who)) for who in (NEW, OLD))
        if ours is None:
            continue
        ratio = "-" if before is None else times_lower(ours, before)
        theirs = spread(before, "kernel") if before else "-" if OLD in sides(name) else "refused"
        lines.append(
            f"| [{TITLES[name].lower()}](#{anchor(name)}) | {spread(ours, 'kernel')} | {theirs} | "
            f"{ours[0]['kernel_of_data']:.3g} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


def times_lower(ours: list[dict[str, Any]], before: list[dict[str, Any]]) -> str:
    """How many times ours is lower; a distance within its error of that of the training images is none."""
    found, floor = middle(ours, "kernel"), middle(ours, "kernel_error")
    return (
        f"{middle(before, 'kernel') / found:.1f}" if found > floor else f"over {middle(before, 'kernel') / floor:.1f}"
    )


def anchor(name: str) -> str:
    return TITLES[name].lower().replace(" ", "-")


def section(name: str, rows: dict[str, list[dict[str, Any]]], lengths: dict[str, dict[str, Any]]) -> str:
    """A set: what it is, the command, what was chosen, pictures and figures."""
    one, data = SETS[name], f"./{name}" + (f"/{SETS[name].data}" if SETS[name].data else "")
    first = rows[NEW][0]
    lines = [f"## {TITLES[name]}", "", f"{one.what}.", ""]
    lines += ["```sh", f"ganvas train vae --data {data} --minutes {MINUTES}", "```", ""]
    lines += ["```text", *first["report"], *lengths[f"{name}-{NEW}"]["chosen"], "```", ""]
    for kind in ("samples", "reconstructions"):
        pictured = {who: RESULTS / f"{name}-{who}-{seeds(who)[0]}-{kind}.png" for who in rows}
        shown = [who for who, path in pictured.items() if path.exists()]
        if not shown:
            continue
        DOCS.mkdir(exist_ok=True)
        pictures = []
        for who in shown:
            file = f"{name}-{who}-{kind}.png"
            shutil.copyfile(pictured[who], DOCS / file)
            width = 98 // len(shown) if len(shown) > 1 else 49
            pictures.append(f'<img src="own-images/{file}" width="{width}%" alt="{kind} of {name}, {WHO[who]}">')
        what = "Samples" if kind == "samples" else "Test images, and below each its reconstruction"
        beside = f": {', '.join(WHO[who] for who in shown)}" if len(shown) > 1 else ""
        lines += [*pictures, "", f"*{what}{beside}.*", ""]
    lines += [
        f"| compared by {FEATURES[one.features]} | {' | '.join(WHO[who] for who in rows)} |",
        "|---|" + "---|" * len(rows),
    ]
    for key, what in (
        ("kernel", "kernel distance"),
        ("precision", "precision"),
        ("recall", "recall"),
        ("density", "density"),
        ("coverage", "coverage"),
    ):
        lines.append(f"| {what} | {' | '.join(spread(part, key) for part in rows.values())} |")
    lines.append(
        f"| squared error of reconstructions | {' | '.join(spread(p, 'squared_error') for p in rows.values())} |"
    )
    errors = [[row["squared_error"] / row["squared_error_pca"] for row in part] for part in rows.values()]
    lines.append(f"| the same over that of PCA | {' | '.join(map(between, errors))} |")
    lines.append("| epochs | " + " | ".join(f"{part[0]['epochs']:,}" for part in rows.values()) + " |")
    minutes = [
        part[0]["epochs"] * lengths[f"{name}-{who}"]["images"] / lengths[f"{name}-{who}"]["images_per_second"] / 60
        for who, part in rows.items()
    ]
    lines.append("| minutes on two quiet cores | " + " | ".join(f"{part:.1f}" for part in minutes) + " |")
    return "\n".join(lines) + "\n"


def middle(rows: list[dict[str, Any]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def spread(rows: list[dict[str, Any]], key: str) -> str:
    return between([row[key] for row in rows])


def between(values: list[float]) -> str:
    """The median (smallest to largest); of one value that."""
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"
