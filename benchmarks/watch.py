"""The watch as a classifier: short runs broken on purpose, and healthy ones; which faults does it name?

    python benchmarks/watch.py            # the table: results/watch.md and results/watch.json
    python benchmarks/watch.py --tune     # the runs on which the thresholds were chosen: other seeds, other sizes
    python benchmarks/watch.py --remedies # the first remedy of each broken run: does it help? into the same files
    python benchmarks/watch.py --foreign  # those of sets that nobody here made: results/watch-foreign.md
    python benchmarks/watch.py --conditional  # models that are told labels: results/watch-conditional.md
    python benchmarks/watch.py vae ring   # runs whose command has one of these words, without a table

Runs are kept in benchmarks/.cache/watch and used again: after a change of thresholds only the findings are made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import CACHE, HERE, OURS

ROOT = CACHE / "watch"
RESULTS = HERE.parent / "results"
COLLAPSE = ("posterior collapse", "latent loss too high")
RECONSTRUCTION = ("reconstruction loss weighted too high",)
SATURATED = ("discriminator saturated", "vanishing generator gradient")
MODES = ("mode collapse",)
CLIP = ("critic weights stuck at the clip",)
DIVERGENCE = ("divergence",)
MEMORISING = ("memorising",)
LIKELIHOOD = ("wrong likelihood",)
UNDERFIT = ("underfit",)
BLURRED = ("blurred",)
SHORT = ("trained too shortly",)
UNHEARD, CLASS = ("condition unheard",), ("collapse of a class",)

# Points need nets of their own; without its long first turns a short run of a WGAN has enough generator steps.
POINTS = "--generator mlp --critic mlp --no-warm-up"

# (the names of the fault, or () for a healthy run; the command; "{...}" is a file of so many images)
TABLE: list[tuple[tuple[str, ...], str]] = [
    (COLLAPSE, "vae --data mnist --beta 100 --epochs 2"),
    (COLLAPSE, "vae --data fashion-mnist --beta 100 --epochs 2"),
    (COLLAPSE, "vae --data digits --beta 50 --epochs 80"),
    (COLLAPSE, "vae --data avatars --size 16 --beta 100 --epochs 5"),
    (COLLAPSE, "vae --data ring --likelihood gaussian --latent-dim 2 --beta 50 --epochs 1"),
    (RECONSTRUCTION, "vae --data mnist --beta 0.001 --epochs 3"),
    (RECONSTRUCTION, "vae --data fashion-mnist --beta 0.001 --epochs 3"),
    (RECONSTRUCTION, "vae --data digits --beta 0.001 --epochs 100"),
    (RECONSTRUCTION, "vae --data avatars --size 16 --beta 0.001 --epochs 8"),
    (SATURATED, "gan --data mnist --loss minimax -k 5 --epochs 5"),
    (SATURATED, "gan --data mnist --paper --loss minimax --epochs 1"),
    (SATURATED, "dcgan --data mnist --filters 16 --generator constant --loss minimax --epochs 2"),
    (SATURATED, "dcgan --data avatars --size 16 --filters 16 --generator constant --loss minimax --epochs 5"),
    (MODES, "gan --data ring --hidden 1200 1200 --epochs 2"),
    (MODES, "dcgan --data mnist --filters 8 --generator mlp --epochs 2"),
    (MODES, "dcgan --data digits --filters 16 --generator mlp --epochs 150"),
    (CLIP, f"wgan --data ring {POINTS} --clip 0.0001 --epochs 1"),
    (CLIP, f"wgan --data grid {POINTS} --clip 0.001 --epochs 1"),
    (CLIP, "wgan --data mnist --generator mlp --critic mlp --no-warm-up --clip 0.0001 --epochs 2"),
    (DIVERGENCE, "vae --data mnist --lr 1 --epochs 1"),
    (DIVERGENCE, "autoencoder --data digits --lr 1 --epochs 80"),
    (DIVERGENCE, "gan --data digits --lr 1 --epochs 60"),
    (MEMORISING, "autoencoder --data {mnist-64} --batch-size 8 --epochs 100"),
    (MEMORISING, "vae --data {mnist-64} --batch-size 8 --epochs 120"),
    (MEMORISING, "autoencoder --data {fashion-mnist-100} --batch-size 8 --epochs 100"),
    (MEMORISING, "gan --data {digits-100} --batch-size 16 --epochs 400"),
    ((), "vae --data mnist --epochs 4"),
    ((), "vae --data mnist --latent-dim 2 --epochs 4"),
    ((), "vae --data mnist --latent-dim 50 --epochs 4"),
    ((), "vae --data fashion-mnist --epochs 4"),
    ((), "vae --data fashion-mnist --latent-dim 5 --epochs 4"),
    ((), "vae --data digits --epochs 150"),
    ((), "vae --data digits --latent-dim 2 --epochs 200"),
    ((), "vae --data avatars --size 16 --epochs 10"),
    ((), "vae --data avatars --size 32 --latent-dim 10 --epochs 4"),
    ((), "vae --data ring --likelihood gaussian --latent-dim 8 --epochs 2"),
    ((), "vae --data mnist --binarise --latent-dim 10 --epochs 3"),
    ((), "autoencoder --data mnist --epochs 3"),
    ((), "autoencoder --data digits --epochs 150"),
    ((), "autoencoder --data avatars --size 32 --epochs 4"),
    ((), "denoising-autoencoder --data mnist --epochs 3"),
    ((), "denoising-autoencoder --data fashion-mnist --noise masking --epochs 3"),
    ((), "gan --data digits --epochs 150"),
    ((), "gan --data avatars --size 16 --epochs 10"),
    ((), "gan --data fashion-mnist --epochs 5"),
    ((), "dcgan --data digits --filters 16 --epochs 200"),
    ((), "dcgan --data mnist --filters 16 --epochs 3"),
    ((), "dcgan --data avatars --size 16 --filters 16 --epochs 8"),
    ((), "wgan --data digits --filters 16 --no-warm-up --gradient-penalty 10 --epochs 300"),
    ((), "gan --data grid --epochs 4"),
]

EMOJI, PATCHES = "--data {emoji} --size 16 --limit 600", "--data {patches} --size 16 --limit 600"
FACES, BRAIN, DIGITS = "--data {faces} --size 32", "--data {brain} --size 32", "--data {digits}"
# The same of sets that nobody here made; "{...}" is one of benchmarks/own_images.py
FOREIGN: list[tuple[tuple[str, ...], str]] = [
    (LIKELIHOOD, f"vae {PATCHES} --likelihood bernoulli --epochs 20"),
    (LIKELIHOOD, f"vae {FACES} --likelihood bernoulli --epochs 100"),
    (LIKELIHOOD, f"vae {PATCHES} --channels 1 --likelihood bernoulli --net mlp --epochs 100"),
    (LIKELIHOOD, f"vae {EMOJI} --scale 1 --epochs 20"),
    (LIKELIHOOD, f"vae {BRAIN} --scale 1 --epochs 100"),
    (UNDERFIT, f"vae {EMOJI} --lr 3e-6 --optimizer adam --epochs 20"),
    (UNDERFIT, f"autoencoder {PATCHES} --lr 1e-6 --optimizer adam --epochs 20"),
    (UNDERFIT, f"vae {FACES} --lr 1e-5 --epochs 100"),
    (UNDERFIT, f"autoencoder {BRAIN} --lr 1e-6 --epochs 100"),
    (UNDERFIT, f"vae {DIGITS} --hidden 2 --likelihood gaussian --epochs 60"),
    (BLURRED, f"vae {EMOJI} --latent-dim 1 --epochs 20"),
    (BLURRED, f"autoencoder {EMOJI} --latent-dim 2 --epochs 20"),
    (BLURRED, f"autoencoder {PATCHES} --latent-dim 1 --epochs 20"),
    (BLURRED, f"vae {PATCHES} --latent-dim 3 --epochs 20"),
    (BLURRED, f"vae {FACES} --latent-dim 1 --epochs 100"),
    (SHORT, f"vae {EMOJI} --epochs 1"),
    (SHORT, f"autoencoder {PATCHES} --epochs 2"),
    (SHORT, f"vae {FACES} --epochs 5"),
    (SHORT, f"gan {BRAIN} --epochs 5"),
    (SHORT, f"dcgan {EMOJI} --epochs 2"),
    ((), f"vae {EMOJI} --epochs 25"),
    ((), f"vae {EMOJI} --likelihood discretised-logistic --epochs 25"),
    ((), "vae --data {emoji} --size 16 --limit 600 --channels 1 --epochs 150"),
    ((), f"vae {PATCHES} --epochs 40"),
    ((), "autoencoder --data {patches} --size 24 --limit 600 --epochs 40"),
    ((), f"vae {FACES} --epochs 200"),
    ((), f"vae {FACES} --likelihood discretised-logistic --epochs 200"),
    ((), f"vae {BRAIN} --epochs 150"),
    ((), "vae --data {brain} --size 24 --epochs 150"),
    ((), f"vae {DIGITS} --epochs 150"),
    ((), f"vae {DIGITS} --latent-dim 2 --epochs 200"),
    ((), f"autoencoder {EMOJI} --epochs 25"),
    ((), f"autoencoder {PATCHES} --epochs 40"),
    ((), f"autoencoder {FACES} --epochs 200"),
    ((), f"autoencoder {BRAIN} --epochs 150"),
    ((), f"denoising-autoencoder {EMOJI} --level 0.2 --epochs 25"),
    ((), f"denoising-autoencoder {FACES} --level 0.2 --epochs 200"),
    ((), f"gan {DIGITS} --epochs 200"),
    ((), f"dcgan {DIGITS} --filters 16 --epochs 200"),
    ((), f"gan {FACES} --r1 1 --ema 0.999 --epochs 800"),
]

WEAK = "--beta 0.01 --fit 0 --condition class"  # z holds the class, which the prior's z does not know
# The same of models that are told labels
CONDITIONAL: list[tuple[tuple[str, ...], str]] = [
    (UNHEARD, f"vae --data mnist {WEAK} --epochs 3"),
    (UNHEARD, f"vae --data fashion-mnist {WEAK} --epochs 3"),
    (UNHEARD, f"vae --data digits {WEAK} --epochs 100"),
    (UNHEARD, f"vae --data fashion-mnist --latent-dim 50 {WEAK} --epochs 3"),
    (CLASS, "vae --data mnist --condition class --beta 100 --epochs 2"),
    (CLASS, "vae --data fashion-mnist --condition class --beta 100 --epochs 2"),
    (CLASS, "dcgan --data mnist --condition class --filters 8 --generator mlp --loss minimax --epochs 2"),
    (CLASS, "dcgan --data digits --condition class --filters 16 --generator mlp --loss minimax --epochs 150"),
    ((), "vae --data mnist --condition class --epochs 4"),
    ((), "vae --data mnist --condition class --latent-dim 2 --epochs 4"),
    ((), "vae --data fashion-mnist --condition class --epochs 4"),
    ((), "vae --data digits --condition class --epochs 150"),
    ((), "vae --data avatars --size 16 --condition glasses beard --epochs 10"),
    ((), "autoencoder --data mnist --condition class --epochs 3"),
    ((), "gan --data digits --condition class --epochs 150"),
    ((), "dcgan --data mnist --condition class --filters 16 --epochs 3"),
]
# Seeds count through all of them: a new case comes at the end.
GROUPS = {"": TABLE, "--foreign": FOREIGN, "--conditional": CONDITIONAL}


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        command: that was run.
        faults: its names, any of which is right; none: it is healthy.
        found: the names of the findings at the end.
        before: names of other findings that the watch had on the way.
        findings: with their evidence and remedies, a line each.
        remedy: the command of the first finding with the right name.
        seconds: of the whole process.
        share: of the training's time that the watch took.
        looks: of the watch.
    """

    command: str
    faults: tuple[str, ...]
    found: tuple[str, ...]
    before: tuple[str, ...]
    findings: tuple[str, ...]
    remedy: str
    seconds: float
    share: float
    looks: int

    @property
    def right(self) -> bool:
        """A broken run's fault is among the findings at the end; a healthy run never had one."""
        return bool(set(self.faults) & set(self.found)) if self.faults else not (self.found or self.before)


