"""Figures of a model at one moment, from a few hundred images; nothing of the model changes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ganvas.data import Dataset, Split
from ganvas.data.loader import to_tensor
from ganvas.evaluate.measures import posteriors
from ganvas.evaluate.measures.checks import Floats
from ganvas.evaluate.measures.coverage import density_coverage, precision_recall
from ganvas.evaluate.measures.distances import nearest
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models import Model
from ganvas.models.base import Variational, fast_products
from ganvas.models.gan import Adversarial
from ganvas.models.vqvae import VQVAEModel, perplexity_of
from ganvas.parts import losses
from ganvas.parts.nets.layers import BatchNorm
from ganvas.parts.techniques import Seen

LOOK = 256  # images of each kind: train, held-out, samples
POINTS = 512  # the same, where they are points
REFERENCE = 1024  # training images among which nearest ones are sought
SIDE, AXES = 32, 64  # images are averaged down to this side, and projected on so many principal axes
ENOUGH, DUE = 50, 5  # held-out images for coverage; samples that are due of a class
AMONG = 0.02  # recall from which samples are said to have a class
EACH, VALUES = 16, 40  # samples of each value that is told, of so many values at most
FEW = 10  # tokens of a code, by which it shows that it is in use
KNOWN = 0.1  # by how much more often than chance a nearest image has the same value, for that to say something


@dataclass(frozen=True)
class Probe:
    """The images that one run is always measured on, and the space in which distances are taken.

    Distances are those between pixels, on images averaged down to a side of at most 32, in the 64 directions in which
    the training images vary most; between points they are the plane's own.

    Attributes:
        train: training images (N, *shape).
        held_out: validation images (M, *shape).
        batch_size: of the run: what a discriminator says of an image may depend on its batch.
        axes: centre (D,) and principal axes (D, d) of the training images; None for points.
        reference: features (R, d) of up to 1024 training images.
        pixels: of the reference, averaged down (R, D); None for points.
        labels: of the reference, int64 (R, A), an attribute a column; None without labels.
    """

    train: Tensor
    held_out: Tensor
    batch_size: int
    axes: tuple[Tensor, Tensor] | None
    reference: Floats
    labels: NDArray[np.int64] | None
    pixels: Tensor | None = None

    def features(self, images: Tensor) -> Floats:
        """(N, *shape) -> (N, d), float64."""
        return _project(images.cpu() if self.axes is None else _shrink(images).cpu(), self.axes)


def probe(data: Dataset, batch_size: int, device: torch.device | str = "cpu") -> Probe:
    """The probe of a data set: rows evenly spread over it, and principal axes; always the same."""
    n = LOOK if len(data.shape) == 3 else POINTS
    split = data.splits["train"]
    rows = _spread(len(split), REFERENCE)
    # In blocks, so that large images are never all in memory as floats.
    blocks = [to_tensor(split.images[part], device) for part in np.array_split(rows, -(-len(rows) // LOOK))]
    reference = torch.cat([block if len(data.shape) == 1 else _shrink(block) for block in blocks]).cpu()
    axes = None if len(data.shape) == 1 else principal_axes(reference, AXES)
    return Probe(
        train=_take(split, n, device),
        held_out=_take(data.splits["validation"], n, device),
        batch_size=batch_size,
        axes=axes,
        reference=_project(reference, axes),
        labels=None if split.labels is None else split.labels[rows].reshape(len(rows), -1),
        pixels=None if axes is None else reference,
    )


def principal_axes(x: Tensor, d: int) -> tuple[Tensor, Tensor]:
    """The mean (D,) of x (N, D), and the at most d directions (D, d) in which x varies most.

    By a randomised range finder with two power iterations (Halko et al. 2011, algorithm 4.4).
    """
    centre = x.mean(0)
    x = x - centre
    d = min(d, *x.shape)
    q = Draw(0).normal("principal axes", (x.shape[1], min(d + 8, *x.shape)))
    for _ in range(3):
        q, _ = torch.linalg.qr(x.T @ (x @ q))
    _, _, v = torch.linalg.svd(x @ q, full_matrices=False)
    return centre, q @ v[:d].T


def vitals(model: Model, probe: Probe) -> dict[str, float]:
    """What can be measured of a model; see `ganvas.training.watch.faults.VITALS` for the meaning of each figure."""
    figures: dict[str, float] = {}
    with model.asked(), fast_products(model.device):
        if isinstance(model, Variational):
            with suppress(UserError):  # of one image, or of an encoder that gives no numbers
                figures |= posteriors.figures(*model.posterior(probe.train), model.prior)
        again = model.reconstruct(probe.train) if hasattr(type(model), "reconstruct") else None
        if again is not None:
            figures["explained_train"] = explained(probe.train, again, probe.train)
            others = model.reconstruct(probe.held_out)
            figures["explained_held_out"] = explained(probe.held_out, others, probe.train)
            if len(model.shape) == 3:
                figures["detail"] = detail(others) / max(detail(probe.held_out), 1e-12)
                numbers = figures.get("active_units", model.components)
                if not hasattr(type(model), "denoise"):  # which gives up exactness for what it is trained for
                    figures["error_over_pca"] = error_over_pca(others, probe, max(1, int(numbers)))
        if again is None and hasattr(type(model), "denoise"):
            for part, images in (("train", probe.train), ("held_out", probe.held_out)):
                restored = model.denoise(model.corrupt(images, Draw(0)))
                figures[f"explained_{part}"] = explained(images, restored, probe.train)
        if isinstance(model, VQVAEModel):
            figures |= codes_in_use(model.tokens(probe.train), model.quantiser.size)
        if again is not None and isinstance(model, Variational):
            figures |= model.likelihood.vitals(probe.train, again)
        if hasattr(type(model), "sample"):
            figures |= samples(model.sample(LOOK if len(model.shape) == 3 else POINTS), again, probe)
            if getattr(model.config, "condition", ()) and probe.labels is not None:
                figures |= told(model, probe, probe.labels, among=figures.get("recall", 0) >= AMONG)
    if isinstance(model, Adversarial):
        figures |= game(model, probe)
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def explained(images: Tensor, again: Tensor, train: Tensor) -> float:
    """1 - the squared error of reconstructions over that of the training images' mean: 1 at best, 0 for the mean."""
    centre = train.mean(0, keepdim=True)
    return 1 - float(losses.squared_error(images, again).mean() / losses.squared_error(images, centre).mean())


