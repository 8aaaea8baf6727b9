"""The loss against NumPy and PCA; the noise against the distribution it names."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from ganvas.data.loader import Batch
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import build
from ganvas.models import MODELS
from ganvas.models.autoencoder import Autoencoder, AutoencoderModel, DenoisingAutoencoder, DenoisingAutoencoderModel
from ganvas.models.autoencoder import corrupt as put_noise
from ganvas.parts.nets.mlp import MLP

LINEAR = MLP(hidden=())
GREY = torch.full((2000, 3, 3, 3), 0.5)


def weights(module: torch.nn.Module) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = module.parameters()
    return weight.detach().numpy(), bias.detach().numpy()


def by_hand(model: AutoencoderModel, x: np.ndarray) -> np.ndarray:
    """The reconstruction of a model of linear nets, by NumPy."""
    (a, b), (c, d) = weights(model.encoder), weights(model.decoder)
    output = ((x.reshape(len(x), -1) @ a.T + b) @ c.T + d).reshape(x.shape)
    return 1 / (1 + np.exp(-output)) if x.ndim == 4 else output


@pytest.mark.parametrize("shape", [(1, 3, 4), (2,)])
def test_loss_by_hand(shape: tuple[int, ...]) -> None:
    model, x = AutoencoderModel(Autoencoder(latent_dim=2, net=LINEAR), shape), torch.rand(5, *shape)
    np.testing.assert_allclose(model.reconstruct(x), by_hand(model, x.numpy()), rtol=1e-5)
    expected = ((x.numpy() - by_hand(model, x.numpy())) ** 2).reshape(5, -1).sum(1).mean()
    assert model(Batch(x), Draw(0))["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_a_linear_autoencoder_is_at_rest_at_the_principal_component() -> None:
    """Its loss there is the variance along the other one (Baldi & Hornik 1989)."""
    x = np.random.default_rng(0).normal(size=(500, 2)) @ [[2.0, 1.0], [0.0, 0.5]]
    x -= x.mean(0)
    _, singular, axes = np.linalg.svd(x, full_matrices=False)
    model = AutoencoderModel(Autoencoder(latent_dim=1, net=LINEAR), (2,)).double()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (axes[:1], [0], axes[:1].T, [0, 0]), strict=True):
            parameter.copy_(torch.tensor(np.array(value)))
    loss = model(Batch(torch.from_numpy(x)), Draw(0))["loss"]
    loss.backward()
    assert loss.item() == pytest.approx(singular[1] ** 2 / 500, rel=1e-5)
    for parameter in model.parameters():
        np.testing.assert_allclose(parameter.grad, 0, atol=1e-5)


@pytest.mark.parametrize("noise", ["gaussian", "masking", "salt-and-pepper"])
def test_a_denoiser_sees_the_noise_and_is_asked_for_the_image(noise: Any) -> None:
    config = DenoisingAutoencoder(latent_dim=3, net=LINEAR, noise=noise, level=0.4)
    model, x = DenoisingAutoencoderModel(config, (1, 4, 4)), torch.rand(6, 1, 4, 4)
    noisy = put_noise(x, noise, 0.4, Draw(3, 1)).clamp(0, 1)
    expected = ((x.numpy() - by_hand(model, noisy.numpy())) ** 2).sum((1, 2, 3)).mean()
    assert model(Batch(x), Draw(3, 1))["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert not torch.equal(noisy, x) and not torch.equal(noisy, put_noise(x, noise, 0.4, Draw(3, 2)))
    np.testing.assert_allclose(model.denoise(x), by_hand(model, x.numpy()), rtol=1e-5)


@pytest.mark.parametrize("level", [0.1, 0.5])
def test_gaussian_noise_is_normal(level: float) -> None:
    """Kolmogorov-Smirnov, false alarm 1e-6 a level."""
    noise = (put_noise(GREY, "gaussian", level, Draw(0)) - GREY).flatten().numpy()
    assert stats.kstest(noise, stats.norm(0, level).cdf).pvalue > 1e-6


@pytest.mark.parametrize(
    ("noise", "level", "shares"),
    [
        ("masking", 0.3, {0.0: 0.3, 0.5: 0.7}),
        ("masking", 0.02, {0.0: 0.02, 0.5: 0.98}),
        ("salt-and-pepper", 0.4, {0.0: 0.2, 0.5: 0.6, 1.0: 0.2}),
        ("salt-and-pepper", 1.0, {0.0: 0.5, 1.0: 0.5}),
    ],
)
def test_other_noise_changes_each_value_for_itself(noise: str, level: float, shares: dict[float, float]) -> None:
    """False alarm under 1e-6 a case: the numbers of values are binomial, over all and (by chi-square) per image."""
    noisy = put_noise(GREY, noise, level, Draw(0)).reshape(2000, 27)
    assert set(noisy.unique().tolist()) == set(shares)
    for value, share in shares.items():
        counts = (noisy == value).sum(1).numpy()
        assert stats.binomtest(int(counts.sum()), noisy.numel(), share).pvalue > 1e-7
        spread = ((counts - 27 * share) ** 2).sum() / (27 * share * (1 - share))
        assert 1e-7 < stats.chi2(2000).cdf(spread) < 1 - 1e-7


def test_values_that_noise_leaves_are_left_exactly() -> None:
    x = torch.rand(50, 3, 8, 8) * 0.8 + 0.1
    for noise in ("masking", "salt-and-pepper"):
        noisy = put_noise(x, noise, 0.3, Draw(0))
        assert torch.equal(noisy[(noisy > 0) & (noisy < 1)], x[(noisy > 0) & (noisy < 1)])
        assert 0 < ((noisy > 0) & (noisy < 1)).float().mean() < 1


@pytest.mark.parametrize(("values", "says"), [({"noise": "fog"}, "noise: 'fog'"), ({"level": 0}, "level: 0")])
def test_other_noise_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=f"{says} is refused"):
        MODELS.parse({"kind": "denoising-autoencoder", **values})


def test_a_noise_that_can_t_be_is_refused() -> None:
    with pytest.raises(UserError, match="level is 7: for masking noise it is a share of the values, at most 1"):
        build(DenoisingAutoencoder, {"noise": "masking", "level": 7})
    with pytest.raises(UserError, match="unknown noise 'fog'"):
        put_noise(torch.zeros(2, 3), "fog", 0.5, Draw(0))
