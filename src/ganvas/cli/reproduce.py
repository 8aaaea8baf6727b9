"""The verbs that make the lecture's figures, and that race to one."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from ganvas.ground.errors import UserError


def reproduce(
    names: Annotated[tuple[str, ...], "NAME...", "figures by name or row (L2, P1), all of the lecture, or papers"] = (),
    /,
    *,
    quick: Annotated[bool, "", "a small version, within a minute each"] = False,
    seeds: Annotated[int | None, "INT", "how many to train with (default: 3; quick: 1)"] = None,
    out: Annotated[Path, "DIR", "for NAME.png, NAME.json and a README.md of them all"] = Path("reproduced"),
    runs: Annotated[Path, "DIR", "of the runs: one that is finished is used again"] = Path("runs/reproduce"),
) -> None:
    """Figures of the lecture and of papers, trained and measured: the claim, the numbers with their spread over seeds,
    the verdict, and the picture. Without a name it lists them. Stopped and started again, it goes on where it was.

    Example:
        ganvas reproduce latent-size --quick
    """
    from ganvas import reproduce as package
    from ganvas.reproduce import lab

    if not names:
        width = max(map(len, package.FIGURES), default=0)
        for row in lab.rows():
            print(f"{', '.join(row.lecture):<9} {row.name:<{width}}  {row.title}")
        return
    number = seeds if seeds is not None else 1 if quick else 3
    if number < 1:
        raise UserError(f"--seeds {number}: it takes at least 1.")
    chosen = lab.find(names)
    from ganvas.reproduce.report import reproduce as make

    failed = make(chosen, quick=quick, seeds=range(number), out=out, runs=runs)
    if failed:
        said = "; ".join(f"{name}: {message}" for name, message in failed.items())
        raise UserError(f"{len(failed)} of {len(chosen)} figures failed: {said}")


def speedrun(
    track: Annotated[str | None, "TRACK", "vae or dcgan"] = None,
    /,
    *,
    flags: Annotated[str | None, "FLAGS", "of `ganvas train`: --flags='--lr 1e-3'"] = None,
    seeds: Annotated[int, "INT", "how many to train with"] = 3,
    by: Annotated[str | None, "NAME", "whose entry it is"] = None,
    out: Annotated[Path, "DIR", "for speedrun.md, and speedrun.json, to which the entry is added"] = Path(),
) -> None:
    """Seconds that a net takes to a figure, from an empty process on: MNIST's VAE to a test ELBO, a DCGAN to a kernel
    distance. The nets stay as they are; how they are trained is the entry's. Without a track it lists them.

    Example:
        ganvas speedrun vae --flags="--epochs 20"
    """
    from ganvas.reproduce import speedrun as runs

    if not track:
        for name, one in runs.TRACKS.items():
            print(f"{name:<6} {one.title}, to a {one.figure} of {one.target:g}: ganvas train {' '.join(one.words)}")
        return
    entry = runs.enter(track, shlex.split(flags or ""), seeds, by or "")
    median = statistics.median(entry.seconds)
    print(f"{track}: {median:.1f} s, " + ("the target is reached" if entry.reached else "the target is NOT reached"))
    print(runs.record(entry, out))


HELP = """\
  reproduce NAME                a figure of the lecture or a paper; or the list
  speedrun TRACK                seconds to a figure, from an empty process on
"""
VERBS: dict[str, Callable[..., None]] = {"reproduce": reproduce, "speedrun": speedrun}