def main() -> None:
    flags, words = ({word for word in sys.argv[1:] if word.startswith("--") == flag} for flag in (True, False))
    group = next((flag for flag in GROUPS if flag in flags), "")
    outcomes = [told(one) for one in run_all("--tune" in flags, words, group)]
    print(totals(outcomes))
    if words or "--tune" in flags:
        return
    cures = [told(outcome(one.faults, one.remedy)) for one in outcomes if one.remedy] if "--remedies" in flags else []
    RESULTS.mkdir(exist_ok=True)
    about = machine()
    runs = {"runs": [asdict(one) for one in outcomes], "remedies": [asdict(one) for one in cures]}
    text = json.dumps({"machine": about, **runs}, indent=1) + "\n"
    name = f"watch{group[1:]}"
    for file, said in ((f"{name}.json", text), (f"{name}.md", report(outcomes, cures, about))):
        # this machine's folders are nobody else's
        (RESULTS / file).write_text(said.replace(f"{ROOT}/", "").replace(f"{CACHE / 'own-images' / 'sets'}/", ""))


def told(outcome: Outcome) -> Outcome:
    verdict = "right" if outcome.right else "WRONG"
    print(verdict, f"{outcome.seconds:.0f} s, watch {outcome.share:.1%}:", outcome.command)
    for line in outcome.findings:
        print("   ", line, flush=True)
    if outcome.before:
        print("    on the way:", ", ".join(outcome.before), flush=True)
    return outcome


