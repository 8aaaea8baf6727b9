"""A classifier of a data set's own labels: the judge of what samples show, and a source of features."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.data import Dataset, Split, store
from ganvas.data.loader import to_tensor
from ganvas.evaluate.measures import checks
from ganvas.ground import tensors
from ganvas.ground.arguments import Device, checked
from ganvas.ground.devices import has_fast_bfloat16
from ganvas.ground.errors import UserError
from ganvas.ground.files import read_json, write_text
from ganvas.ground.randomness import Draw, order
from ganvas.ground.registry import Count, Seed

FORMAT = 1  # counted up when the net or its training changes: classifiers in the cache are then trained again
IMAGES = 128_000  # that a training shows, at most EPOCHS times each
EPOCHS = 100
BATCH = 64
RATE, WARM_UP, MOMENTUM, DECAY = 0.1, 0.15, 0.9, 5e-4
SIDE = 64  # larger images are averaged down to this
FILTERS, UNITS = 32, 256
CHUNK = 500


class Classifier(nn.Module):
    """A convolutional net over the labels of a data set, made by `train_classifier`.

    Attributes:
        shape: (C, H, W) of the images that it takes.
        values: the number of values of each attribute; {"class": K} where images have one label.
        single: whether images have one label, and not several attributes.
        accuracy: the share of right answers over the test split, by attribute; what training never saw.
    """

    def __init__(self, shape: tuple[int, ...], values: dict[str, int], single: bool) -> None:
        super().__init__()
        self.shape, self.values, self.single = tuple(shape), dict(values), single
        self.accuracy: dict[str, float] = {}
        self.body = body(self.shape)
        self.head = nn.Linear(UNITS, sum(values.values()))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, sum of the numbers of values) of images (N, C, H, W)."""
        logits: Tensor = self.head(self.body(images))
        return logits

    def predict(self, images: Any) -> NDArray[np.int64]:
        """The likeliest label of each image, like a split's labels: int64 (N,), or (N, A) of A attributes.

        Args:
            images: float (N, C, H, W) in [0, 1], or uint8; a tensor or an array.
        """
        found = np.stack([p.argmax(1) for p in self.probabilities(images).values()], 1)
        return found[:, 0] if self.single else found

    def probabilities(self, images: Any) -> dict[str, NDArray[np.float32]]:
        """float32 (N, K) of each attribute, by its name."""
        logits = torch.split(self._asked(self, images), list(self.values.values()), dim=1)
        return {name: part.softmax(1).numpy() for name, part in zip(self.values, logits, strict=True)}

    def features(self, images: Any) -> NDArray[np.float32]:
        """The last hidden layer, float32 (N, 256), at least 0."""
        found: NDArray[np.float32] = self._asked(self.body, images).numpy()
        return found

    def _asked(self, part: nn.Module, images: Any) -> Tensor:
        rows = checks.images(images, self.shape)
        device, training = self.head.weight.device, self.training
        self.eval()
        try:
            with torch.inference_mode():
                return torch.cat([part(chunk.to(device)).cpu() for chunk in torch.split(rows, CHUNK)])
        finally:
            self.train(training)


def body(shape: tuple[int, ...]) -> nn.Module:
    """Images (N, C, H, W) -> (N, 256): strided convolutions until a side is 7 or less, then a hidden layer."""
    channels, *sides = shape
    scale = min(1.0, SIDE / max(sides))
    height, width = (max(1, round(side * scale)) for side in sides)
    layers: list[nn.Module] = [nn.AdaptiveAvgPool2d((height, width))] if scale < 1 else []
    filters = FILTERS
    while max(height, width) > 7:
        # A side of 1 stays: a kernel of 4 would not fit.
        strides = [2 if side > 1 else 1 for side in (height, width)]
        kernels = [4 if side > 1 else 3 for side in (height, width)]
        layers += _block(channels, filters, kernels, strides)
        channels, filters = filters, min(2 * filters, 4 * FILTERS)
        height, width = (side // 2 if side > 1 else 1 for side in (height, width))
    layers += _block(channels, max(channels, FILTERS), [3, 3], [1, 1])
    hidden = nn.Linear(max(channels, FILTERS) * height * width, UNITS, bias=False)
    return nn.Sequential(*layers, nn.Flatten(), hidden, nn.BatchNorm1d(UNITS), nn.ReLU())


def _block(channels: int, filters: int, kernel: list[int], stride: list[int]) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, filters, (kernel[0], kernel[1]), (stride[0], stride[1]), 1, bias=False)
    return [convolution, nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]


