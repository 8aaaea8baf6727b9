"""Groups of images that a model's codes fall into: a mixture of normals, whose parts that overlap are one group.

A mixture of full covariances is fitted with as many normals as make codes likeliest that it was not fitted to. One
normal is no cluster: what is curved or long takes several. So those are merged, the two first that are confused most,
until no two are confused in more than a given share (Hennig 2010, "directly estimated misclassification
probabilities"). A band some 40 times as long as it is thick may stay two.
"""

from __future__ import annotations

import csv
import html
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ganvas.data.labels import attributes
from ganvas.ground import plots, sheet
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import order
from ganvas.ground.registry import Count, Seed
from ganvas.latent.collection import Collection

CONFUSED = 0.025  # share of a cluster's codes that are taken for another's, above which both are one
NORMALS = (1, 2, 4, 8, 16, 32, 64, 128)  # in the mixtures that are tried
FITTED, HELD = 20_000, 5_000  # codes that it is fitted to, and that judge it, at most
ACTIVE = 0.01  # of the largest variance, that of a dimension in which codes differ
SHARE, LEAST = 5, 20  # codes for each number of a normal's mean and as many more, and codes in all, at least
SURE = 0.9  # a probability below which an image is not surely its cluster's
FLOOR = 1e-3  # of a variance of 1, what is added to each

Floats = NDArray[np.float64]
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Clusters:
    """A collection in groups, the largest first.

    Attributes:
        of: the group of each image, (N,) from 0 on.
        probability: of that group, (N,) in (0, 1].
        density: log of the codes' density in their own group, (N,): the higher the more typical.
        normals: of the mixture, in each group.
        confusion: of the codes of each group the share that is taken for another group's, (n,).
        next: the largest confusion of two groups, and that of those that were merged last; 1 where none were.
    """

    of: NDArray[np.int64]
    probability: Floats
    density: Floats
    normals: list[int]
    confusion: Floats
    next: tuple[float, float]

    def __len__(self) -> int:
        return len(self.normals)

    def members(self, group: int) -> NDArray[np.int64]:
        """The places of a group's images, the most typical first."""
        here = np.flatnonzero(self.of == group)
        return here[np.argsort(-self.density[here], kind="stable")]


