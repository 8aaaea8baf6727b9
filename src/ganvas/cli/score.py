"""The verb that finds what does not belong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ganvas.cli.models import DESCENDED, load_data, load_model
from ganvas.cli.shared import Device, ModelData, RunFolder, table
from ganvas.ground.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganvas.data import Dataset
    from ganvas.evaluate.anomaly.anomalies import Scored
    from ganvas.evaluate.anomaly.scores import BaseScore, Rows
    from ganvas.models import Model

SCORES = "relative, reconstruction, worst, elbo, complexity, typicality, codes, neighbours"
Classes = tuple[str, ...]


def score(
    run: RunFolder,
    /,
    *,
    data: ModelData = None,
    normal: Annotated[
        str | None, "DATA", "normal images, for the threshold (default: the run's, not trained on)"
    ] = None,
    by: Annotated[str | None, "NAME", f"{SCORES} (default: the first that the model has)"] = None,
    false_alarms: Annotated[float, "RATE", "of normal images, the share that may give an alarm"] = 0.05,
    normal_class: Annotated[Classes, "NAME...", "labels of normal images (default: good, or normal)"] = (),
    strange_class: Annotated[Classes, "NAME...", "or those of strange ones: both give the AUROC"] = (),
    n: Annotated[int, "INT", "images on the page, the strangest first"] = 60,
    device: Device = "auto",
    out: Annotated[Path | None, "DIR", "a new folder (default: RUN/scores/DATA)"] = None,
) -> None:
    """What does not belong: how strange each image is to a model, and which give an alarm, as scores.csv and a page,
    index.html. The threshold takes no labels: normal images that the model was not trained on set it.

    Example:
        ganvas score runs/first --data ./photos --false-alarms 0.01
    """
    model = load_model(run, "score_samples", n)
    from ganvas.evaluate.anomaly import scoresheet
    from ganvas.evaluate.anomaly.anomalies import score as scored
    from ganvas.evaluate.anomaly.anomalies import strange_classes
    from ganvas.evaluate.anomaly.scores import score_of
    from ganvas.evaluate.measures.conformal import needed
    from ganvas.ground.files import free, vacant, whole, write_text
    from ganvas.training.engine import choose_device
    from ganvas.training.run import Run

    chosen = score_of(model, by)
    needed(false_alarms)  # what is no rate is refused
    if out:
        vacant(out)
    model.to(choose_device(device))
    given = load_data(run, model, data)
    if (normal_class or strange_class) and not given.classes:
        raise UserError(f"{given.name} has no classes: leave --normal-class and --strange-class out.")
    strange = strange_classes(given.classes or (), normal_class, strange_class)
    own = Run(run).dataset() if (run / "recipe.json").is_file() else None
    itself = own is not None and own.fingerprint == given.fingerprint
    rows = _rows(model, given, ("test",) if itself else tuple(given.splits))
    if model.searches and len(rows) > DESCENDED:
        raise UserError(
            f"{len(rows):,} images: a GAN looks for the nearest image that it can make, of up to {DESCENDED:,}. Train "
            f"it an encoder (ganvas fit-encoder {run}), or give fewer images with --data."
        )
    calibration, said = _normal(run, model, own, itself, normal, strange)
    train = _rows(model, own, ("train",), strange) if own and chosen.learns else None
    found = scored(model, rows, calibration, train=train, by=chosen, false_alarms=false_alarms)
    lines = [*_lines(found, chosen, said, given.name), *_judged(found, rows, given.classes or (), strange)]
    place = out or free(run / "scores" / given.name)
    with whole(place) as folder:
        scoresheet.write_table(folder / "scores.csv", found, rows, given.classes)
        write_text(folder / "index.html", scoresheet.page(found, model, rows, given.classes, lines, n))
    table([*lines, ("written", place / "scores.csv"), ("", place / "index.html")])


def _rows(model: Model, dataset: Dataset, splits: Classes, without: Classes = ()) -> Rows:
    """Images of these splits, in the order of the source where all of it is taken; none of these classes."""
    import numpy as np

    from ganvas.evaluate.anomaly.scores import Rows

    rows = Rows.of(model, [dataset.splits[name] for name in splits])
    order, labels = rows.known("order"), rows.known("labels")
    if order is not None and len(splits) == len(dataset.splits) and len(np.unique(order)) == len(order):
        rows = rows.part(np.argsort(order))
        labels = rows.known("labels")
    if labels is None or not dataset.classes or not without:
        return rows
    unfit = [-1, *(i for i, name in enumerate(dataset.classes) if name in without)]  # -1: nobody knows
    return rows.part(~np.isin(labels, unfit))


def _normal(
    run: Path, model: Model, own: Dataset | None, itself: bool, normal: str | None, strange: Classes
) -> tuple[Rows, str]:
    """Images for the threshold, and what they are."""
    held = ("validation",) if itself else ("validation", "test")
    if normal is None:
        if own is None:
            raise UserError(f"{run} is a model without its run: say with --normal which images are normal ones.")
        return _rows(model, own, held, strange), f"of {own.name} that it was not trained on ({', '.join(held)})"
    found = load_data(run, model, normal)
    same = own is not None and own.fingerprint == found.fingerprint
    return _rows(model, found, held if same else tuple(found.splits), strange), f"of {found.name}"


def _lines(found: Scored, chosen: BaseScore, said: str, name: str) -> list[tuple[str, str]]:
    """What was found, in words."""
    low, high = found.rate_interval
    n, rate = len(found.calibration), found.false_alarms
    about = (type(chosen).__doc__ or "").split("\n\n")[0].strip()
    return [
        ("score", f"{found.by}: {about}"),
        ("images", f"{len(found):,} of {name}"),
        ("normal images", f"{n:,} {said}"),
        ("threshold", f"{found.threshold:.6g}: above it is an alarm"),
        ("alarms", f"{int(found.alarms.sum()):,}; if all were normal, {found.expected:,.1f} would be expected"),
        ("false alarms", f"{rate:.3g} asked for; with these normal images {low:.3g} to {high:.3g} (95 %)"),
    ]


def _judged(found: Scored, rows: Rows, classes: Classes, strange: Classes) -> Iterator[tuple[str, str]]:
    """What labels say of it: the AUROC, and alarms of normal and strange images, of each strange class too."""
    import numpy as np

    from ganvas.evaluate.measures.roc import auroc

    labels = rows.known("labels")
    if labels is None or not strange:
        return
    which = {name: labels == i for i, name in enumerate(classes)}
    odd = np.isin(labels, [i for i, name in enumerate(classes) if name in strange])
    fine = ~odd & (labels >= 0)

    def alarms(where: NDArray[np.bool_]) -> str:
        return f"{int(found.alarms[where].sum()):,} of {int(where.sum()):,} alarm"

    if not fine.any() or not odd.any():
        yield "AUROC", f"none: all images are {'strange' if odd.any() else 'normal'} by their labels"
        return
    yield "AUROC", f"{auroc(found.scores[odd], found.scores[fine])} (95 %), by the labels"
    yield "normal", alarms(fine)
    yield "strange", alarms(odd)
    for name in strange if len(strange) > 1 else ():
        if which[name].any():
            yield f"  {name}", f"{alarms(which[name])}, AUROC {auroc(found.scores[which[name]], found.scores[fine])}"


HELP = """\
  score RUN --data DATA         what does not belong: scores and alarms
"""
VERBS: dict[str, Callable[..., None]] = {"score": score}
