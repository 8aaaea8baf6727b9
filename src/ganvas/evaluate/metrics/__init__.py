"""The metrics of `ganvas evaluate`: each a function from a `Subject` to `Figure`s, and a page of docs/metrics."""

from ganvas.evaluate.metrics import codes, conditions, likelihood, samples, synthetic
from ganvas.evaluate.metrics.registry import METRICS

__all__ = ["METRICS", "codes", "conditions", "likelihood", "samples", "synthetic"]
