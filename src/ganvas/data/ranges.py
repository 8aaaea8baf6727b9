"""Which numbers are black and white: the range of a source's values, and the 8 or 16 bits that keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from ganvas.ground.arguments import Rule, shown, take
from ganvas.ground.errors import UserError

Array = NDArray[Any]
Range = tuple[float, float]
EDGE = 0.05  # of a range: levels so near to its ends are black or white
ROUNDING = 1e-4  # floats that rounding put this far outside 0 to 1
DARK = 64  # bytes that are nowhere above it are levels of their own, such as 0 to 16
DEPTHS = (255, 1023, 4095, 16383, 65535)  # tops of 8, 10, 12, 14 and 16 bits
RING = 0.25  # of a range: how far above it a resampled edge may rise
EXACT = {2: 0.15, 4: 2e-3, 8: 2e-3}  # how near, in levels, a float of so many bytes lies to k / 255


@dataclass(frozen=True)
class Scale:
    """A range, and what keeps it.

    Attributes:
        low: what becomes 0, in the source's units.
        high: what becomes 1.
        levels: distinct equidistant levels that the source can have; None for floats.
        bits: 8 or 16, of the rows that are kept.
        chosen: a line on what was chosen; empty where nothing was.
    """

    low: float = 0.0
    high: float = 255.0
    levels: int | None = 256
    bits: int = 8
    chosen: str = ""

    def __call__(self, values: Array) -> Array:
        """Values of the source as uint8 (0 to 255) or uint16 (0 to 65535); those outside the range are clipped."""
        if values.dtype == np.uint8 and (self.low, self.high, self.bits) == (0, 255, 8):
            return values
        top, dtype = (255, np.uint8) if self.bits == 8 else (65535, np.uint16)
        scaled = (values.astype(np.float64) - self.low) * (top / (self.high - self.low))
        found: Array = np.rint(scaled.clip(0, top)).astype(dtype)
        return found


def checked(asked: Any) -> Range | None:
    """What `range=` was given, as two floats.

    Raises:
        UserError: no two numbers, or the first is not the smaller.
    """
    if asked is None:
        return None
    try:
        low, high = take(Range, asked)
    except ValueError:
        said = f"range is {shown(asked)}; give two numbers, what is black and what is white: --range 0 255."
        raise UserError(said) from None
    if low >= high:
        raise UserError(f"range is {shown(asked)}: the first number must be the smaller: --range 0 255.")
    return low, high


Asked = Annotated[Range | None, Rule("two numbers", checked)]


def read_in(low: float, high: float, kind: str, known: Range | None) -> Range | None:
    """The range of values from `low` to `high` that are given to a model.

    Args:
        low: the smallest value.
        high: the largest.
        kind: "u1" of bytes, "u2" of 16 bits, "i" of other whole numbers, "f" of floats.
        known: what was black and white in its training; None: plain images.

    Returns:
        `known` where the values can be of it. Else that of the type, as for pictures of any origin: 0 to 255 of bytes,
        0 to 65535 of 16 bits, 0 to 1 of floats. None: it cannot be told. Floats in 0 to 1 are as models give them.
    """
    if kind == "f":
        if _holds((0, 1), low, high):
            return 0, 1
        dark = known == (0, 255) and high <= DARK
        return known if known and not dark and _holds(known, low, high) else None
    black, white = known or (0, 1)
    if kind == "u1":
        own = DARK < white <= 255 or (black >= 0 and white <= DARK and high <= white + RING * (white - black))
        return known if known and own else (0, 255)
    if kind == "u2":
        own = white > 255 or (black >= 0 and high <= (255 if white > DARK else white))
        return known if known and own else (0, 65535)
    if known and (white - black > 2 or _holds(known, low, high)):
        return known
    if _holds((0, 1), low, high):
        return 0, 1
    return (0, 255) if low >= 0 and high <= 255 else None


def told(low: float, high: float, kind: str, known: Range | None) -> Range:
    """`read_in`, or a refusal.

    Raises:
        UserError: it cannot be told.
    """
    span = read_in(low, high, kind, known)
    if span is None:
        trained = f", or in this model's {known[0]:.7g} to {known[1]:.7g}" if known else ""
        raise UserError(
            f"image values from {low:.7g} to {high:.7g}: floats must be in [0, 1]{trained} (or uint8 in 0 ... 255, or "
            "uint16); cut them to it, for example x.clip(0, 1)."
        )
    return span


def _holds(span: Range, low: float, high: float) -> bool:
    room = ROUNDING * (span[1] - span[0])
    return low >= span[0] - room and high <= span[1] + room


def choose(chunks: Callable[[], Iterable[Array]], dtype: np.dtype[Any], what: str, asked: Range | None) -> Scale:
    """The scale of values that come in chunks, from their type and their smallest and largest value.

    Args:
        chunks: the values, from the start at each call.
        dtype: of the source.
        what: the source, for messages.
        asked: the range that a person states; None chooses.

    Raises:
        UserError: values that are not finite, or an asked range that holds none of them.
    """
    low, high = extent(chunks(), what)
    if not np.isfinite(high - low):
        raise UserError(f"{what}: values from {low:.7g} to {high:.7g} are too far apart: divide them by a number.")
    if dtype.kind == "f":
        scale = floats(low, high, what, asked)
        near = EXACT.get(dtype.itemsize, 2e-3)
        if asked is None and all(_whole(chunk, scale, near) for chunk in chunks()):
            return Scale(scale.low, scale.high, 256, 8, scale.chosen)
        return scale
    if dtype.kind == "b" and asked is None:
        return Scale(0, 1, 2, 8)
    return integers(low, high, what, asked, bytes_=dtype == np.uint8 or dtype.itemsize > 2 or dtype.kind == "i")


def extent(chunks: Iterable[Array], what: str) -> Range:
    """The smallest and largest value.

    Raises:
        UserError: one that is not finite.
    """
    low, high, start = np.inf, -np.inf, 0
    for chunk in chunks:
        if chunk.dtype.kind == "f" and not np.isfinite(chunk).all():
            bad = np.argwhere(~np.isfinite(chunk))[0].tolist()
            named = f"image {start + bad[0]}" if chunk.ndim > 2 else f"row {start + bad[0]}, column {bad[1]},"
            raise UserError(f"{what}: {named} has values that are not numbers (NaN or infinity); remove it.")
        low, high, start = min(low, float(chunk.min())), max(high, float(chunk.max())), start + len(chunk)
    return low, high


def integers(low: float, high: float, what: str, asked: Range | None, *, bytes_: bool) -> Scale:
    """The scale of whole numbers from `low` to `high`; `bytes_`: 0 to 255 where they fit and pass DARK."""
    if asked:
        return _asked(low, high, asked, what, whole=True)
    if bytes_ and low >= 0 and (DARK < high <= 255 or high == 0):
        return Scale()
    return _scale(low, high, whole=True)


def depth(low: float, high: float, what: str, asked: Range | None) -> Scale:
    """The scale of image files of 16-bit samples: of the fewest bits that hold the largest; of others the data's."""
    if asked or low < 0 or high > DEPTHS[-1]:
        return integers(low, high, what, asked, bytes_=False)
    top = next(top for top in DEPTHS if high <= top)
    if top == DEPTHS[-1]:
        return Scale(0, top, top + 1, 16)
    said = f"values up to {high:g} in files of 16 bits: 0 to {top} is taken as black to white; --range chooses"
    return Scale(0, top, top + 1, 16, said)


