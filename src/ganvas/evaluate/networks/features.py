"""Features by name: what images are compared by; those of the real images are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from ganvas.data import Dataset, Split, store
from ganvas.data.loader import to_tensor
from ganvas.evaluate.measures import checks
from ganvas.evaluate.networks import foreign
from ganvas.evaluate.networks import inception as inception_v3
from ganvas.evaluate.networks.classifier import body, train_classifier
from ganvas.ground.arguments import checked
from ganvas.ground.errors import UserError, unknown
from ganvas.ground.files import replace
from ganvas.ground.randomness import order
from ganvas.ground.registry import Count, Registry, parameters
from ganvas.models.units import Units

FEATURES = Registry("kind of features")
FORMAT = 1  # counted up when what a network is given changes: features in the cache are then computed again
COMPONENTS = 64
FITTED = 3000  # training images that PCA looks at
CHUNK = 500
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels

Array = NDArray[Any]
Function = Callable[[Tensor], Array]
Device = str | torch.device


@dataclass(frozen=True)
class Features:
    """A function from images to features, made by `features`.

    Attributes:
        name: "pixels", "pca", "classifier", "random", "inception"; of a network from a file its name and checksum, as
            in "net.onnx@1a2b3c4d". Only figures of one name are comparable, and of one data set if it is fitted.
        shape: of one image.
        function: of a chunk of images.
        version: the digest of all that the features depend on; "" where they cost too little to be kept.
    """

    name: str
    shape: tuple[int, ...]
    function: Function
    version: str = ""

    def __call__(self, images: Any) -> Array:
        """Float features (N, d).

        Args:
            images: float (N, C, H, W) in [0, 1] or uint8, a tensor or an array; points (N, 2); or a whole split.

        Raises:
            UserError: no images, or some of another shape or range, or with NaN; a network that can't take them.
        """
        source = images.images if isinstance(images, Split) else images
        if not len(source):
            raise UserError("there are no images to take features of.")
        starts = range(0, len(source), CHUNK)
        take = to_tensor if isinstance(images, Split) else lambda rows: rows
        return np.concatenate(
            [self.function(checks.images(take(source[start : start + CHUNK]), self.shape).cpu()) for start in starts]
        )


@checked
def features(name: str, dataset: Dataset, device: Device = "cpu") -> Features:
    """Features of images like those of a data set.

    Args:
        name: one of these.

            - "pixels": the pixels themselves, float32 (N, C H W); of rows of numbers the columns, standardised where
              the data set has no name: one in large units would hide the others.
            - "pca": their 64 principal components.
            - "classifier": the last hidden layer of `train_classifier(dataset)`, 256; the data set needs labels.
            - "random": the same layer of the untrained net (as Naeem et al. 2020 do where no pretrained net fits), 256.
            - "inception": that of FID, 2,048, its weights from the cache or downloaded. "inception:PATH": from a file.
            - "PATH": an ONNX or TorchScript file. It gets float32 (N, C, H, W) in [0, 1], grey repeated and sizes
              changed (bilinear, with averaging) to those that an ONNX file fixes; its first output is flattened.
            - "dinov2:PATH": the same for DINOv2 (Oquab et al. 2023): 3 channels, 224 x 224 where it fixes nothing else,
              normalised by ImageNet's mean and deviation; of tokens (N, T, d) the first, the class's, is taken.
        dataset: whose train split they are fitted to, where they are fitted.
        device: where Inception and TorchScript compute.

    Raises:
        UserError: an unknown name, a data set that the features can't be fitted to, or a file that is refused.
    """
    kind, _, path = name.partition(":")
    if kind not in FEATURES:
        if not Path(name).suffix and not Path(name).expanduser().exists():
            error = unknown("kind of features", name, FEATURES)
            raise UserError(f"{error} A path to an ONNX or TorchScript file also does.")
        return _network(dataset, name, device)
    takes = parameters(FEATURES[kind])
    if path and "path" not in takes:
        raise UserError(f"{name!r}: {kind} takes no file; leave {':' + path!r} out.")
    options = {"path": path, "device": device}
    made: Features = FEATURES[kind](dataset, **{key: value for key, value in options.items() if key in takes})
    return made


@checked
def real_features(
    features: Features, dataset: Dataset, split: str = "test", n: Count | None = None, *, progress: bool = True
) -> Array:
    """Features (n, d) of real images; where they are dear, from the cache or else stored there.

    Args:
        features: made for this data set.
        dataset: whose images they are; its fingerprint is part of the cache's key.
        split: "train", "validation", "test".
        n: how many, see `evenly`; None takes all.
        progress: show a bar on stderr, if that is a terminal.

    Returns:
        A memory map that can't be written to, or an array.

    Raises:
        UserError: an unknown split, or more images than it has.
    """
    if split not in dataset.splits:
        raise unknown("split", split, dataset.splits)
    images = dataset.splits[split].images
    n = len(images) if n is None else n
    if not 1 <= n <= len(images):
        raise UserError(f"n is {n}; the {split} split of {dataset.name!r} has {len(images)} images.")

    rows = evenly(len(images), n)

    def compute() -> Array:
        chunks = np.split(rows, range(CHUNK, n, CHUNK))
        bar = store.tracked(chunks, len(chunks), f"features of {n:,} real images", progress)
        return np.concatenate([features(Split(images[part], None)) for part in bar])

    if not features.version:
        return compute()
    key = store.digest("features", str(FORMAT), dataset.fingerprint, split, rows, features.version)
    path = store.root() / "features" / f"{key}.npy"
    for folder in (path.parent, store.root() / "locks"):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(store.root() / "locks" / key):
        found = _stored(path)
        if found is None:
            found = compute()
            replace(path, partial(_store, found))
    return found


def evenly(total: int, n: int) -> NDArray[np.int64]:
    """n of 0 ... total - 1, or all if there are fewer, in even steps: as many of each kind of a sorted set."""
    return np.linspace(0, total - 1, min(n, total)).round().astype(np.int64)


def _store(values: Array, path: Path) -> None:
    """Write an .npy file with its own SHA-256 behind it."""
    with path.open("wb+") as file:
        np.save(file, values)
        file.seek(0)
        file.write(hashlib.file_digest(file, "sha256").digest())


def _stored(path: Path) -> Array | None:
    """The memory map of what `_store` wrote; None where nothing is, or something damaged."""
    try:
        raw = np.memmap(path, np.uint8, "r")
        if hashlib.sha256(raw[:-32].data).digest() != raw[-32:].tobytes():
            return None
        found: Array = np.load(path, mmap_mode="r")
        return found
    except (OSError, ValueError):
        return None


@FEATURES.register
def pixels(dataset: Dataset) -> Features:
    """The pixels, or the columns of rows of numbers, standardised as models see them."""
    units = Units(dataset.shape).prepare(dataset)
    return Features("pixels", dataset.shape, lambda images: units(images).flatten(1).numpy())


@FEATURES.register
def pca(dataset: Dataset) -> Features:
    """Projections on the first 64 principal components of the training images, at most as many as there are."""
    split, units = dataset.splits["train"], Units(dataset.shape).prepare(dataset)
    places = np.sort(order(0, "pca", n=len(split))[:FITTED])
    rows = units(to_tensor(split.images[places])).flatten(1).double().numpy()
    mean, directions = principal(rows, COMPONENTS)
    return Features("pca", dataset.shape, lambda rows: (units(rows).flatten(1).double().numpy() - mean) @ directions)


def principal(rows: Array, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean (d,) and the first principal directions (d, count) of rows (N, d), by the smaller Gram matrix.

    Fewer, where the rows vary in fewer directions. The largest entry of each is positive.
    """
    mean = rows.mean(0, dtype=np.float64)
    centred = rows - mean
    wide = centred.shape[1] > len(rows)
    values, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    kept = [i for i in np.argsort(-values)[:count] if values[i] > 1e-12 * values[-1]]
    directions = centred.T @ vectors[:, kept] / np.sqrt(values[kept]) if wide else vectors[:, kept]
    signs = np.sign(np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0))
    return mean, directions * signs


