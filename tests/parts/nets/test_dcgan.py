"""The published nets: shapes, numbers of weights, their first values, and their arithmetic from torch's own layers."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import stats
from torch import nn

from ganvas.ground.errors import UserError
from ganvas.parts.nets.dcgan import DCGAN, base

# (height, width) -> (strided layers, height and width of the base)
SIZES = {
    (8, 8): (1, 4, 4),
    (16, 16): (2, 4, 4),
    (28, 28): (2, 7, 7),
    (32, 32): (3, 4, 4),
    (48, 48): (3, 6, 6),
    (64, 64): (4, 4, 4),
    (96, 96): (4, 6, 6),
    (128, 128): (5, 4, 4),
    (256, 256): (6, 4, 4),
    (32, 64): (3, 4, 8),
    (100, 100): (4, 7, 7),
    (96, 64): (4, 6, 4),
    (25, 25): (2, 7, 7),
    (9, 13): (1, 5, 7),
}


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(size: tuple[int, int], kernel: Any, norm: Any, channels: int) -> None:
    net, shape = DCGAN(filters=1, kernel=kernel, norm=norm, widen=channels == 3), (channels, *size)
    assert base(shape) == SIZES[size]
    assert net.decoder(5, shape)(torch.zeros(2, 5)).shape == (2, *shape)
    assert net.encoder(shape, 7)(torch.zeros(2, *shape)).shape == (2, 7)


@given(st.integers(1, 300), st.integers(1, 300))
@settings(deadline=None)
def test_a_size_halves_down_to_its_base_is_padded_to_one_that_does_or_is_refused(height: int, width: int) -> None:
    fits = [
        n
        for n in range(1, 8)
        if height % 2**n == width % 2**n == 0 and min(height, width) >> n >= 4 and max(height, width) >> n <= 15
    ]
    try:
        n, h, w = base((1, height, width))
    except UserError:
        assert min(height, width) < 8 or max(height, width) > 1.8 * min(height, width)
    else:
        if fits:
            assert n == max(fits) and (h << n, w << n) == (height, width)
        assert min(h, w) >= 4 and max(h, w) <= 15
        assert 0 <= (h << n) - height < 1 << n and 0 <= (w << n) - width < 1 << n


def test_what_is_padded_is_cut_off_again() -> None:
    """The picture is the middle of what the net makes: its layers give the same with and without the crop."""
    torch.manual_seed(0)
    small = DCGAN(filters=2).decoder(3, (1, 29, 26))
    torch.manual_seed(0)
    whole = DCGAN(filters=2).decoder(3, (1, 32, 28))
    z = torch.randn(4, 3)
    torch.testing.assert_close(small.eval()(z), whole.eval()(z)[:, :, 1:30, 1:27])


@pytest.mark.parametrize("size", [(7, 7), (6, 20), (16, 64), (1, 1), (8, 31)])
def test_small_and_long_images_are_refused_with_the_remedy(size: tuple[int, int]) -> None:
    says = rf"can't make {size[0]} x {size[1]}: sides from 8 on, .*--size, or --net mlp"
    for make in (lambda: DCGAN().encoder((1, *size), 1), lambda: DCGAN().decoder(1, (1, *size))):
        with pytest.raises(UserError, match=says):
            make()


def test_points_are_refused() -> None:
    with pytest.raises(UserError, match=r"needs images, the data is points of shape \(2,\): take --net mlp"):
        DCGAN().encoder((2,), 1)


def test_as_many_weights_as_the_published_64_pixel_nets() -> None:
    """PyTorch's example has 3,576,704 and 2,765,568; here the layers beside the image and the head have biases."""
    assert count(DCGAN().decoder(100, (3, 64, 64))) == 3_576_704 + 3
    assert count(DCGAN().encoder((3, 64, 64), 1)) == 2_765_568 + 64 + 1
    # Radford et al. 2015, figure 1: 100 -> 1024 x 4 x 4 -> 512 -> 256 -> 128 -> 3, kernels 5 x 5.
    project, norms = 100 * 1024 * 16, 2 * (1024 + 512 + 256 + 128)
    convolutions = 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    paper = DCGAN(filters=128, kernel=5)
    assert count(paper.decoder(100, (3, 64, 64))) == project + norms + convolutions + 3
    # Its mirror: no norm beside the image (128), a bias there (128) and on the head.
    assert count(paper.encoder((3, 64, 64), 1)) == convolutions + 1024 * 16 + (norms - 2 * 128) + 128 + 1


