"""What every recipe promises, and what the published ones prescribe."""

import subprocess
import sys
from typing import Any

import pytest

import ganvas.recipes  # noqa: F401  (fills the registry)
from ganvas.likelihoods import Gaussian
from ganvas.models.base import FAMILIES
from ganvas.nets.dcgan import DCGAN
from ganvas.nets.mlp import MLP
from ganvas.recipe import RECIPES


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_conformance(name: str) -> None:
    recipe = RECIPES[name]()
    assert recipe.name == name and RECIPES[name].__doc__.splitlines()[0].endswith(".")
    model = FAMILIES[type(recipe.model)](recipe.model, (1, 28, 28))
    assert list(recipe.training.turns) == list(model.players())


def test_listing_the_recipes_imports_no_torch() -> None:
    code = "import sys, ganvas.recipes; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("autoencoder", {"latent_dim": 7, "net": "dcgan"}, {"latent_dim": 7, "net": DCGAN()}),
        ("denoising-autoencoder", {"noise": "masking", "level": 0.2}, {"noise": "masking", "level": 0.2, "net": MLP()}),
        ("vae", {"likelihood": "gaussian", "beta": 4.0}, {"likelihood": Gaussian(), "beta": 4.0}),
        ("vae", {"elbo": "sampled", "net": "dcgan"}, {"elbo": "sampled", "net": DCGAN()}),
        ("gan", {"loss": "minimax", "latent_dim": 5}, {"loss": "minimax", "latent_dim": 5}),
        ("dcgan", {"filters": 8, "kernel": 5}, {"generator": DCGAN(filters=8, kernel=5)}),
    ],
)
def test_settings_reach_the_model(name: str, settings: dict[str, Any], expected: dict[str, Any]) -> None:
    model = RECIPES[name](**settings).model
    assert {key: getattr(model, key) for key in expected} == expected


def test_the_gan_is_algorithm_1() -> None:
    """Goodfellow et al. 2014: k steps of the discriminator, then one of the generator, by SGD with momentum."""
    turns = RECIPES["gan"](k=3, optimizer="sgd").training.turns
    assert [(name, turn.moves) for name, turn in turns.items()] == [("discriminator", 3), ("generator", 1)]
    assert {(turn.optimizer.name, turn.optimizer.lr, turn.optimizer.momentum) for turn in turns.values()} == {
        ("sgd", 0.1, 0.5)
    }


def test_the_dcgan_is_the_published_one() -> None:
    """Radford et al. 2015, section 4: Adam with 2e-4 and beta1 0.5, batches of 128, tanh, 100 uniform numbers."""
    recipe = RECIPES["dcgan"]()
    assert recipe.model.generator == recipe.model.discriminator == DCGAN()
    assert (recipe.model.output, recipe.model.latent_dim, recipe.model.prior.bound) == ("tanh", 100, 1)
    assert recipe.training.batch_size == 128
    for turn in recipe.training.turns.values():
        optimizer = turn.optimizer
        assert (turn.moves, optimizer.name, optimizer.lr, optimizer.betas) == (1, "adam", 2e-4, (0.5, 0.999))
