import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganvas.ground.errors import UserError
from ganvas.parts.nets.spatial import Spatial


@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
def test_images_of_any_size(height: int, width: int, channels: int, halvings: int, more: int) -> None:
    net = Spatial(channels=channels, halvings=halvings, filters=8)
    shape = (3, height, width)
    code = net.code_shape(shape)
    assert code == (channels, *(-(-side // 2**halvings) for side in (height, width)))
    numbers = math.prod(code)
    codes = net.encoder(shape, 2 * numbers)(torch.rand(2, *shape))
    assert codes.shape == (2, 2 * numbers)
    assert net.decoder(numbers + more, shape)(torch.randn(2, numbers + more)).shape == (2, *shape)


def test_a_code_is_of_what_is_near() -> None:
    net = Spatial(channels=2, halvings=2, filters=8)
    x = torch.rand(1, 1, 64, 64, requires_grad=True)
    codes = net.encoder(x.shape[1:], 2 * 256)(x).view(2, 16, 16)
    (by,) = torch.autograd.grad(codes[:, 8, 8].sum(), x)
    rows = by[0, 0].abs().sum(1).nonzero()[:, 0]
    assert 24 <= len(rows) < 48 and abs(float(rows.float().mean()) - 34) < 3


def test_what_stands_after_a_code_is_added_everywhere_alike() -> None:
    net = Spatial(channels=2, halvings=1, filters=8).decoder(2 * 64 + 3, (1, 16, 16))
    assert torch.equal(*(net[0](torch.cat([torch.zeros(1, 128), torch.eye(3)[:1]], 1))[0, :, i, i] for i in (3, 4)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Spatial().decoder(50, (1, 28, 28)), r"4 x 7 x 7 = 196 numbers, and 50"),
        (lambda: Spatial().encoder((5,), 5), "--net mlp"),
    ],
)
def test_refused(make, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=message):
        make()
