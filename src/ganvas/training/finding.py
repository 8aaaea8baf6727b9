"""What the watch says of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """A figure's last value, and where it is healthy."""

    value: float
    healthy: str

    def __str__(self) -> str:
        """1.5 (healthy: at most 1)."""
        return f"{self.value:.3g} (healthy: {self.healthy})"


@dataclass(frozen=True)
class Finding:
    """A fault of a run.

    Attributes:
        name: in the field's words.
        since: the step from which on every look has shown it.
        evidence: by figure; without one where the run stopped at a number that is not finite.
        explanation: what it means, a sentence.
        remedy: a command that trains the same with the remedy in it.
        arguments: the same as arguments of `ganvas.train`, by name.
    """

    name: str
    since: int
    evidence: dict[str, Evidence]
    explanation: str
    remedy: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        """One line."""
        figures = ", ".join(f"{say(key)} {value}" for key, value in self.evidence.items()) or self.explanation
        return f"{self.name} since step {self.since:,}: {figures}; try: {self.remedy}"


def say(figure: str) -> str:
    """A figure's name as a person reads it."""
    return figure.replace("_", " ")