def run_all(tune: bool, words: set[str], group: str) -> Iterator[Outcome]:
    cases = [(of, *case) for of, table in GROUPS.items() for case in table]
    for number, (of, faults, command) in enumerate(cases):
        seed = number + (1000 if tune else 0)
        if of == group and (not words or any(word in command for word in words)):
            yield outcome(faults, f"ganvas train {command} --seed {seed} --device cpu")


def outcome(faults: tuple[str, ...], command: str) -> Outcome:
    """Run a command, unless that was done before, and judge it as the watch stands today."""
    from ganvas import Run
    from ganvas.training.watch import findings

    folder = ROOT / hashlib.sha256(command.encode()).hexdigest()[:12]
    if not (folder / "seconds").is_file():
        words = shlex.split(command)
        words = [subset(word) if word.startswith("{") else word for word in words]
        subprocess.run(["rm", "-rf", str(folder)], check=True)
        began = time.perf_counter()
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        child = [OURS, "-m", *words, "--out", str(folder)]
        done = subprocess.run(child, capture_output=True, text=True, env=environment)
        if not (folder / "metrics.jsonl").is_file():
            raise SystemExit(f"{command} did not start:\n{done.stderr}")
        (folder / "log").write_text(done.stdout + done.stderr)
        if Run(folder).state["state"] not in ("finished", "failed"):
            raise SystemExit(f"{command} was interrupted: start again, and the runs before it are used again.")
        (folder / "seconds").write_text(str(time.perf_counter() - began))
    run = Run(folder)
    recipe, shape = run.recipe, run.data["shape"]
    rows = [row for row in run.metrics if row["split"] == "watch"]
    found = findings(rows, recipe, shape, run.state)
    names = tuple(finding.name for finding in found)
    told = {finding.name for n in range(len(rows)) for finding in findings(rows[:n], recipe, shape)}
    watched = [row["seconds"] for row in rows]
    seconds = float((folder / "seconds").read_text())
    return Outcome(
        command=command,
        faults=faults,
        found=names,
        before=tuple(sorted(told - set(names))),
        findings=tuple(map(str, found)),
        remedy=next((finding.remedy for finding in found if finding.name in faults), ""),
        seconds=seconds,
        share=sum(watched) / seconds,
        looks=len(watched),
    )


