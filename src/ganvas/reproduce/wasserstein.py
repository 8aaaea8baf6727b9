"""The lecture's figures of Wasserstein GANs."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from ganvas.recipes.base import Recipe
    from ganvas.training.run import Run

REAL, FAKE = -5.0, 5.0
HIDDEN = (512, 512, 512, 512)
FLOOR = 1e-12  # of gradients, where they are drawn on a logarithmic axis
EPOCHS = 48  # of a GAN: 12,000 moves of its generator
MODELS = {"GAN": "dcgan", "WGAN": "wgan"}


def on_a_line(recipe: Recipe, seed: int) -> Any:
    """The recipe's GAN with 4 layers of 512 as discriminator and a generator that makes N(5, 1): a GANModel of (1,)."""
    import torch

    from ganvas.models.gan import GANModel
    from ganvas.parts.nets.mlp import MLP
    from ganvas.parts.priors import Normal

    nets = {"generator": MLP(hidden=()), "discriminator": MLP(hidden=HIDDEN)}
    config = dataclasses.replace(recipe.model, latent_dim=1, prior=Normal(), output="linear", **nets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GANModel(config, (1,))
    with torch.no_grad():
        model.generator.net[0].weight.fill_(1)
        model.generator.net[0].bias.fill_(FAKE)
    return model


def moved(model: Any, recipe: Recipe, marks: Sequence[int], seed: int) -> Iterator[int]:
    """Train the discriminator alone, on N(-5, 1) against N(5, 1); yields each number of moves in `marks`, after it."""
    from ganvas.data.loader import Batch
    from ganvas.ground.randomness import Draw

    model.generator.requires_grad_(False)
    optimizer = recipe.training.turns["discriminator"].optimizer.make(model.discriminator)
    for move in range(1, max(marks) + 1):
        draw = Draw(seed, move)
        model.discriminator(Batch(REAL + draw.normal("real", (64, 1))), draw)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        model.moved("discriminator")
        if move in marks:
            yield move


def pull(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """How fast `function` rises from each point towards the real ones: points (N, 1) -> (N,)."""
    from ganvas.parts.techniques import input_gradient

    gradient: Tensor = input_gradient(function, x)
    return -gradient.detach().squeeze(1)


def slope(model: Any, x: Tensor) -> Tensor:
    """How fast D = sigmoid(logit), or a critic, rises from points (N, 1) towards the real ones: (N,)."""
    import torch

    from ganvas.parts.losses import PROBABILISTIC

    rise: Tensor = pull(model.discriminator.logits, x)
    if model.config.loss not in PROBABILISTIC:
        return rise
    with torch.no_grad():
        logits: Tensor = model.discriminator.logits(x)
    return rise * logits.sigmoid() * (-logits).sigmoid()  # exact where 1 - D would be rounded to 0


def generator_gradient(model: Any, loss: str, fakes: Tensor) -> float:
    """How strongly the generator's cost pulls its samples (N, 1) towards the real ones, on average."""
    from ganvas.parts.losses import GAN_LOSSES

    def gain(x: Tensor) -> Tensor:
        logits = model.discriminator.logits(x)
        cost: Tensor = GAN_LOSSES[loss](logits, logits)[1]
        return -cost * len(x)  # it is a mean: each sample's own

    return float(pull(gain, fakes).mean())


@FIGURES.register
def vanishing_gradients(lab: Lab) -> Outcome:
    """L21: two Gaussians on a line: the discriminator saturates, the critic does not.

    Claim: trained to the end on real N(-5, 1) and fakes N(5, 1), the discriminator D leaves a generator of the minimax
    game no gradient, and the critic of a WGAN leaves it one everywhere. Measured at the fakes, with one net for both
    (4 layers of 512): D's slope towards the real samples is below a thousandth of its steepest on the line from -8 to
    8; the clipped critic's is above a tenth of its steepest, and varies between fakes by less than a tenth of its mean.
    A D that still slopes, or a critic that flattens, refutes it.
    """
    import torch

    from ganvas.ground import drawing
    from ganvas.ground.randomness import Draw
    from ganvas.recipes import RECIPES

    moves = lab.pick(quick=400, full=2000)
    marks = sorted({round(moves ** (part / 15)) for part in range(16)})
    line = torch.linspace(-8, 8, 801)[:, None]
    fakes = FAKE + Draw(0).normal("fakes", (2000, 1))
    players = {
        "D": (RECIPES["gan"](loss="minimax"), ("minimax", "non-saturating")),
        "clipped critic": (RECIPES["wgan"](), ("wasserstein",)),
        "critic with gradient penalty": (RECIPES["wgan"](gradient_penalty=10), ("wasserstein",)),
    }
    expected = {
        "D: slope at the fakes over its steepest": "below 0.001",
        "clipped critic: slope at the fakes over its steepest": "above 0.1",
        "clipped critic: sd of its slope at the fakes over the mean": "below 0.1",
    }
    found: dict[str, list[float]] = {}
    trails: dict[str, list[list[float]]] = {}
    curves: dict[str, tuple[Tensor, Tensor]] = {}
    for seed in lab.seeds:
        for name, (recipe, losses) in players.items():
            model = on_a_line(recipe, seed)
            trail = [
                [generator_gradient(model, loss, fakes) for loss in losses] for _ in moved(model, recipe, marks, seed)
            ]
            for loss, gains in zip(losses, zip(*trail, strict=True), strict=True):
                trails.setdefault(name if len(losses) == 1 else f"{loss} cost", []).append(list(gains))
            everywhere, here = slope(model, line), slope(model, fakes)
            with torch.no_grad():
                heights, real, fake = map(model.discriminator.logits, (line, fakes + REAL - FAKE, fakes))
            numbers = {"slope at the fakes over its steepest": here.mean() / everywhere.max()}
            if name != "D":
                numbers["sd of its slope at the fakes over the mean"] = here.std() / here.mean()
                numbers["E f(real) - E f(fake) over its steepest slope"] = (real - fake).mean() / everywhere.max()
            for what, number in numbers.items():
                found.setdefault(f"{name}: {what}", []).append(float(number))
            curves.setdefault(name, (heights.sigmoid() if name == "D" else heights, everywhere / everywhere.max()))
    for cost, several in trails.items():
        found[f"gradient that the generator gets at a fake: {cost}"] = [gains[-1] for gains in several]
    measures = [Measure(what, values, "", expected.get(what, "")) for what, values in found.items()]
    saturated, steep, even = (found[what] for what in expected)
    holds = max(saturated) < 1e-3 and min(steep) > 0.1 and max(even) < 0.1
    reason = (
        "the exact D is sigmoid(-10 x), with a slope of 2e-21 at 5. The exact critic is a line, and E f(real) - "
        "E f(fake) over its slope the distance, 10; clipped weights bend it. "
        "The non-saturating cost keeps its gradient where D is saturated."
    )

    drawn = drawing.figure(11, 3.5)
    shown, sloped, trained = drawn.subplots(1, 3)
    x = line.squeeze(1)
    for centre, colour, label in ((REAL, drawing.COLOURS[2], "density of real"), (FAKE, drawing.COLOURS[4], "of fake")):
        density = torch.exp(-0.5 * (x - centre) ** 2) / math.sqrt(2 * math.pi)
        shown.fill_between(x, density, color=colour, alpha=0.35, linewidth=0, label=label)
    lines = zip(curves.items(), (drawing.COLOURS[i] for i in (1, 0, 5)), ("-", "-", "--"), strict=True)
    for (name, (heights, steepness)), colour, line_style in lines:
        top, bottom = (float(heights[(x - centre).abs().argmin()]) for centre in (REAL, FAKE))
        scaled = heights if name == "D" else (heights - bottom) / (top - bottom)
        shown.plot(x, scaled, line_style, color=colour, label=name)
        sloped.plot(x, steepness.clamp(min=FLOOR), line_style, color=colour, label=name)
    for (cost, several), colour in zip(trails.items(), (drawing.COLOURS[i] for i in (1, 3, 0, 5)), strict=True):
        trained.plot(
            marks, torch.tensor(several).clamp(min=FLOOR).T, color=colour, label=[cost, *[None] * (len(several) - 1)]
        )
    shown.set(xlabel="x", title="D, and critics scaled to 1 at -5 and 0 at 5")
    sloped.set(xlabel="x", yscale="log", ylim=(FLOOR, 3), title="slope over its steepest")
    trained.set(xlabel="moves of D or the critic", xscale="log", yscale="log", ylim=(FLOOR, 100))
    trained.set_title("gradient that the generator gets")
    for axes in (shown, sloped, trained):
        axes.legend(fontsize=7)
    return Outcome(measures, holds, reason, drawn)


def trained(lab: Lab, recipe: str, generator: str, seed: int) -> dict[str, Any]:
    """What is told of the "dcgan" (a GAN) or "wgan" with one of the three generators that these figures share.

    Drawn faces of 64 x 64 in colour, as the paper's bedrooms are, and a quarter of its filters; a quick version has
    digits of 16 x 16. Both make as many moves of the generator, on batches of 64, by the published settings; a WGAN
    sees five times as many images meanwhile, as its critic moves five times.
    """
    source, size = images(lab)
    epochs = lab.pick(quick=1, full=EPOCHS) * (5 if recipe == "wgan" else 1)
    settings: dict[str, Any] = {"data": source, "size": size, "filters": 16, "batch_size": 64, "epochs": epochs}
    if generator == "dcgan":
        settings["snapshots"] = lab.pick(quick=10, full=20)
    if recipe == "dcgan":
        settings["loss"] = "non-saturating"
    elif lab.quick:
        settings["warm_up"] = False
    told = functools.partial(summary, source=source, size=size, n=lab.pick(quick=500, full=2000))
    return lab.summary(told, recipe, generator=generator, seed=seed, **settings)


def images(lab: Lab) -> tuple[str, int]:
    """The data set, and its side."""
    return lab.pick(quick=("mnist", 16), full=("avatars", 64))


def summary(run: Run, source: str, size: int, n: int) -> dict[str, Any]:
    """What the figures need of a run, by n samples beside images of `source`.

    Returns:
        steps: of the generator.
        quality: of its samples, see `quality`.
        samples: 64, packed.
        snapshots: of each moment {"step", "quality", "samples": 12 of them, packed}.
        windows: of each column in `ESTIMATES` the mean between each snapshot and the one before.
    """
    import ganvas
    from ganvas.ground import drawing

    def told(model: Any, count: int) -> dict[str, Any]:
        return {"quality": quality(source, size, n, model), "samples": drawing.packed(model.sample(count))}

    moments = [{"step": step, **told(ganvas.load(folder), 12)} for step, folder in run.snapshots.items()]
    marks = [moment["step"] for moment in moments]
    windows = {
        column: window_means(run, column, marks)
        for _, column, _ in ESTIMATES.values()
        if marks and any(column in row for row in run.metrics)
    }
    return {"steps": run.state["steps"], **told(run.model, 64), "snapshots": moments, "windows": windows}


@functools.cache
def reference(source: str, size: int, n: int) -> tuple[Any, Any]:
    """The features of a classifier of a data set's labels, as a function of images; and those of n test images."""
    from ganvas.data import load
    from ganvas.data.loader import to_tensor
    from ganvas.evaluate.networks.features import features

    judge = features("classifier", load(source, size=size))
    return judge, judge(to_tensor(load(source, size=size).splits["test"].images[:n]))


def quality(source: str, size: int, n: int, model: Any = None) -> dict[str, float]:
    """Precision, recall, density, coverage and Frechet distance of n samples against n test images.

    Args:
        source: the data set.
        size: its side.
        n: how many.
        model: that makes the samples; None: n validation images stand for them.
    """
    from ganvas.data import load
    from ganvas.data.loader import to_tensor
    from ganvas.evaluate.measures.coverage import density_coverage, precision_recall
    from ganvas.evaluate.measures.frechet import frechet_distance

    judge, real = reference(source, size, n)
    fake = judge(
        to_tensor(load(source, size=size).splits["validation"].images[:n]) if model is None else model.sample(n)
    )
    distance = {"frechet": frechet_distance(real, fake)}
    return {**precision_recall(real, fake), **density_coverage(real, fake), **distance}


def real_quality(lab: Lab) -> dict[str, float]:
    """Of other real images, in the place of samples."""
    source, size = images(lab)
    n = lab.pick(quick=500, full=2000)
    return lab.cache("quality", {"source": source, "size": size, "n": n}, lambda: quality(source, size, n))


def js_estimate(discriminator_loss: float) -> float:
    """The Jensen-Shannon divergence that a discriminator's cost bounds from below, in nats (Arjovsky et al. 2017)."""
    return math.log(2) - discriminator_loss / 2


# (the recipe, the column of its metrics, what is made of it)
ESTIMATES: dict[str, tuple[str, str, Callable[[float], float]]] = {
    "WGAN: Wasserstein estimate": ("wgan", "discriminator/wasserstein", float),
    "GAN: Jensen-Shannon estimate": ("dcgan", "discriminator/loss", js_estimate),
    "GAN: generator's loss": ("dcgan", "generator/loss", float),
}


def window_means(run: Run, column: str, marks: Sequence[int]) -> list[float]:
    """The mean of a column of the run's metrics between each mark and the one before."""
    rows = [(row["step"], row[column]) for row in run.metrics if column in row]
    edges = itertools.pairwise([0, *marks])
    return [statistics.fmean(value for step, value in rows if a < step <= b) for a, b in edges]


@FIGURES.register
def wasserstein_estimate(lab: Lab) -> Outcome:
    """L22: the critic's Wasserstein estimate against the quality of samples.

    Claim: while a WGAN trains, its estimate -Loss_D falls as its samples improve, so it says how far training is; a
    GAN's losses do not. Measured at 20 moments of a training (10 of a quick one), as Spearman's rank correlation with
    the Frechet distance of its samples in a classifier's features (low is good): above 0.7 for the WGAN's estimate, and
    with every seed above that of the GAN's Jensen-Shannon estimate, log 2 - Loss_D / 2, and of its generator's loss. An
    estimate that wanders while samples improve, or a GAN's loss that follows them as well, refutes it.
    """
    import torch
    from scipy.stats import spearmanr  # type: ignore[import-untyped]

    from ganvas.ground import drawing

    runs = {recipe: [trained(lab, recipe, "dcgan", seed) for seed in lab.seeds] for recipe in ("wgan", "dcgan")}
    distances = {
        recipe: [[moment["quality"]["frechet"] for moment in run["snapshots"]] for run in several]
        for recipe, several in runs.items()
    }
    found: dict[str, list[float]] = {}
    drawn = drawing.figure(11, 6.5)
    top, bottom = drawn.subfigures(2, 1, height_ratios=(1.1, 1), squeeze=False)[:, 0]
    for axes, (name, (recipe, column, transform)) in zip(top.subplots(1, 3).flat, ESTIMATES.items(), strict=True):
        right = axes.twinx()
        right.grid(False)
        for run, qualities in zip(runs[recipe], distances[recipe], strict=True):
            steps = [moment["step"] for moment in run["snapshots"]]
            values = [transform(value) for value in run["windows"][column]]
            found.setdefault(name, []).append(float(spearmanr(values, qualities).statistic))
            (line,) = axes.plot(steps, values, color=drawing.COLOURS[0])
            (dashes,) = right.plot(steps, qualities, "--", color=drawing.COLOURS[1])
        axes.set(title=name, xlabel="moves of the generator")
        axes.legend([line, dashes], ["estimate", "Frechet distance (right)"])
    for axes, (recipe, several) in zip(bottom.subplots(1, 2).flat, runs.items(), strict=True):
        moments = several[0]["snapshots"]
        shown = moments[:: max(1, len(moments) // 5)]
        made = torch.cat([drawing.unpacked(moment["samples"], 12) for moment in shown])
        moves = ", ".join(f"{moment['step']:,}" for moment in shown)
        drawing.show(axes, made, f"{'WGAN' if recipe == 'wgan' else 'GAN'} after {moves} moves", columns=12)
    measures = [
        Measure(f"{name}, rank correlation with the Frechet distance", values) for name, values in found.items()
    ]
    measures += [
        Measure(f"{model}: last Frechet distance over the first", [of[-1] / of[0] for of in distances[recipe]])
        for model, recipe in MODELS.items()
    ]
    wasserstein, *others = found.values()
    holds = min(wasserstein) > 0.7 and all(a > max(b) for a, *b in zip(wasserstein, *others, strict=True))
    return Outcome(measures, holds, _length(lab), drawn)


def side_by_side(lab: Lab, generator: str, title: str) -> tuple[dict[str, list[float]], list[Measure], Any]:
    """GAN and WGAN with one generator.

    Returns:
        The coverage of each with every seed; precision, recall and coverage as measures; and the figure.
    """
    from ganvas.ground import drawing

    drawn = drawing.figure(11, 4.2)
    *pictures, bars = drawn.subplots(1, 3)
    names = ("precision", "recall", "coverage")
    coverage, measures = {}, []
    for place, (axes, (model, recipe)) in enumerate(zip(pictures, MODELS.items(), strict=True)):
        runs = [trained(lab, recipe, generator, seed) for seed in lab.seeds]
        found = [run["quality"] for run in runs]
        coverage[model] = [one["coverage"] for one in found]
        measures += [Measure(f"{model}: {name}", [one[name] for one in found]) for name in names]
        drawing.show(axes, drawing.unpacked(runs[0]["samples"], 64), f"{model}, {title}", columns=8)
        at = [column + 0.4 * place - 0.2 for column in range(3)]
        bars.bar(at, [measure.mean for measure in measures[-3:]], 0.36, color=drawing.COLOURS[1 - place], label=model)
        for one in found:
            bars.plot(at, [one[name] for name in names], "o", color=drawing.INK, markersize=3)
    real = real_quality(lab)
    for column, name in enumerate(names):
        bars.plot(
            [column - 0.4, column + 0.4], [real[name]] * 2, color=drawing.GREY, label="real images" * (not column)
        )
    bars.set(xticks=range(3), xticklabels=names, ylim=(0, 1), title="a dot for each seed")
    bars.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3)
    return coverage, measures, drawn


def _length(lab: Lab) -> str:
    """How long they were trained, for the reader of a verdict."""
    moves = [trained(lab, recipe, "dcgan", lab.seeds[0])["steps"] for recipe in MODELS.values()]
    return f"after {moves[0]:,} (GAN) and {moves[1]:,} (WGAN) moves of the generator on batches of 64."


def judged(lab: Lab, asked: dict[str, bool]) -> tuple[bool, str]:
    """Whether all that is asked is so; and which is not, for the reader of the verdict."""
    failed = [claim for claim, so in asked.items() if not so]
    return not failed, "".join(f"not so: {claim}; " for claim in failed) + _length(lab)


def against(lab: Lab, coverage: dict[str, list[float]]) -> dict[str, list[float]]:
    """Coverage over that of the same model with the DCGAN generator and the same seed."""
    usual = {
        model: [trained(lab, recipe, "dcgan", seed)["quality"]["coverage"] for seed in lab.seeds]
        for model, recipe in MODELS.items()
    }
    return {model: [a / b for a, b in zip(coverage[model], usual[model], strict=True)] for model in MODELS}


@FIGURES.register
def wgan_and_gan(lab: Lab) -> Outcome:
    """L23: WGAN and GAN with the DCGAN generator (Arjovsky et al. 2017, figure 5).

    Claim: with the DCGAN generator both are good: with every seed the samples cover at least half of what as many real
    images cover. Coverage (Naeem et al. 2020) is the share of test images that have a sample among their 5 nearest
    neighbours' distance, in a classifier's features.
    """
    coverage, measures, drawn = side_by_side(lab, "dcgan", "DCGAN generator")
    real = real_quality(lab)["coverage"]
    shares = {model: [value / real for value in values] for model, values in coverage.items()}
    measures += [
        Measure(f"{model}: coverage over that of real images", values, "", "at least 0.5")
        for model, values in shares.items()
    ]
    asked = {f"the {model}'s coverage is at least half of real images'": min(shares[model]) >= 0.5 for model in MODELS}
    return Outcome(measures, *judged(lab, asked), drawn)


@FIGURES.register
def without_batch_norm(lab: Lab) -> Outcome:
    """L24: WGAN and GAN without batch norm and with constant filters in the generator (the same, figure 6).

    Claim: without batch norm and with as many filters at every layer of the generator, the GAN fails and the WGAN still
    learns: with every seed, the GAN's coverage is below half of its own with the DCGAN generator, and the WGAN's is at
    least half of its own.
    """
    coverage, measures, drawn = side_by_side(lab, "constant", "no batch norm, constant filters")
    shares = against(lab, coverage)
    expected = {"GAN": "below 0.5", "WGAN": "at least 0.5"}
    measures += [
        Measure(f"{model}: coverage over that with the DCGAN generator", values, "", expected[model])
        for model, values in shares.items()
    ]
    asked = {
        "the GAN's coverage falls below half of its own": max(shares["GAN"]) < 0.5,
        "the WGAN's coverage stays at least half of its own": min(shares["WGAN"]) >= 0.5,
    }
    holds, reason = judged(lab, asked)
    return Outcome(measures, holds, reason, drawn)


@FIGURES.register
def mlp_generator(lab: Lab) -> Outcome:
    """L25: WGAN and GAN with a fully connected generator, 4 layers of 512 (the same, figure 7).

    Claim: with a generator of 4 fully connected layers of 512 units, the WGAN's samples are worse than with the DCGAN
    generator, and the GAN's collapse: with every seed, the WGAN's coverage is below its own with the DCGAN generator,
    the GAN's below half of its own, and the GAN's recall below half of the WGAN's.
    """
    coverage, measures, drawn = side_by_side(lab, "mlp", "4 layers of 512")
    shares = against(lab, coverage)
    recall = {it.name: it.values for it in measures}
    pairs = list(zip(recall["GAN: recall"], recall["WGAN: recall"], strict=True))
    expected = {"GAN": "below 0.5", "WGAN": "below 1"}
    measures += [
        Measure(f"{model}: coverage over that with the DCGAN generator", values, "", expected[model])
        for model, values in shares.items()
    ]
    asked = {
        "the GAN's coverage falls below half of its own": max(shares["GAN"]) < 0.5,
        "the WGAN's coverage falls": max(shares["WGAN"]) < 1,
        "the GAN's recall is below half of the WGAN's": all(gan < wgan / 2 for gan, wgan in pairs),
    }
    holds, reason = judged(lab, asked)
    if not any(wgan for _, wgan in pairs):
        reason += " Of the test images, none lies among the samples of either: both have a recall of 0."
    return Outcome(measures, holds, reason, drawn)
