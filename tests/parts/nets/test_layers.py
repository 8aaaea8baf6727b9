"""Each layer against loops over its formula."""

import numpy as np
import pytest
import torch
from torch import nn

from ganvas.parts.nets.layers import BatchNorm, Maxout, MinibatchLayer, Perceptron, VirtualNorm, WithReference

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> torch.Tensor:
    return torch.from_numpy(RANDOM.normal(size=shape).astype(np.float32))


@pytest.mark.parametrize(("units", "pieces"), [(1, 5), (4, 3), (3, 1)])
def test_maxout_is_the_largest_of_neighbouring_units(units: int, pieces: int) -> None:
    x = normal(6, units * pieces).requires_grad_()
    y = Maxout(pieces)(x)
    y.sum().backward()
    for n in range(6):
        for unit in range(units):
            group = x[n, unit * pieces : (unit + 1) * pieces].tolist()
            assert y[n, unit].item() == max(group)
            won = [float(value == max(group)) for value in group]
            assert x.grad[n, unit * pieces : (unit + 1) * pieces].tolist() == won


def test_minibatch_layer_by_a_double_loop() -> None:
    """Salimans et al. 2016, section 3.2, as a mean without i itself; values, and gradients of a function of them."""
    layer, f, pull = MinibatchLayer(7, 4, 3), normal(5, 7).requires_grad_(), normal(5, 11)
    rows = []
    for i in range(5):
        row = []
        for b in range(4):
            kernel = layer.weight.view(7, 4, 3)[:, b]
            distances = [(f[i] @ kernel - f[j] @ kernel).abs().sum() for j in range(5) if j != i]
            row.append(torch.stack([torch.exp(-distance) for distance in distances]).mean())
        rows.append(torch.cat([f[i], torch.stack(row)]))
    expected, ours = torch.stack(rows), layer(f)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad((y * pull).sum(), (f, layer.weight)) for y in (ours, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_minibatch_layer_tells_a_collapsed_batch() -> None:
    """Equal examples are at distance 0; those far apart at none. At first, distances are near 1 for any width."""
    layer = MinibatchLayer(7, 4, 3)
    with torch.no_grad():
        assert torch.equal(layer(normal(1, 7).expand(6, 7))[:, 7:], torch.ones(6, 4))
        assert torch.equal(layer(normal(1, 7))[:, 7:], torch.zeros(1, 4)), "a single example has no others"
        assert torch.equal(layer(1e6 * torch.eye(6, 7))[:, 7:], torch.zeros(6, 4))
        for features in (10, 1000):
            a, b = MinibatchLayer(features, 500, 5).weight.view(features, 500, 5), normal(2, features)
            mean = torch.einsum("f,fkd->kd", b[0] - b[1], a).abs().sum(-1).mean().item()
            assert 0.5 < mean < 2


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("shape", [(4,), (4, 3, 5)], ids=["units", "maps"])
def test_virtual_norm_by_a_loop_over_the_examples(shape: tuple[int, ...], offset: float) -> None:
    """Salimans et al. 2016, section 3.5: the reference weighs n / (n + 1), the example itself 1 / (n + 1)."""
    n, norm = 6, BatchNorm(4)
    norm.weight.data, norm.bias.data = normal(4), normal(4)
    x = offset + 3 * normal(n + 5, *shape)
    ours = VirtualNorm(norm, n)(x).detach().numpy().astype(np.float64)
    gain, bias = (p.detach().numpy()[:, None] for p in (norm.weight, norm.bias))
    values = x.numpy().astype(np.float64).reshape(n + 5, 4, -1)
    reference, axes = values[:n], (0, 2)
    for i, example in enumerate(values):
        share = 0.0 if i < n else 1 / (n + 1)
        mean = share * example.mean(1) + (1 - share) * reference.mean(axes)
        square = share * (example**2).mean(1) + (1 - share) * (reference**2).mean(axes)
        spread = np.sqrt(square - mean**2 + norm.eps)
        expected = gain * (example - mean[:, None]) / spread[:, None] + bias
        np.testing.assert_allclose(ours[i].reshape(4, -1), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(4,), (4, 3, 5)], ids=["units", "maps"])
def test_the_reference_batch_is_normalised_as_torch_does(shape: tuple[int, ...]) -> None:
    theirs = (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(4)
    x, pull = 2 + normal(9, *shape).requires_grad_(), normal(9, *shape)
    ours, expected = VirtualNorm(BatchNorm(4), 9)(x), theirs(x)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad((y * pull).sum(), x)[0] for y in (ours, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def test_behind_a_reference_batch_no_example_depends_on_another() -> None:
    layers = nn.Sequential(nn.Linear(3, 8), VirtualNorm(BatchNorm(8), 6), nn.ReLU(), nn.Linear(8, 2))
    net, z = WithReference(layers, normal(6, 3)), normal(5, 3)
    y = net(z)
    assert y.shape == (5, 2) and not net.reference.requires_grad and "reference" in net.state_dict()
    for i in range(5):
        torch.testing.assert_close(net(z[i : i + 1])[0], y[i])
    net.reference += 1
    assert not torch.allclose(net(z), y)
    net(z).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("frozen", [(), (0,), (0, 1), (2, 5), (0, 1, 2, 3, 4, 5)])
@pytest.mark.parametrize("dropout", [False, True])
def test_a_perceptron_in_bfloat16_is_torch_s_layers(frozen: tuple[int, ...], dropout: bool) -> None:
    """Values and gradients, whichever weights learn: the same products of the same rounded numbers."""
    torch.manual_seed(0)
    off = [nn.Dropout(0.0)] * dropout
    layers = [nn.Flatten(), nn.Linear(12, 30), nn.ReLU(), *off, nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 6)]
    plain, ours = nn.Sequential(*layers, nn.Unflatten(1, (1, 2, 3))), Perceptron(*layers, nn.Unflatten(1, (1, 2, 3)))
    for i, weight in enumerate(plain.parameters()):
        weight.requires_grad_(i not in frozen)
    learn = [weight for weight in plain.parameters() if weight.requires_grad]
    x, pull = normal(16, 3, 4).requires_grad_(), normal(16, 1, 2, 3)
    assert torch.equal(plain(x), ours(x))
    found = []
    for net in (plain, ours):
        with torch.autocast("cpu", torch.bfloat16):
            y = net(x)
        found.append([y.detach(), *torch.autograd.grad((y * pull).sum(), [x, *learn])])
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-2 * float(a.abs().max()))
