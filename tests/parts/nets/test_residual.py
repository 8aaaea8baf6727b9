"""The residual net: any size, blocks that start as nothing, and no checker pattern."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from ganvas.ground.errors import UserError
from ganvas.parts.nets.residual import Block, Residual, sizes


@given(st.integers(8, 200), st.integers(8, 200))
@settings(deadline=None, max_examples=40)
def test_any_size_comes_in_and_out(height: int, width: int) -> None:
    net = Residual(filters=2)
    torch.manual_seed(0)
    assert net.encoder((3, height, width), 5)(torch.rand(2, 3, height, width)).shape == (2, 5)
    assert net.decoder(5, (3, height, width))(torch.randn(2, 5)).shape == (2, 3, height, width)


def test_sizes_are_halves_rounded_up() -> None:
    assert sizes(64, 64) == [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]
    assert sizes(25, 25) == [(25, 25), (13, 13), (7, 7)]
    assert sizes(100, 60) == [(100, 60), (50, 30), (25, 15), (13, 8), (7, 4)]


def test_a_block_starts_near_the_identity() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 5)
    change = (Block(6)(x) - x).detach().std()
    assert 0 < float(change) < 0.2


@pytest.mark.parametrize("size", [(64, 64), (32, 48), (25, 25), (100, 100)])
def test_signals_keep_their_scale(size: tuple[int, int]) -> None:
    """At first, outputs of inputs of unit variance are neither tiny nor huge."""
    torch.manual_seed(0)
    net = Residual(filters=16)
    codes = net.encoder((3, *size), 32)(torch.randn(8, 3, *size))
    pixels = net.decoder(32, (3, *size))(torch.randn(8, 32))
    assert 0.03 < float(codes.detach().std()) < 3 and 0.03 < float(pixels.detach().std()) < 3


def test_no_checker_pattern() -> None:
    """Pixels whose place in a block of 2 x 2 differs are alike on average, which transposed convolutions break."""
    torch.manual_seed(0)
    with torch.no_grad():
        pixels = Residual(filters=16).decoder(32, (1, 32, 32))(torch.randn(256, 32))
    inner = pixels[:, 0, 8:24, 8:24]
    spread = torch.stack([inner[:, i::2, j::2].std() for i in range(2) for j in range(2)])
    assert float(spread.max() / spread.min()) < 1.05


@pytest.mark.parametrize(("shape", "says"), [((2,), "needs images"), ((1, 7, 20), "from 8 x 8 on, these are 7 x 20")])
def test_what_it_cannot_take_is_refused(shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Residual().encoder(shape, 3)
    with pytest.raises(UserError, match=says):
        Residual().decoder(3, shape)
