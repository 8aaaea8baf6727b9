"""P(z): what a latent variable is drawn from; a prior, or a few of a kind, a file."""

from ganvas.priors.base import PRIORS, BasePrior, Distribution, FixedPrior, Noise, Prior
from ganvas.priors.fixed import Bimodal, Normal, Uniform
from ganvas.priors.flow import Flow
from ganvas.priors.layer import StochasticLayer
from ganvas.priors.mixture import Mixture, ToldMixture, Vamp, fit_mixture

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
    "Uniform",
    "Vamp",
    "fit_mixture",
]
