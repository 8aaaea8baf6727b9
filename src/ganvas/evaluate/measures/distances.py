"""Euclidean distances between the rows of two arrays.

Everything is float64: in float32 a product loses the small distances within a tight cluster, which is what a collapsed
generator makes. Where there is much to compute and few distances are asked for, fast products tell which those are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas.evaluate.measures.checks import Array, Floats
from ganvas.evaluate.measures.screening import CHUNK, ROUNDING, TILE, Margins, Screen, spans

PAIRS = 2**24  # distances in memory at a time: 128 MiB
PLAIN = 2**31  # multiplications below which screening does not pay
SHARE = 128  # a distance alone costs as much as so many in a product
CROWD = 16  # a row with more than one candidate in so many is given up at once
CLUSTERS = 256  # of such rows, that are tried

Places = NDArray[np.int64]


def blocks(x: Array, y: Array, centre: Floats | None = None) -> Iterator[tuple[slice, Floats]]:
    """Squared distances (n, M) of some rows of x (N, d) to all of y (M, d), with the slice of x that they belong to.

    Computed as |x|^2 + |y|^2 - 2 x.y, with a centre taken off before, the mean of y if none is given, so that a common
    offset costs no digits. What is less than the rounding of that is 0.
    """
    centre = y.mean(0, dtype=np.float64) if centre is None else centre
    y = y - centre
    y_norms = np.einsum("ij,ij->i", y, y)
    for rows in spans(len(x), max(1, PAIRS // max(y.shape))):
        part = x[rows] - centre
        norms = np.einsum("ij,ij->i", part, part)[:, None] + y_norms
        squared = part @ y.T
        squared *= -2
        squared += norms
        norms *= ROUNDING
        squared[squared < norms] = 0
        yield rows, squared


def nearest(x: Array, y: Array | None = None, k: int = 1) -> tuple[Floats, Places]:
    """The k rows of y (M, d) nearest to each row of x (N, d), nearest first; without y: of x, but not the row itself.

    Returns:
        Squared distances (N, k), and their places in y (N, k).
    """
    if few(x, x if y is None else y):
        return _nearest_plainly(x, x if y is None else y, k, np.arange(len(x)) if y is None else None)
    return _nearest_screened(x, y, k)


def inside(
    x: Array, y: Array, radii: Floats, others: Floats | None = None
) -> Iterator[tuple[slice, slice, list[NDArray[np.bool_]]]]:
    """Which rows lie in the balls around rows of the other array, for some rows of each at a time.

    Args:
        x: (N, d).
        y: (M, d).
        radii: squared, of the balls around x (N,); a ball is closed.
        others: likewise around y (M,), if they are asked for.

    Yields:
        The rows of x and of y, and masks (n, m): y_j in the ball of x_i; and x_i in that of y_j if asked for.
    """
    if few(x, y):
        for rows, squared in blocks(x, y):
            masks = [squared <= radii[rows, None]]
            yield rows, slice(0, len(y)), masks if others is None else [*masks, squared <= others]
        return
    screen = Screen(x, y)
    shift = screen.shift(float(np.median(radii)))
    for rows, columns, product in screen.tiles(shift):
        own = screen.margins(rows, shift)
        masks = [_settle(screen, product, rows, columns, own, radii[rows, None])]
        if others is not None:
            back = screen.margins(columns, shift, of_y=True)
            masks.append(_settle(screen, product, rows, columns, back, others[None, columns]))
        yield rows, columns, masks


def few(x: Array, y: Array) -> bool:
    """Whether so little is to be computed that all of it may be float64."""
    return x.size * len(y) < PLAIN


def _nearest_plainly(x: Array, y: Array, k: int, own: Places | None) -> tuple[Floats, Places]:
    """own: the place in y of each row itself (N,), which does not count."""
    distances, places = np.empty((len(x), k)), np.empty((len(x), k), np.int64)
    for rows, squared in blocks(x, y):
        if own is not None:
            squared[np.arange(len(squared)), own[rows]] = np.inf
        found = squared.argmin(1)[:, None] if k == 1 else np.argpartition(squared, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(squared, found, axis=1)
        order = values.argsort(axis=1, kind="stable")
        distances[rows] = np.take_along_axis(values, order, axis=1)
        places[rows] = np.take_along_axis(found, order, axis=1)
    return distances, places


def _nearest_screened(x: Array, y: Array | None, k: int) -> tuple[Floats, Places]:
    candidates = _Candidates(x, y, k)
    screen, many = candidates.screen, candidates.many
    i, j = candidates.pairs()
    squared = screen.squared(i, j)
    order = np.lexsort((j, squared, i))
    chosen = order[np.searchsorted(i[order], np.flatnonzero(~many))[:, None] + np.arange(k)]
    distances, places = np.empty((len(x), k)), np.empty((len(x), k), np.int64)
    distances[~many], places[~many] = squared[chosen], j[chosen]
    for members, around in candidates.clusters() if y is None else ():
        among = np.searchsorted(around, members)
        distances[members], places[members] = (found[among] for found in nearest(x[around], k=k))
        places[members] = around[places[members]]
        distances[members] *= distances[members] >= screen.zero(members[:, None], places[members])
        many[members] = False
    if many.any():
        del candidates, screen
        own = np.flatnonzero(many) if y is None else None
        distances[many], places[many] = _nearest_plainly(x[many], x if y is None else y, k, own)
    return distances, places


class _Candidates:
    """Pairs of rows that may be among the k nearest.

    Attributes:
        many: rows (N,) that have too many for it to pay; their pairs are left out.
    """

    def __init__(self, x: Array, y: Array | None, k: int) -> None:
        self.screen = Screen(x, y)
        self.many = np.zeros(len(x), bool)
        self.limit = len(self.screen.y.lost) // SHARE + k
        self.found: list[tuple[Array, Array, Array]] = []  # rows, places, products
        self.fresh = 0
        sample = self.screen.product(slice(0, CHUNK), slice(0, TILE), 0.0)
        typical = sample.kthvalue(min(k + 1, sample.shape[1])).values.median()
        self.shift = self.screen.shift(float(typical) * self.screen.unit)
        self.least = torch.full((len(x), k), torch.inf)  # the smallest products of each row so far
        for rows, columns, product in self.screen.tiles(self.shift):
            if y is None and rows == columns:
                product.fill_diagonal_(torch.inf)
            self._see(rows, columns, product)
            if y is None and rows != columns:
                self._see(columns, rows, product.T.contiguous())

    def pairs(self) -> tuple[Places, Places]:
        """Rows and places, in no order."""
        self._prune()
        ((i, j, _),) = self.found
        return i.astype(np.int64), j.astype(np.int64)

    def clusters(self) -> Iterator[tuple[Places, Places]]:
        """Of x with itself: close rows that have too many candidates, and the rows (m,) that all those are among.

        Alone, with the mean of their own taken off, such rows are no longer too near for a product.
        """
        left = np.flatnonzero(self.many)
        reach = np.sqrt(self._above(slice(0, len(self.many)))[:, 0])
        for _ in range(CLUSTERS):
            if not len(left):
                return
            lead = slice(left[0], left[0] + 1)
            margins = self.screen.margins(lead, self.shift)
            product = self.screen.product(lead, slice(0, len(self.many)), self.shift)
            away = np.sqrt(margins.above(product.double().numpy()))[0]
            away[lead] = 0
            close = away[left] <= 2 * reach[lead]
            members, left = left[close], left[~close]
            furthest = 2 * reach[lead] + reach[members].max()
            around = np.flatnonzero((product <= margins.maybe(furthest[:, None] ** 2)).numpy())
            if len(around) < min(len(self.many), 2 * len(members)):
                yield members, around

    def _see(self, rows: slice, columns: slice, product: Tensor) -> None:
        k = self.least.shape[1]
        smallest = product.topk(min(k, product.shape[1]), largest=False).values
        self.least[rows] = torch.cat([self.least[rows], smallest], 1).topk(k, largest=False).values
        maybe = product <= self._bound(rows)
        maybe[torch.from_numpy(self.many[rows])] = False
        i, j, crowded = _sparse(maybe, product.shape[1] // CROWD + k)
        self.many[rows] |= crowded
        places = ((i + rows.start).astype(np.int32), (j + columns.start).astype(np.int32))
        self.found.append((*places, product.numpy()[i, j]))
        self.fresh += len(i)
        if self.fresh > self.limit * len(self.many):
            self._prune()

    def _bound(self, rows: slice) -> Tensor:
        """The products (n, 1) up to which a row's neighbours may have them."""
        return self.screen.margins(rows, self.shift).maybe(self._above(rows))

    def _above(self, rows: slice) -> Floats:
        """No row's k-th neighbour is farther, squared, (n, 1)."""
        return self.screen.margins(rows, self.shift).above(self.least[rows, -1:].double().numpy())

    def _prune(self) -> None:
        i, j, product = (np.concatenate(parts) for parts in zip(*self.found, strict=True))
        keep = (product <= self._bound(slice(0, len(self.many))).numpy()[i, 0]) & ~self.many[i]
        self.many |= np.bincount(i[keep], minlength=len(self.many)) > self.limit
        keep &= ~self.many[i]
        self.found, self.fresh = [(i[keep], j[keep], product[keep])], 0


