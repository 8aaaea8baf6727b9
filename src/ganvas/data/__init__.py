"""Named sets, folders, zips and arrays, prepared once and mapped from a cache."""

from ganvas.data.dataset import Dataset, Split, describe, load
from ganvas.data.sources import names

__all__ = ["Dataset", "Split", "describe", "load", "names"]
