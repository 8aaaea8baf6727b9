"""What it adds to an image, and what it learns from; the levels of a blind model against their distribution."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from ganvas.data.loader import Batch
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import build
from ganvas.models.autoencoder import DenoisingAutoencoder, DenoisingAutoencoderModel, corrupt
from ganvas.models.base import load
from ganvas.models.denoiser import Denoiser, DenoiserModel
from ganvas.parts.nets.mlp import MLP


def model(shape: tuple[int, ...] = (1, 16, 16), **settings: Any) -> DenoiserModel:
    torch.manual_seed(0)
    return DenoiserModel(Denoiser(**{"filters": 6, **settings}), shape)


def test_what_it_gives_is_x_and_what_the_net_adds() -> None:
    made, x = model(), torch.rand(3, 1, 16, 16)
    expected = x + made.net(2 * x - 1)
    torch.testing.assert_close(made.denoise(x), expected.clamp(0, 1).detach())
    for weight in made.net.last.parameters():
        torch.nn.init.zeros_(weight)
    assert torch.equal(made.denoise(x), x)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 18), (4, 32, 9)])
def test_every_weight_learns_at_any_size(shape: tuple[int, ...]) -> None:
    made = model(shape, blind=True)
    made(Batch(torch.rand(4, *shape)), Draw(0))["loss"].backward()
    for name, weight in made.named_parameters():
        assert weight.grad is not None and bool(weight.grad.isfinite().all()) and bool(weight.grad.any()), name
    assert made.denoise(torch.rand(2, *shape)).shape == (2, *shape)


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
    made = model(level=0.3)
    optimizer = torch.optim.Adam(made.parameters(), 3e-3)
    for step in range(100):
        optimizer.zero_grad()
        made(Batch(x), Draw(1, step))["loss"].backward()
        optimizer.step()
    noisy = made.corrupt(x, Draw(2))
    before, after = (float(((part - x) ** 2).mean()) for part in (noisy, made.denoise(noisy)))
    assert after < 0.7 * before


def test_it_comes_back_from_its_folder(tmp_path: Any) -> None:
    made, x = model(blind=True), torch.rand(2, 1, 16, 16)
    made.save(tmp_path)
    assert torch.equal(load(tmp_path).denoise(x), made.denoise(x))  # type: ignore[attr-defined]
    assert made.verbs() == ["score_samples", "denoise"]


def test_images_keep_their_size(tmp_path: Path) -> None:
    made = model((3, 16, 16))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    picture.save(tmp_path / "a.png")
    lying = Image.Exif()
    lying[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=lying)
    x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
    expected = made.denoise(x)
    assert expected.shape == (1, 3, 20, 30)
    for given in (x[0], np.array(picture), picture, tmp_path / "a.png", str(tmp_path / "a.png")):
        assert torch.equal(made.denoise(given), expected)
    assert made.denoise(tmp_path / "turned.png").shape == made.denoise(Image.open(tmp_path / "turned.png")).shape
    assert made.denoise(tmp_path / "turned.png").shape == (1, 3, 30, 20)
    assert made.denoise([picture, picture]).shape == made.denoise(tmp_path).shape == (2, 3, 16, 16)
    with pytest.raises(UserError, match="images of 20 x 7: a denoiser takes them from 8 x 8 on"):
        made.denoise(x[..., :7])
    with pytest.raises(UserError, match="of shape"):
        made.denoise(torch.rand(2, 2, 20, 30))


@pytest.mark.parametrize("blocks", [1, 2])
def test_tiles_leave_no_seam(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = model((1, 16, 16), blocks=blocks).double(), torch.rand(1, 1, 301, 277).double()
    with torch.no_grad():
        whole = made.denoised(x)
        monkeypatch.setattr("ganvas.models.denoiser.TILE", 64)
        torch.testing.assert_close(made.denoised(x), whole)


def test_what_can_t_be_is_refused() -> None:
    with pytest.raises(
        UserError, match="from 8 x 8 on, these are rows of 7 numbers: take the recipe denoising-autoenc"
    ):
        DenoiserModel(Denoiser(), (7,))
    with pytest.raises(UserError, match="from 8 x 8 on, these are 4 x 12"):
        DenoiserModel(Denoiser(), (1, 4, 12))
    with pytest.raises(UserError, match="level is 2: for masking noise it is a share"):
        build(Denoiser, {"noise": "masking", "level": 2})
    with pytest.raises(UserError, match="has no codes; it has score_samples, denoise"):
        _ = model().latent_dim
