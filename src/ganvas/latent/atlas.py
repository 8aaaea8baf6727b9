"""What a page explores a model by: its dimensions in order, a map of its codes, thumbnails, directions from labels.

Pure functions of a model and, where it is there, a data set; docs/studio.md says what the fields mean. Without the
data set the model's own prior stands for the codes of real images, and the fields say so.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas.data import Dataset, store
from ganvas.data.loader import to_images, to_tensor
from ganvas.data.pixels import to_bytes
from ganvas.evaluate.networks import classifier
from ganvas.evaluate.networks.features import evenly, principal
from ganvas.ground.errors import UserError
from ganvas.ground.files import read_json
from ganvas.ground.plots import CHANNELS
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import kind
from ganvas.latent import explore
from ganvas.models import Model
from ganvas.models.base import CHUNK, Encoder, LatentVariable
from ganvas.parts.priors import Distribution, Normal

POINTS, SAMPLES, JUDGED = 2000, 500, 500  # test images of the map; samples; those that give directions
COMPONENTS = 16
MOVES, STARTS = 400, 16  # images that are made to see what each dimension does, and points that it starts from
NATS = 0.1  # of KL: a dimension with less is worth no slider,
SLIGHT = {"variance of the codes": 0.01, "change of the image": 0.05}  # nor is one with less than this of the largest
SHEET = 2**22  # pixels of all thumbnails, and of all test images that are looked at
VALUES = 40  # of a label; more can't be told apart by colours
CLASSES, ENOUGH = 20, 5  # classes that get a direction each; codes that either end of one takes

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]
Known = Mapping[str, Sequence[str]]
Json = dict[str, Any]


@dataclass(frozen=True)
class Encoded:
    """Test images as a model encodes them.

    Attributes:
        rows: of the test split, int64 (n,).
        codes: (n, d), float64.
        variance: of the posteriors (n, d), 0 without them.
    """

    rows: Labels
    codes: Floats
    variance: Floats


def encoded(model: Model, dataset: Dataset | None, n: int = POINTS) -> Encoded | None:
    """At most n test images, evenly spread, fewer of large ones; None without a data set or an encoder.

    Raises:
        UserError: codes that are not finite.
    """
    if dataset is None or not isinstance(model, Encoder):
        return None
    split = dataset.splits["test"]
    rows = evenly(len(split), _most(model, n))
    images = to_tensor(split.images[rows])
    both = model.chunks(lambda x: torch.cat(model.posterior(x), 1), model.rows(images))
    mean, log_variance = both.cpu().double().chunk(2, 1)
    return Encoded(rows, _finite(mean, "codes").numpy(), _finite(log_variance.exp(), "codes").numpy())


def space(
    model: Model,
    dataset: Dataset | None = None,
    n: int = POINTS,
    *,
    seen: Encoded | None = None,
    id: str = "",
    name: str = "",
    recipe: str = "",
    data: str = "",
) -> Json:
    """The contract's Space, JSON values.

    A dimension's weight is what the order is by: of a VAE the mean KL(Q(z given x) || N(0, I)), of a model that encodes
    otherwise the variance of its codes; else the root mean square by which an image's values change when the
    dimension moves by a standard deviation.

    Args:
        model: of images or points.
        dataset: what it was trained on; None: the prior stands for its codes, and there are no directions.
        n: test images that are encoded.
        seen: those of `encoded`, where they are at hand.
        id: of the run; the page's.
        name: likewise; also `recipe` and `data`.
        recipe: likewise.
        data: likewise.

    Raises:
        UserError: the codes or images are not finite.
    """
    prior, d = _prior(model), model.latent_dim
    about = {"id": id, "name": name, "recipe": recipe, "data": data or (dataset.name if dataset else "")}
    components, directions = None, []
    seen = seen or encoded(model, dataset, n)
    if dataset is not None and seen is not None:
        codes, variance = seen.codes, seen.variance
        mean, spread = codes.mean(0), np.sqrt(codes.var(0) + variance.mean(0))
        by, weight = "variance of the codes", codes.var(0)
        if prior is not None and variance.all():  # codes are draws
            kl = prior.kl_by_dimension(*map(torch.from_numpy, (codes, np.log(variance))))
            by, weight = (by, weight) if kl is None else ("KL, nats", kl.mean(0).numpy())
        basis = principal(codes, COMPONENTS)[1]
        components = {"directions": basis.T.tolist(), "spread": (codes @ basis).std(0).tolist()}
        labels, known = _labels(dataset, seen.rows)
        directions = _directions(codes, labels, known)
    else:
        mean, spread = (part.numpy() for part in (prior or Normal()).moments(d))
        by, weight = "change of the image", _change(model, prior, spread)
        if classify := _judge(model, dataset):
            drawn = explore.sample_codes(model, JUDGED)
            labels, known = classify(_decoded(model, drawn))
            directions = _directions(drawn.double().numpy(), labels, known)
    order = np.argsort(-weight, kind="stable")
    least = NATS if by == "KL, nats" else SLIGHT[by] * float(weight.max())
    return {
        **about,
        "shape": list(model.shape),
        "latent": d,
        "verbs": model.verbs(),
        "condition": [
            {"name": it.name, "values": list(map(str, it.range if it.number else it.values)), "number": it.number}
            for it in getattr(model.config, "condition", ())
        ],
        "guides": bool(getattr(model, "guides", False)),
        "prior": {
            "kind": "none" if prior is None else kind(type(getattr(model.config, "prior", prior))),
            "bound": prior and prior.bound,
        },
        "order": order.tolist(),
        "weight": weight.tolist(),
        "by": by,
        "active": int((weight > least).sum()),
        "mean": mean.tolist(),
        # Where a code never changes, a slider of no length would have no handle.
        "spread": np.where(spread > 1e-6 * spread.max(), spread, spread.max() or 1.0).tolist(),
        "principal": components,
        "directions": directions,
    }


@dataclass(frozen=True)
class Chart:
    """A map and its thumbnails.

    Attributes:
        atlas: the contract's Atlas, JSON values.
        thumbnails: uint8 (H, W, C), the images of its points row by row.
    """

    atlas: Json
    thumbnails: NDArray[np.uint8]


def atlas(model: Model, dataset: Dataset | None = None, n: int = POINTS) -> Json:
    """The contract's Atlas, see `chart`."""
    return chart(model, dataset, n).atlas