def subset(word: str) -> str:
    """A file of the first so many training images of a set: "{mnist-64}"; or one of own_images: "{emoji}"."""
    import own_images

    import ganvas.data

    if word.strip("{}") in own_images.SETS:
        return str(own_images.data(word.strip("{}"), own_images.NEW))
    name, _, n = word.strip("{}").rpartition("-")
    path = ROOT / f"{name}-{n}.npy"
    if not path.is_file():
        ROOT.mkdir(parents=True, exist_ok=True)
        np.save(path, np.asarray(ganvas.data.load(name).splits["train"].images[: int(n)]))
    return str(path)


def totals(outcomes: list[Outcome]) -> str:
    broken = [one for one in outcomes if one.faults]
    healthy = [one for one in outcomes if not one.faults]
    return (
        f"The right fault is named in {sum(one.right for one in broken)} of {len(broken)} broken runs; "
        f"{sum(not one.right for one in healthy)} of {len(healthy)} healthy runs have a false alarm. Of the time of a "
        f"run the watch took {statistics.fmean(one.share for one in outcomes):.1%}, at most "
        f"{max(one.share for one in outcomes):.1%}."
    )


def machine() -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(names) or os.cpu_count(),
        "commit": commit.strip(),
        "load": round(os.getloadavg()[2], 1),
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python", "benchmarks/watch.py", *sys.argv[1:]]),
    }


