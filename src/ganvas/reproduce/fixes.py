"""The lecture's four fixes of GANs (Salimans et al. 2016): each with and without, by what it claims to change."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ganvas.reproduce.gans import images_of
from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from ganvas.training.run import Run

PUBLISHED_ERRORS, PUBLISHED_ERROR = 93.0, 6.5  # of 10,000 with 100 labels: mean and standard deviation of 10 runs
WITH, WITHOUT = "with", "without"
# What is smoothed, and D's targets then.
SIDES: dict[str, dict[str, float] | None] = {
    "none": None,
    "one side": {"real": 0.9},
    "both": {"real": 0.9, "fake": 0.1},
}
Value = Callable[["Tensor", "Tensor"], "Tensor"]


def trained(lab: Lab, seed: int, **techniques: Any) -> Run:
    """The GAN on MNIST that these figures share, with a technique or none.

    Its discriminator drops as many units as the published one (Goodfellow et al. 2014, released code): without, it
    wins, and is sure of images whatever its targets are.
    """
    from ganvas.parts.nets.mlp import MLP

    critic = MLP(hidden=(512, 256), activation="leaky-relu", input_dropout=0.2, dropout=0.5)
    game: dict[str, Any] = {"discriminator": critic, "epochs": lab.pick(quick=2, full=8), "schedule": "cosine"}
    return lab.train("gan", data="mnist", seed=seed, **game, **techniques)


@FIGURES.register
def feature_matching(lab: Lab) -> Outcome:
    """L17: feature matching: the generator matches the mean features of the data.

    Claim: with || E f(x) - E f(G(z)) ||^2 in the generator's cost, f the discriminator's, the mean features of samples
    are nearer to those of test images than without, in every training: over features that the generator never saw,
    those of a classifier of digits (the quick version: 64 principal components). Distances are in standard deviations:
    over the root of the features' total variance. In f itself they are shown too; but each training has its own f,
    which learns to tell what is left.
    """
    from ganvas.data import load
    from ganvas.evaluate import frechet_distance
    from ganvas.evaluate.networks.features import features
    from ganvas.ground import drawing

    n = lab.pick(quick=5000, full=10_000)
    kind = lab.pick(quick="pca", full="classifier")
    represent, test = features(kind, load("mnist")), images_of("mnist", "test", n)
    real = represent(test)
    own: dict[str, list[float]] = {WITHOUT: [], WITH: []}
    independent: dict[str, list[float]] = {WITHOUT: [], WITH: []}
    frechet: dict[str, list[float]] = {WITHOUT: [], WITH: []}
    shown: dict[str, Tensor] = {}
    for seed in lab.seeds:
        for name, settings in ((WITHOUT, {}), (WITH, {"feature_matching": 10.0})):
            model: Any = trained(lab, seed, **settings).model
            samples = model.sample(n, seed=1)
            with model.asked():
                f_real, f_fake = (model.discriminator.features(model.to_range(x)).numpy() for x in (test, samples))
            fake = represent(samples)
            own[name].append(mean_distance(f_real, f_fake))
            independent[name].append(mean_distance(real, fake))
            frechet[name].append(frechet_distance(real, fake))
            shown[name] = samples[:64]
    parts = {"the discriminator's f": own, f"{kind} features": independent}
    measures = [
        Measure(f"distance of means, {what}, {name}", part[name], "sd",
                "less than without" * (name == WITH and part is independent))
        for what, part in parts.items()
        for name in part
    ]  # fmt: skip
    measures += [Measure(f"Frechet distance, {kind} features, {name}", values) for name, values in frechet.items()]
    nearer = sum(b < a for a, b in zip(*independent.values(), strict=True))
    before, after = (statistics.fmean(independent[name]) for name in (WITHOUT, WITH))
    reason = f"nearer in {nearer} of {len(lab.seeds)} trainings; {before:.3g} sd without and {after:.3g} with it."
    drawn = drawing.figure(10, 3.6)
    bars, *pictures = drawn.subplots(1, 3, width_ratios=(1.2, 1, 1))
    pairs(bars, parts, "distance of mean features, sd")
    for axes, name in zip(pictures, shown, strict=True):
        drawing.show(axes, shown[name], f"{name} feature matching")
    return Outcome(measures, nearer == len(lab.seeds), reason, drawn)


def mean_distance(real: Any, fake: Any) -> float:
    """|| mean of real (N, d) - mean of fake (M, d) || over the root of real's total variance."""
    return float(((real.mean(0) - fake.mean(0)) ** 2).sum() ** 0.5 / real.var(0).sum() ** 0.5)


