"""How fast a net comes to a figure: a track names the net, the data and the target, an entry how it is trained.

The clock runs from the start of an empty process to its end, with the data in the cache: imports, reading, training,
validating and storing the model are in it. The length is fixed beforehand, and the test set is looked at once, when
the clock has stopped; every seed has to reach the target. Seeds from 1000 on are the race's: choose settings by others.
"""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ganvas.data import load
from ganvas.ground.errors import UserError, unknown
from ganvas.ground.files import read_json, write_text
from ganvas.ground.provenance import commit, machine
from ganvas.ground.registry import dump
from ganvas.training.run import Run

FILE = "speedrun.json"
SAMPLES, FIRST = 2000, 1000  # of a GAN; the first seed


@dataclass(frozen=True)
class Track:
    """What is to be reached.

    Attributes:
        title: net and data in words.
        words: of `ganvas train`, to which an entry adds its own.
        nets: fields of the model that an entry can't change, and their values as in recipe.json.
        figure: of the test images, that counts.
        measure: that figure of a run.
        target: that it has to reach.
        sign: 1 where more is better, -1 where less is.
    """

    title: str
    words: tuple[str, ...]
    nets: dict[str, Any]
    figure: str
    measure: Callable[[Run], float]
    target: float
    sign: int


def _elbo(run: Run) -> float:
    return float(run.state["test"]["elbo"])


def _kernel_distance(run: Run) -> float:
    from ganvas.evaluate.metrics.samples import kernel
    from ganvas.evaluate.subject import Subject

    return float(next(kernel(Subject(run.dataset(), run.model, n=SAMPLES, spaces=("pca",)))).value)


MLP = {"kind": "mlp", "hidden": [500, 500]}
DCGAN = {"kind": "dcgan", "filters": 64}
TRACKS = {
    "vae": Track(
        "VAE 784-500-500-20, MNIST",
        ("vae", "--data", "mnist"),
        {"latent_dim": 20, "net": MLP, "beta": 1.0, "likelihood": {"kind": "bernoulli", "binarise": "stochastic"}},
        "test ELBO in nats",
        _elbo,
        -95.95,
        1,
    ),
    "dcgan": Track(
        "DCGAN of 64 filters, avatars at 32 x 32",
        ("dcgan", "--data", "avatars", "--size", "32", "--filters", "64"),
        {"generator": DCGAN, "discriminator": DCGAN},
        f"kernel distance of {SAMPLES:,} samples (principal components)",
        _kernel_distance,
        1.0,
        -1,
    ),
}


@dataclass(frozen=True)
class Entry:
    """What an entry came to.

    Attributes:
        track: its name.
        command: of a seed's training.
        seconds: of each seed.
        figures: likewise.
        reached: whether each of them is as good as the target.
        by: whose it is.
        day: of the measurement.
        machine: see `ganvas.ground.provenance.machine`.
        commit: of ganvas.
    """

    track: str
    command: str
    seconds: list[float]
    figures: list[float]
    reached: bool
    by: str
    day: str
    machine: dict[str, Any]
    commit: str | None


def enter(name: str, flags: Sequence[str], seeds: int, by: str = "", say: Callable[[str], None] = print) -> Entry:
    """Train and measure an entry, a seed after the other.

    Args:
        name: of the track.
        flags: of `ganvas train`, beside the track's own.
        seeds: how many, from 1000 on.
        by: whose entry it is.
        say: is told of each seed.

    Raises:
        UserError: no such track, a training that fails, or other nets than the track's.
    """
    if name not in TRACKS:
        raise unknown("track", name, TRACKS)
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: it takes at least 1.")
    track = TRACKS[name]
    source = dict(zip(track.words[1::2], track.words[2::2], strict=True))
    load(source["--data"], size=int(source["--size"]) if "--size" in source else None)  # into the cache
    seconds, figures = [], []
    for seed in range(FIRST, FIRST + seeds):
        with TemporaryDirectory(prefix="ganvas-speedrun-") as folder:
            words = [*track.words, *flags, "--seed", str(seed), "--out", str(Path(folder, "run"))]
            began = time.perf_counter()
            done = subprocess.run([sys.executable, "-m", "ganvas", "train", *words], capture_output=True, text=True)
            seconds.append(round(time.perf_counter() - began, 2))
            if done.returncode:
                raise UserError(f"the training of seed {seed} failed: {done.stderr.strip().splitlines()[-1]}")
            run = Run(Path(folder, "run"))
            for broken in _broken(track.nets, dump(run.recipe.model)):
                raise UserError(f"the track {name} is of {track.title}: {broken}.")
            figures.append(round(track.measure(run), 4))
        say(f"seed {seed}: {seconds[-1]:.1f} s, {track.figure} {figures[-1]:.2f} (target {track.target:g})")
    reached = all(track.sign * (figure - track.target) >= 0 for figure in figures)
    typed = shlex.join(["ganvas", "train", *track.words, *flags])
    return Entry(name, typed, seconds, figures, reached, by, str(date.today()), machine(), commit())


def _broken(wanted: dict[str, Any], found: Any, where: str = "") -> Iterator[str]:
    """What differs from what an entry can't change."""
    for key, value in wanted.items():
        own = found.get(key) if isinstance(found, dict) else None
        if isinstance(value, dict):
            yield from _broken(value, own, f"{where}{key}.")
        elif own != value:
            yield f"{where}{key} is {value}, and here {own}"


def record(entry: Entry, out: Path) -> Path:
    """Add an entry to those of a folder, as JSON and as a table. Returns the table's file.

    Raises:
        UserError: the folder's file is damaged.
    """
    out.mkdir(parents=True, exist_ok=True)
    entries = read_json(out / FILE) if (out / FILE).exists() else []
    entries.append(asdict(entry))
    write_text(out / FILE, json.dumps(entries, indent=1) + "\n")
    page = out / "speedrun.md"
    write_text(page, table(entries))
    return page


def table(entries: list[dict[str, Any]]) -> str:
    """Entries as Markdown, a table a track, those that reach it first, the fastest at the top."""
    rules = str(__doc__).split("\n\n", 1)[1].strip()
    lines = ["# Speedrun", "", rules, "", "`ganvas speedrun TRACK` measures an entry and adds it here.", ""]
    for name, track in TRACKS.items():
        own = [entry for entry in entries if entry["track"] == name]
        if not own:
            continue
        own.sort(key=lambda entry: (not entry["reached"], statistics.median(entry["seconds"])))
        lines += [f"## {name}: {track.title}, to a {track.figure} of {track.target:g}", ""]
        lines += ["| seconds: median (each) | figures | reached | entry | by | machine, versions |", "|---" * 6 + "|"]
        for entry in own:
            seconds = ", ".join(f"{one:.1f}" for one in entry["seconds"])
            at = entry["machine"]
            where = f"{at['gpu'] or at['processor']}, {at['cores']} cores, torch {at['torch']}"
            cells = [
                f"{statistics.median(entry['seconds']):.1f} ({seconds})",
                ", ".join(f"{one:.2f}" for one in entry["figures"]),
                "yes" if entry["reached"] else "no",
                f"`{entry['command']}`",
                entry["by"] or "-",
                f"{where}; {entry['commit']}, {entry['day']}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)