def thumbnails(model: Model, dataset: Dataset | None = None, n: int = POINTS) -> NDArray[np.uint8]:
    """The picture beside `atlas`, see `chart`."""
    return chart(model, dataset, n).thumbnails


def chart(model: Model, dataset: Dataset | None = None, n: int = POINTS, *, seen: Encoded | None = None) -> Chart:
    """Test images where the model encodes them, or else its own samples, as points of a plane in the latent space.

    With two dimensions the plane is the latent space itself. With more it is that of the codes' first two principal
    components; for samples, whose codes have no shape but the prior's, of the two directions along which codes and
    images vary together most (the first singular vectors of their covariance).

    Args:
        model: of images.
        dataset: what it was trained on.
        n: points at most; fewer of large images, and of samples at most 500.
        seen: those of `encoded`, where they are at hand.

    Raises:
        UserError: a model of points, one that neither encodes nor samples, or codes or images that are not finite.
    """
    if len(model.shape) != 3:
        raise UserError(f"this model is of points of shape {model.shape}: there are no images to make a map of.")
    if model.shape[0] not in CHANNELS:
        raise UserError(f"this model's images have {model.shape[0]} channels, and a page shows 1, 3 or 4.")
    prior, d = _prior(model), model.latent_dim
    labels: Labels = np.empty((0, 0), np.int64)
    known: Known = {}
    seen = seen or encoded(model, dataset, n)
    if dataset is not None and seen is not None:
        rows, codes = seen.rows, seen.codes
        pixels = to_bytes(dataset.splits["test"].images[rows])
        labels, known = _labels(dataset, rows)
    elif prior is not None:
        rows = np.empty(0, np.int64)
        drawn = explore.sample_codes(model, min(_most(model, n), SAMPLES))
        images = _decoded(model, drawn)
        pixels = to_images(images)
        codes = drawn.double().numpy()
        if classify := _judge(model, dataset):
            labels, known = classify(images)
    else:
        raise UserError("this model has no P(z) to draw samples from, and its data set is not there to be encoded.")

    mean: Floats = codes.mean(0)
    plane: Floats = np.eye(d, 2).T
    axes = ["z1", "z2" if d > 1 else ""]
    if d <= 2:
        mean = np.zeros(d)  # so that points are codes
    elif len(rows):
        plane, axes = _whole(principal(codes, 2)[1]), ["principal component 1", "principal component 2"]
    else:
        flat = pixels.reshape(len(codes), -1).astype(np.float32)
        together = (codes - mean).T @ (flat - flat.mean(0))
        # Its first two left singular vectors, by the smaller square.
        plane = _whole(np.linalg.eigh(together @ together.T)[1][:, :-3:-1])
        axes = ["largest change 1", "largest change 2"]
    columns = math.ceil(math.sqrt(len(codes)))
    found = {
        "of": "test images" if len(rows) else "samples",
        "axes": axes,
        "mean": mean.tolist(),
        "plane": plane.tolist(),
        "prior": prior.moments(d, torch.from_numpy(plane))[1].tolist() if prior else [0.0, 0.0],
        "codes": _packed(codes),
        "points": _packed((codes - mean) @ plane.T),
        "rows": rows.tolist(),
        "columns": columns,
        "labels": [
            {"name": name, "values": list(values), "of": column.tolist()}
            for (name, values), column in zip(known.items(), labels.T, strict=True)
            if len(values) <= VALUES
        ],
    }
    return Chart(found, _sheet(pixels, columns))


# ---- codes ----


