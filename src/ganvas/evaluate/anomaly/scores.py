"""Scores of how strange an image is to a model: the higher, the stranger. A score is one class of settings.

Each answers for an image by itself: it depends neither on the others nor on their order, up to the rounding of
float32. The first score here that a model can answer is its default.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganvas.data import Split
from ganvas.data.loader import to_images, to_tensor
from ganvas.evaluate.measures.distances import nearest
from ganvas.evaluate.networks.features import evenly
from ganvas.ground.errors import UserError
from ganvas.ground.plots import CHANNELS
from ganvas.ground.randomness import Draw, Shared
from ganvas.ground.registry import Count, Fraction, Registry, kind, settings
from ganvas.models import Model
from ganvas.models.base import CHUNK, fast_products
from ganvas.parts.priors import fit_mixture

FITTED, KEPT = 5000, 20_000  # normal images that a score is fitted to, or looks for neighbours among, at most
LEAST = 1e-12  # of what a logarithm is taken of
RIDGE = 0.01  # of the codes' mean variance, that each direction has at least
Each = Callable[[Tensor], Tensor]  # images (n, *shape) -> (n,)


@dataclass(frozen=True)
class Rows:
    """Images of splits or in memory, read some at a time.

    Attributes:
        sources: where they are.
        places: their rows there, counted through all sources, (N,).
    """

    sources: tuple[Split | Tensor, ...]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, model: Model, images: Any) -> Rows:
        """All of a split, of several, or of what `Model.rows` takes.

        Raises:
            UserError: none, or some of another shape, or with NaN.
        """
        if isinstance(images, Rows):
            return images
        splits = isinstance(images, list | tuple) and images and all(isinstance(part, Split) for part in images)
        sources = tuple(images) if splits else (images,) if isinstance(images, Split) else (model.rows(images),)
        found = cls(sources, np.arange(sum(map(len, sources))))
        if not len(found):
            raise UserError("there are no images: give at least one.")
        for source in sources:
            shape = _taken(source, np.arange(min(1, len(source)))).shape[1:]
            if len(source) and tuple(shape) != model.shape:
                raise UserError(f"images of shape {tuple(shape)}: this model takes {model.shape}.")
        return found

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: Any) -> Tensor:
        """(n, *shape), as a model takes them."""
        places, found, start = self.places[rows], None, 0
        for source in self.sources:
            here = np.flatnonzero((places >= start) & (places < start + len(source)))
            if len(here):
                part = _taken(source, places[here] - start)
                found = part.new_empty((len(places), *part.shape[1:])) if found is None else found
                found[torch.from_numpy(here)] = part
            start += len(source)
        if found is None:
            raise UserError("there are no images: give at least one.")
        return found

    def known(self, kind: str) -> NDArray[Any] | None:
        """What the splits know of each, (N, ...): "labels", "names" or "order"; None where one doesn't."""
        parts = [part for source in self.sources if (part := getattr(source, kind, None)) is not None]
        return np.concatenate(parts)[self.places] if len(parts) == len(self.sources) else None

    def part(self, rows: Any) -> Rows:
        """Some of them: by numbers, a slice, or where a mask is true."""
        return Rows(self.sources, self.places[rows])

    def spread(self, n: int) -> Rows:
        """At most n, in even steps."""
        return self.part(evenly(len(self), n))

    def blocks(self) -> Iterator[Tensor]:
        """All of them, in their order."""
        for start in range(0, len(self), CHUNK):
            yield self[start : start + CHUNK]


def _taken(source: Split | Tensor, rows: NDArray[np.int64]) -> Tensor:
    return source[torch.from_numpy(rows)] if isinstance(source, Tensor) else to_tensor(source.images[rows])


def answers(model: Model, each: Each, rows: Rows) -> Tensor:
    """`each` of all rows, some at a time: (N, ...), float64, on the CPU; the model is asked."""
    with model.asked(), fast_products(model.device):
        return torch.cat([each(x.to(model.device)).cpu().double() for x in rows.blocks()])


