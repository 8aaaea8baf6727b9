"""Of models with a likelihood and a posterior: bounds of log P(x), and what the codes hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from ganvas.data.loader import to_tensor
from ganvas.data.store import tracked
from ganvas.evaluate.decoders import CHAINS, below, both_bounds, decoder_of
from ganvas.evaluate.figures import Figure, NotApplicableError, mean, share, subset_errors
from ganvas.evaluate.measures.frechet import frechet_distance
from ganvas.evaluate.measures.posteriors import active_units, parts
from ganvas.evaluate.measures.two_sample import two_sample_test
from ganvas.evaluate.metrics.registry import METRICS
from ganvas.evaluate.networks.features import evenly
from ganvas.evaluate.subject import BLOCK, Subject, spread
from ganvas.ground.randomness import Draw, key
from ganvas.models.evidence import Evidence
from ganvas.parts.likelihoods import BaseLikelihood
from ganvas.parts.losses import reparametrised

ELBO_DRAWS = 10
ANNEALED, SIGMA_IMAGES, SIMULATED = 100, 20, 20  # images of `annealing`: measured, that choose sigma, simulated
NAMED = 5  # images that a note names
IMAGES = 100  # whose log P(x) is computed between two moves of the progress bar
NATS = "nats per image"


@METRICS.register
def elbo(subject: Subject) -> Iterator[Figure]:
    """ELBO = -(distortion + rate), with distortion -E log P(x given z) and rate KL(Q || P), 10 draws an image."""
    model, found = subject.bounded, []
    with model.asked():
        for number, x in enumerate(torch.split(measured(subject), BLOCK)):
            found.append(model.elbo(x, Draw(subject.seed, number), samples=ELBO_DRAWS))
    elbo, distortion, rate = (
        torch.cat([part[name] for part in found]).cpu().double().numpy() for name in ("elbo", "reconstruction", "kl")
    )
    facts = {"unit": NATS, "protocol": seen(subject)}
    yield mean("ELBO", elbo, better="higher", **facts)
    yield mean("distortion", distortion, **facts)
    yield mean("rate", rate, **facts)
    bits = model.likelihood.bits(-elbo, subject.images, subject.dataset.levels)
    yield mean("bound on the NLL", bits, better="lower", unit="bits per dimension", protocol=facts["protocol"])


@METRICS.register
def nll(subject: Subject) -> Iterator[Figure]:
    """-log P(x), estimated from above by importance weights of K draws, from proposals that are adapted to each image.

    Their k-hat names the images whose figure is not to be trusted (Vehtari et al. 2024).
    """
    found = weighed(subject)
    each = -found.log_prob.cpu().double().numpy()
    protocol = f"K = {subject.draws:,} of adapted proposals; {seen(subject)}"
    notes = [doubts(found, subject)] if len(found.doubtful) else []
    if subject.draws < 5000:
        notes.append(f"an upper bound that falls with K: papers take 5,000, not {subject.draws:,}")
    facts: dict[str, Any] = {"better": "lower", "protocol": protocol}
    yield mean("NLL", each, unit=NATS, note="; ".join(notes), **facts)
    bits = subject.vae.likelihood.bits(each, subject.images, subject.dataset.levels)
    yield mean("NLL", bits, unit="bits per dimension", **facts)
    name = f"NLL: images with k-hat above {max(0.0, found.threshold):.2g}"
    yield share(name, len(found.doubtful) / len(each), len(each), **facts)


def weighed(subject: Subject, proposal: str = "adapted") -> Evidence:
    """log P(x) of the subject's images by K draws each, as `VAEModel.evidence` has it."""
    model, parts = subject.vae, []
    blocks = torch.split(measured(subject), IMAGES)
    for number, x in enumerate(tracked(blocks, len(blocks), f"log P(x), K = {subject.draws}", True)):
        parts.append(model.evidence(x, subject.draws, key(subject.seed, "nll", number), proposal))
    log_prob, error, khat = (torch.cat([getattr(part, name) for part in parts]) for name in Evidence._fields[:3])
    return Evidence(log_prob, error, khat, subject.draws)


def doubts(found: Evidence, subject: Subject) -> str:
    """Which images have an NLL that is not to be trusted, as they are numbered in their split."""
    numbers = evenly(len(subject.dataset.splits[subject.split]), len(found.khat))
    worst = [f"{numbers[i]} ({found.khat[i]:.2g})" for i in found.doubtful.tolist()[:NAMED]]
    more = f" and {len(found.doubtful) - NAMED:,} more" if len(found.doubtful) > NAMED else ""
    return (
        f"of {len(found.khat):,} images {len(found.doubtful):,} have a k-hat above {found.threshold:.2g}, and an NLL "
        f"that is not to be trusted, the worst: {subject.split} images {', '.join(worst)}{more}. A larger -k helps, "
        "annealing checks"
    )


