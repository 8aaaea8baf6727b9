"""The lecture's figures of generative adversarial networks: the game, samples, nets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from ganvas.parts.nets.summary import Layer
    from ganvas.training.game import Game
    from ganvas.training.run import Run

PUBLISHED_PARZEN, PUBLISHED_ERROR = 225.0, 2.0


def images_of(name: str, split: str, n: int | None = None) -> Tensor:
    """The first n images of a split, or all: (n, C, H, W) in [0, 1]."""
    from ganvas.data import load
    from ganvas.data.loader import to_tensor

    return to_tensor(load(name).splits[split].images[:n])


def new_game(recipe: str, data: str, seed: int, **settings: Any) -> Game:
    """A game at its first step, on the CPU, to be played by hand."""
    import dataclasses

    import torch

    from ganvas.data import load
    from ganvas.ground.registry import build
    from ganvas.recipes import RECIPES
    from ganvas.training.engine import make_accelerator
    from ganvas.training.game import Game, make_model

    made, dataset, device = build(RECIPES[recipe], settings), load(data), torch.device("cpu")
    made = dataclasses.replace(made, training=dataclasses.replace(made.training, seed=seed))
    return Game(make_model(made, dataset, device), made, dataset, make_accelerator(device))


def gradient_norms(model: Any, n: int, seed: int = 0) -> dict[str, float]:
    """The norm of the gradient that the generator gets from n fakes under either loss, and their mean "D(G(z))"."""
    import torch

    from ganvas.ground.randomness import Draw
    from ganvas.parts.losses import GAN_LOSSES, PROBABILISTIC

    fake = model.discriminator.logits(model.generator.fake(n, Draw(seed), model.device))
    weights = list(model.generator.parameters())
    found = {"D(G(z))": float(fake.detach().sigmoid().mean())}
    for loss in PROBABILISTIC:
        _, cost = GAN_LOSSES[loss](fake.detach(), fake)
        gradient = torch.autograd.grad(cost, weights, retain_graph=True)
        found[loss] = float(torch.stack([part.square().sum() for part in gradient]).sum().sqrt())
    return found


def published(lab: Lab, seed: int, **settings: Any) -> Run:
    """The GAN of the paper's released code, which these figures share; it keeps an average of the generator beside."""
    usual = {"epochs": lab.pick(quick=10, full=250), "ema": 0.999, "snapshots": 10}
    return lab.train("gan", data="mnist", seed=seed, paper=True, **{**usual, **settings})


def unaveraged(model: Any) -> Any:
    """The same model with the generator as it is for samples, not its average."""
    model.average = None
    return model