def detail(images: Tensor) -> float:
    """The mean squared difference of neighbouring pixels of images (N, C, H, W): what blur takes away first."""
    x = images.float()
    return float(x.diff(dim=2).square().mean() + x.diff(dim=3).square().mean())


def error_over_pca(again: Tensor, probe: Probe, numbers: int) -> float:
    """Squared error of held-out reconstructions (M, C, H, W) over that of so many principal components.

    Both of images averaged down to a side of at most 32; the components are those of the reference.
    """
    if probe.pixels is None:
        return math.nan
    centre, axes = principal_axes(probe.pixels, min(numbers, len(probe.pixels) // 2))
    images, found = _shrink(probe.held_out).cpu() - centre, _shrink(again).cpu() - centre
    left = images - (images @ axes) @ axes.T
    return float((found - images).square().sum() / left.square().sum().clamp_min(1e-12))


def codes_in_use(tokens: Tensor, size: int) -> dict[str, float]:
    """Of a codebook of `size`, by int64 tokens of images: {"perplexity", "codes_in_use"}.

    The second is the perplexity's share of `size`, or of as many as so few tokens could show, a FEW of each.
    """
    perplexity = float(perplexity_of(tokens.flatten(), size))
    return {"perplexity": perplexity, "codes_in_use": perplexity / min(size, max(2, tokens.numel() // FEW))}


def samples(drawn: Tensor, again: Tensor | None, probe: Probe) -> dict[str, float]:
    """Samples among the data: their spread, recall, coverage and classes, and how near training images they are.

    Args:
        drawn: samples (N, *shape).
        again: the reconstructions of the training images, if the model reconstructs.
        probe: the data.
    """
    if not bool(torch.isfinite(drawn).all()):
        return {}
    fake, real = probe.features(drawn), probe.features(probe.held_out)
    (near, places), (others, _) = nearest(fake, probe.reference), nearest(real, probe.reference)
    figures = {}
    if whole := spread(probe.reference):
        figures["spread"] = spread(fake) / whole
    if middle := float(np.median(others)):
        figures["sample_distance"] = math.sqrt(float(np.median(near)) / middle)
    if len(real) >= ENOUGH:
        with suppress(UserError):  # where each image has many equals, there is no reach
            figures["recall"] = precision_recall(real, fake)["recall"]
            figures["coverage"] = density_coverage(real, fake)["coverage"]
    if again is not None:
        figures["told_from_reconstructions"] = told_apart(fake, probe.features(again))
    # Samples that are nowhere among the data have no class.
    if probe.labels is not None and figures.get("recall", 0) >= AMONG:
        figures |= missing_classes(probe.labels[places[:, 0]], probe.labels)
    return figures


def told(model: Any, probe: Probe, labels: NDArray[np.int64], among: bool = True) -> dict[str, float]:
    """Samples of each value that a conditional model is told: whether they are of it, and how much they differ.

    Args:
        model: that is told `config.condition`.
        probe: the data.
        labels: of its reference (R, A).
        among: whether samples lie among the data: only then does a nearest image say anything of them.

    Returns:
        told_heard: how often the training image nearest to a sample has the value that was told, above chance, over
            the same of training images; the mean over the attributes in which images can be told apart so.
        told_spread: spread of the samples of a value over that of its training images, the least of all values;
        told_least: of which, as numbered over all attributes, one after the other.
    """
    heard, spreads, number = [], [], 0
    labelled = labels.min(1) >= 0
    if labelled.sum() < EACH:
        return {}
    labels, reference = labels[labelled], probe.reference[labelled]
    _, others = nearest(reference)
    for attribute in model.config.condition:
        column = labels[:, attribute.column]
        shares = np.bincount(column, minlength=len(attribute.values)) / len(column)
        right, chance = [], float((shares**2).sum())
        for label, value in enumerate(attribute.values if not attribute.number else ()):
            here = column == label
            if number < VALUES and here.sum() >= EACH:
                drawn = model.sample(EACH, condition={attribute.name: value})
                if not bool(torch.isfinite(drawn).all()):
                    return {}
                fake = probe.features(drawn)
                right.append(float((column[nearest(fake, reference)[1][:, 0]] == label).mean()))
                if whole := spread(reference[here]):
                    spreads.append((spread(fake) / whole, number))
            number += 1
        known = float((column[others[:, 0]] == column).mean()) - chance
        if among and right and known > KNOWN:
            heard.append((float(np.mean(right)) - chance) / known)
    found = {"told_heard": float(np.mean(heard))} if heard else {}
    if spreads:
        least, which = min(spreads)
        found |= {"told_spread": least, "told_least": float(which)}
    return found


def spread(x: Floats) -> float:
    """The root of the mean squared distance of two of x (N, d); 0 of one alone."""
    if len(x) < 2:
        return 0.0
    return math.sqrt(2 * x.var(0, ddof=1).sum())


def told_apart(a: Floats, b: Floats) -> float:
    """How often an example's nearest neighbour is of its own kind, of as many a (N, d) as b: 0.5 for equal
    distributions, 1 for separate ones (Lopez-Paz & Oquab 2016, the 1-nearest-neighbour two-sample test)."""
    n = min(len(a), len(b))
    _, places = nearest(np.concatenate([a[:n], b[:n]]))
    return float(((places[:, 0] < n) == (np.arange(2 * n) < n)).mean())


def missing_classes(found: NDArray[np.int64], known: NDArray[np.int64]) -> dict[str, float]:
    """The share of classes that samples lack: that have under a fifth of their share of the training images.

    Args:
        found: of the training image nearest each sample (N, A).
        known: of training images (R, A).

    Returns:
        Of those classes, over all attributes, of which at least 5 samples would be due; {} if there are none.
    """
    checked, missing = 0, 0
    for a in range(known.shape[1]):
        real, made = (column[column >= 0] for column in (known[:, a], found[:, a]))
        if not len(real) or not len(made):
            continue
        due = np.bincount(real) / len(real) * len(made)
        count = np.bincount(made, minlength=len(due))
        checked += int((due >= DUE).sum())
        missing += int(((due >= DUE) & (count < due / 5)).sum())
    return {"missing_classes": missing / checked} if checked else {}


def game(model: Adversarial, probe: Probe) -> dict[str, float]:
    """The players, on the batches of training: how well D tells real from fake, and what the other gets to learn."""
    n = min(probe.batch_size, len(probe.train))
    held_out = probe.held_out[torch.arange(len(probe.train)) % len(probe.held_out)]
    seen = []
    with batch_statistics(model), torch.enable_grad():
        for i, (real, other) in enumerate(zip(torch.split(probe.train, n), torch.split(held_out, n), strict=True)):
            if len(real) == n:
                seen.append(_judged(model, real, other, Draw(0, i)))
    real, other, fake, passed, gradient, slope = (torch.cat(parts) for parts in zip(*seen, strict=True))
    figures = {
        "separation": float(ranking(other, fake)),
        "overfitting": float(ranking(real, other)),
        "generator_gradient": float(gradient.median()),
        "slope": float(slope.median()),
        "gradient_share": float(passed.median()),
    }
    if model.config.loss in losses.PROBABILISTIC:
        figures |= {
            "discriminator_held_out": float(other.sigmoid().mean()),
            "discriminator_fake": float(fake.sigmoid().mean()),
            "logit_scale": float(torch.cat([other, fake]).abs().median()),
        }
    for technique in model.techniques:
        figures |= technique.vitals(model)
    return figures


def _judged(model: Adversarial, real: Tensor, other: Tensor, draw: Draw) -> tuple[Tensor, ...]:
    """Of a batch, each (N,): the logits of training images, held-out ones and fakes; |d cost / d logit| of each fake,
    and the norms of d cost / d fake and of d logit / d fake."""
    with torch.no_grad():
        fake = model.fakes(real, draw)
    seen = Seen(model, real, fake.requires_grad_(), draw)
    _, cost = losses.GAN_LOSSES[model.config.loss](seen.real_logits.detach(), seen.fake_logits)
    cost = cost * len(real)  # its gradient by one fake, where costs are means over the batch
    (passed,) = torch.autograd.grad(cost, seen.fake_logits, retain_graph=True)
    (gradient,) = torch.autograd.grad(cost, fake, retain_graph=True)
    (slope,) = torch.autograd.grad(seen.fake_logits.sum(), fake)
    with torch.no_grad():
        others = Seen(model, other, fake, draw).real_logits
    return (
        seen.real_logits.detach(),
        others,
        seen.fake_logits.detach(),
        passed.abs(),
        gradient.flatten(1).norm(dim=1),
        slope.flatten(1).norm(dim=1),
    )


def ranking(above: Tensor, below: Tensor) -> Tensor:
    """The probability that one of `above` (N,) is larger than one of `below` (M,), a tie counting one half."""
    difference = above[:, None] - below[None]
    return (difference > 0).float().mean() + 0.5 * (difference == 0).float().mean()


@contextmanager
def batch_statistics(model: Model) -> Iterator[None]:
    """Evaluation mode, but with batch norm by each batch's own statistics as in training; the running ones stay."""
    training = model.training
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    kept = [(norm.running_mean, norm.running_var) for norm in norms]
    model.eval()
    try:
        for norm in norms:
            norm.running_mean = norm.running_var = None  # type: ignore[assignment]
        yield
    finally:
        for norm, (mean, variance) in zip(norms, kept, strict=True):
            norm.running_mean, norm.running_var = mean, variance
        model.train(training)


def _project(x: Tensor, axes: tuple[Tensor, Tensor] | None) -> Floats:
    """(N, D) onto principal axes, float64."""
    return (x if axes is None else (x - axes[0]) @ axes[1]).double().numpy()


def _shrink(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C h w), with sides of at most 32."""
    height, width = (min(SIDE, side) for side in images.shape[2:])
    smaller = images if images.shape[2:] == (height, width) else F.adaptive_avg_pool2d(images, (height, width))
    return smaller.flatten(1)


def _spread(n: int, wanted: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """At most `wanted` of 0 ... n - 1, in even steps."""
    return np.linspace(0, n - 1, min(n, wanted)).round().astype(np.int64)


def _take(split: Split, n: int, device: torch.device | str) -> Tensor:
    return to_tensor(split.images[_spread(len(split), n)], device)
