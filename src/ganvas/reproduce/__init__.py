"""`ganvas reproduce`: figures of the lecture and of papers, whose numbers could have come out the other way."""

from ganvas.reproduce import (
    arithmetic,
    autoencoders,
    failures,
    fixes,
    gans,
    papers,
    papers_decoders,
    papers_gans,
    reparametrisation,
    vaes,
    wasserstein,
)
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
    "papers",
    "papers_decoders",
    "papers_gans",
    "reparametrisation",
    "vaes",
    "wasserstein",
]
