"""The lecture's figures of walks and sums in a DCGAN's latent space, on faces with known attributes."""

from __future__ import annotations

import contextlib
import functools
import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ganvas.ground.errors import UserError
from ganvas.reproduce.lab import FIGURES, Lab, Measure, Outcome

# A - B + C, each term a group of samples that is named by attributes: {column of ATTRIBUTES: value}.
Sum = tuple[dict[int, int], dict[int, int], dict[int, int]]

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from ganvas.data import Dataset
    from ganvas.evaluate.networks.classifier import Classifier
    from ganvas.latent.explore import Examples

SIZE = 32
# Those that a classifier tells in at least 97 % of test images: not the expression, which a beard can hide, nor the
# colour of hair that is not there.
ATTRIBUTES = ("glasses", "beard", "hair style", "skin", "lean")
SURE = 0.9
AVERAGED = (1, 3, 10, 30)
LEFT, UPRIGHT, RIGHT = range(3)  # values of lean
LENGTHS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)  # of a turn, over that of the difference of the means


def faces() -> Dataset:
    """The data set `avatars` at 32 x 32."""
    from ganvas.data import load

    return load("avatars", size=SIZE)


def trained(lab: Lab, seed: int) -> Any:
    """The DCGAN that these figures share, with an average of the generator's weights (decay 0.999).

    At 32 x 32, as 64 x 64 takes four times as long; with the widespread 64 filters and batches of 64.
    """
    filters, epochs = lab.pick(quick=(32, 6), full=(64, 25))
    size = {"size": SIZE, "filters": filters, "batch_size": 64, "epochs": epochs}
    return lab.train("dcgan", data="avatars", loss="non-saturating", ema=0.999, seed=seed, **size).model


@functools.cache
def classifier(seed: int) -> Classifier:
    """A classifier of the faces' attributes; that of seed 0 judges what comes out.

    Raises:
        UserError: it knows one of the attributes in less than 97 % of test images.
    """
    from ganvas.evaluate.networks.classifier import train_classifier

    made = train_classifier(faces(), seed=seed)
    if poor := {name: made.accuracy[name] for name in ATTRIBUTES if made.accuracy[name] < 0.97}:
        raise UserError(f"the classifier is right too rarely to judge: {poor}.")
    return made