ABOUT = """\
A broken run is right if a name of its fault is among the findings at its end (some faults have two names), a healthy
one if none was named at any time. Other names beside the right one are not counted: faults cause one another, as a
saturated discriminator does a mode collapse. The thresholds were chosen on the same commands with other seeds
(`python benchmarks/watch.py --tune`). The time is of a process on one core, from its start to its end.
mnist-64.npy is a file of 64 training images; emoji, patches, faces, brain and digits.npz are those of
[docs/own-images.md](../docs/own-images.md)."""

TITLES = {"--foreign": "on sets that nobody here made", "--conditional": "on models that are told labels"}


def report(outcomes: list[Outcome], cures: list[Outcome], about: dict[str, Any]) -> str:
    rows = [
        f"| `{short(one)}` | {' / '.join(one.faults) or 'none'} | {', '.join(one.found) or 'none'} | "
        f"{', '.join(one.before) or '-'} | {'right' if one.right else '**wrong**'} | {one.seconds:.0f} s |"
        for one in outcomes
    ]
    lines = [
        "# The watch " + next((said for flag, said in TITLES.items() if flag in about["command"]), "as a classifier"),
        "",
        totals(outcomes),
        "",
        ABOUT,
        "",
        f"{about['cpu']}, {about['cores']} cores, with a load of {about['load']} at the end; commit {about['commit']}, "
        f"{about['date']}, `{about['command']}`.",
        "",
        "| ganvas train | fault | named at the end | and on the way | verdict | time |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
    ]
    if cures:
        gone = [not set(one.faults) & set(one.found) for one in cures]
        lines += [
            "# The remedies",
            "",
            f"The first remedy of each fault that was named, run as proposed: in {sum(gone)} of {len(cures)} runs the "
            "fault is gone at the end.",
            "",
            "| ganvas train | against | named at the end |",
            "|---|---|---|",
            *(f"| `{short(one)}` | {' / '.join(one.faults)} | {', '.join(one.found) or 'none'} |" for one in cures),
            "",
        ]
    return "\n".join(lines)


def short(outcome: Outcome) -> str:
    return outcome.command.removeprefix("ganvas train ")


if __name__ == "__main__":
    main()