@FEATURES.register
def classifier(dataset: Dataset) -> Features:
    """The last hidden layer of a classifier of the labels."""
    net = train_classifier(dataset)
    weights = [tensor.cpu().numpy().reshape(-1) for tensor in net.body.state_dict().values()]
    return Features("classifier", dataset.shape, net.features, store.digest("classifier", *weights))


@FEATURES.register
def random(dataset: Dataset) -> Features:
    """The last hidden layer of a net with random weights, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = body(dataset.shape).eval().requires_grad_(False)
    return Features("random", dataset.shape, lambda images: net(images).numpy())


@FEATURES.register
def inception(dataset: Dataset, path: str = "", device: Device = "cpu") -> Features:
    """The last pooled layer of FID's Inception."""
    _refuse_points(dataset, "inception")
    net = inception_v3.load(path).to(device)
    version = store.digest("inception", inception_v3.SHA256)
    return Features("inception", dataset.shape, lambda images: inception_v3.extract(net, images).numpy(), version)


@FEATURES.register
def dinov2(dataset: Dataset, path: str = "", device: Device = "cpu") -> Features:
    """DINOv2 from a file."""
    if not path:
        raise UserError("dinov2 needs its file, ONNX or TorchScript: dinov2:PATH. No weights are downloaded for it.")
    _refuse_points(dataset, "dinov2")
    net = foreign.read(path, device)

    def normalised(images: Tensor) -> Tensor:
        return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)

    def function(images: Tensor) -> Array:
        found = net(images, (3, 224, 224), normalised)
        return (found[:, 0] if found.dim() == 3 else found.flatten(1)).numpy()

    return Features(f"dinov2:{net.name}", dataset.shape, function, store.digest("dinov2", net.sha256))


def _network(dataset: Dataset, path: str, device: Device) -> Features:
    """A network from a file, by its path alone."""
    _refuse_points(dataset, path)
    net = foreign.read(path, device)
    version = store.digest("network", net.sha256)
    return Features(net.name, dataset.shape, lambda images: net(images).flatten(1).numpy(), version)


def _refuse_points(dataset: Dataset, name: str) -> None:
    if len(dataset.shape) != 3 or dataset.shape[0] not in (1, 3):
        raise UserError(
            f"{dataset.name!r} has examples of shape {dataset.shape}; {name} takes images of 1 or 3 channels. "
            "Take pixels or pca."
        )
