"""Drawn faces with known attributes, each a function of (seed, index)."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.data import store
from ganvas.ground.errors import UserError

SIDE = 64
SEED = 20151106
BLOCK = 250  # images that one worker process draws

# Each value is drawn with equal probability, independently of the other attributes. Beside them vary, unlabelled, the
# clothes' and the background's colour, and the place, angle and scale of the head by a little.
VALUES: dict[str, tuple[str, ...]] = {
    "glasses": ("none", "round", "thick", "sunglasses"),
    "beard": ("none", "moustache", "short", "full"),
    "hair style": ("bald", "buzz cut", "short", "quiff", "curly", "bob", "bun", "long"),
    "hair colour": ("black", "brown", "auburn", "blond", "grey"),
    "skin": ("pale", "light", "tanned", "brown", "dark"),
    "expression": ("neutral", "smiling", "sad", "surprised", "angry"),
    "lean": ("left", "upright", "right"),
}
_GLASSES = ("NONE", "ROUND", "PRESCRIPTION_2", "SUNGLASSES")
_BEARDS = ("NONE", "MOUSTACHE_MAGNUM", "BEARD_LIGHT", "BEARD_MAGESTIC")
_STYLES = ("NONE", "BUZZCUT", "SHORT_FLAT", "QUIFF", "CURLY", "BOB", "BUN", "STRAIGHT_1")
_HAIR = ("#2C1B18", "#724133", "#8A2A12", "#D6B370", "#C9C6C6")
_SKIN = ("#FFDBB4", "#EDB98A", "#D08B5B", "#A4683F", "#614335")
_EXPRESSIONS = (  # eyebrows, eyes, mouth
    ("DEFAULT", "DEFAULT", "SERIOUS"),
    ("RAISED_EXCITED", "HAPPY", "SMILE"),
    ("SAD_CONCERNED", "DEFAULT", "SAD"),
    ("RAISED_EXCITED", "SURPRISED", "DISBELIEF"),
    ("ANGRY", "SQUINT", "GRIMACE"),
)
_CLOTHES = ("#262E33", "#25557C", "#929598", "#FF5C5C", "#A7FFC4", "#FFFFFF")
_BACKGROUNDS = ("#DCE6F0", "#F0E6D8", "#E2EEDD", "#EDE0EC")
_LEAN_DEGREES, _LEAN_SHIFT = 13.0, 2.0


def parameters(seed: int, index: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The attributes' values of image `index`, in the order of VALUES; and what varies unlabelled, in [0, 1)."""
    random = np.random.default_rng([seed, index])
    values = tuple(int(random.integers(len(names))) for names in VALUES.values())
    return values, tuple(random.random(6).tolist())


def face(values: tuple[int, ...], jitter: tuple[float, ...] = (0.0, 0.0, 0.5, 0.5, 0.5, 0.5)) -> NDArray[np.uint8]:
    """One face, uint8 (64, 64, 3).

    Args:
        values: an index for each attribute of VALUES.
        jitter: numbers in [0, 1): clothes, background, across, down, angle, scale; 0.5 is the middle.
    """
    import python_avatars as parts  # type: ignore[import-untyped]
    import resvg_py
    from PIL import Image

    glasses, beard, style, hair, skin, expression, lean = values
    clothes, background, across, down, angle, scale = jitter
    eyebrows, eyes, mouth = _EXPRESSIONS[expression]
    drawing = parts.Avatar(
        style=parts.AvatarStyle.TRANSPARENT,
        top=parts.HairType[_STYLES[style]],
        eyebrows=parts.EyebrowType[eyebrows],
        eyes=parts.EyeType[eyes],
        nose=parts.NoseType.DEFAULT,
        mouth=parts.MouthType[mouth],
        facial_hair=parts.FacialHairType[_BEARDS[beard]],
        skin_color=_SKIN[skin],
        hair_color=_HAIR[hair],
        facial_hair_color=_HAIR[hair],
        accessory=parts.AccessoryType[_GLASSES[glasses]],
        clothing=parts.ClothingType.SHIRT_CREW_NECK,
        clothing_color=_CLOTHES[int(clothes * len(_CLOTHES))],
    ).render()
    turn = (lean - 1) * _LEAN_DEGREES + 6 * (angle - 0.5)
    x = (lean - 1) * _LEAN_SHIFT + 8 * (across - 0.5)
    y, zoom = 8 * (down - 0.5), 1 + 0.1 * (scale - 0.5)
    # (132, 105) is the middle of the face, (132, 190) the neck; the frame leaves out the body
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIDE}" height="{SIDE}" viewBox="32 8 200 200">'
        f'<rect x="32" y="8" width="200" height="200" fill="{_BACKGROUNDS[int(background * len(_BACKGROUNDS))]}"/>'
        f'<g transform="translate({x + 132} {y + 105}) scale({zoom}) translate(-132 -105) rotate({turn} 132 190)">'
        f"{drawing}</g></svg>"
    )
    data = bytes(resvg_py.svg_to_bytes(svg_string=picture, skip_system_fonts=True))
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def draw(count: int, progress: bool, seed: int = SEED) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`count` faces (count, 64, 64, 3) and their attributes (count, 7), drawn on all processors.

    Raises:
        UserError: the extra `avatars` is not installed.
    """
    if find_spec("python_avatars") is None or find_spec("resvg_py") is None:
        raise UserError("the data set 'avatars' needs python-avatars and resvg-py: pip install 'ganvas[avatars]'.")
    labels = np.array([parameters(seed, index)[0] for index in range(count)], np.int64)
    starts = range(0, count, BLOCK)

    def block(start: int) -> bytes:
        # a plain child process: a pool's would import the user's script again, or fork a process that has threads
        code = f"from ganvas.data.avatars import _serve; _serve({seed}, {start}, {min(start + BLOCK, count)})"
        return subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        data = b"".join(store.tracked(pool.map(block, starts), len(starts), "drawing avatars", progress))
    return np.frombuffer(data, np.uint8).reshape(count, SIDE, SIDE, 3), labels


def _serve(seed: int, start: int, stop: int) -> None:
    out: Any = sys.stdout.buffer
    for index in range(start, stop):
        out.write(face(*parameters(seed, index)).tobytes())
