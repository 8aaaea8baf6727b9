"""What was made from a run: the pages and pictures that verbs have written into its folder."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganvas.studio import safety

TRAINED = ("samples", "reconstructions", "snapshots", "checkpoints", "model")  # folders of the training
DEEP, ENTRIES, MOST = 2, 2000, 200  # folders below the run; what is looked at in each; what is listed


def listed(run: Path) -> list[dict[str, Any]]:
    """The newest first, as {"file", "page": or else a picture, "changed": seconds since 1970}.

    Pictures lie in the run's folder, NAME.png; pages one or two folders below, as index.html. The page that `ganvas
    export` writes is none of them: it runs scripts, and the studio shows pages without.
    """
    found = sorted(_walk(run, "", 0), key=lambda it: (-it["changed"], it["file"]))
    return found[:MOST]


def _walk(folder: Path, place: str, depth: int) -> Iterator[dict[str, Any]]:
    if depth and (folder / "space.json").exists():  # an exported page
        return
    try:
        with os.scandir(folder) as entries:
            for entry in itertools.islice(entries, ENTRIES):
                name = f"{place}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if depth < DEEP and safety.plain(entry.name) and name not in TRAINED:
                        yield from _walk(folder / entry.name, f"{name}/", depth + 1)
                    continue
                page = safety.is_page(name)
                if (page or (not depth and safety.is_picture(name))) and entry.is_file(follow_symlinks=False):
                    yield {"file": name, "page": page, "changed": entry.stat(follow_symlinks=False).st_mtime}
    except OSError:  # gone, or not for us
        return


def search(folder: Path, run: Path) -> Path | None:
    """The folder of the search, by `ganvas tune`, that a run is a trial of; None: of none.

    Args:
        folder: that the studio shows.
        run: below it.
    """
    found = run.parent.parent
    there = run.parent.name == "trials" and found.is_relative_to(folder) and (found / "tune.json").is_file()
    return found if there else None


def typed(run: Path) -> str:
    """A run's folder as a person types it in a shell where the studio was started."""
    here = Path.cwd()
    return shlex.quote(str(run.relative_to(here) if run.is_relative_to(here) else run))
