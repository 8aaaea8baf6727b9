"""What a model may be told beside an image or a code: values of its labels, as rows of numbers for its nets.

A `Conditional` learns P(x given c). Its encoder sees the image with c as a random pattern on it, x + E c, which is
what a fully connected net makes of c beside x; its decoder takes c beside z; and a discriminator is asked whether the
image is one of c (`ganvas.models.gan`). In a share of the training it is told nothing, which all zeros stand for: so
every verb answers without a condition too (Ho & Salimans 2022).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from ganvas.data.labels import attributes
from ganvas.ground.errors import UserError, unknown
from ganvas.ground.registry import Fraction, changed, kind, settings
from ganvas.models.base import MODELS, Model
from ganvas.parts.priors import ToldMixture

if TYPE_CHECKING:
    from ganvas.data import Dataset
    from ganvas.data.loader import Batch
    from ganvas.ground.randomness import Draw

PRIORS = ("prior.", "prior_given.")  # what the names of P(z)'s weights begin with
MANY = 20  # different numbers, above which a label is a number and none of so many names
Asked = Mapping[str, Any]


@settings
class Attribute:
    """One column of the labels.

    Attributes:
        name: of the column; "class" of a data set with one.
        column: its place.
        values: the names of its values, in the order of the labels.
        number: whether the values are numbers, of which those between are meant too.
    """

    name: str
    column: int
    values: tuple[str, ...]
    number: bool = False

    @property
    def width(self) -> int:
        """Numbers that stand for it: one for each value; of a number that there is one, and how large."""
        return 2 if self.number else len(self.values)

    @cached_property
    def table(self) -> Tensor:
        """The row of each value, and last that of none: (values + 1, width)."""
        rows = torch.stack([self._of(float(value)) for value in self.values]) if self.number else torch.eye(self.width)
        return torch.cat([rows, torch.zeros(1, self.width)])

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest of a number's values."""
        known = [float(known) for known in self.values]
        return min(known), max(known)

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Mean and standard deviation of a number's values."""
        known = np.array([float(known) for known in self.values])
        return float(known.mean()), float(known.std())

    def _of(self, value: float) -> Tensor:
        mean, deviation = self.scale
        return torch.tensor([1.0, (value - mean) / deviation])

    def rows(self, given: Tensor) -> Tensor:
        """The rows (N, width) of places among the values, int64 (N,), -1 of none; of a number of float32, NaN of none.

        It can be traced, for a file that takes them.
        """
        if not self.number:
            return self.table[given]
        mean, deviation = self.scale
        there = ~given.isnan()
        place = torch.where(there, (given - mean) / deviation, torch.zeros_like(given))
        return torch.stack([there.to(given.dtype), place], 1)

    def row(self, value: Any) -> Tensor:
        """The row (width,) of a value, by its name or as a number.

        Raises:
            UserError: there is none.
        """
        text = str(value)
        if not self.number:
            if text not in self.values:
                raise unknown(f"value of {self.name}", text, self.values)
            return self.table[self.values.index(text)]
        try:
            given = float(text)
        except ValueError:
            given = math.nan
        if not math.isfinite(given):
            low, high = self.range
            raise UserError(
                f"{self.name} is {text!r}: it takes a number; those of the training are {low:g} to {high:g}."
            )
        return self._of(given)


@settings
class Condition:
    """Settings of a model that may be told values of labels.

    Attributes:
        condition: the columns.
        untold: share of the images that it is told nothing of in training; of several columns, of each besides.
        told_prior: whether P(z) is another one where it is told: one that is fitted to codes is, with weights of its
            normals by what is told, as codes say something of a class although the decoder is told it.
    """

    condition: tuple[Attribute, ...] = ()
    untold: Fraction = 0.1
    told_prior: bool = False


