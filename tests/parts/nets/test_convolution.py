"""Convolutions as products against torch's, and their derivatives against differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.parts.nets import convolution
from ganvas.parts.nets.convolution import Across, Conv2d, ConvTranspose2d, Down, Up


@pytest.fixture(autouse=True, params=[(64, 16), (16, 0)], ids=["matrix units", "without"])
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Up to which size of a map there are products: as with matrix units, and as without, on any machine."""
    for name, value in zip(("WEIGHTS", "STRIDED"), request.param, strict=True):
        monkeypatch.setattr(convolution, name, value)
    return request.param


KINDS = [(4, 2, 1), (5, 2, 2), (3, 1, 1), (3, 2, 0), (4, 3, 1)]  # kernel, stride, padding


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("kernel", "stride", "padding"), KINDS)
@pytest.mark.parametrize("size", [(8, 6), (7, 9), (16, 12)])
def test_each_of_the_three_is_torch_s(kernel: int, stride: int, padding: int, size: tuple[int, int]) -> None:
    x, w = normal(2, 3, *size), normal(5, 3, kernel, kernel, seed=1)
    expected = F.conv2d(x, w, None, stride, padding)
    y = normal(*expected.shape, seed=2)
    found = torch.ops.aten.convolution_backward(
        *(y, x, w, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [True, True, False])
    )
    torch.testing.assert_close(Down.apply(x, w, stride, padding), expected)
    torch.testing.assert_close(Up.apply(y, w, stride, padding, size), found[0])
    torch.testing.assert_close(Across.apply(x, y, stride, padding, kernel), found[1])


@pytest.mark.parametrize(("kernel", "stride", "padding"), KINDS)
def test_derivatives_of_any_order(kernel: int, stride: int, padding: int) -> None:
    """By differences; a penalty on gradients needs the second."""
    x, w = normal(2, 2, 6, 5).requires_grad_(), normal(3, 2, kernel, kernel, seed=1).requires_grad_()
    y = normal(*Down.apply(x, w, stride, padding).shape, seed=2).requires_grad_()
    for function, given in (
        (lambda x, w: Down.apply(x, w, stride, padding), (x, w)),
        (lambda y, w: Up.apply(y, w, stride, padding, (6, 5)), (y, w)),
        (lambda x, y: Across.apply(x, y, stride, padding, kernel), (x, y)),
    ):
        assert torch.autograd.gradcheck(function, given)
        assert torch.autograd.gradgradcheck(function, given)


def layers(side: int) -> list[tuple[nn.Module, nn.Module, Tensor]]:
    """Ours, torch's with the same weights, and what to give them: as in the nets, with maps of `side` inside."""
    found = []
    down = [(4, 2, False, True), (5, 2, False, False), (3, 1, False, True), (1, 1, False, True)]
    for i, (kernel, stride, up, bias) in enumerate([*down, (4, 2, True, False), (5, 2, True, True)]):
        padding = (kernel - 1) // 2
        for kind in (0, 1):
            if up:
                make = (ConvTranspose2d, nn.ConvTranspose2d)[kind]
                layer = make(16, 8, kernel, stride, padding, output_padding=kernel % 2, bias=bias)
            else:
                layer = (Conv2d, nn.Conv2d)[kind](16, 8, kernel, stride, padding, bias=bias)
            if not kind:
                ours = layer
        layer.load_state_dict(ours.state_dict())
        x = normal(4, 16, *[side * (1 if up else stride)] * 2, seed=i).float()
        found.append((ours, layer, x))
    return found


@pytest.mark.parametrize("side", [3, 4, 8, 9])
def test_in_bfloat16_as_near_to_float32_as_torch(side: int) -> None:
    """Output and all gradients: within twice the error of torch's bfloat16 convolution."""
    for ours, torch_s, x in layers(side):
        wanted = _with_gradients(torch_s, x, False)
        theirs = _with_gradients(torch_s, x, True)
        for exact, a, b in zip(wanted, theirs, _with_gradients(ours, x, True), strict=True):
            assert (b.shape, b.dtype) == (a.shape, a.dtype)
            assert (b.float() - exact).norm() <= 2 * (a.float() - exact).norm() + 1e-6 * exact.norm(), (ours, side)


def _with_gradients(layer: nn.Module, x: Tensor, fast: bool) -> tuple[Tensor, ...]:
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=fast):
        y = layer(x)
    pull = normal(*y.shape, seed=9).to(y.dtype)
    return (y.detach(), *torch.autograd.grad(y, (x, *layer.parameters()), pull))


def test_outside_of_bfloat16_it_is_torch_s_to_the_bit() -> None:
    for ours, theirs, x in layers(4):
        for a, b in zip(_with_gradients(ours, x, False), _with_gradients(theirs, x, False), strict=True):
            assert torch.equal(a, b)


def test_no_images_are_no_images() -> None:
    for ours, theirs, x in layers(4):
        for fast in (False, True):
            for a, b in zip(_with_gradients(ours, x[:0], fast), _with_gradients(theirs, x[:0], fast), strict=True):
                assert a.shape == b.shape
                assert not a.any()


def test_small_maps_are_products_and_large_ones_are_not(
    limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    for name in ("_patches", "_matrix"):
        kept = getattr(convolution, name)
        monkeypatch.setattr(convolution, name, lambda *a, kept=kept, name=name: (asked.append(name), kept(*a))[1])
    most, most_strided = limits
    for side in (3, 4, 5, 8, 9):
        for ours, _, x in layers(side):
            asked.clear()
            _with_gradients(ours, x, True)
            fast = ours.kernel_size[0] > 1 and side**2 <= most
            strided = ours.stride[0] > 1 and side**2 <= most_strided
            assert asked.count("_patches") == fast * (1 + strided)
            assert asked.count("_matrix") == fast * 2 * strided


def test_a_penalty_on_the_gradient_passes_by_them() -> None:
    """R1 through two layers, in bfloat16, is near its value and gradient in float32."""
    torch.manual_seed(0)
    net = nn.Sequential(Conv2d(8, 16, 4, 2, 1), nn.Softplus(), Conv2d(16, 32, 4, 2, 1), nn.Flatten(), nn.Linear(512, 1))
    x = normal(8, 8, 16, 16).float().requires_grad_()
    found = []
    for fast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            (by_x,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
            penalty = by_x.float().square().sum()
        found.append([penalty, *torch.autograd.grad(penalty, [net[0].weight, net[2].weight])])
    for exact, value in zip(*found, strict=True):
        assert (value - exact).norm() < 0.02 * exact.norm()
