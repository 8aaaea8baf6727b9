"""What does not belong: a score for each image, its p-value, and which of them give an alarm."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas.evaluate.anomaly.scores import Rows, answers, score_of
from ganvas.evaluate.measures.checks import Floats
from ganvas.evaluate.measures.conformal import Rate, p_values, rank, rate_interval
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError, unknown
from ganvas.ground.registry import kind
from ganvas.models import Model

CALIBRATED, SEARCHED = 10_000, 200  # normal images that set the threshold, at most; of a model that searches
SHOWN = 16  # of the strangest, that a notebook shows


@dataclass(frozen=True, repr=False)
class Scored:
    """Images with their scores.

    Attributes:
        by: the score's name.
        scores: (N,), higher is stranger.
        calibration: those of normal images that taught it nothing, (n,).
        false_alarms: the rate of alarms among normal images that is asked for.
        strangest: images, the strangest first, (k, *shape), and
        imitations: what the model gives for them.
    """

    by: str
    scores: Floats
    calibration: Floats
    false_alarms: float
    strangest: Tensor = field(compare=False)
    imitations: Tensor = field(compare=False)

    @cached_property
    def p_values(self) -> Floats:
        """(N,): of a normal image uniform, or larger."""
        return p_values(self.scores, self.calibration)

    @property
    def alarms(self) -> NDArray[np.bool_]:
        """Whose p-value is at most the rate, (N,): those above the threshold."""
        return self.p_values <= self.false_alarms

    @property
    def threshold(self) -> float:
        """Above it is an alarm."""
        n = len(self.calibration)
        return float(np.sort(self.calibration)[n - rank(n, self.false_alarms)])

    @property
    def expected(self) -> float:
        """The alarms that there would be, on average over calibrations, if all images were normal: at most these."""
        n = len(self.calibration)
        return len(self.scores) * rank(n, self.false_alarms) / (n + 1)

    @property
    def rate_interval(self) -> tuple[float, float]:
        """From where to where the true false-alarm rate lies with 95 %, see `ganvas.evaluate.measures.conformal`."""
        return rate_interval(len(self.calibration), self.false_alarms)

    @property
    def order(self) -> NDArray[np.int64]:
        """The images' numbers, the strangest first; of equal ones the first."""
        return np.argsort(-self.scores, kind="stable")

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        found = f"{int(self.alarms.sum()):,} alarms, {self.expected:,.1f} expected of normal ones"
        return f"<Scored {len(self):,} images by {self.by}: {found} ({self.false_alarms:.3g})>"

    def _repr_html_(self) -> str:
        from ganvas import notebook

        return notebook.of_scored(self)


@checked
def score(
    model: Model,
    images: Any,
    normal: Any,
    *,
    train: Any = None,
    by: Any = None,
    false_alarms: Rate = 0.05,
) -> Scored:
    """How strange each image is, and which ones give an alarm.

    Args:
        model: that was trained on normal images.
        images: a `Split`, or whatever `model.encode` takes.
        normal: the same, normal images that it was not trained on: they set the threshold.
        train: the same, normal images that a score may be fitted to: those that it was trained on. None: where one is
            fitted, every other one of `normal` is taken for that, and the rest set the threshold.
        by: a name of `ganvas.evaluate.anomaly.scores.SCORES`, or settings of one; None: the model's default.
        false_alarms: the rate of alarms among normal images.

    Raises:
        UserError: images of another shape, none, or NaN; a score that the model can't answer; too few normal images.
    """
    chosen = score_of(model, by)
    given, held = Rows.of(model, images), Rows.of(model, normal)
    fit = held if train is None else Rows.of(model, train)
    if chosen.learns and train is None:
        fit, held = held.part(slice(1, None, 2)), held.part(slice(0, None, 2))
    held = held.spread(SEARCHED if getattr(model, "searches", False) else CALIBRATED)
    rank(len(held), false_alarms)  # too few are refused before any work
    each = chosen.fit(model, fit)
    scores, calibration = (answers(model, each, rows).numpy() for rows in (given, held))
    for name, found in (("an image", scores), ("a normal image", calibration)):
        if not np.isfinite(found).all():
            place = int(np.flatnonzero(~np.isfinite(found))[0])
            raise UserError(f"the score of {name}, number {place}, is {found[place]}: the model gives no numbers.")
    strangest = given[np.argsort(-scores, kind="stable")[:SHOWN]]
    return Scored(kind(type(chosen)), scores, calibration, false_alarms, strangest, imitations(model, strangest))


def imitations(model: Any, images: Tensor) -> Tensor:
    """What a model gives for images (N, *shape), each one as like it as it can."""
    found: Tensor = model.chunks(model.imitated, images.to(model.device)).cpu()
    return found


def heat(images: Tensor, imitations: Tensor) -> Tensor:
    """Where images (N, C, H, W) differ from their imitations, as pictures (N, 3, H, W): black is 0, white the most.

    The absolute difference, its mean over the channels. The scale is one for all: they can be compared.
    """
    error = (images - imitations).abs().mean(1)
    t = 3 * error / max(float(error.max()), 1e-12)
    return torch.stack([t, t - 1, t - 2], 1).clamp(0, 1)


@checked
def strange_classes(
    classes: tuple[str, ...], normal: tuple[str, ...] = (), strange: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The names of the classes whose images are strange; none where nothing says it.

    Args:
        classes: all of them.
        normal: those whose images are normal; all others are strange, then. Where nothing is said a class that is
            called "good" or "normal" is: so MVTec AD has it (Bergmann et al. 2019).
        strange: or the strange ones.

    Raises:
        UserError: both, one that is not there, or nothing left that is normal or strange.
    """
    if normal and strange:
        raise UserError("state the normal classes or the strange ones, not both: the others are what is left.")
    for name in (*normal, *strange):
        if name not in classes:
            raise unknown("class", name, classes)
    given = bool(normal or strange)
    normal = normal or tuple(name for name in classes if name.lower() in ("good", "normal"))
    found = strange or (tuple(name for name in classes if name not in normal) if normal else ())
    if given and len(found) in (0, len(classes)):
        raise UserError(f"all classes ({', '.join(classes)}) would be {'strange' if found else 'normal'}: leave one.")
    return found
