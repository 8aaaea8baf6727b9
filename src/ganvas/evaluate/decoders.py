"""P(z) and P(x given z) of any model that decodes, and log P(x) by annealed importance sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.data.store import tracked
from ganvas.evaluate.figures import NotApplicableError
from ganvas.evaluate.measures.annealing import Density, annealed, estimate, temperatures
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw, key
from ganvas.models import Model
from ganvas.models.base import LatentVariable, Variational, fast_products
from ganvas.models.units import Units
from ganvas.parts.likelihoods import density_protocol, dequantised
from ganvas.parts.losses import normal_log_prob

CHAINS = 16
SCALES = tuple(float(scale) for scale in np.geomspace(0.02, 0.5, 10))
ROWS = 1600  # chains that move at a time: memory does not grow with the number of images


@dataclass(frozen=True)
class Decoder:
    """A model's P(x, z), in coordinates u in which a chain can move everywhere.

    u is z itself; of a uniform prior u is N(0, I), and z a function of it, so that there is no edge.

    Attributes:
        model: that decodes, with a prior.
        scale: sigma of P(x given z) = N(decode(z), sigma^2 I), of rows of numbers in the model's units of each column;
            None: the model's own P(x given z), which a VAE has.
        levels: of the data's values, see `ganvas.parts.likelihoods.dequantised`.

    Raises:
        NotApplicableError: no prior, or latent variables in two layers.
        UserError: no scale where one is needed, one of black or white pixels, or one that is not positive.
    """

    model: Any
    scale: float | None = None
    levels: int | None = 256

    def __post_init__(self) -> None:
        if not isinstance(self.model, LatentVariable):
            raise NotApplicableError(f"{_kind(self.model)} has no P(z): `ganvas fit-prior` fits one to its codes.")
        if self.model.prior.discrete:
            raise NotApplicableError("P(z) is of tokens, and codes can't move from one to another: see its ELBO.")
        if not self.model.prior.exact:
            raise NotApplicableError("with two stochastic layers P(z) is itself an integral: it takes one.")
        variational = isinstance(self.model, Variational)
        if self.scale is None and not variational:
            raise UserError(f"{_kind(self.model)} has no P(x given z) of its own: it takes a scale.")
        if self.scale is not None and variational and self.model.likelihood.mass:
            raise UserError(f"the scale {self.scale} of a probability of levels: they have none.")
        if self.scale is not None and not self.scale > 0:
            raise UserError(f"the scale is {self.scale}: a standard deviation is positive.")

    @property
    def _own(self) -> Variational | None:
        """The model, if it is asked for its own P(x given z)."""
        return self.model if self.scale is None else None

    def observe(self, images: Tensor, draw: Draw) -> Tensor:
        """Data (N, *shape) as P(x given z) is of it; of a density without their levels."""
        if self._own is None:
            return dequantised(images, self.levels, draw)
        return self._own.observed(self._own.likelihood.measured(images, self.levels, draw), draw)

    def protocol(self, images: Tensor) -> str:
        """What the values are of, for a figure; images (N, *shape) as they are."""
        if self._own is not None:
            return self._own.likelihood.protocol(images, self.levels)
        density = density_protocol(images.dim() == 4, self.levels)
        return f"{density}, N(decode(z), sigma^2) with sigma chosen on validation"

    def start(self, draw: Draw, n: int) -> Tensor:
        """u at draws from P(z), (n, d)."""
        shape, device, prior = (n, self.model.latent_dim), self.model.device, self.model.prior
        u = prior.sample(draw, shape, device) if prior.bound is None else draw.normal("prior", shape, device)
        return u.detach()

    def log_prior(self) -> Density:
        """Of u, in nats."""
        if self.model.prior.bound is not None:
            return normal_log_prob
        with torch.no_grad():
            prior = self.model.prior.held()
        return lambda u: prior.log_prob(u, Draw(0))

    def output(self, u: Tensor) -> Tensor:
        """(R, d) -> what P(x given z) has for its parameters: a VAE's decoder output, or the image."""
        z = u if self.model.prior.bound is None else self.model.prior.from_noise(self.model.latent_dim)[1](u)
        output: Tensor = self.model.decoded(z) if self._own is None else self._own.output(z)
        return output

    def log_likelihood(self, x: Tensor, u: Tensor) -> Tensor:
        """log P(x given z) of x (R, *shape) at u (R, d): nats (R,)."""
        output = self.output(u)
        units: Units = self.model.units
        if self._own is not None:
            return self._own.log_likelihood(x, output)
        log_p = normal_log_prob(units(x).flatten(1), units(output).flatten(1), 2 * math.log(self.scale or 1.0))
        return log_p - units.log_volume()

    def simulate(self, u: Tensor, draw: Draw) -> Tensor:
        """x (N, *shape) from P(x given z) at u (N, d)."""
        with torch.no_grad():
            output = self.output(u)
            units: Units = self.model.units
            if self._own is not None:
                return self._own.drawn(output, draw)
            noise = (self.scale or 1.0) * draw.normal("x", tuple(output.shape), output.device)
            return units.back(units(output) + noise)


