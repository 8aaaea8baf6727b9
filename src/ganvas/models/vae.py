"""Variational autoencoder (Kingma & Welling 2013), and the importance weighted one (Burda et al. 2015).

log P(x) >= ELBO = E_Q[log P(x given z)] - KL(Q(z given x) || P(z)) = E_Q[log P(x, z) - log Q(z given x)],
with z = mu + sigma * eps; and nearer, log P(x) >= E_Q[log 1/k sum_i P(x, z_i) / Q(z_i given x)].
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ganvas.data.loader import Batch, to_tensor
from ganvas.data.store import tracked
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw, key, order
from ganvas.ground.registry import Count, Seed, kind, settings
from ganvas.models.base import CHUNK, MODELS, Model, Variational, fast_products, verb
from ganvas.models.completion import PARTICLES, SPARE, tempered
from ganvas.models.conditions import PRIORS, Condition, Conditional
from ganvas.models.evidence import (
    PILOTS,
    STARTS,
    Evidence,
    Modes,
    Pilots,
    Proposal,
    Tally,
    evidence,
    how_many,
    search,
    shares,
)
from ganvas.parts import losses
from ganvas.parts.likelihoods import Bernoulli, Likelihood
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.nets.registry import Net
from ganvas.parts.priors import Distribution, Mixture, Normal, Prior, ToldMixture
from ganvas.parts.priors.base import halves

if TYPE_CHECKING:
    from ganvas.data import Dataset


NATS = "nats per image"
Proposed = Literal["adapted", "encoder"]
TOGETHER = 20  # images that are completed at a time
SIDE = 20  # images, and draws, that are held against each other at a time: together about CHUNK
FITTED = 10_000  # training images whose codes P(z) is fitted to, at most


@MODELS.register
@settings
class VAE(Condition):
    """Settings of a VAE: those of its condition, and

    Attributes:
        latent_dim: size of z.
        net: of the encoder and the decoder.
        likelihood: P(x given z).
        beta: weight of the KL; 1 is the ELBO, another value is not a bound.
        elbo: "analytic" takes the KL in closed form where there is one, that is with the prior N(0, I); "sampled"
            takes log Q(z given x) - log P(z) at the draws, as every other bound always does.
        prior: P(z).
        samples: draws of z for each image, k.
        bound: "elbo", the mean over the draws; or "iwae", the logarithm of the mean weight (Burda et al. 2015); or what
            Rainforth et al. 2018 make of these, as the encoder learns the less of "iwae" the more draws there are:
            "miwae", the mean of "iwae" over `groups` of the draws; "ciwae", `share` of the ELBO and the rest of "iwae";
            or "piwae", by which the encoder learns from "miwae" and all else from "iwae".
        groups: of "miwae" and "piwae": of equal sizes.
        share: of "ciwae": the ELBO's.
        gradient: of "iwae": "standard", through all that the weights depend on; or "doubly", doubly reparametrised,
            which has the same mean and for the encoder less variance, the more so the more draws (Tucker et al. 2018).
        warmup: moves over which the weight of the KL rises from 0 to beta (Bowman et al. 2016).
        free_bits: nats of KL in each dimension, on average over the batch, that cost as much as none do (Kingma et al.
            2016).
        fit: normals of a mixture that takes the place of P(z) at the end of the training, fitted to the codes of the
            training images; 0: none.
    """

    latent_dim: Count = 20
    net: Net = MLP()
    likelihood: Likelihood = Bernoulli()
    beta: Annotated[float, Field(ge=0)] = 1.0
    elbo: Literal["analytic", "sampled"] = "analytic"
    prior: Prior = Normal()
    samples: Count = 1
    bound: Literal["elbo", "iwae", "miwae", "piwae", "ciwae"] = "elbo"
    groups: Count = 1
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    gradient: Literal["standard", "doubly"] = "standard"
    warmup: Annotated[int, Field(ge=0)] = 0
    free_bits: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    fit: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.prior.bound is not None:
            raise UserError(
                "a VAE's prior can't end anywhere: a normal posterior reaches beyond it, where the KL is infinite."
            )
        if self.free_bits and not (self.prior.closed_form and (self.bound, self.elbo) == ("elbo", "analytic")):
            raise UserError("free bits need the KL of each dimension: the ELBO in closed form, with the prior normal.")
        if self.samples % self.groups:
            raise UserError(f"groups is {self.groups}: {self.samples} draws can't be in so many groups of equal sizes.")
        if self.groups > 1 and self.bound not in ("miwae", "piwae"):
            raise UserError(f"groups is {self.groups}: the bound {self.bound} has none; take miwae or piwae.")
        if self.gradient == "doubly" and self.bound != "iwae":
            raise UserError(
                "the doubly reparametrised gradient is one of the importance weighted bound: take bound iwae."
            )
        if self.gradient == "doubly" and not self.prior.exact:
            raise UserError(
                "the doubly reparametrised gradient takes log P(z) as a function of z alone, and a layer above draws "
                "from a posterior that depends on z: take one layer, or the standard gradient."
            )


class Terms(NamedTuple):
    """What the bounds of N images are made of, in nats.

    Attributes:
        reconstruction: -log P(x given z) at k draws from Q, (N, k).
        kl: KL(Q(z given x) || P(z)), (N, 1); or log Q(z given x) - log P(z) at the draws, (N, k).
        mean: of Q(z given x), (N, latent_dim).
        log_variance: likewise.
        z: the draws, (N, k, latent_dim).
        output: of the decoder for them, (N, k, ...).
    """

    reconstruction: Tensor
    kl: Tensor
    mean: Tensor
    log_variance: Tensor
    z: Tensor
    output: Tensor


class VAEModel(Conditional, Variational):
    """Encoder Q(z given x), a diagonal normal; decoder P(x given z); prior P(z)."""

    Config = VAE
    figures: ClassVar[dict[str, str]] = {"elbo": NATS, "reconstruction": NATS, "kl": NATS}
    codes_are = "the mean of Q(z given x)"
    guides = True

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        if config.likelihood.images_only and len(shape) != 3:
            raise UserError(
                f"the {kind(type(config.likelihood))} likelihood needs images, the data is of shape {tuple(shape)}: "
                "take --likelihood gaussian."
            )
        self.encoder = config.net.encoder(shape, 2 * config.latent_dim)
        self.draw_pattern()
        self.decoder = config.likelihood.decoder(config.net, config.latent_dim + self.width, self.shape)
        self.prior = config.prior.build(config.latent_dim, shape, self._posterior)
        if config.told_prior:
            self.prior_given = ToldMixture.empty(config.prior.components, config.latent_dim, self.width)
        if config.warmup:
            self.register_buffer("moves", torch.zeros((), dtype=torch.int64))
            self.counters = ("moves",)

    def players(self) -> dict[str, torch.nn.Module]:
        """One: the model itself."""
        return {"vae": self}

    def prepare(self, dataset: Dataset, seed: int) -> None:
        """Pseudo-inputs of a `Vamp` prior start as training images, drawn by `seed`; and the units."""
        super().prepare(dataset, seed)
        images = dataset.splits["train"].images
        if k := self.prior.examples:
            if k > len(images):
                raise UserError(f"{k} components: there are {len(images)} training images to start them from.")
            chosen = order(seed, "pseudo-inputs", n=len(images))[:k]
            self.prior.prepare(self.units(to_tensor(images[np.sort(chosen)], self.device)))

    def inherit(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Where P(z) is not learned, one that was fitted to the other model's codes is left away."""
        learned = any(name.startswith("prior.") for name in self.state_dict())
        return {name: weight for name, weight in weights.items() if learned or not name.startswith(PRIORS)}

    def finished(self, dataset: Dataset, seed: int) -> Model:
        """With `fit`, P(z) is fitted to the codes of training images."""
        if not self.config.fit:
            return self
        from ganvas.models.fitted import fit_prior

        split = dataset.splits["train"]
        chosen = np.sort(order(seed, "fit", n=len(split))[:FITTED])
        labels = split.labels[chosen] if self.width and split.labels is not None else None
        components = min(self.config.fit, len(chosen) // 2)
        return fit_prior(self, to_tensor(split.images[chosen], self.device), components, seed, labels)

    def with_prior(self, components: int) -> VAE:
        """Free bits are of a normal prior's KL, and a fit would be another one."""
        config: VAE = self.config
        return dataclasses.replace(config, prior=Mixture(components=components), free_bits=0.0, fit=0)

    def moved(self, player: str) -> None:
        """The weight of the KL rises."""
        if self.config.warmup:
            self.moves += 1

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of Q(z given x), each (N, latent_dim)."""
        return self._posterior(self.units(x))

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`posterior` of x in the nets' units, in which pseudo-inputs are learned."""
        return halves(self.encoder(self.marked(x)))

    def terms(self, images: Tensor, draw: Draw, form: str = "analytic", samples: int = 1) -> Terms:
        """What the bounds are made of, at draws from Q; `draw` is of eps and of the binarisation."""
        x = self.observed(images, draw)
        mean, log_variance = self.posterior(x)
        n, d = mean.shape
        center, spread = mean[:, None], log_variance[:, None]
        z = losses.reparametrised(center, spread, draw.normal("posterior", (n, samples, d), mean.device))
        output = self._outputs(z)
        reconstruction = -self._given(x, output)
        by_dimension = self.prior.kl_by_dimension(mean, log_variance) if form == "analytic" else None
        if by_dimension is not None:
            kl = by_dimension.sum(-1, keepdim=True)
        else:
            if self.config.gradient == "doubly":  # Q's density depends on the encoder by way of z alone
                center, spread = center.detach(), spread.detach()
            kl = losses.normal_log_prob(z, center, spread) - self.prior.log_prob(z, draw)
        return Terms(reconstruction, kl, mean, log_variance, z, output)

    def elbo(self, x: Tensor, draw: Draw, form: str = "analytic", samples: int = 1) -> dict[str, Tensor]:
        """The bound of each image and its two parts, in nats, means over the draws.

        Args:
            x: images (N, *shape).
            draw: of eps and of the binarisation.
            form: "analytic" or "sampled"; equal in expectation.
            samples: draws for each image.

        Returns:
            elbo (N,), reconstruction = -log P(x given z) (N,), kl (N,); elbo = -(reconstruction + kl).
        """
        terms = self.terms(x, draw, form, samples)
        reconstruction, kl = terms.reconstruction.mean(1), terms.kl.mean(1)
        return {"elbo": -(reconstruction + kl), "reconstruction": reconstruction, "kl": kl}

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """{"loss", "elbo", "reconstruction", "kl"}, nats per image, batch means.

        The loss is reconstruction + beta kl; with "iwae" -log 1/k sum_i exp(-reconstruction_i - beta kl_i), and so on.
        """
        return self.of_batch(batch, draw).bounds(batch, draw)[0]

    def bounds(self, batch: Batch, draw: Draw) -> tuple[dict[str, Tensor], Terms]:
        """What `forward` gives, and what it is made of."""
        config = self.config
        # A weight is each draw's own: with the KL in closed form the mean of the weights would not be P(x).
        form = config.elbo if config.bound == "elbo" else "sampled"
        terms = self.terms(batch.images, draw, form, config.samples)
        beta = config.beta
        if config.warmup and self.training:
            beta = beta * (self.moves / config.warmup).clamp(max=1)
        reconstruction, kl = terms.reconstruction.mean(), terms.kl.mean()
        if config.bound != "elbo":
            log_weights = -(terms.reconstruction + beta * terms.kl)
            whole, apart = (-losses.importance_weighted(log_weights, groups).mean() for groups in (1, config.groups))
            loss = apart if config.bound == "miwae" else whole
            if config.bound == "ciwae":
                loss = config.share * (reconstruction + beta * kl) + (1 - config.share) * whole
            if config.bound == "piwae" and terms.mean.requires_grad:
                given = terms.mean, terms.log_variance  # all that the encoder says
                for part, own in zip(given, torch.autograd.grad(apart, given, retain_graph=True), strict=True):
                    part.register_hook(lambda _, own=own: own)  # type: ignore[no-untyped-call]
            if config.gradient == "doubly" and terms.z.requires_grad:
                # What a draw passes on to the encoder has its weight twice; the share 1 - beta, without log Q, once.
                again = 1 - beta + beta * log_weights.detach().softmax(1)
                terms.z.register_hook(lambda gradient: gradient * again[..., None])  # type: ignore[no-untyped-call]
        elif config.free_bits:
            by_dimension = losses.kl_by_dimension(terms.mean, terms.log_variance).mean(0)
            loss = reconstruction + beta * by_dimension.clamp(min=config.free_bits).sum()
        else:
            loss = reconstruction + beta * kl
        return {"loss": loss, "elbo": -(reconstruction + kl), "reconstruction": reconstruction, "kl": kl}, terms

    @contextmanager
    def calibrated(self, figures: dict[str, float]) -> Iterator[dict[str, float]]:
        """What the likelihood learns beside the nets; under another bound than the ELBO as it is."""
        if self.config.bound != "elbo":
            yield figures
            return
        volume, values = float(self.units.log_volume()), math.prod(self.shape)
        with self.likelihood.calibrated(self.decoder, figures, volume, values) as found:
            yield found

    def encoded(self, images: Tensor) -> Tensor:
        """The posterior's mean."""
        return self.posterior(images)[0]

    def decoded(self, z: Tensor) -> Tensor:
        """E[x given z]."""
        return self.units.back(self.likelihood.mean(self.guided(z)))

    def output(self, z: Tensor) -> Tensor:
        """What the likelihood takes (N, ...), float32."""
        output: Tensor = self.decoder(self.joined(z)).float()
        return output

    @verb
    @checked
    def log_prob(
        self,
        images: Any,
        num_samples: Count = 1000,
        seed: Seed = 0,
        proposal: Proposed = "adapted",
        progress: bool = False,
    ) -> Tensor:
        """log P(x) by importance sampling: the `log_prob` of `evidence`, which says how sure it is, too.

        Returns:
            (N,), nats; a lower bound in expectation that rises with K.
        """
        return self.evidence(images, num_samples, seed, proposal, progress).log_prob

    @checked
    def evidence(
        self,
        images: Any,
        num_samples: Count = 1000,
        seed: Seed = 0,
        proposal: Proposed = "adapted",
        progress: bool = False,
    ) -> Evidence:
        """log P(x) by importance sampling, log 1/K sum_k P(x, z_k) / m(z_k), with its error and whether to trust both.

        Args:
            images: (N, *shape); grey levels are binarised by one draw where the likelihood says so.
            num_samples: K, exactly; memory grows with its square root at most.
            seed: of every draw.
            proposal: m: "adapted", a mixture of Q(z given x), of modes of the posterior that are looked for, and of
                P(z), see `ganvas.models.evidence`; the more draws, the more modes. With a layer of latent variables
                above P(z) has no gradient that could be followed, and the mixture is of Q and P(z, u). Or "encoder":
                Q(z given x) alone, as Burda et al. 2015 take it. Where Q misses a part of the posterior, so does the
                estimate, and neither its error nor k-hat need show it.
            progress: show a bar where stderr is a terminal.

        Returns:
            log_prob, error and khat, each (N,); its `doubtful` are the images whose figure is not to be trusted.

        Raises:
            UserError: K below 1, another proposal.
        """
        x = self.observed(self.rows(images), Draw(seed))
        k, found = num_samples, []
        starts = range(0, len(x), max(1, CHUNK // k))
        with self.asked(), fast_products(self.device):
            with torch.inference_mode(False), torch.no_grad():  # what a search for modes takes gradients through
                prior = self.prior.held()
                proposals = self._proposals(x, prior, k, seed, adapted=proposal == "adapted")
            for start in tracked(starts, len(starts), "log P(x)", progress):
                rows = slice(start, start + starts.step)
                tally = Tally(len(x[rows]), k, x.device)
                for block, first in enumerate(range(0, k, 1000)):
                    drawn = [
                        one.weighed(prior, Draw(seed, start + i, block), first, min(1000, k - first))
                        for i, one in enumerate(proposals[rows])
                    ]
                    z, log_weight = (torch.stack(part) for part in zip(*drawn, strict=True))
                    log_p = [self._log_likelihood(x[rows], part) for part in torch.split(z, CHUNK, 1)]
                    tally.add(torch.cat(log_p, 1) + log_weight)
                found.append(tally)
        return evidence(found)

    def codes_of(self, x: Tensor, seen: Tensor, n: int, seed: int) -> Tensor:
        """Draws from P(z given the visible pixels), see `ganvas.models.completion`."""
        if not self.prior.exact:
            raise UserError(
                "with two stochastic layers P(z) is itself an integral, and codes can't move by it: take one."
            )
        particles, codes = max(PARTICLES, SPARE * n), []
        with self.asked(), fast_products(self.device), torch.inference_mode(False), torch.no_grad():
            prior, x = self.prior.held(), self.observed(x, Draw(seed))
            for start in range(0, len(x), TOGETHER):
                some = x[start : start + TOGETHER]
                z = prior.sample(Draw(seed, start), (len(some) * particles, self.latent_dim), self.device)
                z = tempered(
                    lambda z: prior.log_prob(z, Draw(0)),
                    partial(self._log_likelihood, some, seen=seen),
                    torch.unflatten(z, 0, (len(some), -1)),
                    key(seed, "moves", start),
                )
                codes.append(z[:, torch.arange(n) * particles // n])  # neighbours may have one ancestor
        return torch.cat(codes)

    def _proposals(self, x: Tensor, prior: Distribution, k: int, seed: int, adapted: bool) -> list[Proposal]:
        """What the K draws of each image are from."""
        posteriors = [self.posterior(part) for part in torch.split(x, CHUNK)]
        mean, log_variance = (torch.cat(part) for part in zip(*posteriors, strict=True))
        n = sum(how_many(k, self.latent_dim)) if adapted and prior.exact else 0
        counts = shares(k, n) if adapted else (k, 0, 0)
        if not n:
            return [Proposal(*of, None, counts) for of in zip(mean, log_variance, strict=True)]
        z = prior.sample(Draw(key(seed, "pilots")), (min(PILOTS, k // 5), self.latent_dim), self.device)
        pilots, outputs = Pilots.of(z), [self.output(part) for part in torch.split(z, SIDE)]
        found: list[Modes] = []
        for rows in torch.split(torch.arange(len(x), device=x.device), CHUNK // STARTS):
            scores = [self._scores(part, outputs) for part in torch.split(x[rows], SIDE)]
            seeds = [key(seed, "search", i) for i in rows.tolist()]
            likelihood = partial(self._log_likelihood, x[rows])
            of = mean[rows], log_variance[rows]
            found += search(likelihood, prior, of, torch.cat(scores), pilots, k, seeds).each()
        return [Proposal(*of, counts) for of in zip(mean, log_variance, found, strict=True)]

    def _scores(self, x: Tensor, outputs: list[Tensor]) -> Tensor:
        """log P(x given z) of each of x (N, *shape) at each z by the decoder's outputs (k, ...): (N, all k)."""
        return torch.cat([self.log_likelihood(x, output[:, None]) for output in outputs]).T

    def _log_likelihood(self, x: Tensor, z: Tensor, seen: Tensor | None = None) -> Tensor:
        """log P(x given z): (N, *shape) and k draws for each (N, k, latent_dim) -> (N, k).

        Of the `seen` pixels (H, W), or numbers (d,) of a row, alone if they are given; up to a constant.
        """
        if seen is None:
            return self._given(x, self._outputs(z))
        each = self.likelihood.log_prob_each(self.units(x), self._outputs(z).transpose(0, 1))
        return (each * seen).flatten(2).sum(-1).T

    def _outputs(self, z: Tensor) -> Tensor:
        """`output` of k draws for each image, (N, k, latent_dim) -> (N, k, ...)."""
        return torch.unflatten(self.output(z.flatten(0, 1)), 0, z.shape[:2])

    def _given(self, x: Tensor, outputs: Tensor) -> Tensor:
        """`log_likelihood` of x (N, *shape) by k outputs for each, (N, k, ...) -> (N, k)."""
        return self.log_likelihood(x, outputs.transpose(0, 1)).T

    def log_likelihood(self, x: Tensor, output: Tensor) -> Tensor:
        """log P(x given z) of x (N, *shape) by the decoder's output for it (..., N, ...): nats, (..., N)."""
        return self.likelihood.log_prob(self.units(x), output) - self.units.log_volume()

    def simulated(self, z: Tensor, draw: Draw) -> Tensor:
        """From P(x given z)."""
        return self.drawn(self.output(z), draw)

    def drawn(self, output: Tensor, draw: Draw) -> Tensor:
        """x (N, *shape) from P(x given z) by the decoder's output."""
        return self.units.back(self.likelihood.sample(output, draw))
