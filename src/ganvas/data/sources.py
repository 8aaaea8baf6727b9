"""The data sets that have a name: a function each, whose name is the set's name and whose first line describes it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganvas.data import amat, store
from ganvas.data import mnist as idx
from ganvas.ground.errors import UserError, unknown

Array = NDArray[Any]


@dataclass(frozen=True)
class Source:
    """What a named source gives: (images, labels) of train, validation and test.

    Images are uint8 (N, H, W, C) or points float32 (N, 2); labels whole numbers (N,), or (N, A) with `attributes`, or
    None in all splits.
    """

    splits: Mapping[str, tuple[Array, Array | None]]
    preparation: str
    classes: tuple[str, ...] | None = None
    attributes: tuple[str, ...] | None = None


_REGISTRY: dict[str, Callable[[bool], Source]] = {}


def source(function: Callable[[bool], Source]) -> Callable[[bool], Source]:
    """Registers a data set under its function's name. The function takes whether to show progress.

    The first line of its docstring says what it is, its shape, what is fetched, and the rows of train / validation /
    test.
    """
    _REGISTRY[function.__name__.replace("_", "-")] = function
    return function


def names() -> dict[str, str]:
    """The named data sets, each with a line that describes it."""
    return {name: (function.__doc__ or "").splitlines()[0] for name, function in sorted(_REGISTRY.items())}


def build_entry(name: str, progress: bool) -> store.Entry:
    """The cache's entry for the data set `name` as published, fetched or computed now unless that was done before."""
    if name not in _REGISTRY:
        raise unknown("data set", name, _REGISTRY)

    def build(writer: store.Writer) -> str:
        made = _REGISTRY[name](progress)
        bounds = np.cumsum([0, *(len(images) for images, _ in made.splits.values())])
        for images, _ in made.splits.values():
            for start in range(0, len(images), store.CHUNK):
                writer.append(images[start : start + store.CHUNK])
        given = [labels for _, labels in made.splits.values() if labels is not None]
        labels = np.concatenate(given).astype(np.int64) if given else None
        content = store.digest(*(part for pair in made.splits.values() for part in pair if part is not None))
        splits = {split: np.arange(bounds[i], bounds[i + 1]) for i, split in enumerate(made.splits)}
        meta: dict[str, Any] = {"classes": made.classes, "attributes": made.attributes, "report": [], "unreadable": []}
        plain = next(iter(made.splits.values()))[0].ndim == 4
        meta |= {"range": [0, 255] if plain else None, "levels": 256 if plain else None, "columns": None}
        return writer.finish(content, made.preparation, splits, labels, **meta)

    return store.entry(f"named {name}", build)


DIGITS = tuple("0123456789")
GARMENTS = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@source
def mnist(progress: bool) -> Source:
    """Handwritten digits, 28 x 28 grey, fetched (11 MB): 50,000 / 10,000 / 10,000."""
    return Source(idx.fetch(idx.MNIST, progress), "28 x 28 as published; grey; 8 bit", DIGITS)


@source
def mnist_60k(progress: bool) -> Source:
    """MNIST, 28 x 28 grey, fetched (11 MB), all of it to train on: 60,000 / the last 10,000 of them / 10,000."""
    # Burda et al. 2015 (https://arxiv.org/abs/1509.00519). A figure on its validation images chooses nothing.
    found = idx.fetch(idx.MNIST, progress)
    train, validation = found["train"], found["validation"]
    whole = np.concatenate([train[0], validation[0]]), np.concatenate([train[1], validation[1]])
    return Source({**found, "train": whole}, "28 x 28 as published; grey; 8 bit", DIGITS)


@source
def static_mnist(progress: bool) -> Source:
    """MNIST as Larochelle drew it, 28 x 28 black or white, no labels, fetched (110 MB): 50,000 / 10,000 / 10,000."""
    # Salakhutdinov & Murray 2008 drew it; most published figures of "static MNIST" are on these files.
    raw = idx.download(_STATIC_MIRRORS, _STATIC_FILES, progress)
    if raw is None:
        raise UserError(
            "static-mnist: no mirror answers. Give a folder that holds binarized_mnist_train.amat, ..._valid.amat and "
            "..._test.amat; or take another draw: --data mnist --binarise."
        )
    splits = {}
    for split, content in zip(("train", "validation", "test"), raw.values(), strict=True):
        rows = amat.table(io.BytesIO(content), f"static-mnist {split}")["images"]
        splits[split] = ((rows * 255).astype(np.uint8), None)
    return Source(splits, "28 x 28 as published, black or white; grey; 8 bit")


_STATIC_MIRRORS = ("http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",)
_STATIC_FILES = {
    "binarized_mnist_train.amat": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
    "binarized_mnist_valid.amat": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
    "binarized_mnist_test.amat": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
}


@source
def fashion_mnist(progress: bool) -> Source:
    """Pictures of garments, 28 x 28 grey, fetched (31 MB): 50,000 / 10,000 / 10,000."""
    return Source(idx.fetch(idx.FASHION, progress), "28 x 28 as published; grey; 8 bit", GARMENTS)


