"""The lecture's figures of walks and sums in a DCGAN's latent space, on faces with known attributes."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ganvas.errors import UserError
from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

# A - B + C, each term a group of samples that is named by attributes: {column of ATTRIBUTES: value}.
Sum = tuple[dict[int, int], dict[int, int], dict[int, int]]

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from ganvas.data import Dataset
    from ganvas.evaluate.classifier import Classifier
    from ganvas.explore import Examples

SIZE = 32
# Those that a classifier tells in at least 97 % of test images: not the expression, which a beard can hide, nor the
# colour of hair that is not there.
ATTRIBUTES = ("glasses", "beard", "hair style", "skin", "lean")
SURE = 0.9
AVERAGED = (1, 3, 10)
LEFT, UPRIGHT, RIGHT = range(3)  # values of lean


def faces() -> Dataset:
    """The data set `avatars` at 32 x 32."""
    from ganvas.data import load

    return load("avatars", size=SIZE)


def trained(lab: Lab, seed: int) -> Any:
    """The DCGAN that these figures share, with an average of the generator's weights."""
    filters, epochs = lab.pick(quick=(16, 4), full=(32, 60))
    run = lab.train(
        "dcgan", data="avatars", size=SIZE, filters=filters, batch_size=64, ema=0.999, epochs=epochs, seed=seed
    )
    return run.model


@functools.cache
def classifier(seed: int) -> Classifier:
    """A classifier of the faces' attributes; that of seed 0 judges what comes out.

    Raises:
        UserError: it knows one of the attributes in less than 97 % of test images.
    """
    from ganvas.evaluate.classifier import train_classifier

    made = train_classifier(faces(), seed=seed)
    if poor := {name: made.accuracy[name] for name in ATTRIBUTES if made.accuracy[name] < 0.97}:
        raise UserError(f"the classifier is right too rarely to judge: {poor}.")
    return made


