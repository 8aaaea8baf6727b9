"""Rows of numbers in their own units, against the same model of rows that were standardised by hand."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import stats

from ganvas.data import Dataset, Split
from ganvas.data.loader import Batch
from ganvas.evaluate.decoders import Decoder
from ganvas.ground.randomness import Draw
from ganvas.models import load
from ganvas.models.autoencoder import Autoencoder, DenoisingAutoencoder
from ganvas.models.base import FAMILIES, Model
from ganvas.models.fitted import fit_prior
from ganvas.models.gan import GAN
from ganvas.models.units import Units
from ganvas.models.vae import VAE
from ganvas.parts.likelihoods import Gaussian
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.priors import Mixture, Normal, Vamp

NET = MLP(hidden=(8,))
ROWS = (np.random.default_rng(0).normal(size=(300, 4)) * [1e-3, 5.0, 2e4, 0.0] + [7.0, -30.0, 1e5, 12.5]).astype(
    np.float32
)  # the last column is constant
MEAN, DEVIATION = ROWS.astype(np.float64).mean(0), ROWS.astype(np.float64).std(0)
DEVIATION[3] = 1
STANDARD = ((ROWS - MEAN) / DEVIATION).astype(np.float32)
FAMILY = {
    "vae": VAE(latent_dim=2, net=NET, likelihood=Gaussian()),
    "shared": VAE(latent_dim=2, net=NET, likelihood=Gaussian(scale="shared")),
    "fixed": VAE(latent_dim=2, net=NET, likelihood=Gaussian(scale=0.3)),
    "autoencoder": Autoencoder(latent_dim=2, net=NET),
    "denoising": DenoisingAutoencoder(latent_dim=2, net=NET),
    "gan": GAN(latent_dim=2, generator=NET, discriminator=NET, prior=Normal()),
    "linear gan": GAN(latent_dim=2, generator=NET, discriminator=NET, prior=Normal(), output="linear"),
}
VAES = [name for name, config in FAMILY.items() if isinstance(config, VAE)]


def dataset(rows: np.ndarray, source: str = "array:1") -> Dataset:
    parts = {"train": Split(rows, None), "validation": Split(rows[:9] + 1, None), "test": Split(rows[:9] - 1, None)}
    return Dataset("rows", source, parts, rows.shape[1:], None, None, "", (), "")


def pair(config: Any) -> tuple[Model, Model]:
    """A model of the rows as they are, and one with the same weights of the standardised ones."""
    torch.manual_seed(0)
    ours = FAMILIES[type(config)](config, (4,))
    plain = FAMILIES[type(config)](config, (4,))
    plain.load_state_dict(ours.state_dict())
    ours.prepare(dataset(ROWS), 0)
    return ours, plain


def in_units(x: torch.Tensor) -> np.ndarray:
    return (x.detach().double().numpy() - MEAN) / DEVIATION


def test_they_are_those_of_the_training_rows_and_of_a_constant_column_1():
    units = Units((4,))
    units.measure(np.tile(ROWS, (20, 1)))  # more than one block
    np.testing.assert_allclose(units.mean.numpy(), MEAN, rtol=1e-6)
    np.testing.assert_allclose(units.scale.numpy(), DEVIATION, rtol=1e-6)
    assert units.scale[3] == 1 and units.mean[3] == 12.5
    np.testing.assert_allclose(float(units.log_volume()), np.log(DEVIATION).sum(), rtol=1e-6)
    units.measure(np.full((7, 4), 0.1, np.float32))  # a mean of which rounds
    assert units.scale.tolist() == [1, 1, 1, 1]


def test_images_stay_as_they_are():
    units, x = Units((1, 2, 2)), torch.rand(3, 1, 2, 2)
    assert units(x) is x and units.back(x) is x and units.log_volume() == 0 and not units.state_dict()


@pytest.mark.parametrize("kind", FAMILY)
def test_what_comes_out_is_in_the_units_of_the_data(kind):
    ours, plain = pair(FAMILY[kind])
    x, standard = torch.from_numpy(ROWS), torch.from_numpy(STANDARD)
    if hasattr(ours, "sample"):
        np.testing.assert_allclose(in_units(ours.sample(50, 1)), plain.sample(50, 1).double().numpy(), atol=1e-3)
    if hasattr(ours, "encode"):
        torch.testing.assert_close(ours.encode(x), plain.encode(standard), atol=1e-3, rtol=1e-3)
        expected = plain.reconstruct(standard).double().numpy()
        np.testing.assert_allclose(in_units(ours.reconstruct(x)), expected, atol=1e-3)
    for name, player in ours.players().items():
        both = ((player, x), (plain.players()[name], standard))
        losses = [one(Batch(part), Draw(3))["loss"].item() for one, part in both]
        volume = np.log(DEVIATION).sum() if kind in VAES else 0
        assert losses[0] == pytest.approx(losses[1] + volume, abs=1e-2)


@pytest.mark.parametrize("kind", VAES)
def test_log_probabilities_change_with_the_volume(kind):
    ours, plain = pair(FAMILY[kind])
    x, standard = torch.from_numpy(ROWS[:20]), torch.from_numpy(STANDARD[:20])
    volume = np.log(DEVIATION).sum()
    for form in ("analytic", "sampled"):
        one, other = (m.elbo(v, Draw(1), form)["elbo"].detach().numpy() for m, v in ((ours, x), (plain, standard)))
        np.testing.assert_allclose(one, other - volume, atol=1e-2)
    one, other = (m.log_prob(v, 50).numpy() for m, v in ((ours, x), (plain, standard)))
    np.testing.assert_allclose(one, other - volume, atol=1e-2)


def test_log_p_of_x_given_z_is_that_of_a_normal_in_the_units_of_the_data():
    ours, _ = pair(FAMILY["fixed"])
    z = torch.randn(20, 2)
    with torch.no_grad():
        found = ours.log_likelihood(torch.from_numpy(ROWS[:20]), ours.decoder(z))
        mean = ours.decoder(z).double().numpy() * DEVIATION + MEAN
    expected = stats.norm.logpdf(ROWS[:20].astype(np.float64), mean, 0.3 * DEVIATION).sum(1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-2)
    drawn = ours.drawn(ours.decoder(z[:1]).expand(4000, -1), Draw(0)).detach().double().numpy()
    np.testing.assert_allclose(drawn.std(0) / DEVIATION, 0.3, rtol=0.05)


@pytest.mark.parametrize("kind", ["fixed", "gan"])
def test_a_decoder_that_is_annealed_is_in_the_units_of_the_data(kind):
    scale = None if kind == "fixed" else 0.3
    ours, plain = (Decoder(model, scale) for model in pair(FAMILY[kind]))
    u, x = torch.randn(20, 2), torch.from_numpy(ROWS[:20])
    with torch.no_grad():
        one, other = ours.log_likelihood(x, u), plain.log_likelihood(torch.from_numpy(STANDARD[:20]), u)
    np.testing.assert_allclose(one.numpy(), other.numpy() - np.log(DEVIATION).sum(), atol=1e-2)
    expected = plain.simulate(u, Draw(0)).double().numpy()
    np.testing.assert_allclose(in_units(ours.simulate(u, Draw(0))), expected, atol=1e-3)


def test_pseudo_inputs_are_learned_in_standard_units():
    config = dataclasses.replace(FAMILY["vae"], prior=Vamp(components=5), elbo="sampled")
    model = FAMILIES[VAE](config, (4,))
    model.prepare(dataset(ROWS), 0)
    assert model.prior.inputs.abs().max() < 5
    torch.testing.assert_close(
        model.prior.components()[0], model.posterior(model.units.back(model.prior.inputs))[0], atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("kind", FAMILY)
def test_a_saved_model_keeps_them_and_an_older_one_has_none(kind, tmp_path):
    ours, plain = pair(FAMILY[kind])
    ours.save(tmp_path / "new")
    again = load(tmp_path / "new")
    assert torch.equal(again.units.scale, ours.units.scale) and torch.equal(again.units.mean, ours.units.mean)
    plain.save(tmp_path / "old")
    file = tmp_path / "old" / "model.safetensors"
    save_file({name: t for name, t in load_file(file).items() if not name.startswith("units.")}, file)
    old = load(tmp_path / "old")
    assert old.units.scale.tolist() == [1, 1, 1, 1] and old.units.mean.tolist() == [0, 0, 0, 0]
    assert json.loads((tmp_path / "old" / "config.json").read_text())["shape"] == [4]


@pytest.mark.parametrize("kind", ["vae", "autoencoder"])
def test_a_prior_that_is_fitted_keeps_them(kind):
    ours, _ = pair(FAMILY[kind])
    made = fit_prior(ours, ROWS, 3)
    assert torch.equal(made.units.scale, ours.units.scale)
    assert np.abs(in_units(made.sample(50))).max() < 100
    assert kind == "autoencoder" or made.config.prior == Mixture(components=3)


def test_a_set_that_has_a_name_stays_as_it_is_published():
    model = FAMILIES[GAN](FAMILY["gan"], (4,))
    model.prepare(dataset(ROWS, "ring"), 0)
    assert model.units.scale.tolist() == [1, 1, 1, 1]
