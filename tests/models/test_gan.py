"""Algorithm 1 of Goodfellow et al. 2014: what each turn's loss is, and what it moves."""

from typing import Any

import numpy as np
import pytest
import torch

from ganvas.errors import UserError
from ganvas.models import MODELS
from ganvas.models.gan import GAN, GANModel
from ganvas.nets.dcgan import DCGAN
from ganvas.nets.mlp import MLP
from ganvas.priors import Normal, Uniform
from ganvas.randomness import Draw

IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def make(shape: tuple[int, ...] = (1, 8, 8), net: Any = None, **settings: Any) -> GANModel:
    torch.manual_seed(0)
    net = net or MLP(hidden=(8,))
    return GANModel(GAN(latent_dim=3, generator=net, discriminator=net, **settings), shape)


def by_hand(net: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    """An MLP of one hidden layer of rectifiers."""
    a, b, c, d = (p.detach().numpy() for p in net.parameters())
    return np.maximum(x.reshape(len(x), -1) @ a.T + b, 0) @ c.T + d


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("output", "activation"), [("sigmoid", sigmoid), ("tanh", np.tanh)])
@pytest.mark.parametrize("loss", ["minimax", "non-saturating"])
@pytest.mark.parametrize("prior", [Normal(), Uniform(bound=2)])
def test_both_turns_by_hand(output: Any, activation: Any, loss: str, prior: Any) -> None:
    model = make(output=output, loss=loss, prior=prior)
    z = prior.sample(Draw(0, 1), (5, 3)).numpy()
    fake = sigmoid(by_hand(model.discriminator, activation(by_hand(model.generator.net, z))))
    seen = IMAGES.numpy() * 2 - 1 if output == "tanh" else IMAGES.numpy()
    real = sigmoid(by_hand(model.discriminator, seen))
    parts = model.players()["discriminator"](IMAGES, Draw(0, 1))
    assert parts["loss"].item() == pytest.approx(-np.log(real).mean() - np.log(1 - fake).mean(), rel=1e-5)
    assert parts["real"].item() == pytest.approx(real.mean(), rel=1e-5)
    assert parts["fake"].item() == pytest.approx(fake.mean(), rel=1e-5)
    expected = np.log(1 - fake).mean() if loss == "minimax" else -np.log(fake).mean()
    assert model.players()["generator"](IMAGES, Draw(0, 1))["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_points_have_no_last_activation() -> None:
    model = make((2,), output="tanh")
    z = Draw(4).normal("z", (6, 3))
    np.testing.assert_allclose(model.decode(z), by_hand(model.generator.net, z.numpy()), rtol=1e-4, atol=1e-6)
    points = 3 * Draw(5).normal("x", (6, 2))
    assert torch.equal(model.to_range(points), points)


@pytest.mark.parametrize("net", [MLP(hidden=(8,)), DCGAN(filters=4)], ids=["mlp", "dcgan"])
def test_a_turn_moves_its_player_alone(net: Any) -> None:
    model = make(net=net)
    players = model.players()
    assert list(players) == ["discriminator", "generator"], "the discriminator moves first"
    for name, player in players.items():
        (other,) = (opponent for opponent in players.values() if opponent is not player)
        other.requires_grad_(False)
        player.requires_grad_(True)
        before = {key: p.detach().clone() for key, p in model.named_parameters()}
        player(IMAGES, Draw(0))["loss"].backward()
        assert all(p.grad is None for p in other.parameters())
        torch.optim.SGD(player.parameters(), 0.1).step()
        for key, p in model.named_parameters():
            assert torch.equal(p, before[key]) == (not key.startswith(name)), key
        model.zero_grad(set_to_none=True)


def test_the_discriminators_turn_sends_the_generator_no_gradient_even_if_it_listens() -> None:
    model = make()
    model.discriminator(IMAGES, Draw(0))["loss"].backward()
    assert all(p.grad is None for p in model.generator.parameters())
    assert all(p.grad is not None for p in model.discriminator.parameters())


@pytest.mark.parametrize("loss", ["minimax", "non-saturating"])
def test_a_step_of_either_player_lowers_its_own_loss(loss: str) -> None:
    model = make(loss=loss)
    for player in model.players().values():
        optimizer = torch.optim.SGD(player.parameters(), 0.05)
        optimizer.zero_grad()
        before = player(IMAGES, Draw(0))["loss"]
        before.backward()
        optimizer.step()
        assert player(IMAGES, Draw(0))["loss"].item() < before.item()


@pytest.mark.parametrize("output", ["sigmoid", "tanh"])
def test_decoded_images_are_in_the_range_of_the_data(output: Any) -> None:
    model = make(output=output)
    with torch.no_grad():
        model.generator.net[-2].weight *= 100
        z = Draw(0).normal("z", (50, 3))
        images, fakes = model.decode(z), model.generator.images(z)
    assert images.min() < 0.01 and images.max() > 0.99 and images.min() >= 0 and images.max() <= 1
    torch.testing.assert_close(model.to_range(images), fakes)


def test_fakes_are_drawn_anew_at_each_move() -> None:
    model = make()
    cpu = torch.device("cpu")
    a, b = model.generator.fake(4, Draw(0, 1, 0), cpu), model.generator.fake(4, Draw(0, 1, 1), cpu)
    assert not torch.equal(a, b) and torch.equal(a, model.generator.fake(4, Draw(0, 1, 0), cpu))


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown GAN loss 'hing'\. Did you mean 'hinge'\?"):
        MODELS.parse({"kind": "gan", "loss": "hing"})
