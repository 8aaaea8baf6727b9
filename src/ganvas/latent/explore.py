"""Looking round in a latent space: manifolds, interpolation, arithmetic, directions; and nearest training images.

A model here is anything with `decode`, `latent_dim` and `shape`, a `prior` if it is not N(0, I), and with `encode`
where it is given images, unless it is one of ours.
Codes are (N, latent_dim), images (N, C, H, W) in [0, 1]. Where a function takes points it takes either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from ganvas.data import Split
from ganvas.data.labels import attributes as attributes
from ganvas.data.loader import to_tensor
from ganvas.ground import memory
from ganvas.ground.arguments import Decodes, Numbers, checked, tensor
from ganvas.ground.errors import UserError, unknown
from ganvas.ground.randomness import Draw, order
from ganvas.ground.registry import Count, Seed
from ganvas.models import Model, inversion
from ganvas.models.base import CHUNK
from ganvas.parts.priors import Distribution, Normal

__all__ = [
    *("prior", "sample_codes", "as_codes", "manifold", "path", "interpolate", "arithmetic", "pixel_arithmetic"),
    *("direction", "turn", "neighbours", "attributes", "wanted", "analogy", "Examples", "labelled", "judged"),
]

BLOCK = 2**22  # numbers that `neighbours` holds at a time: 16 MB, twice as fast on a CPU as 64
SPARE = 4
Steps = Annotated[int, Field(ge=2)]
Level = Annotated[float, Field(ge=0)]


def __dir__() -> list[str]:
    return __all__


@checked
def prior(model: Decodes) -> Distribution:
    """P(z): the model's own `prior`, or else N(0, I).

    Raises:
        UserError: the model has none, as an autoencoder.
    """
    if isinstance(model, Model) and not hasattr(model, "prior"):
        raise UserError("this model has no P(z) to draw codes from: give it points that are images.")
    own: Distribution = getattr(model, "prior", Normal())
    return own


@checked
def sample_codes(model: Decodes, n: Count, seed: Seed = 0) -> Tensor:
    """The codes (n, latent_dim) of `model.sample(n, seed)`."""
    own, d = prior(model), model.latent_dim
    memory.require(4 * n * d, f"{n:,} codes of {d} numbers", "take fewer")
    return own.sample(Draw(seed), (n, d))


@checked
def as_codes(model: Decodes, points: Any) -> Tensor:
    """Codes (N, latent_dim) of points: codes or images; one may come alone.

    Those of a GAN are found by `ganvas.models.inversion`.

    Raises:
        UserError: another shape, NaN, or images for a model that can't encode and has no P(z).
    """
    try:
        x = tensor(points)
    except ValueError as error:
        raise UserError(f"points: {error}.") from error
    d, shape = model.latent_dim, tuple(model.shape)
    if tuple(x.shape[-1:]) == (d,) and x.dim() <= 2:
        codes: Tensor = x.float().reshape(-1, d)
    elif tuple(x.shape[-len(shape) :]) != shape or x.dim() > len(shape) + 1:
        wanted = f"codes (N, {d}) or images (N, {', '.join(map(str, shape))})"
        raise UserError(f"points of shape {tuple(x.shape)}: this model takes {wanted}.")
    elif hasattr(model, "encode"):
        codes = model.encode(x).flatten(1)
    elif hasattr(model, "prior") and isinstance(model, Model):
        codes = inversion.codes(model, x)
    else:
        raise UserError(f"this model can't encode images: give codes (N, {d}).")
    if not len(codes) or not torch.isfinite(codes).all():
        raise UserError("the points hold NaN or infinite values." if len(codes) else "there are no points.")
    return codes.cpu()  # where there is float64


@checked
def manifold(model: Decodes, n: Count = 20, points: Any = None) -> Tensor:
    """Images (n * n, *shape), row by row, of a plane in the latent space.

    Args:
        model: with two latent dimensions, unless there are points.
        n: images on a side.
        points: None for z at the prior's inverse CDF of a regular grid on (0, 1)^2, so that each image stands for an
            equal share of P(z) (Kingma & Welling 2013, figure 4): z_1 grows to the right, z_2 upwards. Or three, a, b
            and c: the plane a + u (b - a) + v (c - a), u and v in [0, 1], with a top left, b top right, c bottom left.

    Raises:
        UserError: another number of latent dimensions or points.
    """
    memory.require_images(n * n, model.shape)
    if points is None:
        if model.latent_dim != 2:
            raise UserError(
                f"the manifold of a model with {model.latent_dim} latent dimensions: only with 2 is there one "
                "plane to show. Give three points, and it is the plane through them."
            )
        icdf = getattr(prior(model), "icdf", None)
        if icdf is None:
            raise UserError("the prior of this model is learned and has no inverse CDF for a grid: give three points.")
        steps = icdf((torch.arange(n, dtype=torch.float64) + 0.5) / n)
        codes = torch.cartesian_prod(steps.flip(0), steps).flip(1)
    else:
        corners = as_codes(model, points).double()
        if len(corners) != 3:
            raise UserError(f"{len(corners)} points: a plane goes through three.")
        a, b, c = corners
        v, u = torch.cartesian_prod(*[torch.linspace(0, 1, n, dtype=torch.float64)] * 2).reshape(-1, 2, 1).unbind(1)
        codes = a + u * (b - a) + v * (c - a)
    images: Tensor = model.decode(codes.float())
    return images


def _linear(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return (1 - t) * a + t * b


def _spherical(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """White 2016, section 2.1; the angle by atan2, which is exact for small ones too."""
    u, v = normalize(a, dim=-1), normalize(b, dim=-1)
    angle = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    curved = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
    return torch.where(torch.sin(angle) < 1e-6, _linear(a, b, t), curved)


PATHS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"linear": _linear, "spherical": _spherical}


@checked
def path(a: Tensor, b: Tensor, steps: Steps, kind: str = "linear") -> Tensor:
    """Codes (N, steps, d) on the way from a (N, d) to b (N, d), both ends included.

    Args:
        a: where each way starts.
        b: where it ends.
        steps: codes on a way, at least 2.
        kind: "linear"; or "spherical", which keeps the length that codes of a normal prior have in many dimensions
            (White 2016). Vectors that are parallel to within 1e-6, or opposite, have no arc: their way is linear.

    Raises:
        UserError: an unknown kind, fewer than two steps, or ways without an end.
    """
    if kind not in PATHS:
        raise unknown("kind of interpolation", kind, PATHS)
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1]:
        raise UserError(f"codes a of shape {tuple(a.shape)}, b of {tuple(b.shape)}: both are (N, d).")
    if len(a) != len(b):
        raise UserError(f"{len(a)} points to start from, {len(b)} to go to: they come in pairs.")
    memory.require(12 * steps * a.numel(), f"{steps:,} steps on each of {len(a):,} ways", "take fewer")
    t = torch.linspace(0, 1, steps, dtype=torch.float64, device=a.device)[:, None]
    return PATHS[kind](a.double()[:, None], b.double()[:, None], t).float()


@checked
def interpolate(model: Decodes, a: Any, b: Any, steps: Steps = 10, kind: str = "linear") -> Tensor:
    """Images (N, steps, *shape) on the way from points a to points b, see `path`."""
    return _decode(model, path(as_codes(model, a), as_codes(model, b), steps, kind))


def _decode(model: Any, codes: Tensor) -> Tensor:
    """(N, steps, d) -> (N, steps, *shape)."""
    memory.require_images(codes.shape[0] * codes.shape[1], model.shape)
    return torch.unflatten(model.decode(codes.flatten(0, 1)), 0, codes.shape[:2])


@checked
def arithmetic(model: Decodes, a: Any, b: Any, c: Any, noise: Level = 0.25, seed: Seed = 0) -> Tensor:
    """Nine images (9, *shape) of mean(a) - mean(b) + mean(c), to be seen as 3 x 3 (Radford et al. 2015, figure 7).

    Args:
        model: that decodes.
        a: points, one or more; the paper takes three.
        b: the same; not always as many.
        c: the same.
        noise: eight images have U(-noise, noise) added to each of z's dimensions; the fifth, in the middle, has none.
        seed: of the noise.
    """
    first, second, third = (as_codes(model, points).mean(0) for points in (a, b, c))
    around = (2 * Draw(seed).uniform("arithmetic", (8, len(first))) - 1).to(first) * noise
    offsets = torch.cat([around[:4], torch.zeros_like(around[:1]), around[4:]])
    images: Tensor = model.decode(first - second + third + offsets)
    return images


@checked
def pixel_arithmetic(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The same on the images (N, *shape) themselves, cut to [0, 1]: (*shape,).

    Raises:
        UserError: no images, or images of several shapes.
    """
    shapes = [tuple(images.shape) for images in (a, b, c)]
    if not all(map(all, shapes)) or len({shape[1:] for shape in shapes}) > 1 or min(map(len, shapes)) < 2:
        raise UserError(f"images of shapes {shapes}: at least one of each, all (N, *shape), are needed.")
    return (a.mean(0) - b.mean(0) + c.mean(0)).clamp(0, 1)