def verdicts(images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The likeliest value of each of ATTRIBUTES, int64 (N, 5), and its probability (N, 5); images are (N, 3, 32, 32)."""
    import torch

    found = classifier(seed).probabilities(images)
    best = [torch.from_numpy(found[name]).max(1) for name in ATTRIBUTES]
    return torch.stack([part.indices for part in best], 1), torch.stack([part.values for part in best], 1)


def definite(images: Tensor) -> float:
    """The share of images of which the judge is sure of every attribute: 0.97 of real ones, 0.12 of two laid over."""
    return float((verdicts(images)[1] > SURE).all(1).float().mean())


def examples(lab: Lab, model: Any, seed: int) -> Examples:
    """Samples with the values of ATTRIBUTES, -1 where a classifier is not sure of it.

    That classifier is not the judge, so that what misleads one is not chosen and praised by the same one; the quick
    version has but one.
    """
    from ganvas.explore import judged

    def classify(images: Tensor) -> Tensor:
        values, certainty = verdicts(images, lab.pick(quick=0, full=1))
        return values.where(certainty > SURE, -1)

    return judged(model, classify, lab.pick(quick=2000, full=8000), seed)


@FIGURES.register
def interpolation(lab: Lab) -> Outcome:
    """L14: walks between two z.

    Claim: on the way from one z to another the faces change smoothly and stay faces. Smoothly: of 10 images on a way,
    the largest step between neighbours is on average below half the distance of its ends (a model that jumps between
    examples learnt by heart takes one step of about 1). Faces: a classifier is sure of every attribute (above 0.9) in
    at least 0.75 times as many of the images half-way as of samples, and in less than half as many of the averages of
    the two ends' pixels. Both for linear and for spherical ways, with every seed.
    """
    import torch

    from ganvas.explore import PATHS, interpolate, sample_codes
    from ganvas.reproduce import drawing

    n, steps = lab.pick(quick=200, full=1000), 10
    found: dict[str, list[float]] = {}
    for seed in lab.seeds:
        model = trained(lab, seed)
        a, b = sample_codes(model, 2 * n, seed).chunk(2)
        start, end = model.decode(a), model.decode(b)
        own = definite(torch.cat([start, end]))
        numbers = {"samples whose attributes are all sure": own}
        for kind in PATHS:
            way = interpolate(model, a[:100], b[:100], steps, kind).flatten(2)
            largest = (way[:, 1:] - way[:, :-1]).norm(dim=2).amax(1) / (way[:, -1] - way[:, 0]).norm(dim=1)
            middle = interpolate(model, a, b, 3, kind)[:, 1]
            numbers |= {f"{kind} way: largest of 9 steps over the distance of the ends": float(largest.mean())}
            numbers |= {f"{kind} way: sure half-way, over samples": definite(middle) / own if own else 0.0}
        numbers["average of pixels: sure, over samples"] = definite((start + end) / 2) / own if own else 1.0
        for name, value in numbers.items():
            found.setdefault(name, []).append(value)
    limits = {"steps": "below 0.5", "half-way": "at least 0.75", "pixels": "below 0.5"}
    expected = {name: next((said for word, said in limits.items() if word in name), "") for name in found}
    measures = [Measure(name, values, "", expected[name]) for name, values in found.items()]
    smooth = [value for it in measures if "steps" in it.name for value in it.values]
    faces = [value for it in measures if "half-way" in it.name for value in it.values]
    holds = max(smooth) < 0.5 and min(faces) >= 0.75 and max(found["average of pixels: sure, over samples"]) < 0.5

    model = trained(lab, lab.seeds[0])
    a, b = sample_codes(model, 14, lab.seeds[0] + 1000).chunk(2)
    shown = {f"{kind} in z": interpolate(model, a, b, steps, kind) for kind in PATHS}
    t = torch.linspace(0, 1, steps).view(1, -1, 1, 1, 1)
    ways = shown["linear in z"]
    shown["the ends' pixels, mixed"] = torch.lerp(ways[:, :1], ways[:, -1:], t)
    drawn = drawing.figure(11, 3)
    for axes, (title, images) in zip(drawn.subplots(1, 3), shown.items(), strict=True):
        drawing.show(axes, images.flatten(0, 1), title, columns=steps)
    return Outcome(measures, holds, "", drawn)


def sums(sizes: Sequence[int], n: int, seed: int) -> list[Sum]:
    """n sums at random, as the lecture's: A has P and Q, B lacks P, C lacks both; so P without Q is asked for.

    Args:
        sizes: the number of values of each attribute. P and Q are of any two; to have one is the first or the last of
            its values, and to lack it the other of these: glasses are none or sunglasses, a face leans left or right.
        n: how many.
        seed: of the draw.
    """
    from ganvas.randomness import order

    made = []
    for place in range(n):
        p, q = order(seed, "attributes", place, n=len(sizes))[:2].tolist()
        (has_p, no_p), (has_q, no_q) = (
            [end * (sizes[i] - 1) for end in order(seed, f"ends of {i}", place, n=2).tolist()] for i in (p, q)
        )
        made.append(({p: has_p, q: has_q}, {p: no_p, q: has_q}, {p: no_p, q: no_q}))
    return made


def terms(source: Examples, asked: Sum, k: int, seed: int) -> list[tuple[Tensor, Tensor]] | None:
    """Codes and images of k samples of each group; None where the model makes too few of one."""
    try:
        return [source.take(source.choose(group, k, seed)) for group in asked]
    except UserError:
        return None


def shown(images: Tensor, asked: Sequence[Sum]) -> Tensor:
    """Whether the judge sees what the sums ask for: images (N, 3, 32, 32) -> bool (N, 2), P and the lack of Q."""
    import torch

    from ganvas.explore import analogy

    values = verdicts(images)[0].tolist()
    wanted = [analogy(*it) for it in asked]
    return torch.tensor([[row[i] == goal[i] for i in goal] for row, goal in zip(values, wanted, strict=True)])


@FIGURES.register
def arithmetic(lab: Lab) -> Outcome:
    """L15: arithmetic in the latent space: (glasses, beard) - (no glasses, beard) + (no glasses, no beard).

    Claim: of the faces made by (P and Q) - (Q without P) + (neither P nor Q), three z averaged for each term, at least
    90 % show P without Q to a classifier that knows each attribute in at least 97 % of test images, with every seed; on
    pixels the same shows it more rarely, or the classifier is sure (above 0.9) of all attributes in less than half as
    many. P and Q are of any two of glasses, beard, hair style, skin and lean, drawn at random.
    """
    import torch

    from ganvas import explore
    from ganvas.data.loader import to_tensor
    from ganvas.evaluate.pictures import sharpness
    from ganvas.reproduce import drawing

    n = lab.pick(quick=100, full=400)
    asked = sums([classifier(0).values[name] for name in ATTRIBUTES], n, seed=0)
    real = sharpness(to_tensor(faces().splits["test"].images)).mean()
    found: dict[str, list[float]] = {}
    roles: dict[tuple[int, int], list[float]] = {}
    for seed in lab.seeds:
        model = trained(lab, seed)
        source = examples(lab, model, seed)
        numbers = {"samples: sure of all attributes": definite(model.sample(1000, seed))}
        for k in AVERAGED:
            groups = [terms(source, it, k, number) for number, it in enumerate(asked)]
            known = [(it, group) for it, group in zip(asked, groups, strict=True) if group]
            numbers[f"{k} averaged: sums whose terms have too few samples"] = 1 - len(known) / n
            if not known:
                raise UserError(f"of no sum has the model {k} samples for each term: it has to be trained for longer.")
            goals = [it for it, _ in known]
            means = [[codes.mean(0) for codes, _ in group] for _, group in known]
            results = model.decode(torch.stack([a - b + c for a, b, c in means]))
            pixels = torch.stack([explore.pixel_arithmetic(*(images for _, images in group)) for _, group in known])
            for way, images in ((f"{k} averaged", results), (f"{k} averaged, on pixels", pixels)):
                right = shown(images, goals)
                numbers[f"{way}: show what is asked"] = float(right.all(1).sum()) / n
                numbers[f"{way}: sure of all attributes"] = definite(images)
                numbers[f"{way}: sharpness over that of real images"] = float(sharpness(images).mean() / real)
                if way == "3 averaged":
                    for row, (it, _, _) in zip(right.tolist(), goals, strict=True):
                        for role, column in enumerate(it):
                            roles.setdefault((role, column), []).append(row[role])
        for name, value in numbers.items():
            found.setdefault(name, []).append(value)
    goal = "3 averaged: show what is asked"
    measures = [Measure(name, values, "", "at least 0.9" * (name == goal)) for name, values in found.items()]
    rates, pixel_rates = (found[f"3 averaged{way}: show what is asked"] for way in ("", ", on pixels"))
    sure, pixel_sure = (found[f"3 averaged{way}: sure of all attributes"] for way in ("", ", on pixels"))
    beside = [a > b or d < c / 2 for a, b, c, d in zip(rates, pixel_rates, sure, pixel_sure, strict=True)]

    drawn = drawing.figure(10, 7)
    top, bottom = drawn.subfigures(2, 1, height_ratios=(1.4, 1))
    _draw_sum(top.subplots(), lab, trained(lab, lab.seeds[0]))
    left, right = bottom.subplots(1, 2)
    for place, way in enumerate(("", ", on pixels")):
        colour = drawing.COLOURS[place]
        several = [found[f"{k} averaged{way}: show what is asked"] for k in AVERAGED]
        left.plot(AVERAGED, [statistics.fmean(of) for of in several], color=colour, label=("in z", "on pixels")[place])
        for k, of in zip(AVERAGED, several, strict=True):
            left.plot([k] * len(of), of, "o", color=colour)
    left.axhline(0.9, color=drawing.GREY, linewidth=1)
    left.set(xscale="log", xticks=AVERAGED, xticklabels=AVERAGED, ylim=(0, 1), xlabel="samples averaged for each term")
    left.set_title("results that show P and not Q")
    left.legend()
    for role, label in enumerate(("P is there", "Q is not")):
        shares = [statistics.fmean(roles.get((role, column), [0])) for column in range(len(ATTRIBUTES))]
        at = [column + 0.4 * role - 0.2 for column in range(len(ATTRIBUTES))]
        right.bar(at, shares, 0.36, color=drawing.COLOURS[2 + role], label=label)
    right.set(xticks=range(len(ATTRIBUTES)), xticklabels=ATTRIBUTES, ylim=(0, 1), title="of each attribute, 3 averaged")
    right.legend()
    return Outcome(measures, min(rates) >= 0.9 and all(beside), "", drawn)


def _draw_sum(axes: Axes, lab: Lab, model: Any) -> None:
    """The lecture's picture: sunglasses and beard, minus beard, plus neither; and the same on pixels."""
    import torch

    from ganvas import explore, plots

    asked: Sum = ({0: 3, 1: 3}, {0: 0, 1: 3}, {0: 0, 1: 0})
    group = terms(examples(lab, model, lab.seeds[0]), asked, 3, seed=0)
    axes.set_axis_off()
    if group is None:
        axes.set_title("too few samples with and without glasses and beard")
        return
    columns = [torch.cat([images, model.decode(codes.mean(0, keepdim=True))]) for codes, images in group]
    result = explore.arithmetic(model, *(codes for codes, _ in group))
    axes.imshow(plots.equation(columns, result, explore.pixel_arithmetic(*(images for _, images in group))))
    axes.set_title("(sunglasses, full beard) - (full beard) + (neither) = sunglasses; at the end, the same on pixels")


@FIGURES.register
def turn(lab: Lab) -> Outcome:
    """L16: a 'turn' vector moves faces from left to right.

    Claim: the mean z of samples that lean right, less that of samples that lean left, turns *other* samples: of new
    ones that lean left or right, at least 90 % lean the other way when it is added or taken away, to a classifier that
    knows each attribute in at least 97 % of test images, with every seed; and their glasses, beard, hair style and skin
    stay at least 0.9 times as often as along a random direction of the same length.
    """
    import torch
    from torch.nn.functional import normalize

    from ganvas.explore import direction, path, sample_codes
    from ganvas.randomness import Draw
    from ganvas.reproduce import drawing

    n, each, steps = lab.pick(quick=300, full=1000), lab.pick(quick=100, full=500), 9
    lean = ATTRIBUTES.index("lean")
    others = [column for column in range(len(ATTRIBUTES)) if column != lean]
    found: dict[str, list[float]] = {}
    drawn = drawing.figure(11, 3.4)
    faces_, shares, kept = drawn.subplots(1, 3, width_ratios=(1.6, 1, 1))
    for seed in lab.seeds:
        model = trained(lab, seed)
        source = examples(lab, model, seed)
        codes = torch.cat([source.take(source.choose({lean: value}, each, seed))[0] for value in (LEFT, RIGHT)])
        along = direction(codes, torch.tensor([LEFT, RIGHT]).repeat_interleave(each), LEFT, RIGHT)
        random = normalize(Draw(seed).normal("turn", tuple(along.shape)), dim=0) * along.norm()
        z = sample_codes(model, n, seed + 1000)
        before = verdicts(model.decode(z))[0]
        leaning = before[:, lean] != UPRIGHT
        z, before = z[leaning], before[leaning]
        sign = UPRIGHT - before[:, lean:][:, :1]  # +1 from left to right
        for name, vector in (("turn", along), ("random direction", random)):
            way = path(z, z + sign * vector, steps)
            after = verdicts(model.decode(way.flatten(0, 1)))[0].unflatten(0, (-1, steps))
            turned = (after[:, :, lean] == 2 * UPRIGHT - before[:, None, lean]).float().mean(0)
            same = (after[:, :, others] == before[:, None, others]).float().mean((0, 2))
            found.setdefault(f"{name}: lean the other way", []).append(float(turned[-1]))
            found.setdefault(f"{name}: other attributes that stay", []).append(float(same[-1]))
            t, style = torch.linspace(0, 1, steps), {"color": drawing.COLOURS[name != "turn"]}
            style["label"] = name if seed == lab.seeds[0] else None
            shares.plot(t, turned, **style)
            kept.plot(t, same, **style)
        if seed == lab.seeds[0]:
            chosen = z[before[:, lean] == LEFT][:6]
            drawing.show(
                faces_, model.decode(path(chosen, chosen + along, steps).flatten(0, 1)), "z ... z + turn", steps
            )
    for axes, title in ((shares, "lean the other way"), (kept, "other attributes that stay")):
        axes.set(xlabel="share of the vector", ylim=(0, 1.02), title=title)
        axes.legend()
    turned, stay, _, by_chance = found.values()
    expected = dict(zip(found, ("at least 0.9", "at least 0.9 times the random direction's"), strict=False))
    measures = [Measure(name, values, "", expected.get(name, "")) for name, values in found.items()]
    holds = min(turned) >= 0.9 and all(a >= 0.9 * b for a, b in zip(stay, by_chance, strict=True))
    return Outcome(measures, holds, "", drawn)
