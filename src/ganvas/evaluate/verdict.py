"""What figures mean, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ganvas.evaluate.figures import Figure, Z
from ganvas.evaluate.record import Record

DISTANCES = ("FID", "KID", "kernel distance", "Frechet distance")
SHARES = {"coverage": "they come near to {} of the real images", "recall": "{} of the real images lie among them"}


def verdict(records: Sequence[Record]) -> str:
    """One sentence of what figures mean; "" where there is none of those that it knows.

    It goes by no threshold but that of chance: a figure stands beside what as many training images have in the samples'
    place, or beside what is read from the pixels, and is told apart where they are further apart than 1.96 standard
    errors.
    """
    found: dict[str, Figure] = {}
    for record in records:
        for it in record.figures:
            # The NLL in bits is the one in nats again, without its note.
            known = found.setdefault(it.name, it)
            if known.note and not it.note and known.unit == it.unit:
                found[it.name] = it
    said = [*_samples(found), *_likelihood(found), *_codes(found)]
    return f"In short: {'; '.join(said)}." if said else ""


def _samples(found: Mapping[str, Figure]) -> Iterator[str]:
    known = [found[name] for name in DISTANCES if name in found and found[name].of_data is not None]
    for it in sorted(known, key=lambda it: bool(it.note))[:1]:
        data = it.of_data or 0.0
        further = it.value - data > Z * (it.error or 0.0)
        yield (
            f"samples are {'further from' if further else 'no further from'} the real images than training images are "
            f"({it.name} {it.value:.3g}, of training images {data:.3g})"
        )
    for name, words in SHARES.items():
        if name in found:
            it = found[name]
            beside = f", of training images {_percent(it.of_data)}" if it.of_data is not None else ""
            yield f"{words.format(_percent(it.value))} ({name}{beside})"
            break
    if "modes" in found:
        yield f"they reach {found['modes'].value:.0f} {found['modes'].unit} modes"
    if "copies of a training image" in found:
        copies = found["copies of a training image"]
        yield f"{copies.value * copies.n:,.0f} of {copies.n:,} are copies of a training image"


def _likelihood(found: Mapping[str, Figure]) -> Iterator[str]:
    """The larger of two lower bounds."""
    if "NLL" in found or "ELBO" in found:
        name = "NLL" if "NLL" in found else "ELBO"
        value = -found[name].value if name == "NLL" else found[name].value
        yield f"log P(x) of a real image is at least {value:,.1f} nats on average ({name})"


def _codes(found: Mapping[str, Figure]) -> Iterator[str]:
    if "active units" in found:
        yield f"the codes use {found['active units'].value:.0f} {found['active units'].unit} dimensions"
    if "linear probe of codes" in found and "linear probe of PCA" in found:
        codes, pca = found["linear probe of codes"].value, found["linear probe of PCA"].value
        yield (
            f"a linear classifier reads {_percent(codes)} of the labels from the codes, "
            f"{_percent(pca)} from as many numbers of PCA"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