@checked
def direction(codes: Tensor, labels: Numbers, low: int, high: int, keep: Numbers | None = None) -> Tensor:
    """mean(codes labelled high) - mean(codes labelled low): (d,) (Radford et al. 2015, 'turn').

    With `keep` it has no part in the directions of other attributes, those between the means of their values as far as
    these are more than chance: in codes that are whitened, where a linear reading is along the means.

    Args:
        codes: (N, d).
        labels: (N,), whole numbers.
        low: the label at the direction's start.
        high: the label at its end.
        keep: labels of other attributes, (N, A) whole numbers, -1 where one is not known: they should stay as they are.

    Raises:
        UserError: no code has one of the labels, or the attributes to keep leave no direction.
    """
    labels = labels.to(codes.device)
    if codes.dim() != 2 or labels.shape != codes.shape[:1]:
        shapes = tuple(labels.shape), tuple(codes.shape)
        raise UserError(f"labels of shape {shapes[0]} for codes of shape {shapes[1]}: it takes one for each.")
    ends = [codes[labels == value] for value in (low, high)]
    for value, end in zip((low, high), ends, strict=True):
        if not len(end):
            raise UserError(f"none of the {len(codes)} codes has the label {value}.")
    along = ends[1].mean(0) - ends[0].mean(0)
    return along if keep is None else _without(along, codes, keep)


