"""P(z): what a latent variable is drawn from; a prior, or a few of a kind, a file."""

from ganvas.parts.priors.base import PRIORS, BasePrior, Distribution, FixedPrior, Noise, Prior
from ganvas.parts.priors.fixed import Bimodal, Normal, TruncatedNormal, Uniform
from ganvas.parts.priors.flow import Flow
from ganvas.parts.priors.layer import StochasticLayer
from ganvas.parts.priors.mixture import Mixture, ToldMixture, Vamp, fit_mixture

__all__ = [
    "PRIORS",
    "BasePrior",
    "Bimodal",
    "Distribution",
    "FixedPrior",
    "Flow",
    "Mixture",
    "Noise",
    "Normal",
    "Prior",
    "StochasticLayer",
    "ToldMixture",
    "TruncatedNormal",
    "Uniform",
    "Vamp",
    "fit_mixture",
]
