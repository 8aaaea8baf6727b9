"""Networks from a file, as features: ONNX or TorchScript.

Neither is unpickled. ONNX is a graph of its operators. TorchScript runs torch's, and no Python; but one of them opens
files and may write them, so take it from those whom you trust. A file that torch.save or torch.export wrote is refused:
torch reads it, or falls back on reading it, by running whatever was pickled into it.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.ground.errors import UserError

CHUNK = 50
EXPORT = (
    "Export the network: torch.onnx.export(net.eval(), (images,), 'net.onnx', external_data=False), "
    "or torch.jit.trace(net.eval(), images).save('net.pt')."
)

Size = tuple[int | None, ...]


@dataclass(frozen=True)
class Network:
    """A network from a file, made by `read`.

    Attributes:
        name: the file's name and the first digits of its SHA-256: "net.onnx@1a2b3c4d".
        sha256: all of them.
        declared: (N, C, H, W) of its input; None for what is free.
        function: from images to its first output.
    """

    name: str
    sha256: str
    declared: Size
    function: Callable[[Tensor], Any]

    def __call__(
        self, images: Tensor, size: Size = (None, None, None), change: Callable[[Tensor], Tensor] = lambda x: x
    ) -> Tensor:
        """Its first output, float32 (N, ...).

        Args:
            images: (N, C, H, W) in [0, 1].
            size: (C, H, W) that they get where it declares none; None leaves them. Grey is repeated as colour; sizes
                are changed bilinearly, with averaging where they get smaller.
            change: what is done to them last.

        Raises:
            UserError: it can't take them, or gives no finite numbers, or not one row for each image.
        """
        parts = torch.split(images, self.declared[0] or CHUNK)
        return torch.cat([self._outputs(change(self._fitted(part, size))) for part in parts])

    def _fitted(self, images: Tensor, size: Size) -> Tensor:
        channels, *sides = (own or other for own, other in zip(self.declared[1:], size, strict=True))
        here = list(images.shape[2:])
        target = [side or old for side, old in zip(sides, here, strict=True)]
        if channels not in (None, images.shape[1]):
            if images.shape[1] != 1:
                raise UserError(f"{self.name} takes {channels} channels; the images have {images.shape[1]}.")
            images = images.expand(-1, channels, -1, -1)
        if target != here:
            images = F.interpolate(images, target, mode="bilinear", antialias=True)
        return images.contiguous()

    def _outputs(self, images: Tensor) -> Tensor:
        n, shape = len(images), tuple(images.shape)
        rows = self.declared[0] or n
        try:
            with torch.inference_mode():
                found = self.function(F.pad(images, (0,) * 7 + (rows - n,)))  # a fixed number of rows is filled up
        except Exception as error:  # whatever the network does
            raise UserError(f"{self.name} can't take float32 images {shape}: {_said(error, -1)}") from error
        found = found[0] if isinstance(found, (tuple, list)) and found else found
        if not isinstance(found, Tensor) or not found.is_floating_point():
            what = f"{found.dtype} values" if isinstance(found, Tensor) else type(found).__name__
            raise UserError(f"{self.name} gives {what}; its first output must be floats (N, d).")
        if found.dim() < 2 or len(found) != rows or not found.numel():
            raise UserError(f"{self.name} gives {tuple(found.shape)} for {rows} images; ({rows}, d) is needed.")
        found = found[:n].float().cpu()
        if not bool(torch.isfinite(found).all()):
            raise UserError(f"{self.name} gives NaN or infinite values for images {shape}.")
        return found


def _said(error: Exception, line: int) -> str:
    lines = str(error).strip().splitlines()
    return lines[line] if lines else type(error).__name__


def read(path: str | Path, device: str | torch.device = "cpu") -> Network:
    """The network in a file; ONNX runs on the CPU.

    Raises:
        UserError: no such file, or none that can be read without running what was pickled into it.
    """
    file = Path(path).expanduser()
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{str(path)!r} can't be read ({error.strerror}); give an ONNX or TorchScript file.") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if names := _entries(data):
        if not any("/code/" in name for name in names) or any(name.endswith("archive_format") for name in names):
            raise UserError(f"{file.name} was written by torch.save or torch.export, which may hold any code. {EXPORT}")
        declared, function = _torchscript(data, file.name, torch.device(device))
    elif file.suffix.lower() == ".onnx":
        declared, function = _onnx(data, file.name)
    else:
        raise UserError(f"{file.name} is neither ONNX (.onnx) nor TorchScript. {EXPORT}")
    return Network(f"{file.name}@{sha256[:8]}", sha256, declared, function)


def _entries(data: bytes) -> list[str]:
    """The names in a zip archive; none, if it is none."""
    try:
        return zipfile.ZipFile(io.BytesIO(data)).namelist()
    except zipfile.BadZipFile:
        return []


def _torchscript(data: bytes, name: str, device: torch.device) -> tuple[Size, Callable[[Tensor], Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers torch.export, which unpickles
            module = torch.jit.load(io.BytesIO(data), map_location=device)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise UserError(f"{name} can't be read as TorchScript ({_said(error, 0)}). {EXPORT}") from error
    module.eval()
    return (None,) * 4, lambda images: module(images.to(device))


def _onnx(data: bytes, name: str) -> tuple[Size, Callable[[Tensor], Any]]:
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise UserError(f"{name}: ONNX files need onnxruntime: pip install 'ganvas[onnx]'.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    # Weights in a file beside it would not be in the checksum, and would be looked for in the working folder.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        why = _said(error, 0)
        raise UserError(f"{name} can't be read as ONNX, whole in one file ({why}). {EXPORT}") from error
    inputs = session.get_inputs()
    shape = inputs[0].shape if inputs else []
    if len(inputs) != 1 or len(shape) != 4 or inputs[0].type != "tensor(float)":
        taken = ", ".join(f"{item.name}: {item.type} {item.shape}" for item in inputs) or "nothing"
        raise UserError(f"{name} takes {taken}; one input of float32 images (N, C, H, W) is needed.")
    declared = tuple(side if isinstance(side, int) and side > 0 else None for side in shape)
    first = session.get_outputs()[0].name

    def function(images: Tensor) -> Tensor:
        return torch.as_tensor(session.run([first], {inputs[0].name: images.numpy()})[0])

    return declared, function