@FIGURES.register
def algorithm_1(lab: Lab) -> Outcome:
    """L10: Algorithm 1: the game, its k and momentum, and the loss that does not saturate.

    Claim: under the minimax loss, as Algorithm 1 prints it, the generator's gradient vanishes early on, where D rejects
    its fakes (section 3): at the lowest D(G(z)) of the first 300 steps it is below a tenth of its largest there, and of
    what the non-saturating loss gives at the same weights. With that loss the algorithm learns MNIST in 30 epochs (the
    nets of the paper's code, k = 1, momentum from 0.5): the Frechet distance of its samples to test images, over 64
    principal components, falls below a quarter of the untrained generator's. Beside it, for one seed and fewer epochs:
    the minimax loss, k = 3, and no momentum at first.
    """
    import torch

    from ganvas.data import load
    from ganvas.evaluate import frechet_distance
    from ganvas.evaluate.networks.features import features
    from ganvas.ground import drawing

    n = lab.pick(quick=2000, full=10_000)
    steps, every = lab.pick(quick=100, full=300), lab.pick(quick=5, full=10)
    represent = features("pca", load("mnist"))
    real = represent(images_of("mnist", "test", n))
    minimax: dict[str, dict[str, Any]] = {"minimax loss": {"loss": "minimax"}}
    others = lab.pick(quick=minimax, full={**minimax, "k = 3": {"k": 3}, "no momentum at first": {"momentum": 0.0}})
    few = lab.pick(quick=1, full=10)
    early: list[dict[str, float]] = []
    shares: dict[str, list[float]] = {"its largest": [], "the non-saturating loss's": []}
    distances, values = [], []
    untrained = {}
    for seed in lab.seeds:
        game = new_game("gan", "mnist", seed, paper=True, loss="minimax")
        untrained[seed] = frechet_distance(real, represent(game.model.sample(n, seed=1)))
        game.model.train()
        with torch.random.fork_rng(devices=[]):
            early = []
            for step in range(steps):
                if step % every == 0:
                    early.append({"step": step, **gradient_norms(game.model, 500, step)})
                game.play()
        lowest = min(early, key=lambda row: row["D(G(z))"])
        shares["its largest"].append(lowest["minimax"] / max(row["minimax"] for row in early))
        shares["the non-saturating loss's"].append(lowest["minimax"] / lowest["non-saturating"])
        run = published(lab, seed, epochs=lab.pick(quick=10, full=30))
        samples = unaveraged(run.model).sample(n, seed=1)
        distances.append(frechet_distance(real, represent(samples)) / untrained[seed])
        values.append(training_value(run)[-1][1])
    shown = {f"non-saturating, k = 1, {run.recipe.training.epochs} epochs": (run, samples)}
    measures = [
        *[Measure(f"minimax gradient at the lowest D(G(z)), over {what}", part, "", "below 0.1")
          for what, part in shares.items()],
        Measure("distance over the untrained generator's", distances, "", "below 0.25"),
        Measure("value of the game at the end; -1.386 where D can't tell", values, "nats"),
    ]  # fmt: skip
    for name, settings in others.items():
        seed = lab.seeds[-1]
        run = published(lab, seed, epochs=few, **settings)
        samples = unaveraged(run.model).sample(n, seed=1)
        shown[f"{name}, {few} epoch{'s' * (few > 1)}"] = run, samples
        share = frechet_distance(real, represent(samples)) / untrained[seed]
        measures.append(Measure(f"{name}, {few} epochs: distance over the untrained generator's", [share]))
        measures.append(Measure(f"{name}, {few} epochs: value of the game", [training_value(run)[-1][1]], "nats"))
    vanishes, learns = max(map(max, shares.values())) < 0.1, max(distances) < 0.25
    reason = (
        f"the minimax gradient {'vanishes' if vanishes else 'does not vanish'}; with the other loss the algorithm "
        f"{'learns' if learns else 'does not get that far'} in {lab.pick(quick=10, full=30)} epochs."
    )
    drawn = drawing.figure(10, 5.6)
    top, bottom = drawn.subfigures(2, 1, height_ratios=(1.1, 1))  # type: ignore[misc]
    gradients, value = top.subplots(1, 2)
    at = [row["step"] for row in early]
    for loss, colour in (("non-saturating", drawing.COLOURS[0]), ("minimax", drawing.COLOURS[1])):
        gradients.plot(at, [row[loss] for row in early], label=f"gradient, {loss}", color=colour)
    gradients.plot(at, [row["D(G(z))"] for row in early], color=drawing.GREY, linestyle="--", label="D(G(z))")
    gradients.set(yscale="log", xlabel="step of the minimax game", title="the generator's gradient (norm), at first")
    for name, (run, _) in shown.items():
        value.plot(*zip(*training_value(run), strict=True), label=name)
    value.axhline(-math.log(4), color=drawing.GREY, linestyle="--", label="- log 4")
    value.set(xlabel="epoch", ylabel="nats", title="value of the game, E log D(x) + E log(1 - D(G(z)))")
    for axes in (gradients, value):
        axes.legend(fontsize=7)
    for axes, (name, (_, samples)) in zip(bottom.subplots(1, len(shown)), shown.items(), strict=True):
        drawing.show(axes, samples[:36], name)
    return Outcome(measures, vanishes and learns, reason, drawn)


def training_value(run: Run) -> list[tuple[float, float]]:
    """(epoch, E log D(x) + E log(1 - D(G(z))) in nats) along a run, for each row of its metrics."""
    return [(row["epoch"], -row["discriminator/loss"]) for row in run.metrics if row["split"] == "train"]


