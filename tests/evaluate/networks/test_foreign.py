import builtins
import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn

from ganvas.data import Dataset, Split
from ganvas.evaluate.networks import foreign
from ganvas.evaluate.networks.features import MEAN, features
from ganvas.ground.errors import UserError

KERNEL = np.random.default_rng(0).standard_normal((4, 3, 2, 2)).astype(np.float32)


FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def onnx_file(path: Path, shape: list[Any], *nodes: Any, kinds: tuple[int, int] = (FLOAT, FLOAT), **more: Any) -> Path:
    """A graph from input x to its last node's output; without nodes a convolution by KERNEL."""
    made = nodes or (helper.make_node("Conv", ["x", "kernel"], ["y"]),)
    graph = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info("x", kinds[0], shape)],
        [helper.make_tensor_value_info(made[-1].output[0], kinds[1], None)],
        [] if nodes else [numpy_helper.from_array(KERNEL, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, **more)
    return path


def scripted(path: Path, net: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(net).save(str(path))
    return path


def dataset(channels: int = 3, side: int = 9, n: int = 70) -> Dataset:
    images = np.random.default_rng(1).integers(0, 256, (n, side, side, channels), np.uint8)
    parts = {name: Split(images, None) for name in ("train", "validation", "test")}
    return Dataset("made", "", parts, (channels, side, side), None, None, "made", (), "")


def pictures(data: Dataset) -> NDArray[np.float32]:
    return data.splits["test"].images.transpose(0, 3, 1, 2).astype(np.float32) / 255


def convolved(images: NDArray[Any]) -> NDArray[Any]:
    """By KERNEL, unpadded, flattened."""
    height, width = (side - 1 for side in images.shape[2:])
    found = sum(
        np.einsum("nchw,fc->nfhw", images[:, :, i : i + height, j : j + width], KERNEL[:, :, i, j])
        for i in (0, 1)
        for j in (0, 1)
    )
    return np.asarray(found).reshape(len(images), -1)


@pytest.mark.parametrize("batch", ["n", 1, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_onnx(tmp_path: Path, batch: Any, channels: int) -> None:
    file = onnx_file(tmp_path / "net.onnx", [batch, 3, "h", "w"])
    data = dataset(channels)
    extract = features(str(file), data)
    assert extract.name == f"net.onnx@{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}"
    found = extract(data.splits["test"])
    expected = convolved(np.broadcast_to(pictures(data), (70, 3, 9, 9)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.dtype == np.float32


def test_torchscript(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 2, bias=False), nn.Dropout(0.5), nn.Flatten())
    net[0].weight.data = torch.from_numpy(KERNEL)
    file = scripted(tmp_path / "net.pt", net.train())
    data = dataset()
    found = features(str(file), data)(data.splits["test"])
    np.testing.assert_allclose(found, convolved(pictures(data)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [5, 20])
def test_a_fixed_size_against_pillow(tmp_path: Path, side: int) -> None:
    file = onnx_file(tmp_path / "net.onnx", ["n", 1, side, side], helper.make_node("Identity", ["x"], ["y"]))
    data = dataset(channels=1)
    found = features(str(file), data)(data.splits["test"]).reshape(70, side, side)
    size = (side, side)
    for image, row in zip(pictures(data)[:, 0], found, strict=True):
        expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_dinov2_is_normalised_and_gives_its_class_token(tmp_path: Path) -> None:
    class Tokens(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            means = x.mean((2, 3))
            return torch.stack([means, 0 * means], 1), means[:, :1]

    file = scripted(tmp_path / "net.pt", Tokens())
    data = dataset(channels=1)
    extract = features(f"dinov2:{file}", data)
    assert extract.name == f"dinov2:{features(str(file), data).name}"
    flat = np.full((2, 1, 9, 9), 0.3, np.float32)
    expected = (0.3 - np.array(MEAN)) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(extract(flat), [expected] * 2, rtol=1e-5)
    whole = scripted(tmp_path / "whole.pt", nn.Identity())
    assert features(f"dinov2:{whole}", data)(flat).shape == (2, 3 * 224 * 224)
    fixed = onnx_file(tmp_path / "net.onnx", [1, 3, 28, 28], helper.make_node("Identity", ["x"], ["y"]))
    assert features(f"dinov2:{fixed}", data)(flat).shape == (2, 3 * 28 * 28)


def node(kind: str, **settings: Any) -> Any:
    return helper.make_node(kind, ["x"], ["y"], **settings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (node("Log"), r"gives NaN or infinite values for images \(\d+, 3, 9, 9\)"),
        (node("ReduceMean", axes=[0]), r"gives \(1, 3, 9, 9\) for \d+ images; \(\d+, d\) is needed"),
        (node("ReduceMean", axes=[1, 2, 3], keepdims=0), r"gives \(\d+,\) for"),
        (node("Cast", to=INT), r"gives torch\.int64 values; .* floats \(N, d\)"),
    ],
)
def test_what_a_network_gives_is_checked(tmp_path: Path, given: Any, message: str) -> None:
    kinds = (FLOAT, INT if given.op_type == "Cast" else FLOAT)
    file = onnx_file(tmp_path / "net.onnx", ["n", 3, "h", "w"], given, kinds=kinds)
    data = dataset()
    extract = features(str(file), data)
    with pytest.raises(UserError, match=r"net\.onnx@\w{8} " + message):
        extract(np.zeros((60, 3, 9, 9), np.float32))


def test_images_that_a_network_cannot_take(tmp_path: Path) -> None:
    file = onnx_file(tmp_path / "net.onnx", ["n", 1, "h", "w"], node("Identity"))
    with pytest.raises(UserError, match="takes 1 channels; the images have 3"):
        features(str(file), dataset())(dataset().splits["test"])
    script = scripted(tmp_path / "net.pt", nn.Conv2d(3, 4, 2))
    with pytest.raises(UserError, match=r"can't take float32 images \(50, 1, 9, 9\): .*channels"):
        features(str(script), dataset(1))(dataset(1).splits["test"])


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        (["n", 3], FLOAT, r"takes x: tensor\(float\) \['n', 3\]; one input of float32 images"),
        (["n", 3, 9, 9], TensorProto.DOUBLE, r"takes x: tensor\(double\)"),
    ],
)
def test_inputs_of_another_kind(tmp_path: Path, shape: list[Any], kind: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        foreign.read(onnx_file(tmp_path / "net.onnx", shape, node("Shape"), kinds=(kind, INT)))


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.file,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    file = tmp_path / "net.pt"
    torch.save(Payload(mark), file)
    with pytest.raises(UserError, match=r"net\.pt was written by torch\.save .*torch\.onnx\.export"):
        foreign.read(file)
    file.write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(UserError, match=r"neither ONNX \(\.onnx\) nor TorchScript.*torch\.onnx\.export"):
        foreign.read(file)
    torch.export.save(torch.export.export(nn.Flatten(), (torch.rand(2, 3, 4, 4),)), tmp_path / "net.pt2")
    with pytest.raises(UserError, match=r"torch\.export, which may hold any code"):
        foreign.read(tmp_path / "net.pt2")
    assert not mark.exists()


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "net.onnx"
    with pytest.raises(UserError, match=r"can't be read \(No such file"):
        foreign.read(file)
    file.write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"net\.onnx can't be read as ONNX"):
        foreign.read(file)
    script = scripted(tmp_path / "net.pt", nn.Flatten())
    with zipfile.ZipFile(script) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(script, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part.replace(b"def forward", b"xyz forward"))
    with pytest.raises(UserError, match=r"net\.pt can't be read as TorchScript"):
        foreign.read(script)
    onnx_file(file, ["n", 3, "h", "w"])
    true = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError
        return true(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'ganvas\[onnx\]'"):
        foreign.read(file)


def test_weights_in_another_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not in the checksum; ONNX's runtime would take them from the working folder."""
    file = onnx_file(
        tmp_path / "net.onnx", ["n", 3, "h", "w"], save_as_external_data=True, location="more", size_threshold=0
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"whole in one file .*external_data=False"):
        foreign.read(file)
