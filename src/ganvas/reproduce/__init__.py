"""`ganvas reproduce`: the lecture's figures, each with a number that could have come out the other way."""

from ganvas.reproduce import arithmetic, autoencoders, failures, fixes, gans, vaes, wasserstein
from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

__all__ = [
    "FIGURES",
    "Lab",
    "Measure",
    "Outcome",
    "arithmetic",
    "autoencoders",
    "failures",
    "fixes",
    "gans",
    "vaes",
    "wasserstein",
]
