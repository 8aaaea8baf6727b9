"""Settings, tried by how good a model they make: what may vary, the search, what its figures tell."""

from ganvas.tuning.search import Search
from ganvas.tuning.tune import go_on, tune

__all__ = ["Search", "go_on", "tune"]