def _without(along: Tensor, codes: Tensor, labels: Tensor) -> Tensor:
    """What is left of a direction (d,) without those of attributes, by codes (N, d) and their labels (N, A)."""
    if labels.dim() != 2 or len(labels) != len(codes):
        raise UserError(f"labels of shape {tuple(labels.shape)} for {len(codes)} codes: it takes a row for each.")
    z = codes.double() - codes.double().mean(0)
    values, vectors = torch.linalg.eigh(z.T @ z / len(z))
    values = values.clamp(min=1e-6 * float(values[-1]))
    white = z @ vectors / values.sqrt()
    found = []
    for column in labels.to(codes.device).T:
        parts = [white[column == value] for value in column.unique().tolist() if value >= 0]
        if len(parts) < 2:
            continue
        middle = torch.cat(parts).mean(0)
        sums = torch.stack([(part.mean(0) - middle) * math.sqrt(len(part)) for part in parts])
        _, sizes, rows = torch.linalg.svd(sums, full_matrices=False)
        # Chance alone gives numbers of variance 1 there, whose largest singular value is about this (Marchenko-Pastur).
        found.append(rows[sizes > math.sqrt(z.shape[1]) + math.sqrt(len(parts)) + 1])
    whole = along.double() @ vectors / values.sqrt()
    rest = whole
    if found:
        _, sizes, basis = torch.linalg.svd(torch.cat(found), full_matrices=False)
        basis = basis[sizes > 0.1]  # of attributes that go nearly together one direction
        rest = whole - basis.T @ (basis @ whole)
    if float(rest.norm()) < 1e-6 * float(whole.norm()):
        raise UserError("the attributes to keep leave no direction: keep fewer of them, or take more dimensions of z.")
    kept: Tensor = vectors @ (rest * values.sqrt())
    return kept.to(along)


@checked
def turn(model: Decodes, points: Any, along: Any, steps: Steps = 9) -> Tensor:
    """Images (N, steps, *shape) of points moved by t / 2 times the direction `along` (d,), t from -1 to 1."""
    codes = as_codes(model, points)
    half = as_codes(model, along)[0].to(codes) / 2
    return _decode(model, path(codes - half, codes + half, steps))


