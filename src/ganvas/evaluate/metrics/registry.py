"""The known metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ganvas.evaluate.figures import Figure
from ganvas.evaluate.subject import Subject
from ganvas.ground.registry import Registry

Metric = Callable[[Subject], Iterator[Figure]]
METRICS = Registry("metric")
