"""(d) What a person waits for before anything happens: the wall time of a process that does no more than start."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from common import ENVIRONMENT, HERE, OURS, PEERS, Row, interleave

GANVAS = [str(Path(OURS).with_name("ganvas"))]
IMPORT = [OURS, "-c", "from ganvas import train"]
PYTHAE = [PEERS, "-c", "from pythae.models import VAE; from pythae.trainers import BaseTrainer"]
Command = list[str]
PAIRS: list[tuple[str, Command, Command | None, str, str]] = [
    ("`ganvas --help`", [*GANVAS, "--help"], None, "", "under 0.3 s"),
    ("`ganvas recipes`", [*GANVAS, "recipes"], None, "", ""),
    ("`import ganvas`", [OURS, "-c", "import ganvas"], [PEERS, "-c", "import pythae"], "`import pythae`, empty", ""),
    ("`from ganvas import train`", IMPORT, [PEERS, "-c", "import torch"], "`import torch`", ""),
    ("`from ganvas import train`", IMPORT, PYTHAE, "import of pythae's VAE and trainer", ""),
]


def compare(quick: bool) -> list[Row]:
    """Files are in the page cache: each command runs once before it is timed."""
    rows = []
    for what, ours, peer, against, aim in PAIRS[: 3 if quick else None]:
        sides = [command for command in (ours, peer) if command]
        for command in sides:
            _seconds(command)
        figures = interleave(2 if quick else 7, *(lambda _, c=command: _seconds(c) for command in sides))
        rows.append(Row(what, "s", *figures, compare="lower", against=against, aim=aim))
    return rows


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=HERE, env=ENVIRONMENT)
    return time.perf_counter() - began