@FIGURES.register
def gan_samples(lab: Lab) -> Outcome:
    """L11: samples of the published MNIST GAN, with the nearest training images, and its Parzen figure.

    Claim: the GAN of the paper's released code (maxout, dropout, SGD), trained for its 250 epochs, reaches the
    published Parzen window log-likelihood of 225 +- 2 nats within two of its standard errors or better, by the same
    protocol (10,000 samples, sigma chosen on 1,000 validation images); and its samples are no copies: the share that
    is nearer to a training image than all but the nearest 1 % of test images is below 2 %. Beside it: an average of
    the generator's weights over its last 1,000 moves, from the same training; and the figure along the way.
    """
    import torch

    from ganvas.data import load
    from ganvas.evaluate.measures.memorising import memorising
    from ganvas.evaluate.measures.parzen import parzen
    from ganvas.ground import drawing, plots
    from ganvas.latent.explore import neighbours

    n = lab.pick(quick=2000, full=10_000)
    train, validation = images_of("mnist", "train"), images_of("mnist", "validation", 1000)
    test = images_of("mnist", "test", n)
    some = lab.pick(quick=1000, full=10_000)
    found: dict[str, list[list[dict[str, float]]]] = {"the generator": [], "an average of it": []}

    def course(run: Run, name: str) -> list[dict[str, float]]:
        def measure(step: int) -> dict[str, float]:
            model = lab.model(run, step)
            return parzen((unaveraged(model) if name == "the generator" else model).sample(n, seed=1), validation, test)

        about = {"run": run.path.name, "n": n, "of": name}
        return [lab.cache("parzen", {**about, "step": step}, partial(measure, step)) for step in run.snapshots]

    close, z = [], []
    for seed in lab.seeds:
        run = published(lab, seed)
        for name, courses in found.items():
            courses.append(course(run, name))
        samples = unaveraged(run.model).sample(some, seed=1)
        copied = memorising(samples.flatten(1), train.flatten(1), test[:some].flatten(1))
        close.append(copied["close"])
        z.append(copied["z"])
    data = parzen(train[:n], validation, test)
    least = PUBLISHED_PARZEN - 2 * PUBLISHED_ERROR
    measures = [
        *[Measure(f"{what}, {name}", [one[-1][key] for one in courses], unit,
                  f"at least {least:g}" * (unit != "" and name == "the generator"))
          for key, what, unit in (("log_likelihood", "Parzen log-likelihood of test images", "nats"),
                                  ("sigma", "sigma", ""))
          for name, courses in found.items()],
        Measure("the same with training images for samples", [data["log_likelihood"]], "nats",
                error=data["standard_error"]),
        Measure("samples as near to the training set as the nearest 1 % of test images", close, "", "below 0.02"),
        Measure("rank statistic z of the distance to it, samples against test images", z, "", "far below 0 of copies"),
    ]  # fmt: skip
    reached, own = measures[0].mean >= least, max(close) < 0.02
    judged = "no copies" if own else "nearer to training images than test images are"
    fewer = ", on fewer samples" * (n < 10_000)
    reason = (
        f"{measures[0].mean:.0f} nats after {run.recipe.training.epochs} of 250 epochs{fewer}, {measures[1].mean:.0f} "
        f"with the average; the samples are {judged}."
    )
    split, shown = load("mnist").splits["train"], samples[:30].unflatten(0, (5, 6))
    nearest = train[neighbours(shown[:, -1], split)[1]]
    table = plots.grid(torch.cat([shown, nearest], 1).flatten(0, 1), 7, framed=range(6, 35, 7))
    drawn = drawing.figure(11, 3.6)
    picture, histogram, curve = drawn.subplots(1, 3, width_ratios=(1.2, 1, 1))
    picture.imshow(table, interpolation="nearest")
    picture.set(title="samples; framed: the nearest training image", xticks=[], yticks=[])
    picture.grid(False)
    picture.spines[:].set_visible(False)
    for name, rows in {"samples": samples[:300], "test images": test[:300]}.items():
        histogram.hist(neighbours(rows, split)[0][:, 0].numpy(), bins=40, range=(0, 10), alpha=0.6, label=name)
    histogram.set(xlabel="distance to the nearest training image", ylabel="images")
    histogram.legend()
    at = [step * run.recipe.training.batch_size / len(split) for step in run.snapshots]
    for (name, courses), colour in zip(found.items(), drawing.COLOURS, strict=False):
        values = torch.tensor([[one["log_likelihood"] for one in several] for several in courses])
        curve.plot(at, values.T, color=colour, label=[name, *[None] * (len(values) - 1)])
    curve.axhline(PUBLISHED_PARZEN, color=drawing.GREY, linestyle="--", label="the paper")
    curve.set(xlabel="epoch", ylabel="nats", title="Parzen log-likelihood of test images")
    curve.legend()
    return Outcome(measures, reached and own, reason, drawn)