@pytest.mark.parametrize(("widen", "filters"), [(True, [2, 4, 8, 16, 16, 16]), (False, [2] * 6)])
def test_filters_double_up_to_eight_times_the_first_or_stay(widen: bool, filters: list[int]) -> None:
    down = DCGAN(filters=2, widen=widen).encoder((1, 256, 256), 1)
    up = DCGAN(filters=2, widen=widen).decoder(3, (1, 256, 256))
    assert [layer.out_channels for layer in down if isinstance(layer, nn.Conv2d)] == filters
    assert [layer.in_channels for layer in up if isinstance(layer, nn.ConvTranspose2d)] == filters[::-1]


def test_the_constant_net_of_the_wasserstein_paper_by_hand() -> None:
    """Arjovsky et al. 2017, figure 6: no batch norm, 64 filters at every layer; here at 64 pixels, kernels of 4."""
    net = DCGAN(norm="none", widen=False).decoder(100, (3, 64, 64))
    assert count(net) == 101 * 64 * 16 + 3 * (16 * 64 * 64 + 64) + 16 * 64 * 3 + 3


def test_without_batch_norm_every_layer_has_a_bias() -> None:
    net = DCGAN(filters=4, norm="none")
    weights = 16 * (3 * 4 + 4 * 8) + 8 * 7 * 7
    assert count(net.encoder((3, 28, 28), 1)) == weights + 4 + 8 + 1
    assert count(net.decoder(1, (3, 28, 28))) == weights + 8 * 49 + 4 + 3


def test_first_weights() -> None:
    """Weights N(0, 0.02), gains N(1, 0.02), biases 0; false alarm under 1e-6.

    Of all weights and of all gains, Kolmogorov-Smirnov and the chi-square of the spread; of each layer, the latter.
    """
    torch.manual_seed(0)
    net, scores = DCGAN(filters=32), {"weight": [], "gain": []}
    for module in (net.encoder((3, 32, 32), 4), net.decoder(50, (3, 32, 32))):
        for name, parameter in module.named_parameters():
            values = parameter.detach().double().flatten().numpy()
            if name.endswith("bias"):
                assert not values.any()
            elif parameter.dim() > 1:
                scores["weight"].append(values / 0.02)
            else:
                scores["gain"].append((values - 1) / 0.02)
    assert {what: len(layers) for what, layers in scores.items()} == {"weight": 8, "gain": 5}
    for layers in scores.values():
        whole = np.concatenate(layers)
        assert stats.kstest(whole, "norm").pvalue > 1e-8
        for values in (whole, *layers):
            assert 1e-8 < stats.chi2(len(values)).cdf((values**2).sum()) < 1 - 1e-8


def reference(kernel: int, norm: bool) -> tuple[nn.Module, nn.Module]:
    """Encoder to 5 numbers and decoder from 5 for 3 x 16 x 16 with 4 filters, written out."""
    pad, more = (2, 1) if kernel == 5 else (1, 0)
    batch_norm = nn.BatchNorm2d if norm else nn.Identity
    down = nn.Sequential(
        nn.Conv2d(3, 4, kernel, 2, pad),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4, 8, kernel, 2, pad, bias=not norm),
        batch_norm(8),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(8 * 4 * 4, 5),
    )
    up = nn.Sequential(
        nn.Linear(5, 8 * 4 * 4, bias=not norm),
        nn.Unflatten(1, (8, 4, 4)),
        batch_norm(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 4, kernel, 2, pad, more, bias=not norm),
        batch_norm(4),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 3, kernel, 2, pad, more),
    )
    return down, up


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_arithmetic_is_that_of_torchs_layers(kernel: Any, norm: Any) -> None:
    """Outputs and gradients while training, and outputs after it, when batch norm takes its running figures."""
    torch.manual_seed(0)
    net = DCGAN(filters=4, kernel=kernel, norm=norm)
    ours = net.encoder((3, 16, 16), 5), net.decoder(5, (3, 16, 16))
    inputs = torch.rand(6, 3, 16, 16), torch.randn(6, 5)
    for module, expected, x in zip(ours, reference(kernel, norm == "batch"), inputs, strict=True):
        with torch.no_grad():
            for p, q in zip(module.parameters(), expected.parameters(), strict=True):
                q.copy_(p.normal_(0, 0.3))
        results = []
        for f in (module, expected):
            given = x.clone().requires_grad_()
            output = f(given)
            (output**2).sum().backward()
            results.append((output.detach(), given.grad, *(p.grad for p in f.parameters()), f.eval()(x).detach()))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
