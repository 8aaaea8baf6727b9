"""What a net is made of: its layers in the order of their first call, with shapes and parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor, nn


class Layer(NamedTuple):
    """A layer of a net.

    Attributes:
        name: its class, and what else tells it from others of its class.
        shape: of its output for one example.
        parameters: how many weights it has that no layer before it has.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int


def summary(net: nn.Module, *inputs: Any) -> list[Layer]:
    """The layers of a net that `net(*inputs)` calls.

    Args:
        net: any module; it is asked in evaluation mode and left as it was.
        inputs: as its forward takes them: a batch, or for a player of a game (batch, draw).
    """
    found: list[Layer] = []
    seen: set[Tensor] = set()
    called: set[nn.Module] = set()

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if module not in called and isinstance(output, Tensor):
            called.add(module)
            new = set(module.parameters()) - seen
            seen.update(new)
            found.append(Layer(_name(module), tuple(output.shape[1:]), sum(weight.numel() for weight in new)))

    before = {module: module.training for module in net.modules()}
    handles = [module.register_forward_hook(note) for name, module in net.named_modules() if _is_layer(name, module)]
    try:
        net.eval()(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in before.items():
            module.training = training
    return found


def _is_layer(path: str, module: nn.Module) -> bool:
    """Whether it is no mere container, nor part of a layer's parametrisation (weight norm, spectral norm)."""
    inside = {name for name, _ in module.named_children()} - {"parametrizations"}
    return (
        (not inside or any(True for _ in module.parameters(recurse=False)))
        and "parametrizations" not in path.split(".")
        and not isinstance(module, nn.Identity)
    )


def _name(module: nn.Module) -> str:
    name = type(module).__name__.removeprefix("Parametrized")
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return f"{name} {' x '.join(map(str, module.kernel_size))}, stride {module.stride[0]}"
    if isinstance(module, nn.Dropout):
        return f"{name} {module.p:g}"
    return f"{name} {module.negative_slope:g}" if isinstance(module, nn.LeakyReLU) else name


def table(layers: Iterable[Layer]) -> str:
    """Layers as lines of text: name, output shape, parameters; their sum at the end."""
    layers = list(layers)
    rows = [(it.name, " x ".join(map(str, it.shape)), f"{it.parameters:,}" if it.parameters else "") for it in layers]
    rows = [("layer", "output", "parameters"), *rows, ("sum", "", f"{sum(it.parameters for it in layers):,}")]
    wide = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(f"{name:<{wide[0]}}  {shape:<{wide[1]}}  {n:>{wide[2]}}".rstrip() for name, shape, n in rows)
