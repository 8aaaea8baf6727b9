"""A VAE with an adversary: what each player learns from, and how strong the adversary is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import everything, stop_at

import ganvas
from ganvas.data.loader import Batch
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import build
from ganvas.models.conditions import Attribute
from ganvas.models.vae import VAE, VAEModel
from ganvas.models.vae_gan import VAEGAN, VAEGANModel
from ganvas.parts.likelihoods import Gaussian
from ganvas.parts.losses import GAN_LOSSES
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.techniques import EMA, R1, HistoricalAveraging, VirtualBatchNorm

SMALL: dict[str, Any] = {"latent_dim": 2, "net": MLP(hidden=(8,)), "discriminator": MLP(hidden=(6,))}


def model(**settings: Any) -> VAEGANModel:
    torch.manual_seed(0)
    return VAEGANModel(VAEGAN(**{**SMALL, "likelihood": Gaussian(), **settings}), (1, 4, 4))


def gradients(made: VAEGANModel, batch: Batch) -> dict[str, torch.Tensor]:
    """Of the VAE's own move."""
    player = made.players()["vae"]
    made.discriminator.requires_grad_(False)
    player.zero_grad()
    player(batch, Draw(0))["loss"].backward()
    return {name: weight.grad.clone() for name, weight in made.decoder.named_parameters() if weight.grad is not None}


def test_each_weight_is_one_player_s() -> None:
    made = model()
    judge, vae = made.players().values()
    ours = {id(weight) for weight in judge.parameters()}, {id(weight) for weight in vae.parameters()}
    assert not ours[0] & ours[1]
    assert ours[0] | ours[1] == {id(weight) for weight in made.parameters()}
    assert not [name for name in made.state_dict() if "parts" in name]


def test_the_judge_sees_the_reconstructions_of_the_batch() -> None:
    made, batch, draw = model(), Batch(torch.rand(5, 1, 4, 4)), Draw(3)
    parts = made.discriminator(batch, draw)
    with torch.no_grad():
        z = made.terms(batch.images, draw).z[:, 0]
        real, fake = made.discriminator.logits(batch.images), made.discriminator.logits(made.decoded(z))
    assert torch.allclose(parts["loss"], GAN_LOSSES["non-saturating"](real, fake)[0])
    assert torch.allclose(parts["fake"], fake.sigmoid().mean())


@pytest.mark.parametrize(("share", "samples"), [(0.2, 1), (0.5, 2), (0.9, 4)])
def test_samples_of_p_z_take_the_place_of_some(share: float, samples: int) -> None:
    made, batch, draw = model(from_prior=share), Batch(torch.rand(5, 1, 4, 4)), Draw(3)
    with torch.no_grad():
        terms = made.terms(batch.images, draw)
        drawn = made.prior.sample(draw, (samples, 2), made.device)
        expected = made.decoded(torch.cat([terms.z[:-samples, 0], drawn]))
        assert torch.allclose(made.fakes(batch.images, draw), expected)
    assert gradients(made, batch), "the decoder learns from both"


def test_samples_are_told_what_the_images_they_stand_for_are() -> None:
    attribute = Attribute(name="class", column=0, values=("a", "b"))
    made = model(from_prior=0.5, condition=(attribute,), untold=0.0)
    batch = Batch(torch.rand(4, 1, 4, 4), torch.tensor([0, 0, 0, 1]))
    told = made.of_batch(batch, Draw(1))
    with torch.no_grad():
        fakes = told.fakes(batch.images, Draw(1))
        z = made.prior.sample(Draw(1), (2, 2), made.device)
        apart = [made.given({"class": value}).decoded(z[i : i + 1]) for i, value in enumerate("ab")]
    assert torch.allclose(fakes[2:], torch.cat(apart))


