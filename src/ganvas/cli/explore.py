"""Verbs that look round in a model: manifold, interpolate, arithmetic, turn, neighbours."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ganvas.cli.models import image_shape, load_data, load_model
from ganvas.cli.shared import ModelData, RunFolder, Where, table
from ganvas.ground.errors import UserError, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from ganvas.data import Dataset
    from ganvas.latent.explore import Examples
    from ganvas.models import Model

Points = Annotated[tuple[str, ...], "POINT...", "samples by number, counted as in `sample`; test:0; or image files"]
Group = Annotated[str | None, "GROUP", "attributes: glasses=none,lean=left; or points: 3,17,25"]
Seed = Annotated[int, "INT", "of the samples, and of what is drawn"]
_PLACE = re.compile(r"(train|validation|test):(\d+)")


def manifold(
    run: RunFolder,
    /,
    *,
    n: Annotated[int, "INT", "images on a side"] = 20,
    points: Points = (),
    where: Where = (),
    data: ModelData = None,
    seed: Seed = 0,
    out: Annotated[Path | None, "PNG", "the picture (default: RUN/manifold.png)"] = None,
) -> None:
    """Images on a grid in two latent dimensions, each one for an equal share of P(z); of a model with more, on the
    plane through three points: top left, top right and bottom left.

    Example:
        ganvas manifold runs/first -n 20
    """
    model = load_model(run, "decode", n, where)
    image_shape(model)
    from ganvas.ground import plots
    from ganvas.latent import explore

    if len(points) not in (0, 3):
        raise UserError(f"{len(points)} points: a plane goes through three, top left, top right and bottom left.")
    if not points and (d := model.latent_dim) != 2:
        raise UserError(
            f"this model has {d} latent dimensions, and only 2 are a plane by themselves: say through which three "
            f"points it goes. For example: ganvas manifold {run} --points {' '.join(_own(model, 3))}"
        )
    corners = located(run, model, points, data, seed)[0] if points else None
    print(plots.save(plots.grid(explore.manifold(model, n, corners), n), out or run / "manifold.png"))


def interpolate(
    run: RunFolder,
    /,
    *,
    points: Points = (),
    n: Annotated[int, "INT", "how many rows, without --points"] = 8,
    steps: Annotated[int | None, "INT", "images in a row (default: 10; of a film 60)"] = None,
    kind: Annotated[Literal["linear", "spherical"], "linear|spherical", "how it goes"] = "linear",
    where: Where = (),
    data: ModelData = None,
    seed: Seed = 0,
    out: Annotated[Path | None, "FILE", ".png, .gif or .mp4 (default: RUN/interpolate.png)"] = None,
) -> None:
    """Images on the way from one point of the latent space to another, a row for each pair of points; as .gif or .mp4
    a film, there and back.

    Example:
        ganvas interpolate runs/first --points 3 17 --out film.gif
    """
    model = load_model(run, "decode", n, where)
    image_shape(model)
    from ganvas.ground import plots
    from ganvas.latent import explore

    out = out or run / "interpolate.png"
    moving = plots.suffix(out) in plots.FILMS
    steps = (60 if moving else 10) if steps is None else steps
    if len(points) % 2:
        raise UserError(f"{len(points)} points: each row goes from one to another, so they come in pairs.")
    if steps < 2:
        raise UserError(f"--steps {steps}: it takes at least 2, the ends.")
    codes, _ = located(run, model, points or _own(model, 2 * n), data, seed)
    images = explore.interpolate(model, codes[0::2], codes[1::2], steps, kind)
    if moving:
        pictures = [plots.grid(images[:, step]) for step in range(steps)]
        print(plots.film([*pictures, *pictures[-2:0:-1]], out))
    else:
        print(plots.save(plots.grid(images.flatten(0, 1), steps), out))


def arithmetic(
    run: RunFolder,
    /,
    *,
    a: Group = None,
    b: Group = None,
    c: Group = None,
    examples: Annotated[int, "INT", "how many have the attributes; at most 5 are shown"] = 3,
    noise: Annotated[float, "FLOAT", "z of the eight outer results moves by up to this"] = 0.25,
    score: Annotated[bool, "", "a classifier says whether they show what they should"] = False,
    data: ModelData = None,
    seed: Seed = 0,
    out: Annotated[Path | None, "PNG", "the picture (default: RUN/arithmetic.png)"] = None,
) -> None:
    """A - B + C of the mean codes of three groups, as 3 x 3 images, and beside them the same on pixels. A group is of
    labelled images; where the model can't encode them, of samples that a classifier labels.

    Example:
        ganvas arithmetic runs/first -a lean=left -b lean=right -c beard=full
    """
    model = load_model(run, "decode")
    image_shape(model)
    import torch

    from ganvas.ground import plots
    from ganvas.latent import explore

    if examples < 1 or not 0 <= noise < math.inf:
        raise UserError(f"--examples {examples}, --noise {noise:g}: it takes at least 1 example, and noise from 0.")
    texts = [text for text in (a, b, c) if text]
    if len(texts) in (1, 2):
        raise UserError("A - B + C takes all three groups: -a, -b and -c.")
    dataset = load_data(run, model, data) if not texts or any("=" in text for text in texts) else None
    known = explore.attributes(dataset) if dataset else {}
    texts = texts or _equation(known)
    chosen = {text: explore.wanted(text, known) for text in texts if "=" in text}
    if score and not (goal := explore.analogy(*(chosen.get(text, {}) for text in texts))):
        raise UserError("--score needs groups that are named by attributes: what A - B + C should show is not known.")
    groups = {text: located(run, model, re.split(" *, *", text), data, seed) for text in texts if "=" not in text}
    if dataset:
        source = _examples(model, dataset, seed)
        groups |= {text: source.take(source.choose(values, examples, seed, text)) for text, values in chosen.items()}
    (za, xa), (zb, xb), (zc, xc) = terms = [groups[text] for text in texts]
    columns = [torch.cat([images[:5], model.decode(codes.mean(0, keepdim=True))]) for codes, images in terms]
    result = explore.arithmetic(model, za, zb, zc, noise, seed)
    pixels = explore.pixel_arithmetic(xa, xb, xc)
    picture = plots.equation(columns, result, pixels)
    lines = list(zip("ABC", texts, strict=True))
    if score and dataset:
        verdicts = _classifier(dataset)(torch.cat([result, pixels[None]])).reshape(10, -1)
        hits = (verdicts[:, list(goal)] == list(goal.values())).all(1)
        names = [f"{list(known)[column]}={list(known.values())[column][value]}" for column, value in goal.items()]
        lines += [(",".join(names), f"{hits[:9].sum()} of 9 results; on pixels: {'yes' if hits[9] else 'no'}")]
    table(lines)
    print(plots.save(picture, out or run / "arithmetic.png"))


def turn(
    run: RunFolder,
    /,
    *,
    attribute: Annotated[str | None, "NAME", "that changes (default: the last)"] = None,
    low: Annotated[str | None, "VALUE", "of it on the left (default: its first)"] = None,
    high: Annotated[str | None, "VALUE", "of it on the right (default: its last)"] = None,
    keep: Annotated[tuple[str, ...], "NAME...", "attributes that should stay; all: every other one"] = (),
    examples: Annotated[int, "INT", "of each value, to find the direction"] = 200,
    points: Points = (),
    n: Annotated[int, "INT", "how many rows, without --points"] = 8,
    steps: Annotated[int, "INT", "images in a row"] = 9,
    data: ModelData = None,
    seed: Seed = 0,
    out: Annotated[Path | None, "PNG", "the picture (default: RUN/turn.png)"] = None,
) -> None:
    """Samples moved along the direction from one value of an attribute to another, a row for each: from half the
    difference of the values' mean codes below to half of it above.

    Example:
        ganvas turn runs/first --attribute lean --low left --high right
    """
    model = load_model(run, "decode", n)
    image_shape(model)
    import numpy as np

    from ganvas.ground import plots
    from ganvas.latent import explore

    if examples < 1 or steps < 2:
        raise UserError(f"--examples {examples}, --steps {steps}: it takes at least 1 example and 2 steps.")
    codes, _ = located(run, model, points or _own(model, n), data, seed)
    dataset = load_data(run, model, data)
    known = explore.attributes(dataset)
    name = list(known)[-1] if attribute is None else attribute
    if name not in known:
        raise unknown("attribute", name, known)
    ends = [known[name][0] if low is None else low, known[name][-1] if high is None else high]
    if ends[0] == ends[1]:
        raise UserError(f"--low and --high are both {ends[0]!r}: a direction goes from one value to another.")
    kept = [other for other in known if other != name] if keep == ("all",) else list(keep)
    for other in kept:
        if other not in known:
            raise unknown("attribute", other, known)
        if other == name:
            raise UserError(f"--keep {other}: it is the attribute that changes.")
    chosen = {text: explore.wanted(text, known) for text in (f"{name}={value}" for value in ends)}
    source = _examples(model, dataset, seed)
    rows = [source.choose(values, examples, seed, text) for text, values in chosen.items()]
    labels, every = np.repeat([0, 1], examples), np.concatenate(rows)
    stay = source.labels[every][:, [list(known).index(other) for other in kept]] if kept else None
    along = explore.direction(source.take(every)[0], labels, 0, 1, stay)
    images = explore.turn(model, codes, along, steps)
    print(plots.save(plots.grid(images.flatten(0, 1), steps), out or run / "turn.png"))


def neighbours(
    run: RunFolder,
    /,
    *,
    n: Annotated[int, "INT", "how many samples"] = 64,
    columns: Annotated[int, "INT", "samples in a row of the picture"] = 8,
    features: Annotated[str, "NAME", "pixels, pca, classifier, random, inception, dinov2, or an ONNX file"] = "pixels",
    data: ModelData = None,
    seed: Seed = 0,
    out: Annotated[Path | None, "PNG", "the picture (default: RUN/neighbours.png)"] = None,
) -> None:
    """Samples, and under each one, framed, the training image that is nearest to it. Distances are Euclidean; those of
    test images say what is near for images that were not trained on.

    Example:
        ganvas neighbours runs/first -n 64
    """
    model = load_model(run, "sample", n)
    image_shape(model)
    import numpy as np
    import torch

    from ganvas.data.loader import to_tensor
    from ganvas.evaluate.networks.features import features as named
    from ganvas.ground import plots
    from ganvas.latent import explore

    if columns < 1:
        raise UserError(f"--columns {columns}: it takes at least 1.")
    dataset = load_data(run, model, data)
    splits = dataset.splits
    function = None if features == "pixels" else named(features, dataset)
    samples = model.sample(n, seed)
    held_out = to_tensor(splits["test"].images[:n])
    distances, places = explore.neighbours(torch.cat([samples, held_out]), splits["train"], features=function)
    nearest = to_tensor(splits["train"].images[places[:n, 0].numpy()])
    picture = plots.rows(samples, nearest, columns=columns, framed=1)
    parts = {"samples": distances[:n, 0], "test images": distances[n:, 0]}
    table(
        (name, f"{len(part)}, to the nearest training image: median {np.median(part):.3f}, smallest {part.min():.3f}")
        for name, part in parts.items()
        if len(part)
    )
    print(plots.save(picture, out or run / "neighbours.png"))


def _own(model: Model, n: int) -> list[str]:
    """Names of n points that every model has: its samples, or else test images."""
    return [f"{'' if hasattr(model, 'sample') else 'test:'}{i}" for i in range(n)]


def located(run: Path, model: Model, points: Sequence[str], data: str | None, seed: int) -> tuple[Tensor, Tensor]:
    """Codes (N, latent_dim) and images (N, *shape) of points as a person names them."""
    import torch

    from ganvas.data.loader import to_tensor
    from ganvas.latent import explore

    numbers = [point.isdecimal() for point in points]
    if any(numbers):
        explore.prior(model)
    places = [_PLACE.fullmatch(point) for point in points]
    splits = load_data(run, model, data).splits if any(places) else {}
    image_shape(model)

    def one(point: str) -> tuple[Tensor, Tensor]:
        if point.isdecimal():
            if int(point) >= 10**6:
                raise UserError(f"sample {point}: samples are numbered from 0 to 999999.")
            code = explore.sample_codes(model, int(point) + 1, seed)[-1:]
            return code, model.decode(code)
        if place := _PLACE.fullmatch(point):
            images = splits[place[1]].images
            if (row := int(place[2])) >= len(images):
                raise UserError(f"there is no {point}: {place[1]} has {len(images):,} images, counted from 0.")
            image = to_tensor(images[row : row + 1])
        else:
            if Path(point).is_dir():
                raise UserError(f"{point} is a folder: a point is one image file.")
            image = model.rows(Path(point))
        return explore.as_codes(model, image), image

    codes, images = zip(*map(one, points), strict=True)
    return torch.cat(codes), torch.cat(images)


def _equation(known: Mapping[str, Sequence[str]]) -> list[str]:
    """With the two first attributes: A has the last values of both, B of the second, C of none."""
    if len(known) < 2:
        raise UserError("say what is added and taken away, for example by numbers of samples: -a 0,1 -b 2,3 -c 4,5")
    (first, ones), (second, others) = list(known.items())[:2]
    pairs = [(ones[-1], others[-1]), (ones[0], others[-1]), (ones[0], others[0])]
    return [f"{first}={one},{second}={other}" for one, other in pairs]


def _examples(model: Model, dataset: Dataset, seed: int) -> Examples:
    """What groups that are named by attributes are chosen from."""
    from ganvas.latent import explore

    if hasattr(model, "encode"):
        return explore.labelled(model, dataset.splits["train"])
    return explore.judged(model, _classifier(dataset), seed=seed)


def _classifier(dataset: Dataset) -> Callable[[Tensor], NDArray[np.int64]]:
    """Images -> labels like the data set's."""
    from ganvas.evaluate.networks.classifier import train_classifier

    return train_classifier(dataset).predict


HELP = """\
  manifold RUN                  images on a plane in the latent space
  interpolate RUN               images on the way between two points, or a film
  arithmetic RUN                A - B + C: glasses - none + beard
  turn RUN --attribute NAME     samples moved along an attribute's direction
  neighbours RUN                samples beside their nearest training images
"""
VERBS: dict[str, Callable[..., None]] = {
    "manifold": manifold,
    "interpolate": interpolate,
    "arithmetic": arithmetic,
    "turn": turn,
    "neighbours": neighbours,
}