@checked
def train_classifier(
    dataset: Dataset,
    *,
    images: Count = IMAGES,
    seed: Seed = 0,
    device: Device = "cpu",
    progress: bool = True,
) -> Classifier:
    """The classifier of a data set's labels: from the cache, else trained on the train split and stored there.

    All attributes are learnt at once, with SGD on a cosine after a warm-up. The images are shifted, blurred and made
    noisy a little, so that the verdict on a slightly blurred or noisy sample is worth something.

    Args:
        dataset: with labels.
        images: how many are shown in training, each at most 100 times.
        seed: of weights, order and noise.
        device: where to train, and where the classifier will be.
        progress: show a bar on stderr, if that is a terminal.

    Raises:
        UserError: no labels, labels of a single value, points, or a training that diverged.
    """
    values, single = _values(dataset)
    facts = {"format": FORMAT, "fingerprint": dataset.fingerprint, "images": images, "seed": seed}
    key = store.digest("classifier", json.dumps(facts))
    folder = store.root() / "classifiers" / key
    (store.root() / "locks").mkdir(parents=True, exist_ok=True)
    with FileLock(store.root() / "locks" / key):
        if found := _load(folder):
            return found.to(device)
        made = train_on(dataset.shape, values, dataset.splits["train"], images, seed, device, progress, single)
        made.accuracy = _accuracy(made, dataset.splits["test"])
        _save(made, folder, {"dataset": dataset.name, **facts})
    return made


