"""Codes that gradient descent finds."""

import logging
from typing import Any

import pytest
import torch

from ganvas.ground.errors import UserError
from ganvas.latent import explore
from ganvas.models.gan import GAN, GANModel
from ganvas.models.inversion import invert
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.priors import Normal, Uniform

LINEAR = MLP(hidden=())


def gan(prior: Any = Normal(), d: int = 4, shape: tuple[int, ...] = (1, 3, 3)) -> GANModel:  # noqa: B008
    torch.manual_seed(1)
    return GANModel(
        GAN(latent_dim=d, generator=MLP(hidden=(32,)), discriminator=LINEAR, prior=prior, output="tanh"), shape
    )


@pytest.mark.parametrize("prior", [Normal(), Uniform()])
def test_a_sample_s_code_is_found(prior: Any) -> None:
    model = gan(prior)
    with torch.no_grad():
        for weight in model.generator.parameters():
            weight.mul_(3)
    codes = explore.sample_codes(model, 6, seed=7)
    found = invert(model, model.decode(codes), steps=400)
    assert found.matched.all() and float(found.distances.max()) < 0.02 * found.apart
    assert torch.allclose(found.codes, codes, atol=0.1)
    assert torch.allclose(
        found.distances, (model.decode(found.codes) - model.decode(codes)).flatten(1).square().mean(1).sqrt()
    )


def test_a_code_does_not_depend_on_the_other_images() -> None:
    model = gan()
    images = model.sample(5, 3)
    together, alone = invert(model, images, steps=40), invert(model, images[2:3], steps=40)
    assert torch.allclose(together.codes[2:3], alone.codes, atol=1e-4)


def test_codes_stay_in_the_prior() -> None:
    far = torch.ones(2, 1, 3, 3)
    assert float(invert(gan(Uniform(bound=0.5)), far, steps=50).codes.abs().max()) <= 0.5
    assert float(invert(gan(), far, steps=50).codes.norm(dim=1).max()) <= 2 + 1.4 + 1e-4


def test_images_that_no_code_gives_are_said(caplog: pytest.LogCaptureFixture) -> None:
    model = gan()
    checked = (torch.arange(9).reshape(1, 1, 3, 3) % 2).float()
    with caplog.at_level(logging.WARNING, "ganvas"):
        assert explore.as_codes(model, model.sample(2, 1)).shape == (2, 4) and not caplog.records
        explore.as_codes(model, torch.cat([model.sample(1, 1), checked]))
    (record,) = caplog.records
    assert record.getMessage().startswith("1 of 2 images are not found (1)")


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(UserError, match="shape"):
        invert(gan(), torch.zeros(1, 1, 4, 4))
