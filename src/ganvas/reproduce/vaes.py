"""The lecture's figures of latent-variable models and variational autoencoders."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ganvas.reproduce import quadrature
from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from ganvas.models.evidence import Evidence
    from ganvas.training.run import Run

SIZES = (2, 5, 10, 20)
# A z-score beyond this refutes a claim: a false alarm in 16,000 for each one that is looked at.
LIMIT = 4.0


# The net and likelihood of the lecture, whatever the data.
PLAIN = {"net": "mlp", "likelihood": "bernoulli"}


def trained(lab: Lab, latent_dim: int, seed: int) -> Run:
    """The VAE that these figures share."""
    pace: dict[str, Any] = lab.pick(quick={"epochs": 5, "lr": 2e-3}, full={"epochs": 30})
    return lab.train("vae", data="mnist", latent_dim=latent_dim, fit=0, seed=seed, **pace)


def of_digits(lab: Lab, seed: int) -> Run:
    """The one of them with 2 latent dimensions."""
    return trained(lab, 2, seed)


def of_faces(lab: Lab, seed: int) -> Run:
    """A VAE with 2 latent dimensions of drawn faces in colour, 32 x 32."""
    epochs = lab.pick(quick=3, full=30)
    return lab.train("vae", data="avatars", size=32, latent_dim=2, lr=2e-3, epochs=epochs, seed=seed, **PLAIN)


@FIGURES.register
def latent_variable_model(lab: Lab) -> Outcome:
    """L1: a latent-variable model: sample, encode, decode, and log P(x) where it can be computed.

    Claim: a model P(x) = integral of P(z) P(x given z) dz is asked through one interface, and where that integral can
    be computed `log_prob` agrees with it within its own standard error, on average over test images. Two cases:
    probabilistic PCA, with a closed form; and a VAE with 2 latent dimensions, on a grid of z. An estimate of another
    quantity, or one that is further off than its own spread shows, refutes it.
    """
    import torch

    from ganvas.data import load
    from ganvas.data.loader import to_tensor
    from ganvas.ground import drawing

    n, repeats, step = lab.pick(quick=20, full=100), lab.pick(quick=5, full=10), lab.pick(quick=0.03, full=0.015)
    draws = (1, 10, 100, 1000, *lab.pick(quick=(), full=(5000,)))
    most = draws[-1]

    def estimate(model: Any, images: Tensor, k: int) -> list[Evidence]:
        return [model.evidence(images, k, seed=place) for place in range(repeats)]

    def values(found: list[Evidence]) -> Tensor:
        return torch.stack([one.log_prob for one in found]).double()

    splits = load("mnist").splits
    linear = quadrature.linear_gaussian(to_tensor(splits["train"].images[:10_000]), 10)
    points = to_tensor(splits["test"].images[:n]).flatten(1)
    known = quadrature.linear_gaussian_log_prob(linear, points)
    guess, spread = quadrature.pooled(values(estimate(linear, points, 1000)))
    linear_score = float((guess - known).mean() / spread.square().sum().sqrt() * n)

    x, nodes = quadrature.binary_images(n), quadrature.square(step)
    differences, scores, off, doubtful, unnamed, alone, missed, grids, curves = ([] for _ in range(9))
    for seed in lab.seeds:
        model: Any = trained(lab, 2, seed).model
        joint, log_q = quadrature.log_joint(model, x, nodes), quadrature.log_encoder(model, x, nodes)
        coarse, exact = quadrature.integrate(quadrature.coarser(joint), 2 * step), quadrature.integrate(joint, step)
        needed = quadrature.divergence(joint - exact, log_q, step).exp()
        # Of narrow posteriors, whose standard deviation can be below a step, a finer grid: all errors are far smaller.
        narrow = (exact - coarse).abs() > 1e-3
        coarse[narrow], exact[narrow] = (
            quadrature.refined(model, x[narrow], nodes, joint[:, narrow], step, by) for by in (3, 9)
        )
        grids.append(float((exact - coarse).abs().max()))
        estimates = [estimate(model, x, k) for k in draws]
        curves.append([float((values(found) - exact).mean()) for found in estimates])
        log_p, error = quadrature.pooled(values(estimates[-1]))
        difference = log_p - exact
        differences.append(float(difference.mean()))
        scores.append(differences[-1] / float(error.square().sum().sqrt() / n))
        apart = (values(estimates[-1]) - exact).abs() / torch.stack([one.error for one in estimates[-1]])
        named = torch.stack([one.khat for one in estimates[-1]]) > estimates[-1][0].threshold
        off.append(float((apart > LIMIT).float().mean() * n))
        doubtful.append(float(named.float().mean() * n))
        unnamed.append(float(((apart > LIMIT) & ~named).float().mean() * n))
        encoder = model.evidence(x, most, proposal="encoder").log_prob.double()
        alone.append(float((encoder - exact).mean()))
        missed.append(float((needed > most).sum()))
    measures = [
        Measure("closed form: log_prob - log P(x)", [float((guess - known).mean())], "nats", "0 within its error",
                error=float(spread.square().sum().sqrt() / n)),
        Measure("closed form: the same in standard errors", [linear_score], "", f"within {LIMIT:g}"),
        Measure(f"2-D VAE: log_prob of {repeats} x {most} draws - log P(x)", differences, "nats", "0 within its error"),
        Measure("2-D VAE: the same in standard errors", scores, "", f"within {LIMIT:g}"),
        Measure(f"2-D VAE: images of {n} beyond {LIMIT:g} errors of one estimate, as it states them", off, "", "0"),
        Measure(f"2-D VAE: images of {n} named as doubtful by k-hat", doubtful),
        Measure(f"2-D VAE: images of {n} beyond {LIMIT:g} stated errors and not named", unnamed, "", "0"),
        Measure(f"2-D VAE: Q(z given x) alone, {most} draws - log P(x)", alone, "nats"),
        Measure(f"2-D VAE: images of {n} that need more than {most} draws of Q alone, exp KL(P(z given x), Q)", missed),
        Measure("2-D VAE: change of the grid's log P(x) from twice the step, or thrice where P(z given x) is narrow, "
                "at most", grids, "nats",
                "below 0.1"),
    ]  # fmt: skip
    agree = abs(linear_score) < LIMIT, max(map(abs, scores)) < LIMIT and max(grids) < 0.1
    said = ["agrees" if it else "does not agree" for it in agree]
    single = n * repeats * len(lab.seeds)
    reason = (
        f"the closed form {said[0]}; the grid {said[1]}. Single estimates of an image that are beyond "
        f"{LIMIT:g} of their stated errors: {sum(off) * repeats:.0f} of {single:,}; not named by k-hat: "
        f"{sum(unnamed) * repeats:.0f}. Draws from Q alone miss posteriors that need about exp KL(P(z given x), Q) of "
        "them (Chatterjee and Diaconis 2018); so the proposals are adapted to each image."
    )
    drawn = drawing.figure(10, 5.6)
    top, bottom = drawn.subfigures(2, 1, height_ratios=(1.1, 1), squeeze=False)[:, 0]
    left, right = top.subplots(1, 2, width_ratios=(1.35, 1))
    drawing.show(left, model.sample(40), "sample(40): z from P(z), then P(x given z)", columns=10)
    images = torch.cat([x[:6], model.reconstruct(x[:6]), x[6:12], model.reconstruct(x[6:12])])
    drawing.show(right, images, "x, and decode(encode(x)) below", columns=6)
    scatter, coverage, curve = bottom.subplots(1, 3)
    scatter.axline((float(exact[0]), float(exact[0])), slope=1, color=drawing.GREY, linewidth=1, zorder=1)
    scatter.plot(exact, log_p, "o", alpha=0.7)
    scatter.set(xlabel="log P(x) by the grid, nats", ylabel="log_prob(x), nats", title="an image each")
    coverage.axhline(0, color=drawing.GREY, linewidth=1)
    coverage.axvline(most, color=drawing.GREY, linewidth=1, linestyle="--", label=f"{most:,} draws")
    coverage.plot(needed.clamp(max=1e12), encoder - exact, "o", alpha=0.7, color=drawing.GREY, label="Q alone")
    coverage.plot(needed.clamp(max=1e12), difference, "o", alpha=0.7, label="adapted")
    coverage.set(xscale="log", xlabel="draws of Q needed, exp KL(P(z given x), Q)", ylabel="estimate - log P(x), nats")
    coverage.set_title("where Q misses")
    coverage.legend(loc="lower left")
    for line in curves:
        curve.plot(draws, line, "o-", color=drawing.COLOURS[0])
    curve.axhline(0, color=drawing.GREY, linewidth=1)
    curve.set(xscale="log", xlabel="draws K", ylabel="log_prob - log P(x), mean, nats", title="it rises with K")
    return Outcome(measures, all(agree), reason, drawn)


@FIGURES.register
def elbo(lab: Lab) -> Outcome:
    """L4: the ELBO in its two forms, and below log P(x).

    Claim: E_Q[log P(x, z) - log Q(z given x)] and E_Q[log P(x given z)] - KL(Q, P(z)) are one number; it lies below
    log P(x), by KL(Q, P(z given x)). Measured on binarised MNIST test images with 2 and 20 latent dimensions: the forms
    differ by less than their paired Monte Carlo error allows; no image's ELBO lies above its importance-sampled
    log P(x) by more than that error; and with 2 dimensions, where both integrals over z can be computed on a grid, ELBO
    + KL(Q, P(z given x)) is log P(x).
    """
    import torch

    from ganvas.ground import drawing
    from ganvas.ground.randomness import Draw

    n, draws = lab.pick(quick=30, full=100), lab.pick(quick=100, full=500)
    step, most = lab.pick(quick=0.03, full=0.015), lab.pick(quick=1000, full=5000)
    x, nodes = quadrature.binary_images(n), quadrature.square(step)
    measures, worst, above_any = [], 0.0, 0.0
    drawn = drawing.figure(10, 3.4)
    forms, bound, gaps = drawn.subplots(1, 3)
    for place, size in enumerate((2, 20)):
        apart, apart_scores, gap, above, closed, closed_scores, printed = [], [], [], [], [], [], []
        for seed in lab.seeds:
            model: Any = trained(lab, size, seed).model
            with model.asked():
                values = {
                    form: torch.stack([model.elbo(x, Draw(0, m), form)["elbo"] for m in range(draws)]).double()
                    for form in ("analytic", "sampled")
                }
            difference = (values["sampled"] - values["analytic"]).mean(1)
            apart.append(float(difference.mean()))
            apart_scores.append(quadrature.z_score(difference))
            mean = values["analytic"].mean(0)
            error = values["analytic"].std(0) / math.sqrt(draws)
            log_p = model.log_prob(x, most).double()
            gap.append(float((log_p - mean).mean()))
            above.append(float((mean - log_p > LIMIT * error).sum()))
            if size == 2:
                joint, log_q = quadrature.log_joint(model, x, nodes), quadrature.log_encoder(model, x, nodes)
                exact = quadrature.integrate(joint, step)
                kl = quadrature.divergence(log_q, joint - exact, step)
                rest = values["analytic"] + kl - exact
                closed.append(float(rest.mean()))
                closed_scores.append(quadrature.z_score(rest.mean(1)))
                with model.asked():
                    to_prior = model.elbo(x, Draw(0))["kl"]
                printed.append(float((mean + to_prior - exact).mean()))
        worst = max([worst, *map(abs, apart_scores), *map(abs, closed_scores)])
        above_any += sum(above)
        measures += [
            Measure(f"{size}-D: sampled - analytic form", apart, "nats", "0 within its error"),
            Measure(f"{size}-D: the same in standard errors", apart_scores, "", f"within {LIMIT:g}"),
            Measure(f"{size}-D: log P(x) from {most:,} draws - ELBO", gap, "nats", "above 0"),
            Measure(f"{size}-D: images of {n} whose ELBO is above it", above, "", "0"),
        ]
        if size == 2:
            measures += [
                Measure("2-D: ELBO + KL(Q, P(z given x)) - log P(x)", closed, "nats", "0 within its error"),
                Measure("2-D: the same in standard errors", closed_scores, "", f"within {LIMIT:g}"),
                Measure("2-D: with KL(Q, P(z)) in its place, as the slide prints it", printed, "nats", "not 0"),
            ]
        colour, label = drawing.COLOURS[place], f"{size} dimensions"
        forms.hist(difference.numpy(), bins=25, alpha=0.6, color=colour, label=label)
        bound.plot(log_p, mean, "o", markersize=3, alpha=0.6, color=colour, label=label)
        gaps.hist((log_p - mean).numpy(), bins=25, alpha=0.6, color=colour, label=label)
    forms.axvline(0, color=drawing.INK, linewidth=1)
    forms.set(xlabel="sampled - analytic form, nats, a draw each", ylabel="draws", title="two forms of one number")
    bound.axline((-100, -100), slope=1, color=drawing.GREY, linewidth=1, zorder=1)
    bound.set(xlabel=f"log P(x) from {most:,} draws, nats", ylabel="ELBO, nats", title="an image each, below the line")
    gaps.set(xlabel="log P(x) - ELBO, nats", ylabel="images", title="how far below")
    for axes in (forms, bound, gaps):
        axes.legend()
    holds = worst < LIMIT and not above_any
    reason = (
        "the slide that first writes the bound prints ELBO = log P(x) - KL(Q, P(z)); the identity needs P(z given x)."
    )
    return Outcome(measures, holds, reason, drawn)


def steps_between(images: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """How far a manifold's images are apart.

    Args:
        images: (n * n, C, H, W), row by row.
        n: images on a side.

    Returns:
        Euclidean distances between neighbours (2 n (n - 1),), and between all pairs.
    """
    import torch

    x = images.reshape(n, n, -1)
    across, down = (x[:, 1:] - x[:, :-1]).norm(dim=-1), (x[1:] - x[:-1]).norm(dim=-1)
    return torch.cat([across.flatten(), down.flatten()]), torch.pdist(images.flatten(1))


@FIGURES.register
def manifold(lab: Lab) -> Outcome:
    """L6: learned manifolds: 2-D latent spaces of faces and digits, decoded on a 20 x 20 grid.

    Claim: decoded at the inverse Gaussian CDF of a regular grid, 2 latent dimensions hold all ten digits (each is the
    nearest training image's label in at least 1 % of the cells) and change smoothly, digits and drawn faces (in place
    of the lecture's Frey faces) alike: the mean step between neighbouring cells is below half the mean distance of two
    cells, and even the largest step is below it. A model that collapses, leaves digits out, or jumps, refutes it.
    """
    from ganvas.data import load
    from ganvas.ground import drawing
    from ganvas.latent.explore import manifold as plane
    from ganvas.latent.explore import neighbours

    n, split = 20, load("mnist").splits["train"]
    found, steps = [], []
    for seed in lab.seeds:
        digits, faces = (plane(train(lab, seed).model, n) for train in (of_digits, of_faces))
        _, places = neighbours(digits, split)
        labels = np.asarray(split.labels)[places[:, 0].numpy()]
        found.append(float((np.bincount(labels, minlength=10) >= 0.01 * n * n).sum()))
        for images in (digits, faces):
            near, pairs = steps_between(images, n)
            steps.append([float(near.mean() / pairs.mean()), float(near.max() / pairs.mean())])
    shares = np.array(steps).reshape(len(lab.seeds), 2, 2)
    measures = [Measure("digits on the grid", found, "of 10", "10")]
    measures += [
        Measure(f"{step} step between neighbours over mean distance, {what}", shares[:, i, j].tolist(), "", bound)
        for i, what in enumerate(("digits", "faces"))
        for j, (step, bound) in enumerate((("mean", "below 0.5"), ("largest", "below 1")))
    ]
    holds = min(found) == 10 and bool((shares < (0.5, 1)).all())
    drawn = drawing.figure(13, 4.6)
    left, middle, right = drawn.subplots(1, 3)
    drawing.show(left, faces, "(a) learned manifold of drawn faces", columns=n)
    drawing.show(middle, digits, "(b) learned MNIST manifold", columns=n)
    right.imshow(labels.reshape(n, n), cmap="tab10", vmin=-0.5, vmax=9.5)
    for place, label in enumerate(labels):
        right.text(place % n, place // n, str(label), ha="center", va="center", fontsize=5.5, color="white")
    right.set(title="label of the nearest training image of (b)", xticks=[], yticks=[])
    right.grid(False)
    return Outcome(measures, holds, f"the figure is of seed {lab.seeds[-1]}.", drawn)


@FIGURES.register
def latent_size(lab: Lab) -> Outcome:
    """L7: random samples with 2, 5, 10 and 20 latent dimensions.

    Claim: more latent dimensions model MNIST better: the test ELBO rises from 2 to 5 to 10 to 20 dimensions with every
    seed. A larger space that is left unused, or not found in as many epochs, would not raise it.
    """
    from ganvas.ground import drawing

    drawn = drawing.figure(7, 7.8)
    elbos = []
    for letter, size, axes in zip("abcd", SIZES, drawn.subplots(2, 2).flat, strict=True):
        runs = [trained(lab, size, seed) for seed in lab.seeds]
        measure = Measure(f"test ELBO, {size}-D", [run.state["test"]["elbo"] for run in runs], "nats", "")
        elbos.append(measure)
        spread = f" ± {measure.sd:.2f}" if measure.sd is not None else ""
        title = f"({letter}) {size}-D latent space\nELBO {measure.mean:.2f}{spread} nats"
        drawing.show(axes, runs[0].model.sample(100), title, columns=10)
    rises = [
        Measure(f"rise from {a} to {b} dimensions", [y - x for x, y in zip(one.values, two.values, strict=True)],
                "nats", "above 0")
        for a, b, one, two in zip(SIZES, SIZES[1:], elbos, elbos[1:], strict=False)
    ]  # fmt: skip
    falls = [rise.name.removeprefix("rise ") for rise in rises if min(rise.values) <= 0]
    reason = f"the same net and {runs[0].recipe.training.epochs} epochs for every size."
    if falls:
        reason += f" No rise {' and '.join(falls)} with every seed."
    return Outcome([*elbos, *rises], not falls, reason, drawn)
