"""An encoder for a GAN: what it learns from, and that the GAN stands still."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.data.loader import Batch
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models.base import load
from ganvas.models.gan import GAN
from ganvas.models.gan_encoder import GANEncoder, GANEncoderModel, missed
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.priors import Normal, Uniform
from ganvas.recipes import Facts, make
from ganvas.recipes.gan_encoder import encoder_of

LINEAR = MLP(hidden=())
SMALL = GAN(latent_dim=3, generator=LINEAR, discriminator=MLP(hidden=(4,)), prior=Normal())


def test_missed_is_the_unexplained_share_of_the_variance() -> None:
    wanted = torch.tensor([[0.0, 2.0], [2.0, 4.0]])  # about the mean (1, 3): squares of 1
    assert missed(wanted, wanted) == 0
    assert missed(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), wanted) == 1
    assert missed(wanted + 0.5, wanted) == 0.25


def model(gan: GAN = SMALL) -> GANEncoderModel:
    torch.manual_seed(0)
    return GANEncoderModel(GANEncoder(gan=gan, net=LINEAR), (1, 2, 2))


def test_the_loss_is_that_of_images_and_of_codes() -> None:
    made, draw = model(), Draw(1)
    x = torch.rand(5, 1, 2, 2)
    z = draw.normal("prior", (5, 3))
    parts = made.measure(Batch(x), draw)
    with torch.no_grad():
        codes = made.encoder.net(made.gan.decoded(z))
        assert torch.allclose(parts["code"], missed(codes, z))
        assert torch.allclose(parts["image"], missed(made.decode(made.encode(x)), x))
    assert parts["loss"] == parts["image"] + parts["code"]
    parts["loss"].backward()
    with_gradients = {name for name, weight in made.named_parameters() if weight.grad is not None}
    assert with_gradients == {name for name, _ in made.named_parameters() if name.startswith("encoder.")}


def test_codes_lie_where_the_prior_has_its_mass() -> None:
    made = model()
    with torch.no_grad():
        made.encoder.net[-1].weight.mul_(100)
    lengths = made.encode(torch.rand(20, 1, 2, 2)).norm(dim=1)
    assert float(lengths.max()) == pytest.approx(3**0.5 + 1.4, rel=1e-5)
    bounded = model(GAN(latent_dim=3, generator=LINEAR, discriminator=LINEAR, prior=Uniform()))
    with torch.no_grad():
        bounded.encoder.net[-1].weight.mul_(100)
    assert float(bounded.encode(torch.rand(20, 1, 2, 2)).abs().max()) == 1


def test_a_gan_s_weights_are_taken_and_stay(tmp_path: Path) -> None:
    shape = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    how: dict[str, Any] = {"data": shape, "device": "cpu"}
    gan = ganvas.train("gan", **how, hidden=(16,), latent_dim=3, ema=0.9, epochs=2, out=tmp_path / "gan")
    recipe = encoder_of(gan.recipe, gan.path, Facts((1, 8, 8), 60))
    run = ganvas.train(recipe, **how, epochs=3, out=tmp_path / "encoder")
    again: Any = load(run.path)
    before = gan.model
    assert torch.equal(again.sample(4, 1), before.sample(4, 1))
    assert all(torch.equal(weight, again.gan.state_dict()[name]) for name, weight in before.state_dict().items())
    assert again.encode(shape[:2]).shape == (2, 3) and again.reconstruct(shape[:2]).shape == (2, 1, 8, 8)
    assert {"loss", "image", "code"} <= run.state["test"].keys()
    longer = ganvas.resume(run.path, epochs=4)  # as any run
    assert longer.state["state"] == "finished"
    further = ganvas.train(recipe, **how, init=str(run.path), epochs=1, out=tmp_path / "further")
    assert torch.equal(further.model.sample(4, 1), before.sample(4, 1))


def test_what_encodes_gets_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a run of vae, and an encoder is made for a GAN"):
        encoder_of(make("vae", {}), tmp_path, Facts())


def test_learns_the_inverse_of_a_linear_generator() -> None:
    made = model(GAN(latent_dim=2, generator=LINEAR, discriminator=LINEAR, prior=Normal(), output="linear"))
    with torch.no_grad():
        made.gan.generator.net[0].weight.mul_(0.2)
    optimizer = torch.optim.Adam(made.encoder.parameters(), 0.03)
    for step in range(400):
        draw = Draw(0, step)
        parts = made.measure(Batch(made.sample(64, step)), draw)
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
    assert parts["code"].item() < 0.02 and parts["image"].item() < 0.02
