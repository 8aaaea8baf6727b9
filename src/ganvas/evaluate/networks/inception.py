"""The Inception network over whose features the Frechet distance is called FID (Heusel et al. 2017).

Inception v3 (Szegedy et al. 2015, https://arxiv.org/abs/1512.00567) as in TensorFlow's graph of 2015-12-05, with the
names of the weights that pytorch-fid publishes. It differs from the usual Inception v3: average pooling leaves the
padding out, the pooling of the last block is by the maximum, and there are 1,008 logits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganvas.data import store
from ganvas.ground.errors import UserError

FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SIDE, LOGITS = 299, 1008
CHUNK = 32  # images in memory at a time, at 299 x 299


class Conv(NamedTuple):
    """A convolution, batch norm and ReLU; padded, it keeps the size."""

    name: str
    filters: int
    kernel: tuple[int, int]
    stride: int = 1
    padded: bool = True


Step = Conv | tuple[Conv, ...] | str  # several stand side by side; a string names a pooling
POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    "max": lambda x: F.max_pool2d(x, 3, 1, 1),
    "half": lambda x: F.max_pool2d(x, 3, 2),
}


def _branch(name: str, *steps: tuple[int, tuple[int, int]], halved: bool = False) -> list[Step]:
    """Convolutions `name_1`, `name_2`, ...: their filters and kernels; the last may halve the size."""
    convs = [Conv(f"{name}_{i}", *step) for i, step in enumerate(steps, 1)]
    return [*convs[:-1], convs[-1]._replace(stride=2, padded=False) if halved else convs[-1]]


def _pair(name: str) -> tuple[Conv, ...]:
    return (Conv(f"{name}a", 384, (1, 3)), Conv(f"{name}b", 384, (3, 1)))


ONE, THREE, FIVE, ROW, COLUMN = (1, 1), (3, 3), (5, 5), (1, 7), (7, 1)


def _a(pooled: int) -> list[list[Step]]:
    return [
        [Conv("branch1x1", 64, ONE)],
        _branch("branch5x5", (48, ONE), (64, FIVE)),
        _branch("branch3x3dbl", (64, ONE), (96, THREE), (96, THREE)),
        ["mean", Conv("branch_pool", pooled, ONE)],
    ]


def _c(n: int) -> list[list[Step]]:
    return [
        [Conv("branch1x1", 192, ONE)],
        _branch("branch7x7", (n, ONE), (n, ROW), (192, COLUMN)),
        _branch("branch7x7dbl", (n, ONE), (n, COLUMN), (n, ROW), (n, COLUMN), (192, ROW)),
        ["mean", Conv("branch_pool", 192, ONE)],
    ]


def _e(pool: str) -> list[list[Step]]:
    return [
        [Conv("branch1x1", 320, ONE)],
        [*_branch("branch3x3", (384, ONE)), _pair("branch3x3_2")],
        [*_branch("branch3x3dbl", (448, ONE), (384, THREE)), _pair("branch3x3dbl_3")],
        [pool, Conv("branch_pool", 192, ONE)],
    ]


STEM: list[Step] = [
    Conv("Conv2d_1a_3x3", 32, THREE, 2, False),
    Conv("Conv2d_2a_3x3", 32, THREE, 1, False),
    Conv("Conv2d_2b_3x3", 64, THREE),
    "half",
    Conv("Conv2d_3b_1x1", 80, ONE),
    Conv("Conv2d_4a_3x3", 192, THREE, 1, False),
    "half",
]
BLOCKS: dict[str, list[list[Step]]] = {
    "Mixed_5b": _a(32),
    "Mixed_5c": _a(64),
    "Mixed_5d": _a(64),
    "Mixed_6a": [
        [Conv("branch3x3", 384, THREE, 2, False)],
        _branch("branch3x3dbl", (64, ONE), (96, THREE), (96, THREE), halved=True),
        ["half"],
    ],
    "Mixed_6b": _c(128),
    "Mixed_6c": _c(160),
    "Mixed_6d": _c(160),
    "Mixed_6e": _c(192),
    "Mixed_7a": [
        _branch("branch3x3", (192, ONE), (320, THREE), halved=True),
        _branch("branch7x7x3", (192, ONE), (192, ROW), (192, COLUMN), (192, THREE), halved=True),
        ["half"],
    ],
    "Mixed_7b": _e("mean"),
    "Mixed_7c": _e("max"),
}


class Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, width: int, conv: Conv) -> None:
        super().__init__()
        padding = [side // 2 if conv.padded else 0 for side in conv.kernel]
        self.conv: Any = nn.Conv2d(width, conv.filters, conv.kernel, conv.stride, (padding[0], padding[1]), bias=False)
        self.bn: Any = nn.BatchNorm2d(conv.filters, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, filters, ...)."""
        return F.relu(self.bn(self.conv(x)), inplace=True)

    def fold(self) -> None:
        """Take batch norm into the convolution, as can be done once they are trained: a seventh faster."""
        self.conv, self.bn = fuse_conv_bn_eval(self.conv, self.bn), nn.Identity()