def pairs(axes: Any, parts: dict[str, dict[str, list[float]]], title: str) -> None:
    """Draw, for each part, its values without and with, a line for each seed."""
    from ganvas.ground import drawing

    for place, part in enumerate(parts.values()):
        for before, after in zip(part[WITHOUT], part[WITH], strict=True):
            axes.plot([place - 0.15, place + 0.15], [before, after], color=drawing.GREY, linewidth=1, zorder=1)
        for offset, name, colour in ((-0.15, WITHOUT, drawing.COLOURS[1]), (0.15, WITH, drawing.COLOURS[0])):
            label = name if place == 0 else None
            axes.scatter([place + offset] * len(part[name]), part[name], color=colour, label=label, zorder=2)
    axes.set_xticks(range(len(parts)), list(parts))
    top = max(max(values) for part in parts.values() for values in part.values())
    axes.set(title=title, xlim=(-0.6, len(parts) - 0.4), ylim=(0, 1.25 * top or 1))
    axes.legend()


@FIGURES.register
def semi_supervised(lab: Lab) -> Outcome:
    """L17: a classifier of digits from 100 labels, by feature matching.

    Claim: 100 labels and 50,000 images without labels make a classifier of MNIST that errs at most a quarter as often
    as one from the 100 labels alone, in every training. The same net, noise and average of weights classify in both;
    the labels alone are learnt for 2 epochs. The paper's 93 +- 6.5 errors in 10,000, after 300 epochs, stand beside it.
    """
    from ganvas.ground import drawing

    epochs = lab.pick(quick=2, full=30)
    errors: dict[str, list[float]] = {"labels alone": [], "labels and images": []}
    curves = []
    for seed in lab.seeds:
        for name, settings in (
            ("labels alone", {"unlabelled_weight": 0.0, "epochs": lab.pick(quick=1, full=2)}),
            ("labels and images", {"epochs": epochs}),
        ):
            run = lab.train("semisupervised-gan", data="mnist", seed=seed, **settings)
            errors[name].append(10_000 * run.state["test"]["error"])
        rows = [row for row in run.metrics if row["split"] == "validation"]
        curves.append([[row["epoch"] for row in rows], [100 * row["error"] for row in rows]])
    model: Any = run.model
    alone, both = errors.values()
    better = all(b <= a / 4 for a, b in zip(alone, both, strict=True))
    measures = [
        Measure("errors in 10,000, labels alone", alone),
        Measure("errors in 10,000, labels and images", both, "", "at most a quarter of those"),
        Measure("the paper's, after 300 epochs", [PUBLISHED_ERRORS], error=PUBLISHED_ERROR),
    ]
    reason = f"after {epochs} of 300 epochs" + (
        "." if better else f", {min(a / b for a, b in zip(alone, both, strict=True)):.1f} times fewer."
    )
    drawn = drawing.figure(10, 3.6)
    course, picture = drawn.subplots(1, 2, width_ratios=(1.4, 1))
    for x, y in curves:
        course.plot(x, y, "o-", color=drawing.COLOURS[0], label=None if x is not curves[0][0] else "labels and images")
    course.axhline(sum(alone) / len(alone) / 100, color=drawing.COLOURS[1], label="labels alone, test error")
    course.axhline(PUBLISHED_ERRORS / 100, color=drawing.GREY, linestyle="--", label="the paper, test error")
    course.set(xlabel="epoch", ylabel="validation error, %", yscale="log", title="100 labels")
    course.legend()
    drawing.show(picture, model.sample(64), "its generator's samples, made to match features")
    return Outcome(measures, better, reason, drawn)


