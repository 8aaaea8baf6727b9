"""A VQ-VAE: its bound, its tokens, and what each player learns."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import ganvas
from ganvas.data import load as load_data
from ganvas.data.loader import Batch
from ganvas.evaluate.metrics import METRICS
from ganvas.evaluate.subject import Subject
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models import load
from ganvas.models.conditions import Attribute
from ganvas.models.vqvae import VQVAE, VQVAEModel, perplexity_of
from ganvas.parts.likelihoods import Bernoulli, Gaussian
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.nets.spatial import Spatial
from ganvas.parts.quantisers import Codebook, FiniteScalar
from ganvas.parts.sequences import Transformer

NET = Spatial(channels=3, halvings=2, filters=4)
SMALL: dict[str, Any] = {
    "net": NET,
    "quantiser": Codebook(size=6),
    "transformer": Transformer(width=8, layers=1, heads=2, dropout=0.0),
}
CLASSES = (Attribute(name="class", column=0, values=("a", "b")),)


def model(**settings: Any) -> VQVAEModel:
    torch.manual_seed(0)
    made = VQVAEModel(VQVAE(**{**SMALL, "likelihood": Gaussian(scale=0.2), **settings}), (1, 12, 16))
    with torch.no_grad():
        made.quantiser.begin(made.by_place(made.vectors(images(50))), Draw(9))
    return made.eval()


def images(n: int = 5) -> torch.Tensor:
    return Draw(1).uniform("images", (n, 1, 12, 16))


def copy(made: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in made.state_dict().items()}


@pytest.mark.parametrize("quantiser", [Codebook(size=6), Codebook(size=6, depth=2), FiniteScalar(levels=(3, 3, 2))])
def test_the_bound_by_hand(quantiser: Any) -> None:
    made, x = model(quantiser=quantiser), images()
    found = made.elbo(x, Draw(0))
    tokens = made.tokens(x)
    assert tokens.shape == (5, 3, 4, *[2] * (quantiser == Codebook(size=6, depth=2)))
    density = torch.distributions.Normal(made.decode(made.encode(x)), 0.2).log_prob(x).flatten(1).sum(1)
    written = torch.stack([made.prior.sequence.log_prob(row.reshape(1, -1)).sum() for row in tokens])
    assert torch.allclose(-found["reconstruction"], density, rtol=1e-5)
    assert torch.allclose(-found["kl"], written, atol=1e-4)
    assert torch.allclose(found["elbo"], density + written, rtol=1e-5)
    assert torch.allclose(made.score_samples(x), found["elbo"], rtol=1e-5)
    with torch.no_grad():
        figures = made.measure(Batch(x), Draw(0))
    assert torch.allclose(figures["elbo"], found["elbo"].mean(), rtol=1e-5)


def test_codes_are_the_vectors_of_the_tokens_each_in_its_place() -> None:
    made, x = model(), images()
    codes, tokens = made.encode(x), made.tokens(x)
    assert codes.shape == (5, 3, 3, 4) and tokens.shape == (5, 3, 4)
    for n, i, j in ((0, 0, 0), (2, 1, 3), (4, 2, 2)):
        assert torch.equal(codes[n, :, i, j], made.quantiser.book[0, tokens[n, i, j]])
    assert torch.equal(made.decode(codes), made.decode(codes.flatten(1)))
    assert torch.equal(made.decode(codes), made.reconstruct(x))
    assert made.decode(codes[0]).shape == (1, 1, 12, 16)
    with pytest.raises(UserError, match=r"\(N, 36\) or \(N, 3, 3, 4\)"):
        made.decode(torch.zeros(2, 3, 4, 3))


def test_samples_are_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model()
    codes = made.prior.sample(Draw(3), (7, made.latent_dim))
    rows = codes.view(7, 3, 12).transpose(1, 2).reshape(-1, 3)
    assert (rows[:, None] == made.quantiser.book[0]).all(2).any(1).all()
    assert torch.equal(made.sample(7, seed=3), made.decode(codes))
    monkeypatch.setattr("ganvas.models.vqvae.KEPT", 200)  # two at a time
    assert torch.allclose(made.prior.sample(Draw(3), (7, made.latent_dim)), codes)
    assert torch.allclose(made.prior.log_prob(codes, Draw(0)).exp(), made.prior.of(made.quantised(codes).tokens).exp())


def test_each_player_moves_its_own_and_the_codebook_in_the_coder_s_alone() -> None:
    made, batch = model().train(), Batch(images(20))
    before = copy(made)
    coder, writer = made.players().values()
    owned = [{id(weight) for weight in player.parameters()} for player in (coder, writer)]
    assert not owned[0] & owned[1] and owned[0] | owned[1] == {id(weight) for weight in made.parameters()}
    loss = writer(batch, Draw(0))["loss"]
    tokens = made.tokens(batch.images)
    assert torch.allclose(loss, -made.prior.of(tokens.view(-1, 1)).mean(), rtol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in copy(made).items())
    made.measure(batch, Draw(0))
    made.eval().measure(batch, Draw(0))
    assert torch.equal(made.quantiser.book, before["quantiser.book"])
    parts = made.train().players()["vq-vae"](batch, Draw(0))
    made.moved("prior")
    assert torch.equal(made.quantiser.book, before["quantiser.book"])
    made.moved("vq-vae")
    assert not torch.equal(made.quantiser.book, before["quantiser.book"])
    assert torch.allclose(parts["loss"], parts["reconstruction"] / 192 + parts["commitment"])


def test_a_figure_of_the_bound_in_bits() -> None:
    """Of dequantised images: nats over 192 values and log 2, and the 8 bits that 256 levels are apart."""
    data = load_data("digits", size=(12, 16))
    subject = Subject(data, model(likelihood=Gaussian(scale=0.2)), n=40)
    found = {(it.name, it.unit): it.value for it in METRICS["elbo"](subject)}
    nats = found["ELBO", "nats per image"]
    assert nats == pytest.approx(-found["distortion", "nats per image"] - found["rate", "nats per image"])
    assert found["bound on the NLL", "bits per dimension"] == pytest.approx(-nats / 192 / math.log(2) + 8)


def test_told_of_labels() -> None:
    made, x = model(condition=CLASSES), images(6)
    a, b = (made.given({"class": name}) for name in "ab")
    assert not torch.equal(a.decode(made.encode(x)), b.decode(made.encode(x)))
    assert not torch.equal(a.elbo(x, Draw(0))["kl"], b.elbo(x, Draw(0))["kl"])
    assert a.sample(4).shape == (4, 1, 12, 16)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    each = made.of_batch(Batch(x, labels), Draw(0)).elbo(x, Draw(0))["elbo"]
    assert torch.allclose(each[::2], a.elbo(x[::2], Draw(0))["elbo"], rtol=1e-5)
    assert torch.allclose(each[1::2], b.elbo(x[1::2], Draw(0))["elbo"], rtol=1e-5)
    assert math.isclose(made.told_length, math.sqrt(3))


def test_kept_and_loaded(tmp_path: Path) -> None:
    made = model(quantiser=Codebook(size=6, depth=2), likelihood=Bernoulli())
    again = load(made.save(tmp_path))
    assert torch.equal(again.sample(4), made.sample(4))
    assert torch.equal(again.encode(images()), made.encode(images()))


def test_perplexity() -> None:
    assert float(perplexity_of(torch.tensor([0, 1, 2, 3] * 5), 10)) == pytest.approx(4)
    assert float(perplexity_of(torch.zeros(9, dtype=torch.int64), 10)) == pytest.approx(1)
    assert float(perplexity_of(torch.tensor([0, 0, 0, 1]), 2)) == pytest.approx(4 / 27**0.25)


def test_a_net_without_places_is_refused() -> None:
    with pytest.raises(UserError, match=r"mlp net's codes have no places.*--net spatial"):
        model(net=MLP())


@pytest.mark.parametrize("flags", [{}, {"levels": [4, 4, 4]}, {"depth": 2, "codebook": 32}])
def test_a_training(flags: dict[str, Any], tmp_path: Path) -> None:
    run = ganvas.train("vq-vae", data="digits", epochs=6, filters=16, seed=0, out=tmp_path / "run", **flags)
    rows = [row for row in run.metrics if row["split"] == "validation"]
    assert rows[-1]["elbo"] > rows[0]["elbo"]
    assert rows[-1]["perplexity"] > 8
    assert run.model.sample(4).shape == (4, 1, 8, 8)
