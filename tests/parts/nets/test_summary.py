from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from ganvas.data.loader import Batch
from ganvas.ground.randomness import Draw
from ganvas.models.base import FAMILIES
from ganvas.parts.nets.layers import BatchNorm
from ganvas.parts.nets.summary import Layer, summary, table
from ganvas.recipes import RECIPES


def test_a_net_counted_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, 2, 2), BatchNorm(8), nn.LeakyReLU(0.2), nn.Identity(), nn.Flatten(), nn.Linear(8 * 4 * 6, 7)
    )
    expected = [
        Layer("Conv2d 5 x 5, stride 2", (8, 4, 6), 3 * 8 * 25 + 8),
        Layer("BatchNorm", (8, 4, 6), 16),
        Layer("LeakyReLU 0.2", (8, 4, 6), 0),
        Layer("Flatten", (192,), 0),
        Layer("Linear", (7,), 192 * 7 + 7),
    ]
    assert summary(net, torch.zeros(2, 3, 8, 12)) == expected
    *_, flatten, linear, last = table(expected).splitlines()
    assert flatten.split() == ["Flatten", "192"] and linear.split() == ["Linear", "7", "1,351"]
    assert last.split() == ["sum", "1,975"] and len(linear) == len(last)


def test_weights_that_two_layers_share_count_once() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    rows = summary(nn.Sequential(first, second, nn.Sequential(first)), torch.zeros(1, 4))
    assert [row.parameters for row in rows] == [20, 0], "and a layer that is called again is no second one"


@pytest.mark.parametrize("wrap", [parametrizations.spectral_norm, parametrizations.weight_norm])
def test_a_parametrised_layer_is_one_layer(wrap: Any) -> None:
    net = nn.Sequential(wrap(nn.Linear(4, 3)))
    assert summary(net, torch.zeros(5, 4)) == [Layer("Linear", (3,), sum(p.numel() for p in net.parameters()))]


def test_the_net_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Linear(4, 4), BatchNorm(4).eval(), nn.Dropout(0.5))
    net[2].train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    summary(net, torch.randn(3, 4))
    assert [module.training for module in net.modules()] == [True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(RuntimeError):
        summary(net, torch.zeros(3, 5))
    assert net.training and not any(module._forward_hooks for module in net.modules())


TECHNIQUES = {"spectral_norm": True, "minibatch_discrimination": 3, "virtual_batch_norm": 4, "ema": 0.9}


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [(name, {}) for name in sorted(RECIPES)] + [("wgan", {"gradient_penalty": 10.0}), ("dcgan", TECHNIQUES)],
)
def test_every_player_is_told_layer_by_layer(recipe: str, settings: dict[str, Any]) -> None:
    config = RECIPES[recipe](**settings).model
    model = FAMILIES[type(config)](config, (1, 16, 16)).eval()
    for name, player in model.players().items():
        rows = summary(player, Batch(torch.zeros(2, 1, 16, 16)), Draw(0))
        prior = getattr(model, "prior", None)
        learned = list(prior.parameters()) if isinstance(prior, nn.Module) and name != "prior" else []  # is no layer
        own = {id(weight): weight.numel() for weight in player.parameters()}
        parameters = sum(own.values()) - sum(own.get(id(weight), 0) for weight in learned)
        assert sum(row.parameters for row in rows) == parameters
