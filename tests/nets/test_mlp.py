import math
from typing import Any

import numpy as np
import pytest
import torch

from ganvas.errors import UserError
from ganvas.nets import NETS
from ganvas.nets.mlp import MLP

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "leaky-relu": lambda x: np.where(x > 0, x, 0.01 * x),
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
        ({"activation": "elu"}, "activation: 'elu' is refused: should be 'relu', 'tanh', 'leaky-relu' or 'maxout'"),
    ],
)
def test_impossible_layers_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        NETS.parse({"kind": "mlp", **values})


def test_batch_norm_stands_before_each_activation_and_not_at_the_end() -> None:
    names = [type(layer).__name__ for layer in MLP(hidden=(5, 4), norm="batch").encoder((1, 2, 2), 3)]
    assert names == ["Flatten", *["Linear", "BatchNorm", "ReLU"] * 2, "Linear"]