# The shapes between the layers, as published: Goodfellow et al. 2014 (released code), Radford et al. 2015, figure 1.
PUBLISHED: dict[str, list[tuple[int, ...]]] = {
    "GAN generator": [(100,), (1200,), (1200,), (1, 28, 28)],
    "GAN discriminator": [(1, 28, 28), (1200,), (240,), (1200,), (240,), (1,)],  # 5 pieces a maxout unit
    "DCGAN generator": [(100,), (1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)],
    "DCGAN discriminator": [(3, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4), (1,)],
}


def weights_of(shapes: Sequence[tuple[int, ...]]) -> int:
    """Weights that a published net must have, from the shapes between its layers alone.

    Kernels of 5 x 5 between images, else full connections; biases, or the two numbers a channel of batch norm, which is
    neither beside the image nor at the end; no weights from the pieces of a maxout unit to their largest.
    """
    total = 0
    convolutional = sum(len(shape) == 3 for shape in shapes) > 1
    for before, after in itertools.pairwise(shapes):
        n, m = math.prod(before), math.prod(after)
        if (n, m) == (1200, 240):
            continue
        convolution = len(before) == len(after) == 3
        normed = convolutional and len(after) == 3 and 3 not in (before[0], after[0])
        total += before[0] * after[0] * 25 if convolution else n * m
        total += 2 * after[0] if normed else after[0] if convolution else m
    return total


def path(first: tuple[int, ...], layers: Sequence[Layer]) -> list[tuple[int, ...]]:
    """The shapes that a net's values take, from its input on; of equally many values the one that is an image."""
    shapes = [first]
    for name, shape, _ in layers:
        if math.prod(shape) != math.prod(shapes[-1]) or name.startswith(("Linear", "Conv")):
            shapes.append(shape)
        elif len(shape) > len(shapes[-1]):
            shapes[-1] = shape
    return shapes


def sketch(axes: Axes, shapes: Sequence[tuple[int, ...]], title: str) -> None:
    """Draw what lies between a net's layers: an image as a block, its front as wide as there are channels."""
    from matplotlib.patches import Polygon

    from ganvas.ground import drawing

    style: dict[str, Any] = {"facecolor": drawing.COLOURS[5], "edgecolor": drawing.INK, "linewidth": 0.6}
    x = 0.0
    for shape in shapes:
        channels, side = shape[0], shape[-1] if len(shape) == 3 else 0
        wide, high = (0.05 * math.log2(2 * channels), 0.02 * side) if side else (0.08, 0.1 * math.log2(2 * channels))
        deep = 0.4 * 0.02 * side
        left, right, low, top = x, x + wide, -high / 2, high / 2
        axes.add_patch(Polygon([(left, low), (right, low), (right, top), (left, top)], **style))
        axes.add_patch(
            Polygon([(left, top), (right, top), (right + deep, top + deep), (left + deep, top + deep)], **style)
        )
        axes.add_patch(
            Polygon([(right, low), (right + deep, low + deep), (right + deep, top + deep), (right, top)], **style)
        )
        axes.text(x + wide / 2, low - 0.05, "\n".join(map(str, shape)), ha="center", va="top", fontsize=6)
        x += wide + deep + 0.35
    axes.set(xlim=(-0.2, x), ylim=(-1.25, 1.25), xticks=[], yticks=[], title=title)
    axes.grid(False)
    axes.spines[:].set_visible(False)