def train_on(
    shape: tuple[int, ...],
    values: dict[str, int],
    split: Split,
    images: int = IMAGES,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = True,
    single: bool = False,
) -> Classifier:
    """A classifier of labels (N, A) that is trained as `train_classifier` does, on any images, and not kept.

    Args:
        shape: of an image, (C, H, W).
        values: how many each attribute has, in the order of the columns.
        split: images and labels; what has none is left out.
        images: as for `train_classifier`, like those that follow.
        single: whether labels are (N,).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Classifier(shape, values, single)
    made.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    _train(made, split, images, seed, progress)
    return made


def _values(dataset: Dataset) -> tuple[dict[str, int], bool]:
    """The number of values of each attribute, and whether there is but one label."""
    if len(dataset.shape) != 3:
        raise UserError(f"{dataset.name!r} is points; a classifier takes images. For points see `captured_modes`.")
    given = [split.labels for split in dataset.splits.values() if split.labels is not None]
    if len(given) < len(dataset.splits):
        raise UserError(
            f"{dataset.name!r} has no labels to learn: sort the images into a subfolder for each class, give labels, "
            "or take other features: pixels, pca."
        )
    labels, known = np.concatenate(given), dataset.splits["train"].labelled
    if len(known) < 2 or labels.max() < 1:
        raise UserError(
            f"{dataset.name!r}: {len(known)} training images with labels, which go up to {labels.max()}; at least 2 "
            "images and the labels 0 and 1 are needed."
        )
    if labels.ndim == 1:
        return {"class": max(int(labels.max()) + 1, len(dataset.classes or ()))}, True
    names = dataset.attributes or tuple(f"attribute {i}" for i in range(labels.shape[1]))
    return dict(zip(names, (labels.max(0) + 1).tolist(), strict=True)), False


def _train(model: Classifier, split: Split, images: int, seed: int, progress: bool) -> None:
    device = model.head.weight.device
    n = len(split.labelled)
    batch = min(BATCH, n)
    steps = max(1, min(images, EPOCHS * n) // batch)
    fused, fast = device.type in ("cpu", "cuda"), has_fast_bfloat16(device)
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, weight_decay=DECAY, nesterov=True, fused=fused)
    model.train()
    batches = store.tracked(_batches(split, batch, steps, seed), steps, "training a classifier", progress)
    for step, (rows, labels) in enumerate(batches):
        done = step / steps
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, (done + 1 / steps) / WARM_UP) * _cosine(done)
        x = augmented(to_tensor(rows, device), Draw(seed, step)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            logits = model(x)
        parts = torch.split(logits.float(), list(model.values.values()), dim=1)
        truth = torch.from_numpy(labels).to(device)
        loss = torch.stack([F.cross_entropy(part, truth[:, i]) for i, part in enumerate(parts)]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
        raise UserError("the classifier's training diverged: a weight is no longer finite. Give another seed.")
    model.eval()


def _cosine(done: float) -> float:
    """From 1 to 0 after the warm-up."""
    return 0.5 + 0.5 * math.cos(math.pi * max(0.0, (done - WARM_UP) / (1 - WARM_UP)))


def _batches(split: Split, batch: int, steps: int, seed: int) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
    """Images, and labels (batch, A)."""
    assert split.labels is not None
    labels, known = split.labels.reshape(len(split), -1), split.labelled
    places = np.empty(0, np.int64)
    for step in range(steps):
        epoch, place = divmod(step, len(known) // batch)
        if place == 0:
            places = known[order(seed, "classifier", epoch, n=len(known))]
        rows = places[place * batch : (place + 1) * batch]
        yield split.images[rows], labels[rows]


def augmented(images: Tensor, draw: Draw) -> Tensor:
    """Images (N, C, H, W): all shifted by up to a 16th of the side, half of them blurred, half of them noisy.

    The blur is a binomial kernel of sigma 1 pixel mixed in by U(0, 1), the noise Gaussian with sigma U(0, 0.1).
    """
    n, _, height, width = images.shape
    device = images.device
    reach = max(1, min(height, width) // 16)
    down, across = (draw.uniform("shift", (2,)) * (2 * reach + 1)).int().tolist()
    images = F.pad(images, (reach,) * 4, mode="replicate")[:, :, down : down + height, across : across + width].clone()
    half = max(1, n // 2)
    amount = draw.uniform("blur", (half, 1, 1, 1), device)
    images[:half] = images[:half].lerp(blurred(images[:half]), amount)
    level = 0.1 * draw.uniform("level", (half, 1, 1, 1), device)
    noise = draw.normal("noise", (half, *images.shape[1:]), device)
    images[half // 2 : half // 2 + half] += level * noise
    return images


def blurred(images: Tensor) -> Tensor:
    """Images (N, C, H, W) after the kernel (1, 4, 6, 4, 1) / 16 along each side; the border repeated."""
    channels = images.shape[1]
    kernel = torch.tensor([1.0, 4, 6, 4, 1], device=images.device).div(16)
    for view, pad in ((kernel.view(1, 1, 1, 5), (2, 2, 0, 0)), (kernel.view(1, 1, 5, 1), (0, 0, 2, 2))):
        images = F.conv2d(F.pad(images, pad, mode="replicate"), view.expand(channels, -1, -1, -1), groups=channels)
    return images


def _accuracy(model: Classifier, split: Split) -> dict[str, float]:
    assert split.labels is not None
    known = split.labelled
    if not len(known):
        return {}
    parts = np.split(known, range(CHUNK, len(known), CHUNK))
    found = np.concatenate([model.predict(to_tensor(split.images[rows])) for rows in parts])
    right = (found == split.labels[known]).reshape(len(known), -1).mean(0)
    return dict(zip(model.values, right.tolist(), strict=True))


def _save(model: Classifier, folder: Path, facts: dict[str, Any]) -> None:
    """The weights first: where config.json is, all is."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors.save(folder / "model.safetensors", model.state_dict())
    own = {"shape": model.shape, "values": model.values, "single": model.single, "accuracy": model.accuracy}
    write_text(folder / "config.json", json.dumps(facts | own, indent=2) + "\n")


def _load(folder: Path) -> Classifier | None:
    """The classifier in the cache; None where there is none, or one that is damaged: it is made again."""
    try:
        config = read_json(folder / "config.json")
        model = Classifier(tuple(config["shape"]), config["values"], config["single"])
        model.load_state_dict(tensors.load(folder / "model.safetensors")[0])
        model.accuracy = dict(config["accuracy"])
    except Exception:  # whatever it is, the remedy is the same
        return None
    return model.eval()
