"""The verb that names what is wrong with a run."""

from __future__ import annotations

import dataclasses
import json as js
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ganvas.cli.shared import table

if TYPE_CHECKING:
    from ganvas.training.run import Run


def diagnose(
    run: Annotated[Path, "RUN", "a run's folder"],
    /,
    *,
    json: Annotated[bool, "", "print it as JSON"] = False,
) -> None:
    """What is wrong with a run, finished or not: each fault with its evidence, since when, and a command to try.

    It goes by what the watch wrote down while the run trained; where there is nothing of that, it measures the model.

    Example:
        ganvas diagnose runs/first
    """
    from ganvas.training.finding import say
    from ganvas.training.run import Run
    from ganvas.training.watch import examine

    it = Run(run)
    found, history = examine(it)
    if json:
        findings = [dataclasses.asdict(finding) for finding in found]
        vitals = history[-1] if history else None
        print(js.dumps({"run": str(it.path), **it.state, "findings": findings, "vitals": vitals}, indent=2))
        return
    for finding in found:
        print(f"{finding.name}, since step {finding.since:,}\n  {finding.explanation}")
        for figure, value in finding.evidence.items():
            print(f"  {say(figure)} {value}")
        print(f"  try: {finding.remedy}\n")
    if not found:
        _healthy(it, history)


def _healthy(run: Run, history: list[Any]) -> None:
    """What was looked for and not found."""
    from ganvas.training.finding import say
    from ganvas.training.watch import FAULTS

    state = run.state
    at = f"at step {state['step']:,}" + (f" of {state['steps']:,}" if "steps" in state else "")
    if not history or history[-1]["warm_up"]:
        print(f"no fault can be named yet: {run.path} is {state['state']} {at}, and every training begins with some.")
        return
    print(f"no fault found {at}. Looked for, named when all figures of a line are outside for long:\n")
    last = history[-1]
    lines = []
    for fault in FAULTS.values():
        for sign in fault.signs:
            if fault.remedies(run.recipe) is not None and sign.keys() <= last.keys():
                figures = (f"{say(key)} {last[key]:.3g} ({healthy})" for key, healthy in sign.items())
                lines.append((fault.name, ", ".join(figures)))
    table(lines)


HELP = """\
  diagnose RUN                  what is wrong with a run, and what to do
"""
VERBS: dict[str, Callable[..., None]] = {"diagnose": diagnose}