def verdicts(images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The likeliest value of each of ATTRIBUTES, int64 (N, 5), and its probability (N, 5), of images (N, 3, 32, 32)."""
    import torch

    found = classifier(seed).probabilities(images)
    best = [torch.from_numpy(found[name]).max(1) for name in ATTRIBUTES]
    return torch.stack([part.indices for part in best], 1), torch.stack([part.values for part in best], 1)


def definite(images: Tensor) -> float:
    """The share of images of which the judge is sure of every attribute; 0.97 of real ones."""
    return float((verdicts(images)[1] > SURE).all(1).float().mean())


def examples(lab: Lab, model: Any, seed: int) -> Examples:
    """Samples with the values of ATTRIBUTES, -1 where a classifier is not sure of it.

    That classifier is not the judge, so that what misleads one is not chosen and praised by the same one; the quick
    version has but one.
    """
    from ganvas.latent.explore import judged

    def classify(images: Tensor) -> Tensor:
        values, certainty = verdicts(images, lab.pick(quick=0, full=1))
        return values.where(certainty > SURE, -1)

    return judged(model, classify, lab.pick(quick=2000, full=8000), seed)


@functools.cache
def components() -> tuple[Any, Any]:
    """64 principal components as a function of images; and those of the test images.

    In a classifier's features two real faces laid over each other pass for a face (precision 0.83); in these they do
    not (0.36, and 0.94 of real faces).
    """
    from ganvas.data.loader import to_tensor
    from ganvas.evaluate.networks.features import features

    project = features("pca", faces())
    return project, project(to_tensor(faces().splits["test"].images))


def precision(images: Tensor) -> float:
    """The share of images that lie where real ones do, over principal components (Kynkaanniemi et al. 2019)."""
    from ganvas.evaluate.measures.coverage import precision_recall

    project, real = components()
    return precision_recall(real, project(images))["precision"]


@FIGURES.register
def interpolation(lab: Lab) -> Outcome:
    """L14: walks between two z.

    Claim: on the way from one z to another the faces change smoothly and stay faces, on linear and on spherical ways.
    Smoothly: of 10 images on a way, the largest step between neighbours is on average below half the distance of its
    ends (a model that jumps between examples learnt by heart takes one step of about 1). Faces: the images half-way lie
    where real images do (precision, over 64 principal components) at least 0.9 times as often as samples, and more
    often than the averages of the two ends' pixels. With every seed.
    """
    import torch

    from ganvas.ground import drawing
    from ganvas.latent.explore import PATHS, interpolate, sample_codes

    n, steps = lab.pick(quick=200, full=1000), 10
    found: dict[str, list[float]] = {}
    for seed in lab.seeds:
        model = trained(lab, seed)
        a, b = sample_codes(model, 2 * n, seed).chunk(2)
        start, end = model.decode(a), model.decode(b)
        numbers = {
            "precision of samples": precision(torch.cat([start, end])),
            "precision of the ends' averaged pixels": precision((start + end) / 2),
        }
        for kind in PATHS:
            way = interpolate(model, a[:100], b[:100], steps, kind).flatten(2)
            largest = (way[:, 1:] - way[:, :-1]).norm(dim=2).amax(1) / (way[:, -1] - way[:, 0]).norm(dim=1)
            numbers[f"{kind} way: precision half-way"] = precision(interpolate(model, a, b, 3, kind)[:, 1])
            numbers[f"{kind} way: largest of 9 steps over the distance of the ends"] = float(largest.mean())
        for name, value in numbers.items():
            found.setdefault(name, []).append(value)
    limits = {"half-way": "at least 0.9 times that of samples", "largest": "below 0.5"}
    expected = {name: next((said for word, said in limits.items() if word in name), "") for name in found}
    measures = [Measure(name, values, "", expected[name]) for name, values in found.items()]
    own, pixels, *ways = found.values()
    holds = all(
        middle >= 0.9 * sample and middle > pixel and step < 0.5
        for middles, largest in (ways[:2], ways[2:])
        for sample, pixel, middle, step in zip(own, pixels, middles, largest, strict=True)
    )

    model = trained(lab, lab.seeds[0])
    a, b = sample_codes(model, 14, lab.seeds[0] + 1000).chunk(2)
    shown = {f"{kind} in z": interpolate(model, a, b, steps, kind) for kind in PATHS}
    straight = shown["linear in z"]
    t = torch.linspace(0, 1, steps).view(1, -1, 1, 1, 1)
    shown["the ends' pixels, mixed"] = torch.lerp(straight[:, :1], straight[:, -1:], t)
    drawn = drawing.figure(11, 2.9)
    for axes, (title, images) in zip(drawn.subplots(1, 3), shown.items(), strict=True):
        drawing.show(axes, images.flatten(0, 1), title, columns=steps)
    reason = (
        ""
        if holds
        else (
            f"{statistics.fmean(own):.0%} of the samples themselves lie where real images do, of averaged pixels "
            f"{statistics.fmean(pixels):.0%}."
        )
    )
    return Outcome(measures, holds, reason, drawn)


def sums(sizes: Sequence[int], n: int, seed: int) -> list[Sum]:
    """n sums at random, as the lecture's: A has P and Q, B lacks P, C lacks both; so P without Q is asked for.

    Args:
        sizes: the number of values of each attribute. P and Q are of any two; to have one is the first or the last of
            its values, and to lack it the other of these: glasses are none or sunglasses, a face leans left or right.
        n: how many.
        seed: of the draw.
    """
    from ganvas.ground.randomness import order

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


@functools.cache
def ceiling(values: int, k: int) -> float:
    """How often A - B + C of means of k codes shows what it should of one attribute, in a perfectly linear z.

    The attribute's values are equally likely there, and parts of one coordinate of z, which is normal: to have it is to
    lie in the first part, to lack it in the last. By 100,000 draws.
    """
    from ganvas.ground.randomness import Draw
    from ganvas.parts.priors import Normal

    first = Normal().icdf(Draw(0).uniform("ceiling", (3, 100_000, k)).double().clamp(1e-9) / values).mean(2)
    found = first[0] + first[1] - first[2]  # with - without + without: the last part mirrors the first
    return float((found < Normal().icdf(found.new_tensor(1 / values))).double().mean())


def shown(images: Tensor, asked: Sequence[Sum]) -> Tensor:
    """Whether the judge sees what the sums ask for: images (N, 3, 32, 32) -> bool (N, 2), P and the lack of Q."""
    import torch

    from ganvas.latent.explore import analogy

    values = verdicts(images)[0].tolist()
    wanted = [analogy(*it) for it in asked]
    return torch.tensor([[row[i] == goal[i] for i in goal] for row, goal in zip(values, wanted, strict=True)])


def linearity(codes: Tensor, labels: Any) -> float:
    """How far a linear classifier reads attributes off codes: 0 no better than guessing, 1 without an error.

    Args:
        codes: (N, d).
        labels: int64 (N, A), -1 where one is not known.

    Returns:
        The mean over attributes of (accuracy - g) / (1 - g) on a quarter that it is not fitted to, where g is the share
        of the commonest value.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    gains = []
    for column in np.asarray(labels).T:
        x, y = codes.numpy()[column >= 0], column[column >= 0]
        cut = len(y) * 3 // 4
        right = LogisticRegression(max_iter=500).fit(x[:cut], y[:cut]).score(x[cut:], y[cut:])
        guessed = np.bincount(y[cut:]).max() / len(y[cut:])
        gains.append((right - guessed) / (1 - guessed))
    return float(np.mean(gains))


@FIGURES.register
def arithmetic(lab: Lab) -> Outcome:
    """L15: arithmetic in the latent space: (glasses, beard) - (no glasses, beard) + (no glasses, no beard).

    Claim: of the faces made by (P and Q) - (Q without P) + (neither P nor Q), with 3, 10 and 30 z averaged for each
    term, at least nine tenths as many show P without Q as would in a space that is perfectly linear, and with 30 at
    least 90 %: to a classifier that knows each attribute in at least 97 % of test images, with every seed. On pixels
    the same with 3 shows it more rarely, or lies where real images do (precision, over 64 principal components) less
    than half as often. P and Q are of any two of glasses, beard, hair style, skin and lean, drawn at random.
    """
    import torch

    from ganvas.data.loader import to_tensor
    from ganvas.evaluate.measures.pictures import sharpness
    from ganvas.ground import drawing
    from ganvas.latent.explore import pixel_arithmetic, sample_codes

    n = lab.pick(quick=100, full=400)
    sizes = [classifier(0).values[name] for name in ATTRIBUTES]
    asked = sums(sizes, n, seed=0)
    linear = {k: statistics.fmean(math.prod(ceiling(sizes[i], k) for i in it) for it, _, _ in asked) for k in AVERAGED}
    least = {k: max(0.9 * linear[k], 0.9 * (k == AVERAGED[-1])) for k in AVERAGED if k > 1}
    real = sharpness(to_tensor(faces().splits["test"].images)).mean()
    found: dict[str, list[float]] = {}
    parts: dict[tuple[int, int], list[bool]] = {}
    for seed in lab.seeds:
        model = trained(lab, seed)
        source = examples(lab, model, seed)
        numbers: dict[str, float] = {}
        for k in AVERAGED:
            groups = [terms(source, it, k, place) for place, it in enumerate(asked)]
            goals = [it for it, group in zip(asked, groups, strict=True) if group]
            known = [group for group in groups if group]
            if not known:
                raise UserError(f"of no sum has the model {k} samples for each term: it has to be trained for longer.")
            means = [[codes.mean(0) for codes, _ in group] for group in known]
            ways = {
                "z": model.decode(torch.stack([a - b + c for a, b, c in means])),
                "pixels": torch.stack([pixel_arithmetic(*(images for _, images in group)) for group in known]),
            }
            right = {way: shown(images, goals) for way, images in ways.items()}
            numbers |= {f"{way}, {k} averaged: show P without Q": float(right[way].all(1).sum()) / n for way in ways}
            if k == 3:
                numbers["sums whose terms have fewer than 3 samples"] = 1 - len(known) / n
                numbers |= {f"{way}, 3 averaged: precision": precision(images) for way, images in ways.items()}
                numbers |= {
                    f"{way}, 3 averaged: sharpness over that of real images": float(sharpness(images).mean() / real)
                    for way, images in ways.items()
                }
                for (it, _, _), row in zip(goals, right["z"].tolist(), strict=True):
                    for role, column in enumerate(it):
                        parts.setdefault((role, column), []).append(row[role])
        codes = sample_codes(model, len(source.labels), seed)
        numbers["how far attributes are linear in z"] = linearity(codes, source.labels)
        numbers["samples of which the classifier is sure"] = definite(model.sample(1000, seed))
        for name, value in numbers.items():
            found.setdefault(name, []).append(value)
    rates, pixels = (found[f"{way}, 3 averaged: show P without Q"] for way in ("z", "pixels"))
    own, apart = (found[f"{way}, 3 averaged: precision"] for way in ("z", "pixels"))
    fails = [b < a or d < c / 2 for a, b, c, d in zip(rates, pixels, own, apart, strict=True)]
    expected = {f"z, {k} averaged: show P without Q": f"at least {value:.2f}" for k, value in least.items()}
    holds = all(min(found[f"z, {k} averaged: show P without Q"]) >= value for k, value in least.items()) and all(fails)
    measures = [Measure(name, values, "", expected.get(name, "")) for name, values in found.items()]
    measures += [Measure(f"a perfectly linear space, {k} averaged", [value], "") for k, value in linear.items()]
    read, sure = (statistics.fmean(found[name]) for name in list(found)[-2:])
    reason = "" if holds else (
        f"a sum of codes is right where attributes are linear in z, and a linear classifier of z makes only "
        f"{read:.0%} fewer errors than guessing. The judge is sure of every attribute in {sure:.0%} of the samples."
    )  # fmt: skip

    drawn = drawing.figure(10, 7)
    top, bottom = drawn.subfigures(2, 1, height_ratios=(1.4, 1), squeeze=False)[:, 0]
    _draw_sum(top.subplots(), lab, trained(lab, lab.seeds[0]))
    left, right_axes = bottom.subplots(1, 2)
    for colour, way in zip(drawing.COLOURS, ("z", "pixels"), strict=False):
        several = [found[f"{way}, {k} averaged: show P without Q"] for k in AVERAGED]
        left.plot(AVERAGED, [statistics.fmean(of) for of in several], color=colour, label=f"in {way}")
        left.plot(AVERAGED, several, "o", color=colour)
    left.plot(AVERAGED, list(linear.values()), color=drawing.GREY, linewidth=1, label="perfectly linear")
    left.set(xscale="log", xticks=AVERAGED, xticklabels=AVERAGED, ylim=(0, 1), xlabel="samples averaged for each term")
    left.set_title("results that show P without Q")
    for role, label in enumerate(("P is there", "Q is not")):
        shares = [statistics.fmean(parts.get((role, column), [0])) for column in range(len(ATTRIBUTES))]
        at = [column + 0.4 * role - 0.2 for column in range(len(ATTRIBUTES))]
        right_axes.bar(at, shares, 0.36, color=drawing.COLOURS[2 + role], label=label)
    right_axes.set(xticks=range(len(ATTRIBUTES)), xticklabels=ATTRIBUTES, ylim=(0, 1), title="in z, 3 averaged")
    for axes in (left, right_axes):
        axes.legend()
    return Outcome(measures, holds, reason, drawn)


def _draw_sum(axes: Axes, lab: Lab, model: Any) -> None:
    """The lecture's picture: sunglasses and beard, minus beard, plus neither; and the same on pixels."""
    import torch

    from ganvas.ground import plots
    from ganvas.latent import explore

    asked: Sum = ({0: 3, 1: 3}, {0: 0, 1: 3}, {0: 0, 1: 0})
    group = terms(examples(lab, model, lab.seeds[0]), asked, 3, seed=0)
    axes.set_axis_off()
    if group is None:
        axes.set_title("too few samples with and without glasses and beard")
        return
    columns = [torch.cat([images, model.decode(codes.mean(0, keepdim=True))]) for codes, images in group]
    (za, xa), (zb, xb), (zc, xc) = group
    result = explore.arithmetic(model, za, zb, zc)
    axes.imshow(plots.equation(columns, result, explore.pixel_arithmetic(xa, xb, xc)))
    axes.set_title("(sunglasses, full beard) - (full beard) + (neither) = sunglasses; at the end, the same on pixels")


def length(model: Any, codes: Tensor, sides: Tensor, along: Tensor) -> float:
    """The first of LENGTHS by which a direction (d,) turns 95 % of codes (N, d) that lean to their sides (N,), or the
    last; by the classifier that does not judge the outcome."""
    lean = ATTRIBUTES.index("lean")
    for times in LENGTHS:
        moved = codes + (UPRIGHT - sides)[:, None] * times * along
        turned = verdicts(model.decode(moved), 1)[0][:, lean] == 2 * UPRIGHT - sides
        if float(turned.float().mean()) >= 0.95:
            return times
    return LENGTHS[-1]


@FIGURES.register
def turn(lab: Lab) -> Outcome:
    """L16: a 'turn' vector moves faces from left to right.

    Claim: the mean z of faces that lean right, less that of faces that lean left, turns *other* faces: of new samples
    that lean left or right, at least 90 % lean the other way when it is added or taken away, to a classifier that knows
    each attribute in at least 97 % of test images, with every seed; and their glasses, beard, hair style and skin stay
    at least 0.9 times as often as along a random direction of the same length. The vector has no part in the directions
    of those attributes, and is as long as it takes to turn 95 % of the faces that it is made of, at most three times
    the difference of the means.
    """
    import numpy as np
    import torch
    from torch.nn.functional import normalize

    from ganvas.ground import drawing
    from ganvas.ground.randomness import Draw
    from ganvas.latent.explore import direction, path, sample_codes

    n, each, steps = lab.pick(quick=300, full=1000), lab.pick(quick=100, full=500), 9
    lean = ATTRIBUTES.index("lean")
    others = [column for column in range(len(ATTRIBUTES)) if column != lean]
    found: dict[str, list[float]] = {}
    drawn = drawing.figure(11, 3.4)
    pictures, shares, kept = drawn.subplots(1, 3, width_ratios=(1.6, 1, 1))
    for seed in lab.seeds:
        model = trained(lab, seed)
        source = examples(lab, model, seed)
        places = np.concatenate([source.choose({lean: value}, each, seed) for value in (LEFT, RIGHT)])
        codes, sides = source.take(places)[0], torch.tensor([LEFT, RIGHT]).repeat_interleave(each)
        along = direction(codes, sides, LEFT, RIGHT)
        with contextlib.suppress(UserError):  # where the others leave no direction, it is not one of its own
            along = direction(codes, sides, LEFT, RIGHT, source.labels[places][:, others])
        along = along * length(model, codes, sides, along)
        random = normalize(Draw(seed).normal("turn", tuple(along.shape)), dim=0) * along.norm()
        z = sample_codes(model, n, seed + 1000)
        before = verdicts(model.decode(z))[0]
        leaning = before[:, lean] != UPRIGHT
        z, before = z[leaning], before[leaning]
        sign = UPRIGHT - before[:, lean:][:, :1]  # +1 from left to right
        for name, vector in (("turn", along), ("random direction", random)):
            way = path(z, z + sign * vector, steps)
            after = torch.unflatten(verdicts(model.decode(way.flatten(0, 1)))[0], 0, (-1, steps))
            opposite = (after[:, :, lean] == 2 * UPRIGHT - before[:, None, lean]).float().mean(0)
            same = (after[:, :, others] == before[:, None, others]).float().mean((0, 2))
            found.setdefault(f"{name}: lean the other way", []).append(float(opposite[-1]))
            found.setdefault(f"{name}: other attributes that stay", []).append(float(same[-1]))
            t, colour = torch.linspace(0, 1, steps), drawing.COLOURS[name != "turn"]
            for axes, curve in ((shares, opposite), (kept, same)):
                axes.plot(t, curve, color=colour, label=name if seed == lab.seeds[0] else None)
        if seed == lab.seeds[0]:
            chosen = z[before[:, lean] == LEFT][:6]
            rows = model.decode(path(chosen, chosen + along, steps).flatten(0, 1))
            drawing.show(pictures, rows, "new samples that lean left, z ... z + turn", steps)
    for axes, title in ((shares, "lean the other way"), (kept, "other attributes that stay")):
        axes.set(xlabel="share of the vector", ylim=(0, 1.02), title=title)
        axes.legend()
    other_way, stay, _, by_chance = found.values()
    expected = dict(zip(found, ("at least 0.9", "at least 0.9 times the random direction's"), strict=False))
    measures = [Measure(name, values, "", expected.get(name, "")) for name, values in found.items()]
    holds = min(other_way) >= 0.9 and all(a >= 0.9 * b for a, b in zip(stay, by_chance, strict=True))
    turned, kept_too, kept_by_chance = (f"{statistics.fmean(part):.0%}" for part in (other_way, stay, by_chance))
    reason = (
        ""
        if holds
        else (
            f"{turned} turn; {kept_too} of the other attributes stay, and along a random direction {kept_by_chance}: "
            "the lean is not a direction of its own."
        )
    )
    return Outcome(measures, holds, reason, drawn)