@FIGURES.register
def minibatch_discrimination(lab: Lab) -> Outcome:
    """L18: minibatch discrimination: a discriminator that sees how alike a batch's samples are.

    Claim: with 20 kernels of minibatch discrimination a GAN reaches more modes of a mixture of Gaussians than without:
    more on the ring of 8 and on the grid of 25, each on average over the seeds. A mode is reached if one of 2,500
    samples lies within 3 sigma of it (PacGAN's protocol for counting; the nets, 4 layers of 64, and the length of
    training are ours). All have been trained until they fit what they reach: in every training more than half of the
    samples lie within 3 sigma of a mode. Beside it stands the KL of the samples' shares of the modes to equal shares,
    where a sample belongs to the nearest mode: it says how evenly they are spread, however far off they are.
    """
    from ganvas.data.sources import GAUSSIANS
    from ganvas.evaluate import captured_modes
    from ganvas.ground import drawing

    epochs = lab.pick(quick=2, full=16)
    game = {"loss": "non-saturating", "ema": 0.999, "epochs": epochs}
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    drawn = drawing.figure(10, 5.6)
    panels = drawn.subplots(2, 3)
    for row, (data, (centres, std)) in zip(panels, GAUSSIANS.items(), strict=True):
        part = found[data] = {WITHOUT: [], WITH: []}
        for seed in lab.seeds:
            for name, settings in ((WITHOUT, {}), (WITH, {"minibatch_discrimination": 20})):
                model: Any = lab.train("gan", data=data, seed=seed, **game, **settings).model
                points = model.sample(2500, seed=1)
                part[name].append(captured_modes(points, centres, std))
                if seed == lab.seeds[0]:
                    axes = row[list(part).index(name)]
                    axes.plot(*centres.T, "o", color=drawing.COLOURS[4], markersize=7, alpha=0.6)
                    axes.plot(*points.T, ".", color=drawing.COLOURS[0], markersize=1)
                    reach = 1.4 * abs(centres).max()
                    axes.set(title=f"{data}, {name}", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        values = {"modes": {name: [one["modes"] for one in part[name]] for name in part}}
        pairs(row[2], values, f"{data}: modes reached, of {len(centres)}")
    measures = [
        Measure(f"{data}: {what}, {name}", [one[key] for one in part[name]], unit,
                "above that without" * (name == WITH and key == "modes") or "above 0.5" * (key == "good"))
        for data, part in found.items()
        for key, what, unit in (("modes", "modes reached", ""), ("good", "share within 3 sigma of one", ""),
                                ("kl", "KL to equal shares", "nats"))
        for name in part
    ]  # fmt: skip
    more, even = (
        {data: mean_of(part[WITH], key) * sign > mean_of(part[WITHOUT], key) * sign for data, part in found.items()}
        for key, sign in (("modes", 1), ("kl", -1))
    )
    fit = all(one["good"] > 0.5 for part in found.values() for rows in part.values() for one in rows)
    reason = "; ".join(
        f"on the {data} {'more' if more[data] else 'no more'} modes, spread {'more' if even[data] else 'less'} evenly"
        for data in found
    )
    reason += f"; after {epochs} epochs" + ", which are too few for more than half of the samples" * (not fit)
    return Outcome(measures, fit and all(more.values()), f"{reason}.", drawn)


def mean_of(rows: Sequence[dict[str, float]], key: str) -> float:
    """The mean of one of the rows' values."""
    return sum(row[key] for row in rows) / len(rows)


def paper_game(x: Tensor, y: Tensor) -> Tensor:
    """(f(x) - 1)(y - 1), f(x) = x below 0 and x^2 above: Salimans et al. 2016, section 3.3; equilibrium (1, 1)."""
    return (x.where(x < 0, x * x) - 1) * (y - 1)


def bilinear_game(x: Tensor, y: Tensor) -> Tensor:
    """x y; equilibrium (0, 0)."""
    return x * y


def descend(
    value: Value, start: Tensor, steps: int, weight: float, *, rate: float = 0.02, together: bool = False
) -> Tensor:
    """The way of gradient steps in a game that x minimises and y maximises, with historical averaging.

    Args:
        value: of the game at points (S,), (S,): S games at once.
        start: (S, 2), x and y.
        steps: of each player.
        weight: of || theta - its past mean ||^2 in both players' costs; 0: none.
        rate: of the steps.
        together: both move by the gradient at one point; else y answers to where x has moved.

    Returns:
        (steps + 1, S, 2).
    """
    import torch

    from ganvas.parts.techniques import distance_to_history

    players = [part.clone().requires_grad_() for part in start.unbind(1)]
    means = [part.clone() for part in start.unbind(1)]
    trail = [start]
    for step in range(1, steps + 1):
        gradients: list[Tensor] = []
        for place, sign in enumerate((1, -1)):
            cost = sign * value(*players).sum() + weight * distance_to_history([players[place]], [means[place]])
            gradients += torch.autograd.grad(cost, players[place])
            if not together:
                players[place].data -= rate * gradients[place]
        for place in (0, 1):
            if together:
                players[place].data -= rate * gradients[place]
            means[place] += (players[place].data - means[place]) / (step + 1)
        trail.append(torch.stack([player.detach().clone() for player in players], 1))
    return torch.stack(trail)


@FIGURES.register
def historical_averaging(lab: Lab) -> Outcome:
    """L19: historical averaging: a game that circles without it and settles with it.

    Claim: in two minimax games of one number each, the paper's and x y, gradient steps circle round the equilibrium and
    come no nearer, or go away from it; with || theta - its past mean ||^2 at weight 0.1 in both costs they settle. From
    20 starts a seed at distance 2: with it, the mean distance over the last eighth of the way is below a tenth of that
    from every start, whether the players move in turn or together; without it, above half of that on average.
    """
    import torch

    from ganvas.ground import drawing
    from ganvas.ground.randomness import Draw

    steps, starts, weight = lab.pick(quick=2000, full=6000), 20, 0.1
    games: dict[str, tuple[Value, float]] = {"the paper's game": (paper_game, 1.0), "x y": (bilinear_game, 0.0)}
    left: dict[tuple[str, bool, float], list[float]] = {}
    ways: dict[tuple[str, bool, float], Tensor] = {}
    for seed in lab.seeds:
        angles = 2 * torch.pi * Draw(seed).uniform("start", (starts,))
        round_it = 2 * torch.stack([angles.cos(), angles.sin()], 1)
        for name, (value, middle) in games.items():
            for together in (False, True):
                for w in (0.0, weight):
                    way = descend(value, round_it + middle, steps, w, together=together) - middle
                    ways[name, together, w] = way
                    last = way[-steps // 8 :].norm(dim=2).nan_to_num(torch.inf).mean(0).clamp(max=1e6) / 2
                    left.setdefault((name, together, w), []).append(float(last.mean() if w == 0 else last.max()))
    measures = [
        Measure(
            f"{name}, {'together' if together else 'in turn'}, {'farthest start with it' if w else 'without it'}",
            values, "of the start's distance", "below 0.1" if w else "above 0.5",
        )
        for (name, together, w), values in left.items()
    ]  # fmt: skip
    settles = max(max(values) for (_, _, w), values in left.items() if w) < 0.1
    circles = min(min(values) for (_, _, w), values in left.items() if not w) > 0.5
    reason = (
        f"{'all' if settles else 'not all'} starts settle with it; without it {'none does' if circles else 'some do'}"
    )
    drawn = drawing.figure(10, 3.6)
    *maps, course = drawn.subplots(1, 3)
    for axes, (name, (_, middle)) in zip(maps, games.items(), strict=True):
        for w, colour, label in ((0.0, drawing.COLOURS[1], WITHOUT), (weight, drawing.COLOURS[0], WITH)):
            way = ways[name, False, w][: steps // 2, 0] + middle
            axes.plot(*way.T, color=colour, linewidth=0.9, label=label)
        axes.plot(middle, middle, "+", color=drawing.INK, markersize=10)
        axes.set(
            xlabel="x, which minimises", ylabel="y, which maximises", title=f"{name}, moves in turn", aspect="equal"
        )
        axes.legend(loc="upper right")
    for (name, together, w), way in ways.items():
        style = {"color": drawing.COLOURS[0 if w else 1], "linestyle": "--" if together else "-"}
        if name == "the paper's game":
            label = f"{WITH if w else WITHOUT}, {'together' if together else 'in turn'}"
            course.plot(way.norm(dim=2).median(1).values, label=label, **style)
    course.set(
        xlabel="steps", ylabel="distance to (1, 1), median", title="the paper's game", yscale="log", ylim=(1e-3, 30)
    )
    course.legend(fontsize=7)
    return Outcome(measures, settles and circles, reason + ".", drawn)


@FIGURES.register
def label_smoothing(lab: Lab) -> Outcome:
    """L20: one-sided label smoothing: a discriminator that is less sure of itself.

    Claim: with 0.9 for 1 as the discriminator's target for real images, it is less confident of images that it has not
    seen: the share of test images with D(x) above 0.95 is at most a quarter of that without, in every training. And it
    is to be one-sided, as section 3.4 argues: with 0.1 for 0 too, samples where there are no data have no incentive to
    move. Measured on the two Gaussians of row L21, with D trained to the end: the pull on the fakes is at least half of
    that without smoothing when the real side alone is smoothed, and below a hundredth of it when both are. Beside it
    stand how well D is calibrated against the samples of MNIST (the mean gap between D and the share of real images,
    over ten bins of D), and the norm of the gradient that their generator gets.
    """
    import torch

    from ganvas.data.loader import Batch
    from ganvas.ground import drawing
    from ganvas.ground.randomness import Draw

    n, batches = lab.pick(quick=5000, full=10_000), 20
    test = images_of("mnist", "test", n)
    found: dict[str, dict[str, list[float]]] = {}
    levels: dict[str, Tensor] = {}
    reliability: dict[str, Tensor] = {}
    for seed in lab.seeds:
        for name, settings in ((WITHOUT, {}), (WITH, {"label_smoothing": 0.9})):
            model: Any = trained(lab, seed, **settings).model
            samples = model.sample(n, seed=1)
            with model.asked():
                real, fake = (model.discriminator.logits(model.to_range(x)).sigmoid() for x in (test, samples))
            gap, reliability[name] = calibration(real, fake)
            model.train()
            norms = []
            for batch in range(batches):
                cost = model.generator(Batch(test[batch * 128 : (batch + 1) * 128]), Draw(1, batch))["loss"]
                gradient = torch.autograd.grad(cost, list(model.generator.parameters()))
                norms.append(torch.stack([part.square().sum() for part in gradient]).sum().sqrt())
            levels[name] = real
            for what, value in {
                "share of test images with D(x) > 0.95": (real > 0.95).float().mean(),
                "mean D(x) of test images": real.mean(),
                "mean D(G(z))": fake.mean(),
                "gap of calibration": gap,
                "gradient of the generator, norm": torch.stack(norms).mean(),
            }.items():
                found.setdefault(what, {WITHOUT: [], WITH: []})[name].append(float(value))
    pulls = {side: [pull_on_fakes(seed, target, lab.pick(quick=400, full=2000)) for seed in lab.seeds]
             for side, target in SIDES.items()}  # fmt: skip
    sides = {side: [a / b for a, b in zip(pulls[side], pulls["none"], strict=True)] for side in list(SIDES)[1:]}
    share = found["share of test images with D(x) > 0.95"]
    less = all(b <= a / 4 for a, b in zip(*share.values(), strict=True))
    one_sided, both = sides.values()
    moved = min(one_sided) >= 0.5 and max(both) < 0.01
    expected = {"share of test images with D(x) > 0.95": "at most a quarter of that without"}
    measures = [
        Measure(f"{what}, {name}", values, "", expected.get(what, "") * (name == WITH))
        for what, part in found.items()
        for name, values in part.items()
    ]
    measures += [
        Measure(f"pull on fakes over that without smoothing, {side} smoothed", values, "", said)
        for (side, values), said in zip(sides.items(), ("at least 0.5", "below 0.01"), strict=True)
    ]
    before, after = (statistics.fmean(share[name]) for name in (WITHOUT, WITH))
    reason = (
        f"D is above 0.95 for {before:.1%} of test images without and {after:.2%} with it"
        f"{'' if less else ', not four times less often in each training'}. Of the "
        f"pull on the fakes, smoothing one side leaves at least {min(one_sided):.0%}, "
        f"smoothing both at most {max(both):.1%}."
    )
    drawn = drawing.figure(10, 3.4)
    histogram, curve, gradients = drawn.subplots(1, 3)
    for name, colour in ((WITHOUT, drawing.COLOURS[1]), (WITH, drawing.COLOURS[0])):
        histogram.hist(levels[name].numpy(), bins=40, range=(0, 1), color=colour, alpha=0.6, label=name)
        curve.plot(*reliability[name].T, "o-", color=colour, label=name)
    histogram.set(xlabel="D(x) of test images", ylabel="images", title="how sure it is")
    curve.axline((0, 0), slope=1, color=drawing.GREY, linewidth=1, zorder=1)
    curve.set(xlabel="D", ylabel="share of real images", title="test images and samples, half and half")
    for place, values in enumerate(pulls.values()):
        gradients.plot([place] * len(values), values, "o", color=drawing.COLOURS[place])
    gradients.set_xticks(range(len(SIDES)), list(SIDES))
    gradients.set(yscale="log", xlim=(-0.5, 2.5), title="pull on fakes far from the data", xlabel="smoothed")
    for axes in (histogram, curve):
        axes.legend()
    return Outcome(measures, less and moved, reason, drawn)


def pull_on_fakes(seed: int, targets: dict[str, float] | None, moves: int) -> float:
    """How strongly fakes N(5, 1) are pulled towards real N(-5, 1), by a D of that many moves and those targets."""
    from ganvas.ground.randomness import Draw
    from ganvas.recipes import RECIPES
    from ganvas.reproduce import wasserstein

    recipe = RECIPES["gan"](label_smoothing=targets)
    model = wasserstein.on_a_line(recipe, seed)
    for _ in wasserstein.moved(model, recipe, [moves], seed):
        pass
    return wasserstein.generator_gradient(
        model, "non-saturating", wasserstein.FAKE + Draw(0).normal("fakes", (2000, 1))
    )


def calibration(real: Tensor, fake: Tensor, bins: int = 10) -> tuple[float, Tensor]:
    """How far D is from the share of real images among those that it gives the same D.

    Args:
        real: D of real images (N,).
        fake: D of as many samples (N,).
        bins: of equal width on [0, 1].

    Returns:
        The mean over all images of |mean D - share of real images| of their bin (expected calibration error, Guo et al.
        2017), and for each bin that is not empty (mean D, share).
    """
    import torch

    judged = torch.cat([real, fake])
    truth = torch.cat([torch.ones_like(real), torch.zeros_like(fake)])
    place = (judged * bins).long().clamp(max=bins - 1)
    count, level, share = (torch.bincount(place, weight, bins) for weight in (torch.ones_like(judged), judged, truth))
    kept = count > 0
    curve = torch.stack([level, share], 1)[kept] / count[kept, None]
    gap = ((curve[:, 0] - curve[:, 1]).abs() * count[kept]).sum() / count.sum()
    return float(gap), curve
