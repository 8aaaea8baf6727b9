"""Settings that are tried, by how good a model they make: what may vary, the search, and what its figures can tell."""

from ganvas.tuning.search import Search
from ganvas.tuning.tune import go_on, tune

__all__ = ["Search", "go_on", "tune"]
