"""The lecture's figures of Wasserstein GANs."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from ganvas.recipe import Recipe
    from ganvas.training.run import Run

REAL, FAKE = -5.0, 5.0
MODELS = {"GAN": "dcgan", "WGAN": "wgan"}


def on_a_line(recipe: Recipe, seed: int) -> Any:
    """The recipe's GAN with 4 layers of 512 as discriminator and a generator that makes N(5, 1): a GANModel of (1,)."""
    import torch

    from ganvas.models.gan import GANModel
    from ganvas.nets.mlp import MLP
    from ganvas.priors import Normal

    nets = {"generator": MLP(hidden=()), "discriminator": MLP(hidden=(512, 512, 512, 512))}
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
    from ganvas.randomness import Draw
    from ganvas.training.loop import make_optimizer

    model.generator.requires_grad_(False)
    optimizer = make_optimizer(recipe.training.turns["discriminator"].optimizer, model.discriminator)
    for move in range(1, max(marks) + 1):
        draw = Draw(seed, move)
        model.discriminator(REAL + draw.normal("real", (64, 1)), draw)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        model.moved("discriminator")
        if move in marks:
            yield move


def pull(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """How fast `function` rises from each point towards the real ones: points (N, 1) -> (N,)."""
    from ganvas.techniques import input_gradient

    return -input_gradient(function, x).detach().squeeze(1)


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

    from ganvas.losses import GAN_LOSSES
    from ganvas.randomness import Draw
    from ganvas.recipes import RECIPES
    from ganvas.reproduce import drawing

    moves = lab.pick(quick=400, full=2000)
    marks = sorted({round(moves ** (part / 15)) for part in range(16)})
    line = torch.linspace(-8, 8, 801)[:, None]
    fakes = FAKE + Draw(0).normal("fakes", (2000, 1))
    recipes = {
        "D": RECIPES["gan"](loss="minimax"),
        "clipped critic": RECIPES["wgan"](),
        "critic with gradient penalty": RECIPES["wgan"](gradient_penalty=10),
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
        for name, recipe in recipes.items():
            model = on_a_line(recipe, seed)

            def logits(x: Tensor, model: Any = model) -> Tensor:
                return model.discriminator.logits(x)  # type: ignore[no-any-return]

            costs = {f"{loss} cost": loss for loss in ("minimax", "non-saturating")}
            costs = costs if name == "D" else {name: "wasserstein"}
            trail: dict[str, list[float]] = {cost: [] for cost in costs}
            for _ in moved(model, recipe, marks, seed):
                for cost, loss in costs.items():
                    gain = pull(lambda x, loss=loss: -GAN_LOSSES[loss](logits(x), logits(x))[1] * len(x), fakes)
                    trail[cost].append(float(gain.mean()))
            slope, here = pull(logits, line), pull(logits, fakes)
            with torch.no_grad():
                height, apart = logits(line), (logits(fakes + REAL - FAKE) - logits(fakes)).mean()
                if name == "D":  # sigmoid'(l) = sigmoid(l) sigmoid(-l)
                    slope, here = (
                        s * logits(x).sigmoid() * (-logits(x)).sigmoid() for s, x in ((slope, line), (here, fakes))
                    )
                    height = height.sigmoid()
            numbers = {f"{name}: slope at the fakes over its steepest": here.mean() / slope.max()}
            if name != "D":
                numbers[f"{name}: sd of its slope at the fakes over the mean"] = here.std() / here.mean()
                numbers[f"{name}: E f(real) - E f(fake) over its steepest slope; W is 10"] = apart / slope.max()
            for what, number in numbers.items():
                found.setdefault(what, []).append(float(number))
            for cost, gains in trail.items():
                trails.setdefault(cost, []).append(gains)
            curves.setdefault(name, (height, slope / slope.max()))
    for cost, several in trails.items():
        found[f"gradient that the generator gets at a fake: {cost}"] = [gains[-1] for gains in several]
    measures = [Measure(what, values, "", expected.get(what, "")) for what, values in found.items()]
    saturated, steep, even = (found[what] for what in expected)
    holds = max(saturated) < 1e-3 and min(steep) > 0.1 and max(even) < 0.1
    reason = (
        "the exact D is sigmoid(-10 x), whose slope at 5 is 2e-21; the exact critic is a line. Clipped weights make one "
        "with a bend. The non-saturating cost keeps a gradient where D is saturated."
    )

    drawn = drawing.figure(11, 3.5)
    shown, sloped, trained = drawn.subplots(1, 3)
    x = line.squeeze(1)
    for centre, colour, label in ((REAL, drawing.COLOURS[2], "density of real"), (FAKE, drawing.COLOURS[4], "of fake")):
        density = torch.distributions.Normal(centre, 1.0).log_prob(x).exp()
        shown.fill_between(x, density, color=colour, alpha=0.35, linewidth=0, label=label)
    for place, (name, (height, slope)) in enumerate(curves.items()):
        style = {"color": drawing.COLOURS[(1, 0, 5)[place]], "linestyle": "--" if place == 2 else "-"}
        ends = [float(height[(x - centre).abs().argmin()]) for centre in (REAL, FAKE)]
        shown.plot(x, height if name == "D" else (height - ends[1]) / (ends[0] - ends[1]), label=name, **style)
        sloped.plot(x, slope.clamp(min=1e-12), label=name, **style)
    for place, (cost, several) in enumerate(trails.items()):
        colour = drawing.COLOURS[(1, 3, 0, 5)[place]]
        for gains in several:
            label = cost if gains is several[0] else None
            trained.plot(marks, [max(gain, 1e-12) for gain in gains], color=colour, label=label)
    shown.set(xlabel="x", title="critics scaled: 1 at -5, 0 at 5")
    sloped.set(xlabel="x", yscale="log", ylim=(1e-12, 3), title="slope over its steepest")
    trained.set(xlabel="moves", xscale="log", yscale="log", ylim=(1e-12, 100), title="gradient at the fakes")
    for axes in (shown, sloped, trained):
        axes.legend(fontsize=7)
    return Outcome(measures, holds, reason, drawn)


def trained(lab: Lab, recipe: str, generator: str, seed: int) -> Run:
    """The "dcgan" (a GAN) or "wgan" with one of the three generators that these figures share.

    MNIST, because a thousand moves of a generator take a minute on two cores there. Both make as many moves of the
    generator, with batches of 64: a WGAN sees five times as many images meanwhile, as its critic moves five times.
    """
    epochs = lab.pick(quick=1, full=5) * (5 if recipe == "wgan" else 1)
    quick = {"warm_up": False} if lab.quick and recipe == "wgan" else {}
    size = {"filters": lab.pick(quick=16, full=32), "batch_size": 64, "epochs": epochs}
    snapshots = 20 if generator == "dcgan" else None
    return lab.train(recipe, data="mnist", generator=generator, snapshots=snapshots, seed=seed, **size, **quick)


@functools.cache
def reference(n: int) -> tuple[Any, Any]:
    """The features of a classifier of MNIST's digits, as a function of images; and those of n test images."""
    from ganvas.data import load
    from ganvas.data.loader import to_tensor
    from ganvas.evaluate.features import features

    judge = features("classifier", load("mnist"))
    return judge, judge(to_tensor(load("mnist").splits["test"].images[:n]))


def quality(lab: Lab, model: Path | None, n: int = 2000) -> dict[str, float]:
    """Precision, recall, density, coverage and Frechet distance of n samples against n test images.

    Args:
        lab: keeps the numbers.
        model: a folder; None: n validation images stand for the samples.
        n: how many.
    """

    def measure() -> dict[str, float]:
        import ganvas
        from ganvas.data import load
        from ganvas.data.loader import to_tensor
        from ganvas.evaluate.coverage import density_coverage, precision_recall
        from ganvas.evaluate.frechet import frechet_distance

        judge, real = reference(n)
        fake = judge(
            ganvas.load(model).sample(n) if model else to_tensor(load("mnist").splits["validation"].images[:n])
        )
        distance = {"frechet": frechet_distance(real, fake)}
        return {**precision_recall(real, fake), **density_coverage(real, fake), **distance}

    return lab.cache("quality", {"model": str(model), "n": n}, measure)


def js_estimate(discriminator_loss: float) -> float:
    """The Jensen-Shannon divergence that a discriminator's cost bounds from below, in nats (Arjovsky et al. 2017)."""
    return math.log(2) - discriminator_loss / 2


def window_means(run: Run, column: str, marks: Sequence[int]) -> list[float]:
    """The mean of a column of the run's metrics between each mark and the one before."""
    rows = [(row["step"], row[column]) for row in run.metrics if column in row]
    edges = itertools.pairwise([0, *marks])
    return [statistics.fmean(value for step, value in rows if a < step <= b) for a, b in edges]


@FIGURES.register
def wasserstein_estimate(lab: Lab) -> Outcome:
    """L22: the critic's Wasserstein estimate against the quality of samples.

    Claim: while a WGAN trains, its estimate -Loss_D falls as its samples improve, so it says how far training is; a
    GAN's losses do not. Measured at 20 moments of a training, as Spearman's rank correlation with the Frechet distance
    of its samples in a classifier's features (low is good): above 0.7 for the WGAN's estimate, and with every seed
    above that of the GAN's Jensen-Shannon estimate, log 2 - Loss_D / 2, and of its generator's loss. An estimate that
    wanders while samples improve, or a GAN's loss that follows them as well, refutes it.
    """
    import torch
    from scipy.stats import spearmanr

    import ganvas
    from ganvas.reproduce import drawing

    n = lab.pick(quick=500, full=2000)
    estimates: dict[str, tuple[str, str, Callable[[float], float]]] = {
        "WGAN: Wasserstein estimate": ("wgan", "discriminator/wasserstein", float),
        "GAN: Jensen-Shannon estimate": ("dcgan", "discriminator/loss", js_estimate),
        "GAN: generator's loss": ("dcgan", "generator/loss", float),
    }
    found: dict[str, list[float]] = {}
    improved: dict[str, list[float]] = {}
    drawn = drawing.figure(11, 6.5)
    top, bottom = drawn.subfigures(2, 1, height_ratios=(1.2, 1))
    for axes, (name, (recipe, column, transform)) in zip(top.subplots(1, 3).flat, estimates.items(), strict=True):
        distance = axes.twinx()
        distance.grid(False)
        for seed in lab.seeds:
            run = trained(lab, recipe, "dcgan", seed)
            steps = list(run.snapshots)
            values = [transform(value) for value in window_means(run, column, steps)]
            distances = [quality(lab, folder, n)["frechet"] for folder in run.snapshots.values()]
            found.setdefault(name, []).append(float(spearmanr(values, distances).statistic))
            improved.setdefault(recipe, []).append(distances[0] / distances[-1])
            (line,) = axes.plot(steps, values, color=drawing.COLOURS[0])
            (dashes,) = distance.plot(steps, distances, "--", color=drawing.COLOURS[1])
        axes.set(title=name, xlabel="generator's moves")
        distance.set(ylabel="Frechet distance", yscale="log")
        axes.legend([line, dashes], ["estimate", "Frechet distance"])
    for axes, recipe in zip(bottom.subplots(1, 2).flat, ("wgan", "dcgan"), strict=True):
        shown = list(trained(lab, recipe, "dcgan", lab.seeds[0]).snapshots.items())[::4]
        columns = [ganvas.load(folder).sample(5) for _, folder in shown]
        images = [column[row] for row in range(5) for column in columns]
        title = f"{'WGAN' if recipe == 'wgan' else 'GAN'} after {', '.join(f'{step:,}' for step, _ in shown)} moves"
        drawing.show(axes, torch.stack(images), title, columns=len(shown))
    wasserstein, *others = found.values()
    measures = [
        *(Measure(f"rank correlation with the Frechet distance, {name}", values) for name, values in found.items()),
        *(Measure(f"first Frechet distance over the last, {name}", values) for name, values in improved.items()),
    ]
    holds = min(wasserstein) > 0.7 and all(a > max(b) for a, *b in zip(wasserstein, *others, strict=True))
    return Outcome(measures, holds, "", drawn)


def side_by_side(lab: Lab, generator: str, title: str) -> tuple[dict[str, list[float]], list[Measure], Any]:
    """GAN and WGAN with one generator.

    Returns:
        The coverage of each with every seed; precision, recall and coverage as measures; and the figure.
    """
    from ganvas.reproduce import drawing

    drawn = drawing.figure(11, 4.2)
    *pictures, bars = drawn.subplots(1, 3)
    names = ("precision", "recall", "coverage")
    coverage, measures = {}, []
    for place, (axes, (model, recipe)) in enumerate(zip(pictures, MODELS.items(), strict=True)):
        runs = [trained(lab, recipe, generator, seed) for seed in lab.seeds]
        found = [quality(lab, run.path / "model") for run in runs]
        coverage[model] = [one["coverage"] for one in found]
        measures += [Measure(f"{model}: {name}", [one[name] for one in found]) for name in names]
        drawing.show(axes, runs[0].model.sample(64), f"{model}, {title}", columns=8)
        at = [column + 0.4 * place - 0.2 for column in range(3)]
        bars.bar(at, [measure.mean for measure in measures[-3:]], 0.36, color=drawing.COLOURS[1 - place], label=model)
        for one in found:
            bars.plot(at, [one[name] for name in names], "o", color=drawing.INK, markersize=3)
    real = quality(lab, None)
    for column, name in enumerate(names):
        bars.plot([column - 0.4, column + 0.4], [real[name]] * 2, color=drawing.GREY, label="real images" * (not column))
    bars.set(xticks=range(3), xticklabels=names, ylim=(0, 1), title="a dot for each seed")
    bars.legend()
    return coverage, measures, drawn


def against(lab: Lab, coverage: dict[str, list[float]]) -> dict[str, list[float]]:
    """Coverage over that of the same model with the DCGAN generator and the same seed."""
    usual = {
        model: [quality(lab, trained(lab, recipe, "dcgan", seed).path / "model")["coverage"] for seed in lab.seeds]
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
    real = quality(lab, None)["coverage"]
    shares = {model: [value / real for value in values] for model, values in coverage.items()}
    measures += [
        Measure(f"{model}: coverage over that of real images", values, "", "at least 0.5")
        for model, values in shares.items()
    ]
    return Outcome(measures, min(map(min, shares.values())) >= 0.5, "", drawn)


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
    return Outcome(measures, max(shares["GAN"]) < 0.5 <= min(shares["WGAN"]), "", drawn)


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
    collapse = max(a / b if b else 1.0 for a, b in zip(recall["GAN: recall"], recall["WGAN: recall"], strict=True))
    expected = {"GAN": "below 0.5", "WGAN": "below 1"}
    measures += [
        Measure(f"{model}: coverage over that with the DCGAN generator", values, "", expected[model])
        for model, values in shares.items()
    ]
    holds = max(shares["GAN"]) < 0.5 and max(shares["WGAN"]) < 1 and collapse < 0.5
    return Outcome(measures, holds, "", drawn)