@checked
def cluster(collection: Collection, n: Count | None = None, confused: Share = CONFUSED, seed: Seed = 0) -> Clusters:
    """Groups of a collection's images by their codes.

    Args:
        collection: images and codes, see `ganvas.latent.collection.collect`.
        n: groups; None: as many as are confused in no more than `confused` of their codes.
        confused: that share.
        seed: of the start, and of which codes it is fitted to.

    Raises:
        UserError: fewer than 20 images, more groups than a mixture of them can have, or scikit-learn is missing.
    """
    if find_spec("sklearn") is None:
        raise UserError("`cluster` needs the extra: pip install 'ganvas[cluster]'.")
    if len(collection) < LEAST:
        raise UserError(f"{len(collection)} images: clusters take {LEAST} or more.")
    codes = collection.codes.astype(np.float64)
    variance = codes.var(0)
    codes = codes[:, variance > ACTIVE * variance.max()]
    chosen = order(seed, "cluster", n=len(codes))
    held = codes[np.sort(chosen[: min(HELD, len(codes) // 5)])]
    fitted = codes[np.sort(chosen[len(held) : len(held) + FITTED])]
    axes = _axes(fitted)
    codes, held, fitted = ((part - fitted.mean(0)) @ axes for part in (codes, held, fitted))
    mixture = _mixture(fitted, held, seed, least=n or 1)
    groups, heights = merged(mixture.predict_proba(held), n, confused)
    return _sorted(mixture, codes, held, groups, heights)


def _axes(codes: Floats) -> Floats:
    """Directions (d, k) that a normal of so few codes can have a covariance of: the principal ones, of variance 1."""
    variance, directions = np.linalg.eigh(np.atleast_2d(np.cov(codes, rowvar=False)))
    kept = variance > ACTIVE * variance[-1]
    kept[: -max(1, len(codes) // (2 * SHARE))] = False
    found: Floats = directions[:, kept] / np.sqrt(variance[kept])
    return found


def _mixture(fitted: Floats, held: Floats, seed: int, least: int) -> Any:
    """The mixture under which codes that it was not fitted to are likeliest; of `least` normals or more."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    best, likeliest, d = None, -np.inf, fitted.shape[1]
    for normals in sorted({*NORMALS, least}):
        enough = normals * SHARE * 2 * d <= len(fitted) or normals == 1
        if normals < least or (not enough and best is not None):
            continue
        if normals * 2 > len(fitted):
            raise UserError(f"{least} clusters of {len(fitted) + len(held)} images: it takes more images, or fewer.")
        mixture = GaussianMixture(normals, reg_covar=FLOOR, random_state=seed % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(fitted)
        found = float(mixture.score(held))
        if found <= likeliest:
            break
        best, likeliest = mixture, found
    return best


def merged(probability: Floats, n: int | None, confused: float) -> tuple[list[list[int]], tuple[float, float]]:
    """Components in groups, as long as two are confused, or until there are n.

    Two groups are confused in as large a share as of the codes of one of them belong by their probability to it, and
    are taken for the other's by the largest probability; the larger share of both ways.

    Args:
        probability: of each component at codes, (N, K), rows of sum 1.
        n: groups; None: as `confused` says.
        confused: share from which on two groups are one.

    Returns:
        The components of each group; and the largest confusion that is left, and the last one that was merged.
    """
    groups, last = [[k] for k in range(probability.shape[1])], 1.0
    while True:
        overlap = confusion(probability)
        np.fill_diagonal(overlap, 0.0)
        both = np.maximum(overlap, overlap.T)
        i, j = sorted(divmod(int(both.argmax()), len(both)))
        here = float(both[i, j])
        if len(groups) == 1 or (len(groups) <= n if n else here <= confused):
            return groups, (here, last)
        if i == j:  # nobody is confused, and fewer are asked for: the smallest are one
            i, j = sorted(np.argsort(probability.sum(0))[:2].tolist())
        last = here
        groups[i] += groups.pop(j)
        probability[:, i] += probability[:, j]
        probability = np.delete(probability, j, 1)


def confusion(probability: Floats) -> Floats:
    """Of the codes of component i the share that is taken for those of j, (K, K), rows of sum 1.

    Codes are i's by their probability (N, K), and taken for that of their largest one.
    """
    taken = np.eye(probability.shape[1])[probability.argmax(1)]
    total = np.maximum(probability.sum(0), 1e-300)
    found: Floats = probability.T @ taken / total[:, None]
    return found


def _sorted(
    mixture: Any, codes: Floats, held: Floats, groups: list[list[int]], heights: tuple[float, float]
) -> Clusters:
    def of_groups(some: Floats) -> Floats:
        each = mixture.predict_proba(some)
        return np.stack([each[:, group].sum(1) for group in groups], 1)

    probability = of_groups(codes)
    of = probability.argmax(1)
    by_size = np.argsort(-np.bincount(of, minlength=len(groups)), kind="stable")
    place = np.empty(len(groups), np.int64)
    place[by_size] = np.arange(len(groups))
    own = probability[np.arange(len(of)), of]
    log_p = mixture.score_samples(codes) + np.log(np.maximum(own, 1e-300))
    apart = confusion(of_groups(held))
    return Clusters(
        of=place[of],
        probability=own,
        density=log_p,
        normals=[len(groups[i]) for i in by_size],
        confusion=1 - np.diag(apart)[by_size],
        next=heights,
    )


def lines(found: Clusters, collection: Collection) -> list[tuple[str, str]]:
    """What was found, in words; where there are labels, how far it agrees with them."""
    n, (left, last) = len(found), found.next
    sizes = np.bincount(found.of, minlength=n)
    unsure = float((found.probability < SURE).mean())
    said = [
        ("clusters", f"{n} of {len(collection):,} images, of {sizes.max():,} to {sizes.min():,}"),
        ("apart", f"between no two is more than {left:.1%} of either's codes confused" if n > 1 else "all are one"),
        ("normals", f"{sum(found.normals)}; one cluster more would have {last:.1%}" if last < 1 else "one each"),
        ("unsure", f"{unsure:.1%} of the images belong to theirs with less than {SURE:.0%}"),
    ]
    from sklearn.metrics import adjusted_rand_score

    for name, labels, _ in _labels(collection):
        known = labels >= 0
        index = adjusted_rand_score(labels[known], found.of[known])
        said.append(("labels", f"adjusted Rand index {index:.3f} with {name}: 1 where they agree, 0 by chance"))
    return said


def write_table(path: Path, found: Clusters, collection: Collection) -> None:
    """A line an image: its name, split, cluster, the probability that it belongs there, and its place by how typical it
    is of the cluster, from 1 on."""
    places = np.arange(len(collection))
    rank = np.empty(len(places), np.int64)
    for group in range(len(found)):
        members = found.members(group)
        rank[members] = np.arange(1, len(members) + 1)
    columns = collection.names(places), collection.splits(places), found.of, found.probability, rank
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("name", "split", "cluster", "probability", "typical"))
        table.writerows((*said, group, f"{p:.4f}", place) for *said, group, p, place in zip(*columns, strict=True))


def page(found: Clusters, collection: Collection, said: Sequence[tuple[str, str]], n: int) -> str:
    """One HTML file: of each cluster the n most typical images, and as many at its edge."""
    figures = []
    for group in range(len(found)):
        members = found.members(group)
        words = [f"<b>cluster {group}</b>: {len(members):,} images ({len(members) / len(collection):.1%})"]
        words += [_shares(name, labels[members], values) for name, labels, values in _labels(collection)]
        words.append(f"{found.confusion[group]:.1%} of its codes are taken for another one's")
        pictures = ""
        if len(collection.dataset.shape) == 3:
            edge = members[np.argsort(found.probability[members], kind="stable")[:n]]
            rows = [members[:n], edge[: max(0, len(members) - n)]]
            pictures = "".join(
                sheet.embedded(plots.grid(sheet.coloured(collection.images(some)), n)) for some in rows if len(some)
            )
        figures.append(sheet.figure(pictures, "; ".join(words), wide=True))
    about = "Of each cluster the images whose codes are most typical of it, and below those that it is least sure of."
    return sheet.sheet(f"Clusters of {collection.dataset.name}", said, about, figures)


def _labels(collection: Collection) -> Iterator[tuple[str, NDArray[np.int64], tuple[str, ...]]]:
    """The columns of the labels: name, values (N,), and what these are called."""
    parts = [split.labels for split in collection.dataset.splits.values()]
    known = [np.asarray(part) for part in parts if part is not None]
    if len(known) < len(parts):
        return
    columns = np.concatenate([part.reshape(len(part), -1) for part in known])
    for place, (name, values) in enumerate(attributes(collection.dataset).items()):
        yield name, columns[:, place].astype(np.int64), values


def _shares(name: str, labels: NDArray[np.int64], values: tuple[str, ...]) -> str:
    """The most frequent labels in words."""
    known = labels[labels >= 0]
    counts = np.bincount(known, minlength=len(values))
    most = [i for i in np.argsort(-counts, kind="stable")[:3] if counts[i] >= max(1, 0.03 * len(known))]
    return html.escape(f"{name} " + ", ".join(f"{values[i]} {counts[i] / max(1, len(known)):.0%}" for i in most))
