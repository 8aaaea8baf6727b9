"""Measure ganvas beside its peers, in one run on one machine: `python benchmarks/run.py [NAME ...] [--quick]`."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common import CACHE, EARLIER, HERE, OURS, PEERS, Row, child

NAMES = [
    *("startup", "vae", "beside", "durability", "nll", "distances"),
    *("dcgan", "folder", "precision", "studio", "machines"),
]
ALONE = ["gpu", "growth"]  # run by their names only, and without peers
HEADER = ["what", "ganvas", "peer", "ratio (smallest to largest)", "of the rate of matrix products", "aim"]
ABOUT = (
    "Median (smallest to largest). A ratio is taken within a repeat, of two figures measured one right after the "
    "other, and is above 1 where ganvas is better. Nothing else may run beside it."
)


def main() -> None:
    """Run benchmarks and write them into results.json and table.md, beside what is there; --quick into .cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run? The figures mean nothing")
    parser.add_argument("--against", metavar="COMMIT", help="measure the source of an earlier commit too, in turn")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - {*NAMES, *ALONE}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join([*NAMES, *ALONE])}")
    if not (arguments.names and set(arguments.names) <= set(ALONE)) and not Path(PEERS).exists():
        parser.error("the peers' environment is missing: start this by `make bench`")
    CACHE.mkdir(exist_ok=True)
    if arguments.against:
        EARLIER.append(_git("rev-parse", "--short=12", f"{arguments.against}^{{commit}}") or arguments.against)
    folder = CACHE if arguments.quick else HERE
    file = folder / "results.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() and not arguments.quick else {}
    for name in arguments.names or NAMES:
        began = time.perf_counter()
        sizes, budget = ([512], 0.1) if arguments.quick else ([2048, 4096], 2.0)
        rates = child(OURS, "matmul.rate", sizes=sizes, seconds=budget)
        rows: list[Row] = importlib.import_module(name).compare(arguments.quick)
        if arguments.names and EARLIER and not any(row.against == EARLIER[0] for row in rows):
            parser.error(f"{name} has no side that could run earlier source: leave --against away")
        seconds = round(time.perf_counter() - began, 1)
        results[name] = {
            "machine": machine(),
            "seconds": seconds,
            "matrix_product_flops_per_second": rates,
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    text = table(results, arguments.quick)
    (folder / "table.md").write_text(text, encoding="utf-8")
    print(text, end="")


def machine() -> dict[str, Any]:
    """Where, with what, of which commit and by which command."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {
        "cpu": cpu,
        "bfloat16_instructions": [flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags],
        "gpu": _output(
            [OURS, "-c", "import torch as t; print(t.cuda.get_device_name() if t.cuda.is_available() else '')"]
        ),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "as many as cores"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "ours": {name: version(name) for name in ("ganvas", "torch", "numpy", "pillow")},
        "peers": json.loads(_output([PEERS, "-c", _VERSIONS])) if Path(PEERS).exists() else {},
        "commit": _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*") or "not known",
        "command": " ".join(["python", "benchmarks/run.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
    }


_VERSIONS = """
import json; from importlib.metadata import version
print(json.dumps({n: version(n) for n in ("pythae", "torch", "numpy", "pillow")}))
"""


def _git(*words: str) -> str:
    """What git says; nothing where this is no checkout."""
    try:
        return _output(["git", *words])
    except (OSError, subprocess.CalledProcessError):
        return ""


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=True).stdout.strip()


def table(results: dict[str, Any], quick: bool) -> str:
    """The Markdown table, and under it what its figures are."""
    found = {name: results[name] for name in [*NAMES, *ALONE] if name in results}
    rated = [(_row(row), one["matrix_product_flops_per_second"]) for one in found.values() for row in one["rows"]]
    lines = [HEADER, ["---"] * len(HEADER), *(row.cells(rates) for row, rates in rated)]
    spans = {kind: [rates[kind] / 1e9 for _, rates in rated] for kind in rated[0][1]}
    rates = ", ".join(f"{n} {statistics.median(s):,.0f} ({min(s):,.0f} to {max(s):,.0f})" for n, s in spans.items())
    runs: dict[str, list[str]] = {}
    for name, one in found.items():
        runs.setdefault(_where(one["machine"]), []).append(name)
    return "\n".join(
        [
            *("# Measured", ""),
            *(["**Quick: tiny sizes, the figures mean nothing.**", ""] if quick else []),
            *("| " + " | ".join(line) + " |" for line in lines),
            "",
            ABOUT,
            "",
            *(f"- {', '.join(names)}: {where}" for where, names in runs.items()),
            f"- Matrix products, GFLOP/s, n = 2048 and 4096, the better; measured before each benchmark: {rates}.",
            f"- {_output([OURS, '-c', 'from elbo import PROTOCOL; print(PROTOCOL)'])}",
            *(f"- {row.what}: {row.note}." for row, _ in rated if row.note),
            "",
        ]
    )


def _row(values: dict[str, Any]) -> Row:
    return Row(**{field.name: values[field.name] for field in dataclasses.fields(Row) if field.init})


def _where(machine: dict[str, Any]) -> str:
    ours, peers = (
        ", ".join(f"{name} {number}" for name, number in machine[side].items()) for side in ("ours", "peers")
    )
    return (
        f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores; {ours}; the peers': {peers}; commit "
        f"{machine['commit']}, {machine['date'][:10]}, `{machine['command']}`."
    )


if __name__ == "__main__":
    main()