def _prior(model: Model) -> Distribution | None:
    return model.prior if isinstance(model, LatentVariable) else None


def _most(model: Model, n: int) -> int:
    return max(1, min(n, SHEET // math.prod(model.shape[1:])))


def _decoded(model: Model, codes: Tensor) -> Tensor:
    return _finite(model.decode(codes).cpu(), "images")


def _finite(values: Tensor, what: str) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise UserError(f"this model's {what} hold NaN or infinite values: its training has diverged.")
    return values


def _change(model: Model, prior: Distribution | None, step: Floats) -> Floats:
    """The root mean square change of an image's values when a dimension moves by its step, towards the middle: (d,)."""
    d, draw = len(step), Draw(0)
    starts = max(1, min(STARTS, MOVES // d))
    z = (prior or Normal()).sample(draw, (starts, d)).double()
    moves = -torch.where(z > 0, 1.0, -1.0) * torch.from_numpy(step)
    moved = (z[:, None] + torch.diag_embed(moves)).flatten(0, 1).float()  # (starts * d, d)
    before, squares = _decoded(model, z.float()), []
    for first in range(0, len(moved), CHUNK):
        after = _decoded(model, moved[first : first + CHUNK])
        own = before[torch.arange(first, first + len(after)) // d]
        squares.append((after - own).flatten(1).double().square().mean(1))
    change: Floats = torch.cat(squares).view(starts, d).mean(0).sqrt().numpy()
    return change


def _whole(directions: Floats) -> Floats:
    """Two orthonormal rows (2, d): the columns (d, at most 2), and for those that lack others at right angles."""
    missing = 2 - directions.shape[1]
    if missing:
        q = np.linalg.qr(np.hstack([directions, np.eye(len(directions))]))[0]
        directions = np.hstack([directions, q[:, 2 - missing : 2]])
    signs = np.sign(np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0))
    return (directions * signs).T


# ---- labels ----


def _labels(dataset: Dataset, rows: Labels) -> tuple[Labels, Known]:
    """Of these test images (n, A), and the names of their values; (n, 0) without labels."""
    found = dataset.splits["test"].labels
    if found is None or dataset.splits["train"].labels is None:
        return np.empty((len(rows), 0), np.int64), {}
    return found[rows].reshape(len(rows), -1), explore.attributes(dataset)


Judge = Callable[[Tensor], tuple[Labels, Known]]


def _judge(model: Model, dataset: Dataset | None) -> Judge | None:
    """What labels samples: the model's own classifier, or one of the data set that is in the cache already."""
    labelled = dataset is not None and dataset.splits["train"].labels is not None
    known = explore.attributes(dataset) if dataset is not None and labelled else {}
    if hasattr(model, "classify"):
        k = model.config.classes
        names = next((v for v in known.values() if len(known) == 1 and len(v) == k), tuple(map(str, range(k))))
        return lambda images: (model.classify(images).argmax(1).numpy()[:, None], {"class": names})
    if dataset is None or not labelled or not _trained(dataset):
        return None
    judge = classifier.train_classifier(dataset, progress=False)
    return lambda images: (judge.predict(images).reshape(len(images), -1), known)


def _trained(dataset: Dataset) -> bool:
    """Whether the cache holds the classifier of a data set: a page does not wait for it to be trained."""
    wanted = {"format": classifier.FORMAT, "fingerprint": dataset.fingerprint, "images": classifier.IMAGES, "seed": 0}
    for path in (store.root() / "classifiers").glob("*/config.json"):
        try:
            found = read_json(path)
        except (OSError, UserError):
            continue
        if wanted.items() <= found.items():
            return True
    return False


def _directions(codes: Floats, labels: Labels, known: Known) -> list[Json]:
    """From the first value of each attribute to its last; of several classes, from all others to each."""
    found = []
    for (name, values), column in zip(known.items(), labels.T, strict=True):
        ends = [(name, values[0], values[-1], column == 0, column == len(values) - 1)]
        if list(known) == ["class"] and len(values) > 2:
            each = enumerate(values if len(values) <= CLASSES else ())
            ends = [(f"class {value}", "others", value, column != i, column == i) for i, value in each]
        for title, low, high, before, after in ends:
            if min(before.sum(), after.sum()) >= ENOUGH:
                both = before | after
                along = explore.direction(torch.from_numpy(codes[both]), after[both].astype(np.int64), 0, 1)
                found.append({"name": title, "low": low, "high": high, "vector": along.tolist()})
    return found


# ---- what travels ----


def _packed(values: Floats) -> str:
    """Base64 of float32, little endian."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _sheet(pixels: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Images (N, H, W, C) as one picture, row by row, the rest of the last row black."""
    n, h, w, c = pixels.shape
    rows = math.ceil(n / columns)
    canvas = np.zeros((rows * columns, h, w, c), np.uint8)
    canvas[:n] = pixels
    return canvas.reshape(rows, columns, h, w, c).swapaxes(1, 2).reshape(rows * h, columns * w, c)