@pytest.mark.parametrize("adversary", [0.25, 0.5, 0.9])
def test_the_adversary_s_gradient_has_the_stated_length(adversary: float) -> None:
    made, batch = model(adversary=adversary), Batch(torch.rand(5, 1, 4, 4))
    own = model()
    own.load_state_dict(made.state_dict())
    output: list[torch.Tensor] = []
    taken = made.output

    def kept(z: torch.Tensor) -> torch.Tensor:
        output.append(taken(z))
        output[-1].retain_grad()
        return output[-1]

    made.output = kept  # type: ignore[method-assign]
    gradients(made, batch)
    whole = output[0].grad
    terms = VAEModel.terms(own, batch.images, Draw(0))
    (alone,) = torch.autograd.grad(terms.reconstruction.mean(), terms.output)
    assert whole is not None
    added = whole - alone[:, 0]
    assert float(added.norm() / alone.norm()) == pytest.approx(adversary, rel=1e-4)


def test_without_a_slope_of_the_discriminator_it_is_the_vae() -> None:
    made, batch = model(), Batch(torch.rand(5, 1, 4, 4))
    with torch.no_grad():
        for weight in made.discriminator.parameters():
            weight.zero_()
    found = gradients(made, batch)
    own: Any = VAEModel(VAE(latent_dim=2, net=MLP(hidden=(8,)), likelihood=Gaussian()), (1, 4, 4))
    own.encoder, own.decoder = made.encoder, made.decoder
    made.decoder.zero_grad()
    own(batch, Draw(0))["loss"].backward()
    for name, weight in own.decoder.named_parameters():
        assert torch.allclose(found[name], weight.grad)


def test_figures_are_the_vae_s() -> None:
    made, batch = model(), Batch(torch.rand(5, 1, 4, 4))
    parts = made.measure(batch, Draw(1))
    assert parts.keys() == {"loss", "elbo", "reconstruction", "kl"}
    assert torch.allclose(parts["loss"], -parts["elbo"])


@pytest.mark.parametrize("technique", [EMA(), HistoricalAveraging(), VirtualBatchNorm()])
def test_what_is_of_a_generator_is_refused(technique: Any) -> None:
    with pytest.raises(UserError, match="is of a generator by itself"):
        build(VAEGAN, {**SMALL, "techniques": (technique,)})


@pytest.mark.parametrize(
    "settings", [{"bound": "iwae"}, {"samples": 2}, {"adversary": 0.0}, {"adversary": 1.0}, {"from_prior": 1.0}]
)
def test_what_it_can_t_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        build(VAEGAN, {**SMALL, **settings})


def test_a_run_samples_from_the_codes_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (96, 16, 16, 3), np.uint8)
    how: dict[str, Any] = {"data": images, "device": "cpu", "batch_size": 16, "filters": 4, "latent_dim": 4}
    whole = ganvas.train("vae-gan", **how, epochs=3, out=tmp_path / "whole")
    assert whole.recipe.model.fit and any(isinstance(one, R1) for one in whole.recipe.model.techniques)
    part = ganvas.train("vae-gan", **how, epochs=3, out=tmp_path / "part", report=stop_at(whole.state["steps"] // 3))
    assert part.state["state"] == "interrupted"
    assert everything(ganvas.resume(part.path)) == everything(whole)
    found: Any = whole.model
    assert found.sample(3).shape == (3, 3, 16, 16) and found.prior.bound is None
    assert found.reconstruct(images[:2]).shape == (2, 3, 16, 16)
    assert {"elbo", "kl"} <= whole.state["test"].keys()


def test_rows_of_numbers_are_judged_in_one_unit() -> None:
    torch.manual_seed(0)
    made = VAEGANModel(VAEGAN(**SMALL, likelihood=Gaussian()), (3,))
    rows = 1000 + 50 * torch.randn(64, 3)
    made.units.measure(rows.numpy())
    real, fake = made.to_range(rows), made.fakes(rows, Draw(0))
    assert torch.allclose(made.units.back(real), rows) and float(real.abs().max()) < 5
    assert torch.allclose(made.decoded(made.terms(rows, Draw(0)).z[:, 0]), made.units.back(fake))
