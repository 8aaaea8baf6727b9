"""Measures of a trained model."""

from ganvas.evaluate.average import average

__all__ = ["average"]
