"""The U-net: what goes past its middle, and how far it sees."""

import pytest
import torch
import torch.nn.functional as F

from ganvas.parts.nets.unet import UNet


def made(channels: int = 1, filters: int = 4, blocks: int = 1) -> UNet:
    torch.manual_seed(0)
    return UNet(channels, filters, blocks)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 11), (2, 28, 28)])
def test_an_image_in_and_one_of_its_size_out(shape: tuple[int, ...]) -> None:
    assert made(shape[0], blocks=2)(torch.rand(3, *shape)).shape == (3, *shape)


def test_maps_go_past_the_middle() -> None:
    """Where nothing comes up from the quarter's maps, what is left is the half's alone: by hand."""
    net, x = made(), torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        torch.nn.init.zeros_(net.narrow[0].weight)
    half = net.inwards[0](F.conv2d(F.pixel_unshuffle(x, 2), net.first.weight, net.first.bias, padding=1))
    expected = F.pixel_shuffle(net.last(F.leaky_relu(net.outwards[0](half), 0.2)), 2)
    torch.testing.assert_close(net(x), expected)


def test_a_pixel_sees_far_and_all_of_its_neighbours() -> None:
    x = torch.rand(1, 1, 32, 32, requires_grad=True)
    made()(x)[0, 0, 16, 16].backward()
    assert x.grad is not None
    seen = x.grad[0, 0] != 0
    assert bool(seen[8:24, 8:24].all())


def test_images_of_other_sizes_go_through_one_net() -> None:
    """It is of convolutions alone: the middle of a large image is as in a cut of it."""
    net, x = made().double(), torch.rand(1, 1, 160, 160).double()
    torch.testing.assert_close(net(x)[..., 72:88, 72:88], net(x[..., 16:144, 16:144])[..., 56:72, 56:72])
