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
from ganvas.errors import UserError
from ganvas.evaluate.annealing import Density, annealed, estimate, temperatures
from ganvas.evaluate.figures import NotApplicableError
from ganvas.likelihoods import Bernoulli
from ganvas.losses import normal_log_prob
from ganvas.models import Model
from ganvas.models.base import fast_products
from ganvas.models.vae import VAEModel
from ganvas.priors import LatentLayer, Uniform, held
from ganvas.randomness import Draw, key

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

    Raises:
        NotApplicableError: no prior, or latent variables in two layers.
        UserError: no scale where one is needed, one of black or white pixels, or one that is not positive.
    """

    model: Model
    scale: float | None = None

    def __post_init__(self) -> None:
        prior = getattr(self.model, "prior", None)
        if prior is None:
            raise NotApplicableError(f"{_kind(self.model)} has no P(z): `ganvas fit-prior` fits one to its codes.")
        if isinstance(prior, LatentLayer):
            raise NotApplicableError("with two stochastic layers P(z) is itself an integral: it takes one.")
        if self.scale is None and not isinstance(self.model, VAEModel):
            raise UserError(f"{_kind(self.model)} has no P(x given z) of its own: it takes a scale.")
        if self.scale is not None and self._discrete:
            raise UserError(f"the scale {self.scale} of {self.protocol}: they have none.")
        if self.scale is not None and not self.scale > 0:
            raise UserError(f"the scale is {self.scale}: a standard deviation is positive.")

    def observe(self, images: Tensor, draw: Draw) -> Tensor:
        """Data (N, *shape) as P(x given z) is of it: levels; or of bytes, (byte + u) / 256 with u in [0, 1)."""
        if self._discrete:
            model: Any = self.model
            seen: Tensor = model.config.likelihood.observe(images, draw)
            return seen
        if len(self.model.shape) != 3:
            return images
        # A density of 256 levels could be as high as one likes (Theis et al. 2016, section 3.1).
        return ((images * 255).round() + draw.uniform("dequantise", tuple(images.shape), images.device)) / 256

    @property
    def protocol(self) -> str:
        """What the values are of, for a figure."""
        if self._discrete:
            model: Any = self.model
            return "black or white pixels" if self._black_or_white else f"{model.config.likelihood.levels:,} levels"
        density = "density of dequantised images" if len(self.model.shape) == 3 else "density of points"
        return density if self.scale is None else f"{density}, N(decode(z), sigma^2) with sigma chosen on validation"

    @property
    def _discrete(self) -> bool:
        return isinstance(self.model, VAEModel) and self.model.config.likelihood.discrete

    @property
    def _black_or_white(self) -> bool:
        return isinstance(self.model, VAEModel) and isinstance(self.model.config.likelihood, Bernoulli)

    def start(self, draw: Draw, n: int) -> Tensor:
        """u at draws from P(z), (n, d)."""
        model: Any = self.model
        shape, device = (n, model.config.latent_dim), model.device
        u: Tensor = (
            draw.normal("prior", shape, device) if self._uniform else model.prior.sample(draw, shape, device).detach()
        )
        return u

    @property
    def _uniform(self) -> bool:
        return isinstance(self.model.prior, Uniform)

    def log_prior(self) -> Density:
        """Of u, in nats."""
        if self._uniform:
            return normal_log_prob
        model: Any = self.model
        with torch.no_grad():
            prior = held(model.prior)
        return lambda u: prior.log_prob(u, Draw(0))

    def output(self, u: Tensor) -> Tensor:
        """(R, d) -> what P(x given z) has for its parameters: a VAE's decoder output, or the image."""
        model: Any = self.model
        z = model.prior.bound * torch.erf(u / math.sqrt(2)) if self._uniform else u
        output: Tensor = model.decoder(z).float() if self.scale is None else model.decoded(z)
        return output

    def log_likelihood(self, x: Tensor, u: Tensor) -> Tensor:
        """log P(x given z) of x (R, *shape) at u (R, d): nats (R,)."""
        model: Any = self.model
        output, units = self.output(u), model.units
        if self.scale is not None:
            log_p: Tensor = normal_log_prob(units(x).flatten(1), units(output).flatten(1), 2 * math.log(self.scale))
            density: Tensor = log_p - units.log_volume()
            return density
        own: Tensor = model.log_likelihood(x, output)
        return own

    def simulate(self, u: Tensor, draw: Draw) -> Tensor:
        """x (N, *shape) from P(x given z) at u (N, d)."""
        with torch.no_grad():
            model: Any = self.model
            output, units = self.output(u), model.units
            if self.scale is None:
                own: Tensor = model.drawn(output, draw)
                return own
            noise = self.scale * draw.normal("x", tuple(output.shape), output.device)
            x: Tensor = units.back(units(output) + noise)
            return x


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
    model: Model, images: Tensor, steps: int, chains: int = CHAINS, seed: int = 0, scales: Sequence[float] = SCALES
) -> float:
    """The sigma under which images have the highest log P(x), as Wu et al. 2017 choose it on validation images.

    Through the best of `scales` and its neighbours goes a curve of the shape that it has for one z; the top of that.

    Raises:
        UserError: the best is the first or the last of `scales`.
    """
    x = Decoder(model, scales[0]).observe(images, Draw(key(seed, "validation")))
    found = [
        float(below(Decoder(model, scale), x, steps, chains, seed).mean())
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


def decoder_of(model: Model, validation: Tensor, steps: int, chains: int = CHAINS, seed: int = 0) -> Decoder:
    """P(x, z) of a model: its own, or around what it decodes with the sigma that validation images choose."""
    decoder = Decoder(model, None if isinstance(model, VAEModel) else 1.0)
    if decoder.scale is None:
        return decoder
    return replace(decoder, scale=best_scale(model, validation, steps, chains, seed))


def _kind(model: Model) -> str:
    return f"a model of kind {type(model.config).__name__}"