@source
def digits(progress: bool) -> Source:
    """Handwritten digits, 8 x 8 grey, in scikit-learn (the extra 'digits'): 1,297 / 250 / 250."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError("the data set 'digits' needs scikit-learn: pip install 'ganvas[digits]'.") from error
    found = load_digits()
    images = np.rint(found.images * (255 / 16)).astype(np.uint8)[..., None]
    order = np.random.default_rng(store.ORDER_SEED).permutation(len(images))
    parts = zip(("train", "validation", "test"), np.split(order, [1297, 1547]), strict=True)
    splits = {name: (images[rows], found.target[rows]) for name, rows in parts}
    return Source(splits, "8 x 8 as published, levels 0 to 16 scaled to 0 to 255; grey; 8 bit", DIGITS)


# Photographs, textures and cells of scikit-image's own folder, by the split that each one's patches are of.
_PHOTOGRAPHS = {
    "train": (
        *("astronaut.png", "brick.png", "cell.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg"),
        *("ihc.png", "motorcycle_left.png", "retina.jpg"),
    ),
    "validation": ("moon.png", "rocket.jpg"),
    "test": ("camera.png", "chelsea.png", "coffee.png"),
}


@source
def photographs(progress: bool) -> Source:
    """Patches of photographs, 32 x 32 grey, in scikit-image (the extra 'reproduce'): 18,668 / 516 / 598."""
    try:
        import skimage  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise UserError("the data set 'photographs' needs scikit-image: pip install 'ganvas[reproduce]'.") from error
    from PIL import Image

    side, splits = 32, {}
    for split, names in _PHOTOGRAPHS.items():
        stride = side // 2 if split == "train" else side  # patches to learn from may overlap
        patches = []
        for name in names:
            image = np.asarray(Image.open(Path(skimage.__file__).parent / "data" / name).convert("L"))
            views = np.lib.stride_tricks.sliding_window_view(image, (side, side))[::stride, ::stride]
            patches.append(views.reshape(-1, side, side, 1))
        splits[split] = (np.concatenate(patches), None)
    return Source(splits, "32 x 32 patches, each photograph in one split; grey; 8 bit")


@source
def stacked_mnist(progress: bool) -> Source:
    """Three digits of MNIST as red, green, blue, 28 x 28, fetched (11 MB), 1,000 modes: 128,000 / 10,000 / 10,000."""
    # PacGAN (Lin et al., 2018, https://arxiv.org/abs/1712.04086), section 4.2: 128,000 images to train on
    splits = {}
    base = build_entry("mnist", progress).splits()
    for place, (name, n) in enumerate((("train", 128_000), ("validation", 10_000), ("test", 10_000))):
        images, labels = (np.asarray(part) for part in base[name])
        drawn = np.random.default_rng([1000, place]).integers(len(images), size=(n, 3))
        stacked = np.empty((n, 28, 28, 3), np.uint8)
        for channel in range(3):
            stacked[..., channel] = images[drawn[:, channel], :, :, 0]
        splits[name] = (stacked, labels[drawn] @ np.array([100, 10, 1]))
    names = tuple(f"{label:03d}" for label in range(1000))
    return Source(splits, "three digits of MNIST's same split as red, green, blue; 28 x 28; 8 bit", names)


_ANGLES, _TICKS = np.arange(8) * np.pi / 4, np.arange(-4, 5, 2)
# The centres (M, 2) of the mixtures in the plane, and each mode's standard deviation.
GAUSSIANS: dict[str, tuple[Array, float]] = {
    "ring": (np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1), 0.01),
    "grid": (np.stack(np.meshgrid(_TICKS, _TICKS, indexing="ij"), axis=-1).reshape(-1, 2), 0.05),
}


@source
def ring(progress: bool) -> Source:
    """Points (x, y), 8 Gaussians on the unit circle, sigma 0.01, computed: 100,000 / 10,000 / 10,000."""
    return _gaussians(*GAUSSIANS["ring"])


@source
def grid(progress: bool) -> Source:
    """Points (x, y), 25 Gaussians at -4, -2, 0, 2, 4 on both axes, sigma 0.05, computed: 100,000 / 10,000 / 10,000."""
    return _gaussians(*GAUSSIANS["grid"])


def _gaussians(centres: Array, sigma: float) -> Source:
    splits = {}
    for place, (name, n) in enumerate((("train", 100_000), ("validation", 10_000), ("test", 10_000))):
        random = np.random.default_rng([len(centres), place])
        modes = random.integers(len(centres), size=n)
        points = centres[modes] + sigma * random.standard_normal((n, 2))
        splits[name] = (points.astype(np.float32), modes)
    names = tuple(f"({x:.2f}, {y:.2f})" for x, y in centres)
    return Source(splits, "points as drawn; 32-bit float", names)


@source
def avatars(progress: bool) -> Source:
    """Drawn faces, 64 x 64 colour, 7 attributes, drawn here (the extra 'avatars'): 16,000 / 2,000 / 2,000."""
    from ganvas.data import avatars as faces

    images, labels = faces.draw(20_000, progress)
    cuts = {"train": slice(16_000), "validation": slice(16_000, 18_000), "test": slice(18_000, None)}
    splits = {name: (images[rows], labels[rows]) for name, rows in cuts.items()}
    return Source(splits, "64 x 64 as drawn; colour; 8 bit", attributes=tuple(faces.VALUES))
