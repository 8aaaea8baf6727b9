"""P(z) fitted after training: a mixture of normals under which a model's own codes are likely (Ghosh et al. 2020).

An autoencoder, which has no P(z), then has samples; and a VAE whose posteriors together do not look like its prior has
better ones.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ganvas.ground.arguments import checked
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import Count, Seed
from ganvas.models.base import FAMILIES, Model
from ganvas.models.conditions import PRIORS
from ganvas.parts.losses import reparametrised
from ganvas.parts.priors import fit_mixture


@checked
def draw_codes(model: Model, images: Any, seed: Seed = 0, labels: Any = None) -> Tensor:
    """Codes (N, latent_dim) as P(z) should give them: of a VAE a draw from Q(z given x) each, of others their `encode`.

    Args:
        model: that encodes.
        images: (N, *shape).
        seed: of the draws.
        labels: that a conditional model is told, (N,) or (N, A).

    Raises:
        UserError: the model does not encode.
    """

    def moments(model: Model, x: Tensor) -> Tensor:
        posterior = model.posterior
        return model.chunks(lambda part: torch.cat(posterior(part), 1), x)

    x = model.observed(model.rows(images), Draw(seed))
    found = moments(model, x) if labels is None else model.each_given(labels, moments, x)
    mean, log_variance = found.chunk(2, 1)
    return reparametrised(mean, log_variance, Draw(seed).normal("codes", tuple(mean.shape), mean.device))


@checked
def fit_prior(model: Model, images: Any, components: Count = 10, seed: Seed = 0, labels: Any = None) -> Model:
    """A copy of a VAE or an autoencoder whose P(z) is a mixture fitted to the codes of images.

    A VAE stays one, whose `log_prob` takes the new P(z) too; an autoencoder becomes a `FittedAutoencoder`.

    Args:
        model: that encodes; it stays as it is.
        images: (N, *shape), at least twice as many as components; those that it was trained on.
        components: of the mixture.
        seed: of the codes' draws, and of where the fit starts.
        labels: of the images, for a conditional model: where it is told, it has a mixture of its own.

    Raises:
        UserError: the model does not encode, or its codes have no fit, see `ganvas.parts.priors.fit_mixture`.
    """
    config = model.with_prior(components)
    if hasattr(config, "told_prior"):
        config = dataclasses.replace(config, told_prior=labels is not None)
    fitted = FAMILIES[type(config)](config, model.shape)
    kept = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(PRIORS)}
    for prefix, given in zip(PRIORS, [None] if labels is None else [None, labels], strict=False):
        told = None if given is None else model.of_labels(given)
        prior = fit_mixture(draw_codes(model, images, seed, given), components, seed, told=told)
        kept |= {f"{prefix}{name}": tensor for name, tensor in prior.state_dict().items()}
    fitted.range = model.range
    fitted.load_state_dict(kept)
    return fitted.to(model.device).eval()