@METRICS.register
def annealing(subject: Subject) -> Iterator[Figure]:
    """log P(x) under any decoder by annealed importance sampling: 16 chains through K temperatures (Wu et al. 2017).

    Of 100 images at most. Without a P(x given z) of its own it is a normal around the image that the model decodes.
    """
    if subject.model is None:
        raise NotApplicableError(f"{subject.kind} decodes nothing: it takes a model.")
    steps, seed = subject.draws, subject.seed
    data, device = subject.dataset.splits, subject.model.device
    validation = to_tensor(spread(data["validation"], SIGMA_IMAGES).images, device)
    decoder = decoder_of(subject.model, validation, max(1, steps // 10), seed=seed, levels=subject.dataset.levels)
    images = to_tensor(spread(subject.real, ANNEALED).images, device)
    protocol = f"{CHAINS} chains, {steps:,} temperatures; {decoder.protocol(images)}"
    x = decoder.observe(images, Draw(seed))
    each = below(decoder, x, steps, seed=seed, what=f"log P(x), {steps:,} temperatures").cpu().numpy()
    lower, upper = both_bounds(decoder, min(SIMULATED, len(x)), steps, seed=seed, what="from both sides")
    gap = (upper - lower).cpu().numpy()
    loose = "take a larger -k: of the model's own images the bounds are further apart than 1 nat"
    note = loose if gap.mean() > 1 else ""
    yield mean("log P(x) by annealing", each, unit=NATS, better="higher", protocol=protocol, note=note)
    yield mean("its gap to a bound from above, simulated images", gap, unit=NATS, better="lower", protocol=protocol)
    if decoder.scale is not None:
        chosen = f"{len(validation)} validation images, {max(1, steps // 10):,} temperatures"
        yield Figure("sigma of P(x given z)", decoder.scale, None, len(validation), protocol=chosen)


@METRICS.register
def posteriors(subject: Subject) -> Iterator[Figure]:
    """What z knows of x, and how far the posteriors of all images together, the aggregate posterior, are from P(z)."""
    model = subject.vae
    x = model.observed(subject.images, Draw(subject.seed))
    mean_, log_variance = model.chunks(lambda part: torch.cat(model.posterior(part), 1), x).chunk(2, 1)
    n, d = mean_.shape
    facts: dict[str, Any] = {"protocol": f"{n:,} images; {seen(subject)}"}
    codes = mean_.cpu().numpy()
    error = subset_errors(lambda rows: {"": active_units(torch.from_numpy(rows))}, codes, seed=subject.seed)[""]
    yield Figure("active units", active_units(mean_), error, n, f"of {d}", **facts)
    with torch.inference_mode():
        kl, information = (part.numpy() for part in parts(mean_, log_variance, model.prior, subject.seed))
    run_out = information.mean() > math.log(n) - 1
    note = f"a lower bound, of {n:,} images it is at most {math.log(n):.1f}: it takes more images" if run_out else ""
    yield mean("mutual information", information, unit="nats", note=note, **facts)
    if not run_out:
        yield mean("aggregate posterior: KL from P(z)", kl - information, unit="nats", better="lower", **facts)
    draws = reparametrised(mean_, log_variance, Draw(subject.seed, 1).normal("aggregate", (n, d), mean_.device))
    found, prior = draws.cpu().numpy(), model.prior.sample(Draw(subject.seed, 2), (n, d)).cpu().numpy()
    error = subset_errors(lambda p, q: {"": frechet_distance(p, q)}, prior, found, seed=subject.seed)[""]
    value = frechet_distance(prior, found)
    yield Figure("aggregate posterior: Frechet distance", value, error, n, better="lower", **facts)
    told = two_sample_test(prior, found, subject.seed)
    yield share("aggregate posterior: told from P(z)", told["accuracy"], int(told["n"]), better=0.5, **facts)


def measured(subject: Subject) -> torch.Tensor:
    """The images as a figure of log P(x) takes them: for a density without their levels."""
    likelihood: BaseLikelihood = subject.bounded.likelihood
    return likelihood.measured(subject.images, subject.dataset.levels, Draw(subject.seed))


def seen(subject: Subject) -> str:
    """Which images a likelihood is of: how they are binarised, if they are."""
    likelihood: BaseLikelihood = subject.bounded.likelihood
    return likelihood.protocol(subject.images, subject.dataset.levels)