def conditioned(config: Any, dataset: Dataset, names: tuple[str, ...]) -> Any:
    """A model's settings with columns of a data set's labels as its condition.

    A column of more than 20 values that are all numbers is a number.

    Raises:
        UserError: a model that takes no condition; no labels, an unknown name, one that is given twice, or a column
            with one value in the training set.
    """
    if not isinstance(config, Condition):
        takers = ", ".join(name for name, known in MODELS.items() if issubclass(known, Condition))
        raise UserError(
            f"a model of kind {kind(type(config))} takes no condition: leave --condition away, or take {takers}."
        )
    known = attributes(dataset)
    found = []
    for name in names:
        if name not in known:
            raise unknown("label", name, known)
        if names.count(name) > 1:
            raise UserError(f"--condition {' '.join(names)} has {name} twice.")
        values, column = known[name], list(known).index(name)
        labels = np.asarray(dataset.splits["train"].labels)
        seen = np.unique(labels.reshape(len(labels), -1)[:, column])
        seen = seen[seen >= 0]  # of the others it is told nothing
        if len(seen) < 2:
            has = f"one value in the training set, {values[int(seen[0])]}" if len(seen) else "none in the training set"
            raise UserError(f"{name} has {has}: it says nothing of an image.")
        found.append(Attribute(name=name, column=column, values=values, number=len(values) > MANY and _numbers(values)))
    return changed(config, {"condition": tuple(found)})


def _numbers(values: tuple[str, ...]) -> bool:
    try:
        return all(math.isfinite(float(value)) for value in values)
    except ValueError:
        return False