class BaseScore:
    """What a score has.

    Attributes:
        needs: methods of a model.
        learns: whether it is fitted to normal images, those that the model was trained on.
        images: whether it is of images alone, and not of rows of numbers.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    learns: ClassVar[bool] = False
    images: ClassVar[bool] = False

    def fit(self, model: Model, normal: Rows) -> Each:
        """What gives the scores of images (n, *shape): (n,).

        Args:
            model: that is asked.
            normal: images that the model was trained on, or others like them; of one that does not learn: any.
        """
        raise NotImplementedError(type(self).__name__)

    @classmethod
    def answered(cls, model: Model) -> bool:
        """Whether a model can."""
        return all(hasattr(type(model), name) for name in cls.needs) and (len(model.shape) == 3 or not cls.images)


SCORES = Registry("score", BaseScore)


def score_of(model: Model, by: Any = None) -> BaseScore:
    """A score as it is named, or the default of a model.

    Args:
        model: that has to answer.
        by: a name of SCORES, or settings of one.

    Raises:
        UserError: an unknown one, or one that the model can't answer, with those that it can.
    """
    have = [name for name, cls in SCORES.items() if cls.answered(model)]
    said = f"a model of kind {kind(model.Config)}, of shape {' x '.join(map(str, model.shape))}, has"
    if not have:
        raise UserError(f"{said} no score: it gives no image that is like another one. Train an autoencoder or a VAE.")
    chosen: BaseScore = SCORES.parse(have[0] if by is None else by)
    if not chosen.answered(model):
        raise UserError(f"{said} no score {kind(type(chosen))!r}; it has {', '.join(have)}.")
    return chosen


@SCORES.register
@settings
class Relative(BaseScore):
    """How badly an image is reconstructed for one of its complexity: plain images are no longer taken for normal ones.

    log of the mean squared error, less what a straight line through normal images has at the log of the image's size
    as a PNG file, or at the largest size of theirs. So `Complexity` corrects log P(x) (Serra et al. 2020); of errors
    only the slope has to be learned.
    """

    needs = ("encode", "reconstruct")
    learns = True
    images = True

    def fit(self, model: Model, normal: Rows) -> Each:
        """The line, by least squares."""

        def seen(x: Tensor) -> Tensor:
            """(n, 2): log size, log error."""
            return _with_logs(png_bits(x), model.missed(x))

        residual = _residual(answers(model, seen, normal.spread(FITTED)))
        return lambda x: residual(seen(x))


@SCORES.register
@settings
class Reconstruction(BaseScore):
    """The mean squared error of what the model gives for an image.

    Of an encoder its reconstruction, of a GAN the nearest image that it can make (`ganvas.models.inversion`), of a
    denoiser what it makes of the image with noise.
    """

    needs = ("imitated",)

    def fit(self, model: Model, normal: Rows) -> Each:
        """Nothing is fitted."""
        missed: Each = model.missed
        return missed


@SCORES.register
@settings
class Worst(BaseScore):
    """The mean squared error of those few values of an image that are reconstructed worst: it sees small defects.

    Attributes:
        share: of the values that count: of 28 x 28 the worst 4.
    """

    needs = ("imitated",)
    share: Fraction = 0.005

    def fit(self, model: Model, normal: Rows) -> Each:
        """Nothing is fitted."""

        def each(x: Tensor) -> Tensor:
            squares = (model.units(x) - model.units(model.imitated(x))).flatten(1).square()
            largest: Tensor = squares.topk(max(1, round(self.share * squares.shape[1])), 1).values
            return largest.mean(1)

        return each


@SCORES.register
@settings
class Elbo(BaseScore):
    """-ELBO in nats, at draws that are the same for each image: about -log P(x), which plain images have too low."""

    needs = ("elbo",)

    def fit(self, model: Model, normal: Rows) -> Each:
        """Nothing is fitted."""
        return lambda x: -model.normality(x)


@SCORES.register
@settings
class Complexity(BaseScore):
    """-log P(x), by the ELBO, less the bits that the image takes as a PNG file (Serra et al. 2020): in bits.

    A density counts as one of values in [0, 1]: of levels it would be a constant more.
    """

    needs = ("elbo",)
    images = True

    def fit(self, model: Model, normal: Rows) -> Each:
        """Nothing is fitted."""
        return lambda x: -model.normality(x).cpu().double() / math.log(2) - png_bits(model.observed(x, Shared(0, 0)))


@SCORES.register
@settings
class Typicality(BaseScore):
    """How far log P(x), by the ELBO, is from its mean over normal images, either way (Nalisnick et al. 2019): nats."""

    needs = ("elbo",)
    learns = True

    def fit(self, model: Model, normal: Rows) -> Each:
        """To the mean of normal images."""
        mean = float(answers(model, model.normality, normal.spread(FITTED)).mean())
        return lambda x: (model.normality(x) - mean).abs()


@SCORES.register
@settings
class Codes(BaseScore):
    """-log of the density of an image's code, by a mixture of normals in whitened codes of normal images: nats.

    Attributes:
        components: of the mixture; fewer where there are not 20 codes for each.
    """

    needs = ("encode",)
    learns = True
    components: Count = 20

    def fit(self, model: Model, normal: Rows) -> Each:
        """To the codes of normal images."""
        codes = answers(model, model.encoded, normal.spread(FITTED))
        whiten = _whitening(codes)
        mixture = fit_mixture(whiten(codes), max(1, min(self.components, len(codes) // 20)))
        return lambda x: -mixture.log_prob(whiten(model.encoded(x).cpu().double()), Draw(0))


@SCORES.register
@settings
class Neighbours(BaseScore):
    """How far an image is from the training image nearest to it, for one of its complexity. It asks the model nothing.

    log of the distance, less a straight line at the log of the PNG file's size, as `Relative` has it. Images of more
    than 32 x 32 are compared as smaller ones.
    """

    learns = True
    images = True

    def fit(self, model: Model, normal: Rows) -> Each:
        """To the training images' own nearest ones."""
        if len(normal) < 2:
            raise UserError(f"{len(normal)} normal images to find neighbours among: it takes at least 2.")
        known = normal.spread(KEPT)
        rows = torch.cat([_small(x) for x in known.blocks()]).numpy()
        fitted = evenly(len(rows), FITTED)
        own = nearest(rows[fitted], rows, 2)[0][:, 1]  # the nearest is the image itself
        sizes = torch.cat([png_bits(x) for x in known.part(fitted).blocks()])
        residual = _residual(_with_logs(sizes, torch.from_numpy(own)))
        return lambda x: residual(_with_logs(png_bits(x), torch.from_numpy(nearest(_small(x).numpy(), rows)[0][:, 0])))


