"""The skip connections by hand; the levels of a blind model against their distribution."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from ganvas.data.loader import Batch
from ganvas.errors import UserError
from ganvas.models.autoencoder import DenoisingAutoencoder, DenoisingAutoencoderModel, corrupt
from ganvas.models.base import load
from ganvas.models.denoiser import Denoiser, DenoiserModel
from ganvas.nets.dcgan import DCGAN
from ganvas.nets.mlp import MLP
from ganvas.nets.residual import Residual
from ganvas.randomness import Draw
from ganvas.registry import build

CONVOLUTIONS = [Residual(filters=6), DCGAN(filters=6), DCGAN(filters=6, norm="none", up="resize")]


def model(net: Any, **settings: Any) -> DenoiserModel:
    torch.manual_seed(0)
    return DenoiserModel(Denoiser(latent_dim=5, net=net, **settings), (1, 16, 16))


def children(net: torch.nn.Module) -> list[torch.nn.Module]:
    return list(net.children())


@pytest.mark.parametrize("net", CONVOLUTIONS)
def test_the_maps_go_past_the_code(net: Any) -> None:
    """An image of 16 x 16 has maps of 8 and of 4; those of 8 go past it by a skip, those of 4 too."""
    made, x = model(net).eval(), torch.rand(3, 1, 16, 16)
    y, kept = x, {}
    for layer in children(made.encoder):
        y = layer(y)
        if y.dim() == 4:
            kept[tuple(y.shape)] = y.clone()
    assert y.shape == (3, 5)
    added = 0
    for layer in children(made.decoder):
        y = layer(y.clone())
        if tuple(y.shape) in kept:
            y, added = y + kept.pop(tuple(y.shape)), added + 1
    assert added == 2
    torch.testing.assert_close(made.restored(x), x + y)
    torch.testing.assert_close(made.denoise(x), (x + y).clamp(0, 1).detach())


@pytest.mark.parametrize("net", CONVOLUTIONS)
def test_every_weight_learns(net: Any) -> None:
    made = model(net, blind=True)
    made(Batch(torch.rand(4, 1, 16, 16)), Draw(0))["loss"].backward()
    for name, weight in made.named_parameters():
        assert weight.grad is not None and bool(torch.isfinite(weight.grad).all()), name
    assert sum(bool(weight.grad.any()) for weight in made.parameters()) > len([*made.parameters()]) // 2


def test_a_blind_model_s_levels_are_log_uniform() -> None:
    """Kolmogorov-Smirnov, false alarm 1e-6."""
    levels = Denoiser(level=0.8, blind=True).levels(torch.zeros(5000, 1, 8, 8), Draw(0))
    assert levels.shape == (5000, 1, 1, 1)
    assert stats.kstest(levels.flatten().numpy(), stats.loguniform(0.04, 0.8).cdf).pvalue > 1e-6
    assert torch.equal(Denoiser(level=0.8).levels(torch.zeros(3, 2), Draw(0)), torch.full((3, 1), 0.8))


@pytest.mark.parametrize("blind", [False, True])
def test_the_loss_of_what_is_seen(blind: bool) -> None:
    """The squared error of each image; of a blind model over the level that this image has."""
    config = DenoisingAutoencoder(latent_dim=2, net=MLP(hidden=()), level=0.3, blind=blind)
    made, x, draw = DenoisingAutoencoderModel(config, (1, 4, 4)), torch.rand(7, 1, 4, 4), Draw(3)
    levels = config.levels(x, draw)
    noisy = corrupt(x, "gaussian", levels, draw).clamp(0, 1)
    assert torch.equal(made.corrupt(x, draw), noisy)
    error = ((made.denoise(noisy) - x) ** 2).numpy().sum((1, 2, 3))
    expected = (error / levels.numpy().ravel()).mean() if blind else error.mean()
    assert made(Batch(x), draw)["loss"].item() == pytest.approx(expected, rel=1e-5)
    spread = np.ptp(levels.numpy())
    assert spread > 0 if blind else spread == 0


def test_it_learns_to_restore() -> None:
    """Stripes with noise on them: a good part of the noise is gone after some steps."""
    x = ((torch.arange(16) // 2 % 2).float() * 0.8 + 0.1).expand(64, 1, 16, 16).contiguous()
    made = model(Residual(filters=8), level=0.3)
    optimizer = torch.optim.Adam(made.parameters(), 3e-3)
    for step in range(100):
        optimizer.zero_grad()
        made(Batch(x), Draw(1, step))["loss"].backward()
        optimizer.step()
    noisy = made.corrupt(x, Draw(2))
    before, after = (float(((part - x) ** 2).mean()) for part in (noisy, made.denoise(noisy)))
    assert after < 0.7 * before


def test_it_comes_back_from_its_folder(tmp_path: Any) -> None:
    made, x = model(Residual(filters=6), blind=True), torch.rand(2, 1, 16, 16)
    made.save(tmp_path)
    assert torch.equal(load(tmp_path).denoise(x), made.denoise(x))  # type: ignore[attr-defined]
    assert made.verbs() == ["denoise"]


def test_what_has_no_maps_is_refused() -> None:
    with pytest.raises(UserError, match="skip connections are of convolutions: take the net residual or dcgan"):
        build(Denoiser, {"net": MLP()})
    with pytest.raises(UserError, match="the residual net needs images"):
        DenoiserModel(Denoiser(), (7,))
    with pytest.raises(UserError, match="level is 2: for masking noise it is a share"):
        build(Denoiser, {"noise": "masking", "level": 2})
    with pytest.raises(UserError, match="has no codes; it has denoise"):
        _ = model(Residual(filters=6)).latent_dim