@checked
def neighbours(
    images: Tensor, split: Split, k: Count = 1, features: Callable[[Tensor], Any] | None = None
) -> tuple[Tensor, Tensor]:
    """The k images of a split that are nearest to each image, by Euclidean distance.

    Args:
        images: (N, *shape).
        split: where to look, a part at a time: it may be a memory map larger than memory.
        k: how many.
        features: (n, *shape) -> (n, d), an array or tensor, to measure the distance in; None for the pixels in [0, 1]
            themselves.

    Returns:
        distances (N, k), the smallest first, and the rows int64 (N, k) of the split.

    Raises:
        UserError: images of another shape or with NaN, or fewer than k images in the split.
    """
    rows = split.images
    shape = to_tensor(rows[:1]).shape[1:]
    if images.shape[1:] != shape or not len(images) or not torch.isfinite(images).all():
        raise UserError(
            f"images of shape {tuple(images.shape)}, to compare with some of (N, {', '.join(map(str, shape))}): "
            "they must be of the same shape, at least one, and without NaN."
        )
    if not 1 <= k <= len(rows):
        raise UserError(f"{k} nearest of {len(rows)} images: it takes from 1 to {len(rows)}.")

    device = images.device

    def represent(x: Tensor) -> Tensor:
        return torch.as_tensor(features(x) if features else x, device=device).flatten(1).float()

    wanted = represent(images)
    nearest = torch.empty(len(images), 0, device=device)
    places = torch.empty(len(images), 0, dtype=torch.int64, device=device)
    size = max(1, BLOCK // max(shape.numel(), len(images)))
    for start in range(0, len(rows), size):
        part = represent(to_tensor(rows[start : start + size], device))
        # |x - y|^2 without |x|^2, by one product of matrices: its rounding can swap near ties, hence the spare ones
        squares = part.square().sum(1) - 2 * wanted @ part.T
        here = torch.arange(start, start + len(part), device=device).expand_as(squares)
        nearest, places = torch.cat([nearest, squares], 1), torch.cat([places, here], 1)
        nearest, order = nearest.topk(min(k + SPARE, nearest.shape[1]), largest=False)
        places = places.gather(1, order)
    found = [represent(to_tensor(rows[some], device)) for some in places.cpu().numpy()]
    exact = torch.stack([(y - x).norm(dim=1) for x, y in zip(wanted, found, strict=True)])
    distances, order = exact.topk(k, largest=False)
    return distances, places.gather(1, order)


@checked
def wanted(text: str, known: Mapping[str, Sequence[str]]) -> dict[int, int]:
    """ "glasses=none,lean=left" as {column: value}, by their places in `known`.

    Raises:
        UserError: an attribute or a value that is not known, one that is given twice, or none.
    """
    found: dict[int, int] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise UserError(f"{part.strip()!r} names no value: attributes are given as NAME=VALUE,NAME=VALUE.")
        if name not in known:
            raise unknown("attribute", name, known)
        if value not in known[name]:
            raise unknown(f"value of {name}", value, known[name])
        column = list(known).index(name)
        if column in found:
            raise UserError(f"{text!r} gives {name} twice.")
        found[column] = known[name].index(value)
    return found


@checked
def analogy(a: Mapping[int, int], b: Mapping[int, int], c: Mapping[int, int]) -> dict[int, int]:
    """The attributes {column: value} that A - B + C should show: those of C, and those that A has and B has not.

    Where neither A and B nor B and C agree, it is not known which value that is.
    """
    found = {}
    for column in {**a, **b, **c}:
        first, second, third = (group.get(column) for group in (a, b, c))
        value = third if first == second else first if second == third else None
        if value is not None:
            found[column] = value
    return found


@dataclass(frozen=True)
class Examples:
    """Codes whose images have known attributes.

    Attributes:
        labels: int64 (N, A), indices into the attributes' values.
        take: rows (k,) -> their codes (k, latent_dim) and images (k, *shape).
        what: they are, for messages.
    """

    labels: NDArray[np.int64]
    take: Callable[[NDArray[np.int64]], tuple[Tensor, Tensor]]
    what: str

    @checked
    def choose(
        self, values: Mapping[int, int], n: Annotated[int, Field(ge=0)], seed: Seed = 0, name: str = "the attributes"
    ) -> NDArray[np.int64]:
        """n rows, drawn from those that have the values {column: value}, which messages call `name`.

        Raises:
            UserError: there are fewer.
        """
        columns = list(values)
        fits = np.flatnonzero((self.labels[:, columns] == [values[column] for column in columns]).all(1))
        if len(fits) < n:
            raise UserError(
                f"{len(fits)} of {len(self.labels):,} {self.what} have {name}, {n} are asked for: take fewer examples "
                "or other attributes."
            )
        return fits[order(seed, "examples", n=len(fits))[:n]]


@checked
def labelled(model: Decodes, split: Split) -> Examples:
    """The labelled images of a split, as a model encodes them."""
    if split.labels is None:
        raise UserError("these images have no labels.")

    def take(rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images = to_tensor(split.images[rows])
        return as_codes(model, images), images

    return Examples(split.labels.reshape(len(split), -1), take, "labelled images")


@checked
def judged(model: Decodes, classify: Callable[[Tensor], Any], n: Count = 4000, seed: Seed = 0) -> Examples:
    """The first n samples of a model, with the labels that a classifier gives them.

    Args:
        model: that samples; it need not encode.
        classify: images (k, *shape) -> int64 (k, A), an array or tensor.
        n: how many samples it looks through.
        seed: of the samples.
    """
    codes = sample_codes(model, n, seed)
    labels = torch.cat([torch.as_tensor(classify(model.decode(part))).cpu() for part in torch.split(codes, CHUNK)])

    def take(rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        some = codes[torch.from_numpy(rows)]
        return some, model.decode(some)

    return Examples(labels.reshape(n, -1).numpy(), take, "samples")