class Conditional(Model):
    """A family whose settings are those of a `Condition` too.

    Attributes:
        told: what it is told, (1, width), or (N, width) with the batch that is being asked; None: nothing.
        pattern: E, of a family with an encoder; None of a model without a condition.
        prior_given: P(z given c), if P(z) is fitted.
        guidance: how much of what it is told its images show, of a family that `guides`; a scalar where it is traced.
    """

    guides: ClassVar[bool] = False
    guidance: float | Tensor = 1.0

    told: Tensor | None = None
    pattern: Tensor | None
    prior_given: ToldMixture | None

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape)
        self.prior_given = None
        for place, attribute in enumerate(config.condition):
            self.register_buffer(f"rows_{place}", attribute.table, persistent=False)

    @property
    def width(self) -> int:
        """Numbers that a condition is."""
        return sum(attribute.width for attribute in self.config.condition)

    @property
    def told_length(self) -> float:
        """How long a value is beside z: as long as z usually is, or what z is at each of its places.

        At length 1 a decoder learns the class from z, before it hears it: of a VAE of digits after 20 epochs, 29 % of
        samples were of the class, and 95 % so.
        """
        return math.sqrt(self.code_shape[0])

    def draw_pattern(self) -> None:
        """Make E of x + E c, of a family with an encoder and a condition.

        It is random and stays as it is: the encoder learns to read it, as well as one that is learned, which would
        take the gradient by the image, a tenth of a step (docs/log.md, 2026-11-30).
        """
        pattern = 0.3 * torch.randn(self.width, math.prod(self.shape)) if self.width else None
        self.register_buffer("pattern", pattern)

    def marked(self, x: Tensor) -> Tensor:
        """x (N, *shape) with the pattern of the condition on it."""
        if self.told is None or self.pattern is None:
            return x
        return x + (self.told @ self.pattern).view(-1, *self.shape)

    def joined(self, z: Tensor) -> Tensor:
        """z (N, latent_dim) -> (N, latent_dim + width); of k codes for each of the told, one beside another."""
        if not self.width:
            return z
        told = z.new_zeros(1, self.width) if self.told is None else self.told_length * self.told.to(z.dtype)
        rows, of = z.shape[0], told.shape[0]  # `len` is a fixed number where it is traced
        if rows != of:
            told = told.expand(rows, -1) if of == 1 else told.repeat_interleave(rows // of, 0)
        return torch.cat([z, told], 1)

    def guided(self, z: Tensor) -> Tensor:
        """`output` of z, for images: that of nothing told, and `guidance` times what the condition adds to it.

        Above 1 the images are more of their label than those of the model are (Ho & Salimans 2022, equation 6).
        """
        output: Tensor = self.output(z)
        if self.told is None or (not isinstance(self.guidance, Tensor) and self.guidance == 1):
            return output
        nothing = self.being_told(torch.zeros_like(self.told)).output(z)
        return torch.lerp(nothing, output, self.guidance)

    def being_told(self, told: Tensor) -> Self:
        """The same model, weights and all, that is told so; one row of zeros is nothing, for P(z) too."""
        found = copy.copy(self)
        found.told = told
        if self.prior_given is not None and (len(told) > 1 or bool(told.any())):
            found._modules = {**self._modules, "prior": self.prior_given.of(told)}
        return found

    def of_labels(self, labels: Any) -> Tensor:
        """The rows (N, width) of labels, int64 (N,) or (N, A) as the data set has them; -1 where it is not known."""
        columns = torch.as_tensor(labels, device=self.rows_0.device)
        columns = columns.reshape(len(columns), -1)
        return self._rows(columns[:, column] for column in (it.column for it in self.config.condition))

    def _rows(self, columns: Iterable[Tensor]) -> Tensor:
        """Of each attribute's places among its values, int64 (N,), -1 of none: (N, width)."""
        return torch.cat([getattr(self, f"rows_{i}")[places] for i, places in enumerate(columns)], 1)

    def of_batch(self, batch: Batch, draw: Draw) -> Self:
        """The model that is told the labels of a batch.

        In training it is told nothing of a share of the images, and of several columns of the same share of each.
        """
        if not self.width or batch.labels is None:
            return self
        labels, of = batch.labels, self.config.condition
        labels = labels[:, None] if labels.dim() == 1 else torch.stack([labels[:, it.column] for it in of], 1)
        if self.training and self.config.untold:
            columns = 1 if len(of) == 1 else 1 + len(of)
            kept = draw.uniform("untold", (len(labels), columns), labels.device) >= self.config.untold
            kept = kept if columns == 1 else kept[:, :1] & kept[:, 1:]
            labels = torch.where(kept, labels, -1)
        return self.being_told(self._rows(labels.unbind(1)))

    def given(self, condition: Asked, guidance: float = 1.0) -> Self:
        """The model that is told values of labels, and all verbs of which answer by them.

        Args:
            condition: {"class": "7"}, {"glasses": "round", "beard": "none"}, {"age": 37}; of what is not named it is
                told nothing.
            guidance: above 1 the images that a VAE decodes show more of what it is told, see `guided`; its likelihood
                and its codes stay as they are.

        Raises:
            UserError: it has no condition, or an unknown name or value; guidance that it can't have.
        """
        known = {attribute.name: attribute for attribute in self.config.condition}
        if not known:
            raise UserError("this model was trained without a condition: train one with --condition NAME.")
        if not isinstance(condition, Mapping) or not condition:
            raise UserError(f"a condition is {{name: value}}, of {', '.join(known)}; given is {condition!r:.80}.")
        if guidance != 1 and not (self.guides and 0 <= guidance < math.inf):
            able = "" if self.guides else ", and of a VAE alone"
            raise UserError(f"guidance is {guidance:g}: it is a number from 0, 1 without{able}.")
        for name in condition:
            if name not in known:
                raise unknown("label", str(name), known)
        rows = [
            attribute.row(condition[name]) if name in condition else torch.zeros(attribute.width)
            for name, attribute in known.items()
        ]
        found = self.being_told(torch.cat(rows)[None].to(self.device))
        found.guidance = guidance
        return found

    def each_given(self, labels: Any, ask: Callable[..., Tensor], rows: Any, *values: Any, **named: Any) -> Tensor:
        """A verb's answers (N, ...) of images or codes, each as the model that is told its own labels.

        Args:
            labels: whole numbers (N,), or (N, A), as the data set has them; -1 where one is not known.
            ask: the verb, of a model, rows, and the others.
            rows: images or codes.

        Raises:
            UserError: labels that are none of the training's, or not as many as there are rows.
        """
        if ask.__name__ == "sample":
            raise UserError("sample takes one condition, {name: value}, for all images.")
        given = np.asarray(labels)
        columns = given.reshape(len(given), -1) if given.ndim in (1, 2) else np.empty((0, 0))
        of = self.config.condition
        if not of:
            self.given({})
        if not np.issubdtype(given.dtype, np.integer) or columns.shape[1] <= max(it.column for it in of):
            said = f"a condition of {given.dtype} {given.shape}"
            raise UserError(f"{said}: it is {{name: value}} for all, or a label for each image as the data have them.")
        for it in of:
            if not -1 <= (low := columns[:, it.column].min()) <= (top := columns[:, it.column].max()) < len(it.values):
                raise UserError(
                    f"labels of {it.name} are {low} to {top}: they go from 0 to {len(it.values) - 1}, or -1."
                )
        take = self.codes if ask.__name__ == "decode" else self.rows
        x = take(rows)
        if len(x) != len(columns):
            raise UserError(f"{len(columns)} labels for {len(x)} rows.")
        told, places = torch.unique(self.of_labels(columns.astype(np.int64)), dim=0, return_inverse=True)
        found: Tensor | None = None
        for place, row in enumerate(told):
            some = places == place
            part = ask(self.being_told(row[None]), x[some], *values, **named)
            found = part.new_empty((len(x), *part.shape[1:])) if found is None else found
            found[some] = part
        assert found is not None
        return found
