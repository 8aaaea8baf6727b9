"""The log-likelihood that a Parzen window over samples gives to test images."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganvas.evaluate.measures import checks
from ganvas.evaluate.measures.checks import Floats
from ganvas.evaluate.measures.distances import blocks
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError

SIGMAS = np.logspace(-1, 0, 10)


@checked
def parzen(samples: Any, validation: Any, test: Any, sigmas: Any = SIGMAS) -> dict[str, float]:
    """Test log-likelihood under isotropic Gaussians on the samples (Goodfellow et al. 2014, section 5).

    log p(x) = log 1/n sum_i N(x; s_i, sigma^2 I). The paper takes 10,000 samples; its code chooses sigma on 1,000
    validation images. The measure says little about high-dimensional images (Theis et al. 2016): it is here to compare
    with the papers that have it.

    Args:
        samples: (n, ...) in [0, 1].
        validation: images (v, ...) in [0, 1] that choose sigma by their mean log-likelihood.
        test: images (t, ...) in [0, 1].
        sigmas: to choose from.

    Returns:
        "log_likelihood": the mean over the test images, nats per image. "standard_error": of that mean, the test
        images' standard deviation / sqrt(t). "sigma": the chosen one.

    Raises:
        UserError: NaN, values outside [0, 1], images of different size, fewer than 2 test images, a sigma that is not
            positive.
    """
    given = {"samples": samples, "validation": validation, "test": test}
    flat = {what: checks.within(images, what).reshape(len(images), -1) for what, images in given.items()}
    samples, validation, test = checks.features(**flat)
    sigmas = checks.finite(sigmas, "sigmas")
    if sigmas.ndim != 1 or sigmas.min() <= 0:
        raise UserError(f"sigmas are {sigmas}; a row of positive numbers is needed.")
    if len(test) < 2:
        raise UserError("test: 1 image has no standard error; give at least 2.")
    sigma = float(sigmas[_log_densities(validation, samples, sigmas).mean(1).argmax()])
    found = _log_densities(test, samples, np.array([sigma]))[0]
    error = found.std(ddof=1) / np.sqrt(len(found))
    return {"log_likelihood": float(found.mean()), "standard_error": float(error), "sigma": sigma}


def _log_densities(images: Floats, samples: Floats, sigmas: Floats) -> Floats:
    """log p of each image under each sigma, (sigmas, images)."""
    n, d = samples.shape
    found = np.empty((len(sigmas), len(images)))
    for rows, squared in blocks(images, samples):
        nearest = squared.min(1, keepdims=True)
        squared -= nearest  # the largest term of each sum is then exp(0)
        for place, variance in enumerate(sigmas**2):
            sums = np.exp(squared * (-0.5 / variance)).sum(1)
            found[place, rows] = np.log(sums) - nearest[:, 0] / (2 * variance)
    found -= np.log(n) + d / 2 * np.log(2 * np.pi * sigmas[:, None] ** 2)
    return found
