"""The metrics of `ganvas evaluate`: each a function from a `Subject` to `Figure`s, and a page of docs/metrics."""

from ganvas.evaluate.figures import METRICS
from ganvas.evaluate.metrics import codes, conditions, likelihood, samples, synthetic

__all__ = ["METRICS", "codes", "conditions", "likelihood", "samples", "synthetic"]