@FIGURES.register
def nets(lab: Lab) -> Outcome:
    """L12: the nets of the fully connected and of the convolutional GAN.

    Claim: the nets that `gan --paper` and `dcgan --paper` build are the published ones: the shapes between their layers
    are those of the papers, and each has as many weights as follow from these shapes alone. One other shape, or one
    weight too many, refutes it.
    """
    import torch

    from ganvas.data.loader import Batch
    from ganvas.ground import drawing
    from ganvas.ground.randomness import Draw
    from ganvas.models.base import FAMILIES
    from ganvas.parts.nets.summary import summary, table
    from ganvas.recipes import RECIPES

    measures, right = [], []
    drawn = drawing.figure(11, 4.8)
    axes = drawn.subplots(2, 4, height_ratios=(1, 0.75), width_ratios=(1, 1, 1.3, 1.3))
    columns = iter(axes.T)
    for recipe, shape in (("gan", (1, 28, 28)), ("dcgan", (3, 64, 64))):
        config = RECIPES[recipe](paper=True).model
        model = FAMILIES[type(config)](config, shape).eval()
        for player in ("generator", "discriminator"):
            name = f"{recipe.upper()} {player}"
            layers = summary(model.players()[player], Batch(torch.zeros(2, *shape)), Draw(0))
            shapes = path((config.latent_dim,) if player == "generator" else shape, layers)
            weights, expected = sum(layer.parameters for layer in layers), weights_of(PUBLISHED[name])
            measures.append(Measure(f"{name}: weights beyond {expected:,}", [weights - expected], "", "0"))
            right.append(shapes == PUBLISHED[name] and weights == expected)
            above, below = next(columns)
            sketch(above, shapes, name)
            below.text(0, 1, table(layers), family="monospace", fontsize=5.8, va="top", transform=below.transAxes)
            below.set_axis_off()
    reason = "every shape and the number of weights are the published." if all(right) else (
        "it is another net: " + ", ".join(name for name, same in zip(PUBLISHED, right, strict=True) if not same) + "."
    )  # fmt: skip
    return Outcome(measures, all(right), reason, drawn)


@FIGURES.register
def dcgan_epochs(lab: Lab) -> Outcome:
    """L13: a DCGAN's samples after one epoch and after five.

    Claim: samples of a DCGAN after five epochs are nearer to the data than after one, of the same training. Measured by
    the Frechet distance between samples and test images over the features of a classifier of the data's labels (the
    quick version: over 64 principal components): it falls in every training. The lecture's bedrooms are not to be had;
    garments stand in at 28 x 28, and drawn faces at 64 x 64, of one seed.
    """
    import numpy as np
    from PIL import Image

    from ganvas.data import load
    from ganvas.evaluate import frechet_distance
    from ganvas.evaluate.networks.features import features
    from ganvas.ground import drawing

    sets = lab.pick(
        quick=[("fashion-mnist", lab.seeds, 8)],
        full=[("fashion-mnist", lab.seeds, 64), ("avatars", lab.seeds[:1], 64)],
    )
    measures, falls, differ = [], True, 0
    drawn = drawing.figure(9, 3.7 * len(sets))
    for (name, seeds, filters), row in zip(sets, np.atleast_2d(drawn.subplots(len(sets), 2)), strict=True):
        dataset = load(name)
        represent = features(lab.pick(quick="pca", full="classifier"), dataset)
        n = lab.pick(quick=2000, full=min(10_000, len(dataset.splits["test"])))
        real = represent(images_of(name, "test", n))
        distances: dict[int, list[float]] = {1: [], 5: []}
        for seed in seeds:
            grids = []
            for place, epochs in enumerate(distances):
                run = lab.train("dcgan", data=name, loss="non-saturating", seed=seed, epochs=epochs, filters=filters)
                model: Any = run.model
                samples = model.sample(n, seed=1)
                distances[epochs].append(frechet_distance(real, represent(samples)))
                grids.append(np.asarray(Image.open(run.path / "samples" / "epoch-0001.png")))
                if seed == seeds[0]:
                    drawing.show(
                        row[place], samples[:48], f"{name}, after {epochs} epoch{'s' * (epochs > 1)}", columns=8
                    )
            differ += int((grids[0] != grids[1]).sum())
        first, last = distances.values()
        falls &= all(b < a for a, b in zip(first, last, strict=True))
        measures += [
            Measure(f"{name}: Frechet distance after {epochs}", values) for epochs, values in distances.items()
        ]
        ratio = [b / a for a, b in zip(first, last, strict=True)]
        measures.append(Measure(f"{name}: the latter over the former", ratio, "", "below 1"))
    measures.append(Measure("pixels in which the two trainings differ after epoch 1", [differ], "", "0: they are one"))
    reason = "the distance falls in every training." if falls else "the distance does not fall in every training."
    return Outcome(measures, falls and not differ, reason, drawn)
