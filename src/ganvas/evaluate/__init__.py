"""Measures of a trained model."""

from ganvas.evaluate.average import average
from ganvas.evaluate.codes import write_codes

__all__ = ["average", "write_codes"]
