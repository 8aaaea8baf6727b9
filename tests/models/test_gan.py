"""Algorithm 1 of Goodfellow et al. 2014: what each turn's loss is, and what it moves."""

from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.data import load
from ganvas.data.loader import Batch
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import settings
from ganvas.models import MODELS
from ganvas.models.gan import GAN, GANModel
from ganvas.parts.losses import GAN_LOSSES, PROBABILISTIC, generator_sees_real
from ganvas.parts.nets.dcgan import DCGAN
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.priors import Normal, Uniform
from ganvas.parts.techniques import TECHNIQUES, Seen, Technique

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
    parts = model.players()["discriminator"](Batch(IMAGES), Draw(0, 1))
    assert parts["loss"].item() == pytest.approx(-np.log(real).mean() - np.log(1 - fake).mean(), rel=1e-5)
    assert parts["real"].item() == pytest.approx(real.mean(), rel=1e-5)
    assert parts["fake"].item() == pytest.approx(fake.mean(), rel=1e-5)
    expected = np.log(1 - fake).mean() if loss == "minimax" else -np.log(fake).mean()
    assert model.players()["generator"](Batch(IMAGES), Draw(0, 1))["loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", sorted(GAN_LOSSES))
def test_each_loss_is_asked_with_the_logits_of_both(loss: str) -> None:
    """And D judges real images in G's turn only where G's cost depends on them."""
    model = make(loss=loss, prior=Normal())
    fake = model.generator.images(Draw(0, 1).normal("prior", (5, 3)))
    costs = GAN_LOSSES[loss](model.discriminator.logits(IMAGES), model.discriminator.logits(fake))
    for (name, player), cost in zip(model.players().items(), costs, strict=True):
        judged: list[int] = []
        hook = model.discriminator.body.register_forward_hook(lambda *_, judged=judged: judged.append(1))
        torch.testing.assert_close(player(Batch(IMAGES), Draw(0, 1))["loss"], cost)
        hook.remove()
        assert len(judged) == (2 if name == "discriminator" or generator_sees_real(GAN_LOSSES[loss]) else 1)


@pytest.mark.parametrize("loss", sorted(GAN_LOSSES))
def test_scores_are_probabilities_or_a_critics_means(loss: str) -> None:
    model = make(loss=loss)
    seen = Seen(model, IMAGES, model.generator.fake(5, Draw(0, 1), torch.device("cpu")), Draw(0, 1))
    real, fake = seen.real_logits.detach().numpy(), seen.fake_logits.detach().numpy()
    if loss in PROBABILISTIC:
        expected = {"real": sigmoid(real).mean(), "fake": sigmoid(fake).mean()}
    else:
        expected = {"real": real.mean(), "fake": fake.mean()}
    parts = {name: value.item() for name, value in model.discriminator(Batch(IMAGES), Draw(0, 1)).items()}
    if loss == "wasserstein":  # the estimate is the negative of the critic's loss
        expected["wasserstein"] = -parts["loss"]
    del parts["loss"]
    assert parts == pytest.approx(expected, rel=1e-5)


def test_what_is_seen_is_computed_when_it_is_asked_for_and_once() -> None:
    model = make()
    judged: list[int] = []
    model.discriminator.body.register_forward_hook(lambda *_: judged.append(1))
    seen = Seen(model, IMAGES, IMAGES, Draw(0))
    assert not judged
    assert seen.real_logits is seen.real_logits and seen.real_features is seen.real_features and len(judged) == 1
    torch.testing.assert_close(seen.fake_logits, model.discriminator.judge(seen.real_features))


def test_a_linear_output_is_unbounded_and_its_images_are_not() -> None:
    """Arjovsky et al. 2017, the MLP generator of the code: data in [-1, 1], no last activation."""
    model = make(output="linear")
    with torch.no_grad():
        model.generator.net[-2].weight *= 20
    z = Draw(0).normal("z", (50, 3))
    fakes = model.generator.images(z).detach()
    np.testing.assert_allclose(fakes.flatten(1), by_hand(model.generator.net, z.numpy()), rtol=1e-4, atol=1e-5)
    assert fakes.abs().max() > 2
    torch.testing.assert_close(model.decode(z), ((fakes + 1) / 2).clamp(0, 1))
    torch.testing.assert_close(model.to_range(IMAGES), IMAGES * 2 - 1)


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
        player(Batch(IMAGES), Draw(0))["loss"].backward()
        assert all(p.grad is None for p in other.parameters())
        torch.optim.SGD(player.parameters(), 0.1).step()
        for key, p in model.named_parameters():
            assert torch.equal(p, before[key]) == (not key.startswith(name)), key
        model.zero_grad(set_to_none=True)


def test_the_discriminators_turn_sends_the_generator_no_gradient_even_if_it_listens() -> None:
    model = make()
    model.discriminator(Batch(IMAGES), Draw(0))["loss"].backward()
    assert all(p.grad is None for p in model.generator.parameters())
    assert all(p.grad is not None for p in model.discriminator.parameters())