def window(low: float, high: float) -> Scale:
    """The scale of files that state what they show as black and as white."""
    return Scale(low, high, None, 16, f"{low:.7g} to {high:.7g} is black to white, the window that the files state")


def dark(high: float) -> bool:
    """Whether bytes that reach `high` would be nearly black."""
    return 0 < high <= DARK


def floats(low: float, high: float, what: str, asked: Range | None) -> Scale:
    """The scale of floats from `low` to `high`."""
    if asked:
        return _asked(low, high, asked, what, whole=False)
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return Scale(0, 1, None, 16)
    if low >= -1 - ROUNDING and high <= 1 + ROUNDING:
        return Scale(-1, 1, None, 16, f"values from {low:.7g} to {high:.7g}: -1 to 1 is taken as black to white")
    if low >= 0 and DARK < high <= 255:
        return Scale(0, 255, None, 16, f"values from {low:.7g} to {high:.7g}: 0 to 255 is taken as black to white")
    return _scale(low, high, whole=False)


def _asked(low: float, high: float, asked: Range, what: str, *, whole: bool) -> Scale:
    if asked[0] > high or asked[1] < low:
        raise UserError(
            f"{what}: --range {asked[0]:g} {asked[1]:g} holds none of its values, which go from {low:.7g} to "
            f"{high:.7g}; take --range {low:.7g} {high:.7g}, or part of it."
        )
    found = _scale(*asked, whole=whole and all(float(value).is_integer() for value in asked))
    said = f"values from {low:.7g} to {high:.7g}; {asked[0]:g} to {asked[1]:g} is black to white, as asked"
    return Scale(found.low, found.high, found.levels, found.bits, said)


def _scale(low: float, high: float, *, whole: bool) -> Scale:
    high = low + max(1.0, float(np.spacing(abs(low)))) if high <= low else high
    levels = int(high - low) + 1 if whole and high - low <= 65535 else None
    bits = 8 if levels and levels <= 256 else 16
    return Scale(low, high, levels, bits, f"values from {low:.7g} to {high:.7g}, stretched to black and white")


def _whole(values: Array, scale: Scale, near: float) -> bool:
    levels = (values.astype(np.float64) - scale.low) * (255 / (scale.high - scale.low))
    return bool((np.abs(levels - np.rint(levels)) <= near).all())