def _sparse(mask: Tensor, limit: int) -> tuple[Places, Places, NDArray[np.bool_]]:
    """Where a mask (n, m) is True, but for the rows that have more than so many, and which (n,) those are."""
    i, j = np.divmod(np.flatnonzero(mask.numpy()), mask.shape[1])
    crowded = np.bincount(i, minlength=len(mask)) > limit
    keep = ~crowded[i]
    return i[keep], j[keep], crowded


def _settle(
    screen: Screen, product: Tensor, rows: slice, columns: slice, margins: Margins, radii: Floats
) -> NDArray[np.bool_]:
    """Which squared distances are at most the radii, (n, 1) or (1, m), for which there are margins."""
    reach = np.maximum(radii, 0) / screen.unit
    hits = product <= margins.surely(reach)
    unsure = (product <= margins.maybe(reach)) & ~hits
    i, j, crowded = _sparse(unsure, product.shape[1] // SHARE)
    radii = np.broadcast_to(radii, product.shape)
    settled, (x, y) = hits.numpy(), screen.rows
    settled[i, j] = screen.squared(i + rows.start, j + columns.start) <= radii[i, j]
    if crowded.any():
        whole = np.concatenate([found for _, found in blocks(x[rows][crowded], y[columns], screen.centre)])
        settled[crowded] = whole <= radii[crowded]
    return settled