@pytest.mark.parametrize("loss", ["minimax", "non-saturating"])
def test_a_step_of_either_player_lowers_its_own_loss(loss: str) -> None:
    model = make(loss=loss)
    for player in model.players().values():
        optimizer = torch.optim.SGD(player.parameters(), 0.05)
        optimizer.zero_grad()
        before = player(Batch(IMAGES), Draw(0))["loss"]
        before.backward()
        optimizer.step()
        assert player(Batch(IMAGES), Draw(0))["loss"].item() < before.item()


@pytest.mark.parametrize("output", ["sigmoid", "tanh"])
def test_decoded_images_are_in_the_range_of_the_data(output: Any) -> None:
    model = make(output=output)
    with torch.no_grad():
        model.generator.net[-2].weight *= 100
        z = Draw(0).normal("z", (50, 3))
        images, fakes = model.decode(z), model.generator.images(z)
    assert images.min() < 0.01 and images.max() > 0.99 and images.min() >= 0 and images.max() <= 1
    torch.testing.assert_close(model.to_range(images), fakes)


def test_the_last_biases_start_at_the_marginals() -> None:
    """With weights of 0 a fake is the mean training image; of pixels that are always 0, as near as float32 comes."""
    images = np.zeros((50, 3, 2, 1), np.uint8)
    images[:, 0] = np.random.default_rng(0).integers(0, 256, (50, 2, 1))
    config = GAN(latent_dim=2, generator=MLP(hidden=(4,)), discriminator=MLP(hidden=(4,)), marginals=True)
    model = GANModel(config, (1, 3, 2))
    dataset = load(images)
    model.prepare(dataset, 0)
    with torch.no_grad():
        model.generator.net[-2].weight.zero_()
    mean = dataset.splits["train"].images.mean(0)[..., 0] / 255
    np.testing.assert_allclose(model.sample(1)[0, 0].numpy(), mean, atol=2e-7)


@pytest.mark.parametrize(
    ("settings", "shape"), [({"output": "tanh"}, (1, 4, 4)), ({"generator": DCGAN(filters=2)}, (1, 16, 16)), ({}, (3,))]
)
def test_marginals_need_a_sigmoid_and_images(settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="marginals are of images from a fully connected net that ends in a sigmoid"):
        GANModel(GAN(marginals=True, **settings), shape)


def test_fakes_are_drawn_anew_at_each_move() -> None:
    model = make()
    cpu = torch.device("cpu")
    a, b = model.generator.fake(4, Draw(0, 1, 0), cpu), model.generator.fake(4, Draw(0, 1, 1), cpu)
    assert not torch.equal(a, b) and torch.equal(a, model.generator.fake(4, Draw(0, 1, 0), cpu))


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown GAN loss 'hing'\. Did you mean 'hinge'\?"):
        MODELS.parse({"kind": "gan", "loss": "hing"})


def test_a_new_loss_is_one_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Registered, it is a value of --loss, is trained with, and is in the model that is read again."""

    def squared_margin(real: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (1 - real).relu().square().mean() + (1 + fake).relu().square().mean(), -fake.mean()

    monkeypatch.setitem(GAN_LOSSES, "squared-margin", squared_margin)
    points = np.random.default_rng(0).normal(3.0, 0.1, (600, 2)).astype(np.float32)
    run = ganvas.train("gan", data=points, loss="squared-margin", epochs=2, batch_size=50, out=tmp_path / "run")
    assert run.model.config.loss == "squared-margin" and run.model.sample(3).isfinite().all()
    with pytest.raises(UserError, match=r"--label-smoothing|label smoothing"):
        ganvas.train("gan", data=points, loss="squared-margin", label_smoothing=0.9, out=tmp_path / "other")


def test_a_new_technique_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hook is called where its docstring says, and its term is summed and named."""
    calls: list[Any] = []

    @settings
    class Offset(Technique):
        by: float = 0.25

        def build(self, model: GANModel) -> None:
            calls.append(("build", model))

        def view(self, images: torch.Tensor, draw: Draw, which: str) -> torch.Tensor:
            calls.append(("view", which))
            return images + self.by

        def term(self, player: str, seen: Seen) -> torch.Tensor | None:
            calls.append(("term", player))
            return seen.real.mean() if player == "discriminator" else None

        def moved(self, model: GANModel, player: str) -> None:
            calls.append(("moved", player))

    monkeypatch.setitem(TECHNIQUES, "offset", Offset)
    plain, model = make(), make(techniques=(Offset(),))
    assert calls == [("build", model)]
    parts = model.discriminator(Batch(IMAGES), Draw(0))
    assert sorted(calls[1:]) == [("term", "discriminator"), ("view", "fake"), ("view", "real")]
    assert parts["offset"].item() == pytest.approx(IMAGES.mean().item() + 0.25, rel=1e-5)
    fake = model.generator.fake(5, Draw(0), torch.device("cpu"))
    logits = [plain.discriminator.logits(x + 0.25) for x in (IMAGES, fake)]
    torch.testing.assert_close(parts["loss"], GAN_LOSSES["non-saturating"](*logits)[0] + parts["offset"])
    assert "offset" not in model.generator(Batch(IMAGES), Draw(0))
    model.moved("generator")
    assert calls[-1] == ("moved", "generator")