def _small(x: Tensor) -> Tensor:
    """Images (n, C, H, W) as rows, at most 32 x 32 values a channel."""
    height, width = (min(side, 32) for side in x.shape[2:])
    return F.adaptive_avg_pool2d(x.cpu(), (height, width)).flatten(1)


def _with_logs(sizes: Tensor, errors: Tensor) -> Tensor:
    """(n, 2): log size, log error."""
    return torch.stack([sizes.log(), errors.cpu().double().clamp(min=LEAST).log()], 1)


def _residual(known: Tensor) -> Each:
    """What log errors (n, 2), beside log sizes, are above the straight line through known ones, by least squares.

    A size above all known ones counts as the largest of them: what is richer than every normal image excuses no error.
    """
    mean = known.mean(0)
    size, error = (known - mean).unbind(1)
    slope, largest = (size @ error) / (size @ size).clamp(min=LEAST), size.max()

    def residual(seen: Tensor) -> Tensor:
        size, error = (seen - mean).unbind(1)
        return error - slope * size.clamp(max=largest)

    return residual


def _whitening(codes: Tensor) -> Each:
    """The function by which codes (N, d) have the covariance I, or less in directions in which they hardly differ.

    Raises:
        UserError: fewer than two codes.
    """
    if len(codes) < 2:
        raise UserError(f"{len(codes)} normal images to fit the score to: it takes at least 2.")
    mean = codes.mean(0)
    variance, axes = torch.linalg.eigh((codes - mean).T @ (codes - mean) / len(codes))
    scale = (variance.clamp(min=0) + RIDGE * variance.mean().clamp(min=LEAST)).rsqrt()
    return lambda z: (z - mean) @ axes * scale


def png_bits(images: Tensor) -> Tensor:
    """The bits of images (N, C, H, W) in [0, 1] as PNG files of 8 bits, or of 1 where all is black or white: (N,).

    Channels are one file where PNG has so many, else one each.
    """
    levels = to_images(images)
    parts = np.split(levels, levels.shape[-1], -1) if levels.shape[-1] not in CHANNELS else [levels]
    return torch.tensor([sum(_png_size(part[i]) for part in parts) * 8.0 for i in range(len(levels))]).double()


def _png_size(levels: NDArray[np.uint8]) -> int:
    binary = levels.shape[-1] == 1 and not ((levels != 0) & (levels != 255)).any()
    picture = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
    file = io.BytesIO()
    (picture.convert("1") if binary else picture).save(file, "PNG", optimize=True)
    return len(file.getbuffer())