class Block(nn.Module):
    """Branches side by side, their outputs one after the other in the channels."""

    def __init__(self, width: int, branches: list[list[Step]]) -> None:
        super().__init__()
        self.branches, self.width = branches, 0
        for branch in branches:
            inner = width
            for step in branch:
                if not isinstance(step, str):
                    convs = [step] if isinstance(step, Conv) else step
                    for conv in convs:
                        self.add_module(conv.name, Unit(inner, conv))
                    inner = sum(conv.filters for conv in convs)
            self.width += inner

    def forward(self, x: Tensor) -> Tensor:
        """(N, width before, H, W) -> (N, width, ...)."""
        return torch.cat([self._along(branch, x) for branch in self.branches], 1)

    def _along(self, branch: list[Step], x: Tensor) -> Tensor:
        for step in branch:
            if isinstance(step, str):
                x = POOLS[step](x)
            elif isinstance(step, Conv):
                x = self.get_submodule(step.name)(x)
            else:
                x = torch.cat([self.get_submodule(conv.name)(x) for conv in step], 1)
        return x


class Inception(Block):
    """Images (N, 3, 299, 299) with values in [-1, 1) -> the last pooled layer (N, 2048); `fc` makes logits of it."""

    def __init__(self) -> None:
        super().__init__(3, [STEM])
        width = self.width
        for name, branches in BLOCKS.items():
            block = Block(width, branches)
            self.add_module(name, block)
            width = block.width
        self.fc = nn.Linear(width, LOGITS)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, 2048)."""
        x = super().forward(x)
        for name in BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))


def extract(net: Inception, images: Tensor) -> Tensor:
    """Features (N, 2048), on the CPU, of images (N, 1 or 3, H, W) in [0, 1]."""
    device = net.fc.weight.device
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return torch.cat([net(prepared(part.to(device))).cpu() for part in torch.split(images, CHUNK)])


def prepared(images: Tensor) -> Tensor:
    """Images (N, 1 or 3, H, W) in [0, 1] as the network takes them: (N, 3, 299, 299).

    They are rounded to 8 bits, as images are that were saved, scaled as TensorFlow's graph and so the papers do it
    (and torch-fidelity; pytorch-fid puts the pixels elsewhere), and taken to (level - 128) / 128.
    """
    x = resized((255 * images).round_()).sub_(128).div_(128)
    return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def resized(images: Tensor, side: int = SIDE) -> Tensor:
    """Images (N, C, H, W) at (side, side), bilinear as in TensorFlow 1 without `align_corners`.

    Output pixel i lies at i * length / side, and not half a pixel further on; larger images are not averaged before.
    """
    for axis in (2, 3):
        length = images.shape[axis]
        place = torch.arange(side, device=images.device) * (length / side)
        low = place.long()
        share = (place - low).view((-1, 1) if axis == 2 else (-1,))
        high = (low + 1).clamp(max=length - 1)
        images = images.index_select(axis, low).lerp_(images.index_select(axis, high), share)
    return images


def load(path: str | Path = "") -> Inception:
    """The network with the published weights, from a file or else from the cache, into which they are downloaded.

    Raises:
        UserError: no such file, no network, or another file than the published one.
    """
    file = Path(path).expanduser() if path else fetched()
    if not file.is_file():
        raise UserError(f"no file {str(file)!r}: it should be {FILE}, from {URL}.")
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != SHA256:
        raise UserError(
            f"{file} has SHA-256 {found[:8]}..., the weights of FID have {SHA256[:8]}...: download {URL} again. "
            "Another network is given as ONNX or TorchScript, by its path alone; its distance is not FID."
        )
    with torch.device("meta"):  # no first weights are drawn
        net = Inception()
    try:
        net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True), assign=True)
    except Exception as error:  # whatever it is, the remedy is the same
        why = str(error).splitlines()[0]
        raise UserError(f"{file} does not hold the weights of FID ({why}): download {URL} again.") from error
    net.eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, Unit):
            module.fold()
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def fetched() -> Path:
    """The weights' file in the cache, downloaded (95 MB) if it is not there."""
    import pooch  # type: ignore[import-untyped]
    import requests

    folder = store.root() / "weights"
    try:
        return Path(pooch.retrieve(URL, f"sha256:{SHA256}", FILE, folder, downloader=pooch.HTTPDownloader(timeout=30)))
    except (requests.RequestException, OSError, ValueError) as error:  # ValueError: another checksum
        why = type(error).__name__ if isinstance(error, requests.RequestException) else error
        raise UserError(
            f"the weights of Inception can't be downloaded ({why}). Get {URL} by another road, and put it into "
            f"{str(folder)!r}, or give its path: inception:PATH. Without it: pixels, pca, classifier or random."
        ) from error
