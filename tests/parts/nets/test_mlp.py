import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import nn

from ganvas.ground.errors import UserError
from ganvas.parts.nets import NETS
from ganvas.parts.nets.mlp import MLP, PIECES

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "leaky-relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "maxout": lambda x: x.reshape(len(x), -1, PIECES).max(2),
    "gated": lambda x: np.multiply(*np.split(x, 2, 1)[:1], special.expit(np.split(x, 2, 1)[1])),
}


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
def test_encoder_and_decoder_by_hand(activation: Any, hidden: tuple[int, ...]) -> None:
    net, shape = MLP(hidden=hidden, activation=activation), (2, 3, 4)
    x, z = np.random.default_rng(0).normal(size=(7, *shape)), np.random.default_rng(1).normal(size=(7, 3))
    for module, given, out in ((net.encoder(shape, 3), x, (7, 3)), (net.decoder(3, shape), z, (7, *shape))):
        weights = [p.detach().numpy() for p in module.double().parameters()]
        expected = given.reshape(7, -1)
        for i in range(0, len(weights), 2):
            expected = (ACTIVATIONS[activation](expected) if i else expected) @ weights[i].T + weights[i + 1]
        ours = module(torch.from_numpy(given)).detach()
        assert ours.shape == out
        np.testing.assert_allclose(ours, expected.reshape(out), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 5, 4), (2,)])
def test_the_decoder_mirrors_the_encoder(shape: tuple[int, ...]) -> None:
    net, n = MLP(hidden=(20, 10)), math.prod(shape)
    sizes = [[p.shape for p in module.parameters()] for module in (net.encoder(shape, 3), net.decoder(3, shape))]
    assert sizes[0] == [(20, n), (20,), (10, 20), (10,), (3, 10), (3,)]
    assert sizes[1] == [(10, 3), (10,), (20, 10), (20,), (n, 20), (n,)]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"hidden": [10, 0]}, "hidden.1: 0 is refused"),
        ({"activation": "elu"}, "activation: 'elu' is refused: should be 'relu', 'tanh', .* or 'gated'"),
        ({"dropout": 1}, "dropout: 1 is refused: should be less than 1"),
        ({"init": 0.1, "glorot": True}, "ask for one of them"),
        ({"he": True, "glorot": True}, "ask for one of them"),
        ({"init": 0}, "init: 0 is refused: should be greater than 0"),
    ],
)
def test_impossible_layers_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        NETS.parse({"kind": "mlp", **values})


def test_batch_norm_stands_before_each_activation_and_not_at_the_end() -> None:
    names = [type(layer).__name__ for layer in MLP(hidden=(5, 4), norm="batch").encoder((1, 2, 2), 3)]
    assert names == ["Flatten", *["Linear", "BatchNorm", "ReLU"] * 2, "Linear"]


def test_a_maxout_unit_has_five_pieces() -> None:
    """Goodfellow et al. 2014: 240 units of 5 pieces, twice."""
    net = MLP(hidden=(240, 240), activation="maxout").encoder((1, 28, 28), 1)
    assert sum(p.numel() for p in net.parameters()) == 785 * 1200 + 241 * 1200 + 241


def test_dropout_follows_the_input_and_each_activation_of_the_encoder_alone() -> None:
    net = MLP(hidden=(5, 4), norm="batch", input_dropout=0.2, dropout=0.5)
    shares = [layer.p for layer in net.encoder((1, 2, 2), 3) if isinstance(layer, nn.Dropout)]
    names = [type(layer).__name__ for layer in net.encoder((1, 2, 2), 3)]
    assert names == ["Flatten", "Dropout", *["Linear", "BatchNorm", "ReLU", "Dropout"] * 2, "Linear"]
    assert shares == [0.2, 0.5, 0.5]
    assert not any(isinstance(layer, nn.Dropout) for layer in net.decoder(3, (1, 2, 2)))


def test_dropped_inputs_are_a_share_of_them_and_only_while_training() -> None:
    """A linear encoder of ones says how many inputs are left, each over 0.8; false alarm 1e-9."""
    torch.manual_seed(0)
    net = MLP(hidden=(), input_dropout=0.2).encoder((10_000,), 1)
    nn.init.ones_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    left = net(torch.ones(1, 10_000)).item() * 0.8
    assert stats.binomtest(round(left), 10_000, 0.8).pvalue > 1e-9 and left < 9_000
    assert net.eval()(torch.ones(1, 10_000)).item() == pytest.approx(10_000, rel=1e-5)


def test_first_weights_are_uniform_in_the_bounds_that_are_asked_for() -> None:
    """Kolmogorov-Smirnov, false alarm 1e-8."""
    torch.manual_seed(0)
    net = MLP(hidden=(40, 30), init=0.05, activation="maxout")
    for module in (net.encoder((2, 5, 5), 6), net.decoder(6, (2, 5, 5))):
        layers = [layer for layer in module if isinstance(layer, nn.Linear)]
        assert len(layers) == 3 and not any(layer.bias.any() for layer in layers)
        for layer in layers:
            assert stats.kstest(layer.weight.detach().flatten().numpy(), "uniform", (-0.05, 0.1)).pvalue > 1e-8


def test_glorot_s_first_weights() -> None:
    """U(-a, a) with a^2 = 6 / (inputs + outputs) (Glorot & Bengio 2010, equation 16): false alarm 1e-8 a layer."""
    torch.manual_seed(0)
    for layer in MLP(hidden=(40,), glorot=True).encoder((1, 5, 5), 6):
        if isinstance(layer, nn.Linear):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            uniform = stats.uniform(-bound, 2 * bound).cdf
            assert stats.kstest(layer.weight.detach().flatten().numpy(), uniform).pvalue > 1e-8
            assert not layer.bias.any()


def test_he_s_first_weights() -> None:
    """U(-a, a) with a^2 = 6 / inputs before a rectifier (He et al. 2015, equation 10), torch's 1 / n at the end."""
    torch.manual_seed(0)
    layers = [layer for layer in MLP(hidden=(50, 40), he=True).decoder(30, (1, 5, 5)) if isinstance(layer, nn.Linear)]
    for layer, square in zip(layers, (6, 6, 1), strict=True):
        bound = (square / layer.in_features) ** 0.5
        uniform = stats.uniform(-bound, 2 * bound).cdf
        assert stats.kstest(layer.weight.detach().flatten().numpy(), uniform).pvalue > 1e-8
        assert layer.bias.any() == (square == 1)
