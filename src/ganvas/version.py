"""The version, which everything may read."""

__version__ = "0.2.0"