def weights(decoder: Decoder, x: Tensor, start: Tensor, betas: Tensor, seed: int, what: str = "") -> Tensor:
    """The logarithms of annealed importance weights, as `annealed` has them, some images at a time.

    Args:
        decoder: P(x, z).
        x: (N, *shape), as `observe` or `simulate` give it.
        start: u (chains, N, d), from P(z); with falling betas from P(z given x).
        betas: inverse temperatures.
        seed: of all moves.
        what: to show progress under; "" shows none.

    Returns:
        (chains, N), float64, nats.
    """
    chains, n, _ = start.shape
    size = max(1, ROWS // chains)
    places, found, prior = range(0, n, size), [], decoder.log_prior()
    needed = [part for part in decoder.model.parameters() if part.requires_grad]
    training = decoder.model.training
    decoder.model.eval().requires_grad_(False)
    try:
        with fast_products(decoder.model.device):
            for place in tracked(places, len(places), what, bool(what)):
                rows = slice(place, place + size)
                images = x[rows].repeat(chains, *[1] * (x.dim() - 1))
                likelihood = partial(decoder.log_likelihood, images)
                found.append(annealed(prior, likelihood, start[:, rows], betas, key(seed, "moves", place)))
    finally:
        decoder.model.train(training)
        for part in needed:
            part.requires_grad_()
    return torch.cat(found, 1)


def below(decoder: Decoder, x: Tensor, steps: int, chains: int = CHAINS, seed: int = 0, what: str = "") -> Tensor:
    """log P(x) in nats (N,), a lower bound in expectation, from chains that start at the prior.

    Args:
        decoder: P(x, z).
        x: (N, *shape), as `observe` or `simulate` give it.
        steps: temperatures.
        chains: for each image.
        seed: of all draws.
        what: to show progress under.
    """
    start = decoder.start(Draw(key(seed, "start")), chains * len(x)).reshape(chains, len(x), -1)
    return estimate(weights(decoder, x, start, temperatures(steps), seed, what))


def both_bounds(
    decoder: Decoder, n: int, steps: int, chains: int = CHAINS, seed: int = 0, what: str = ""
) -> tuple[Tensor, Tensor]:
    """log P(x) of images that the model draws, from below and from above: bidirectional Monte Carlo.

    The z that an image was made of is an exact draw from P(z given x): all chains from above start there (Grosse et
    al. 2015).

    Returns:
        Two tensors (n,), nats; in expectation log P(x) is between them.
    """
    u = decoder.start(Draw(key(seed, "simulated")), n)
    x = decoder.simulate(u, Draw(key(seed, "simulated x")))
    start = u.expand(chains, *u.shape).contiguous()
    back = weights(decoder, x, start, temperatures(steps).flip(0), key(seed, "back"), what)
    return below(decoder, x, steps, chains, seed, what), -estimate(back)


def best_scale(
    model: Model,
    images: Tensor,
    steps: int,
    chains: int = CHAINS,
    seed: int = 0,
    scales: Sequence[float] = SCALES,
    levels: int | None = 256,
) -> float:
    """The sigma under which images have the highest log P(x), as Wu et al. 2017 choose it on validation images.

    Through the best of `scales` and its neighbours goes a curve of the shape that it has for one z; the top of that.

    Raises:
        UserError: the best is the first or the last of `scales`.
    """
    x = Decoder(model, scales[0], levels).observe(images, Draw(key(seed, "validation")))
    found = [
        float(below(Decoder(model, scale, levels), x, steps, chains, seed).mean())
        for scale in tracked(scales, len(scales), "choosing sigma", True)
    ]
    top = int(np.argmax(found))
    if not 0 < top < len(scales) - 1:
        raise UserError(
            f"the best sigma is {scales[top]:g}, at the end of those from {scales[0]:g} to {scales[-1]:g}: its samples "
            "are unlike the data in all or in nothing; look at them first."
        )
    near = np.array(scales[top - 1 : top + 2])
    # Of D values whose squared errors sum to S, log P is a constant - D log sigma - S / (2 sigma^2).
    _, a, b = np.linalg.solve(np.stack([near**0, np.log(near), near**-2], 1), found[top - 1 : top + 2])
    return float(np.sqrt(2 * b / a))


def decoder_of(
    model: Model, validation: Tensor, steps: int, chains: int = CHAINS, seed: int = 0, levels: int | None = 256
) -> Decoder:
    """P(x, z) of a model: its own, or around what it decodes with the sigma that validation images choose."""
    decoder = Decoder(model, None if isinstance(model, Variational) else 1.0, levels)
    if decoder.scale is None:
        return decoder
    return replace(decoder, scale=best_scale(model, validation, steps, chains, seed, levels=levels))


def _kind(model: Model) -> str:
    return f"a model of kind {type(model.config).__name__}"
