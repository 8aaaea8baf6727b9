"""What every recipe promises, and what the published ones prescribe."""

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganvas.data import load
from ganvas.data.loader import Batch
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.ground.registry import build, kind, parameters
from ganvas.models.base import FAMILIES
from ganvas.parts.likelihoods import Bernoulli, Gaussian
from ganvas.parts.nets.dcgan import DCGAN
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.optimizers import SGD, Adam, RMSprop
from ganvas.parts.priors import Normal, StochasticLayer, Uniform, Vamp
from ganvas.parts.techniques import TECHNIQUES, Clip, MinibatchDiscrimination
from ganvas.recipes import RECIPES, Facts, make
from ganvas.recipes.steady import PENALTY


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_conformance(name: str) -> None:
    recipe = RECIPES[name]()
    assert recipe.name == name and RECIPES[name].__doc__.splitlines()[0].endswith(".")
    model = FAMILIES[type(recipe.model)](recipe.model, (1, 28, 28))
    assert list(recipe.training.turns) == list(model.players())


COLOUR = Facts((3, 32, 32), 50_000, False, 400.0)


@pytest.mark.parametrize("facts", [Facts(), COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_flag_that_is_not_given_is_as_one_that_is_not_there(name: str, facts: Facts) -> None:
    """The command line gives None for each: once Adam of a steadied GAN had a momentum by that, which R1 forbids it."""
    function = RECIPES[name]
    given = {"facts": facts} if "facts" in inspect.signature(function).parameters else {}
    unsaid = {key: None for key, parameter in parameters(function).items() if parameter.default is None}
    assert function(**given, **unsaid) == function(**given)


def test_listing_the_recipes_imports_no_torch() -> None:
    code = "import sys, ganvas.recipes; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("autoencoder", {"latent_dim": 7, "net": "dcgan"}, {"latent_dim": 7, "net": DCGAN()}),
        (
            "denoising-autoencoder",
            {"noise": "masking", "level": 0.2},
            {"noise": "masking", "level": 0.2, "net": MLP(he=True)},
        ),
        ("vae", {"likelihood": "gaussian", "beta": 4.0}, {"likelihood": Gaussian(scale="shared"), "beta": 4.0}),
        ("vae", {"likelihood": "gaussian", "scale": 0.0}, {"likelihood": Gaussian()}),
        ("vae", {"elbo": "sampled", "net": "dcgan"}, {"elbo": "sampled", "net": DCGAN()}),
        ("vae", {"hidden": (9, 7)}, {"net": MLP(hidden=(9, 7), he=True)}),
        ("vae", {"likelihood": "gaussian", "scale": 0.1}, {"likelihood": Gaussian(scale=0.1)}),
        ("vae", {"scale": 0.1}, {"likelihood": Gaussian(scale=0.1)}),
        ("gan", {"hidden": (9, 7)}, {"generator": MLP(hidden=(9, 7), norm="batch")}),
        ("iwae", {"k": 7, "bound": "elbo"}, {"samples": 7, "bound": "elbo", "latent_dim": 50, "prior": Normal()}),
        ("iwae", {"gradient": "doubly"}, {"gradient": "doubly", "bound": "iwae"}),
        ("iwae", {"bound": "miwae", "k": 64}, {"bound": "miwae", "samples": 64, "groups": 8}),
        ("iwae", {"bound": "piwae"}, {"bound": "piwae", "samples": 50, "groups": 5}),
        ("iwae", {"bound": "ciwae", "share": 0.1}, {"bound": "ciwae", "share": 0.1, "groups": 1}),
        ("iwae", {"prior": "vamp", "components": 9}, {"prior": Vamp(components=9), "bound": "iwae"}),
        ("gan", {"loss": "minimax", "latent_dim": 5}, {"loss": "minimax", "latent_dim": 5}),
        ("dcgan", {"filters": 8, "kernel": 5}, {"generator": DCGAN(filters=8, kernel=5, up="resize")}),
        ("dcgan", {"filters": 8, "up": "transposed"}, {"generator": DCGAN(filters=8)}),
        ("dcgan", {"filters": 8, "loss": "hinge"}, {"generator": DCGAN(filters=8)}),
    ],
)
def test_settings_reach_the_model(name: str, settings: dict[str, Any], expected: dict[str, Any]) -> None:
    model = RECIPES[name](**settings).model
    assert {key: getattr(model, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vae", {"hidden": (9,), "net": "dcgan"}),
        ("vae", {"scale": 0.1, "likelihood": "bernoulli"}),
        ("gan", {"hidden": (9,), "paper": True}),
    ],
)
def test_settings_that_do_not_go_together(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"leave|add"):
        RECIPES[name](**settings)


def test_a_refused_setting_is_called_as_its_flag_is() -> None:
    with pytest.raises(UserError, match=r"^k is 0: it takes at least 1 draw"):
        RECIPES["iwae"](k=0)


def test_the_gan_is_algorithm_1() -> None:
    """Goodfellow et al. 2014: k steps of the discriminator, then one of the generator, by SGD with momentum."""
    turns = RECIPES["gan"](k=3, optimizer="sgd").training.turns
    assert [(name, turn.moves) for name, turn in turns.items()] == [("discriminator", 3), ("generator", 1)]
    assert {turn.optimizer for turn in turns.values()} == {SGD(lr=0.1, momentum=0.5)}


def test_the_published_gan_is_the_released_codes() -> None:
    recipe = RECIPES["gan"](paper=True)
    model, training = recipe.model, recipe.training
    assert (model.generator.hidden, model.generator.init, model.prior.bound) == ((1200, 1200), 0.05, 3**0.5)
    d = model.discriminator
    assert (d.hidden, d.activation, d.init, d.input_dropout, d.dropout) == ((240, 240), "maxout", 0.005, 0.2, 0.5)
    assert training.batch_size == 100 and model.marginals
    for name, lr in (("discriminator", 0.05), ("generator", 0.1)):  # half of D's cost
        expected = SGD(lr=lr, decay=1.000004, momentum=0.5, last_momentum=0.7, momentum_epochs=250)
        assert training.turns[name].optimizer == expected


def test_adam_in_the_place_of_the_paper_s_sgd_has_a_rate_of_its_own() -> None:
    turns = RECIPES["gan"](paper=True, optimizer="adam").training.turns
    assert {(type(turn.optimizer), turn.optimizer.lr) for turn in turns.values()} == {(Adam, 2e-4)}


def test_the_dcgan_is_the_published_one() -> None:
    """Radford et al. 2015, section 4: Adam with 2e-4 and beta1 0.5, batches of 128, tanh, 100 uniform numbers."""
    common, recipe = RECIPES["dcgan"](loss="non-saturating"), RECIPES["dcgan"](paper=True)
    assert common.model.generator == common.model.discriminator == DCGAN(filters=64, kernel=4)
    assert recipe.model.generator == recipe.model.discriminator == DCGAN(filters=128, kernel=5)
    assert (common.model.prior, recipe.model.prior) == (Normal(), Uniform(bound=1.0))
    assert (recipe.model.output, recipe.model.latent_dim) == ("tanh", 100)
    assert recipe.training.batch_size == 128
    for turn in recipe.training.turns.values():
        assert (turn.moves, turn.optimizer) == (1, Adam(lr=2e-4, betas=(0.5, 0.999)))


def test_the_wgan_is_the_published_one() -> None:
    """Arjovsky et al. 2017, algorithm 1, and the schedule of its code."""
    recipe = RECIPES["wgan"]()
    assert recipe.model.loss == "wasserstein" and recipe.model.techniques == (Clip(bound=0.01),)
    assert recipe.training.batch_size == 64
    critic, generator = recipe.training.turns.values()
    assert (critic.moves, critic.long, generator.moves, generator.long) == (5, 100, 1, None)
    assert {turn.optimizer for turn in (critic, generator)} == {RMSprop(lr=5e-5)}


@pytest.mark.parametrize("flag", ["gradient_penalty", "spectral_norm"])
def test_another_bound_takes_the_place_of_clipping(flag: str) -> None:
    (technique,) = RECIPES["wgan"](**{flag: 1}).model.techniques
    assert type(technique) is TECHNIQUES[flag.replace("_", "-")]


@pytest.mark.parametrize(
    ("given", "bounds"), [({}, [0.01]), ({"clip": None}, [0.01]), ({"clip": 0.1}, [0.1]), ({"clip": 0}, [])]
)
def test_the_clip_is_a_default_that_can_be_left_away(given: dict[str, Any], bounds: list[float]) -> None:
    assert [technique.bound for technique in RECIPES["wgan"](**given).model.techniques] == bounds


@pytest.mark.parametrize("recipe", ["gan", "dcgan", "wgan"])
def test_every_technique_has_a_flag_on_every_gan(recipe: str) -> None:
    known = parameters(RECIPES[recipe])
    for name, technique in TECHNIQUES.items():
        assert name.replace("-", "_") in known
        field = next(iter(dataclasses.fields(technique)), None)
        for value in (True, field.default if field else True):
            taken = RECIPES[recipe](**{name.replace("-", "_"): value}).model.techniques
            (one,) = (one for one in taken if type(one) is technique)
            assert value is True or getattr(one, field.name) == value


def test_r2_is_as_heavy_as_r1_unless_it_is_given_a_weight() -> None:
    weights = {type(one).__name__: (one.weight, one.every) for one in RECIPES["dcgan"](r2=True).model.techniques[:3:2]}
    assert weights == {"R1": (0.1, 4), "R2": (0.1, 4)}
    r2 = [one for one in RECIPES["wgan"](r2=True, clip=0).model.techniques if type(one).__name__ == "R2"]
    assert [one.weight for one in r2] == [10.0]
    assert {one.weight for one in RECIPES["gan"](r1=3.0, r2=2.0, loss="hinge").model.techniques} == {3.0, 2.0}


def test_a_gan_of_points_is_small_and_steadied() -> None:
    """R1's weight is in squared lengths; a table has more numbers than points have."""
    points = Facts(shape=(2,), n=100_000, black_and_white=False, variance=10.0)
    recipe = RECIPES["gan"](facts=points)
    assert recipe.model.generator.hidden == recipe.model.discriminator.hidden == (64, 64, 64, 64)
    assert [type(one).__name__ for one in recipe.model.techniques] == ["R1", "EMA"]
    assert recipe.model.techniques[0].weight == pytest.approx(PENALTY * 4 * 10, rel=0.2)
    assert recipe.model.loss == "relativistic" and recipe.training.schedule == "cosine"
    plain = RECIPES["gan"](facts=points, loss="hinge").model
    assert plain.loss == "hinge" and not plain.techniques and plain.latent_dim == 2
    table = dataclasses.replace(points, shape=(30,))
    assert RECIPES["gan"](facts=table).model.generator.hidden == (1200, 1200)
    assert RECIPES["gan"](facts=points, hidden=(5,)).model.generator.hidden == (5,)


def test_python_may_give_all_settings_of_a_technique() -> None:
    model = RECIPES["gan"](minibatch_discrimination={"kernels": 7, "dims": 3}).model
    assert model.techniques == (MinibatchDiscrimination(kernels=7, dims=3),)


@pytest.mark.parametrize(
    ("generator", "net"),
    [
        ("dcgan", DCGAN(filters=16)),
        ("constant", DCGAN(filters=16, norm="none", widen=False)),
        ("mlp", MLP(hidden=(512, 512, 512, 512))),
    ],
)
@pytest.mark.parametrize("name", ["dcgan", "wgan"])
def test_the_three_generators_of_the_wasserstein_paper(name: str, generator: str, net: Any) -> None:
    model = RECIPES[name](
        generator=generator, filters=16, **{"loss": "non-saturating"} if name == "dcgan" else {}
    ).model
    assert model.generator == net and model.discriminator == DCGAN(filters=16)
    assert model.output == ("linear" if generator == "mlp" else "tanh")


def test_the_nets_of_the_iwae_are_the_published() -> None:
    """Burda et al. 2015, section 5: 784-200-200-50, and 784-200-200-100-100-100-50."""
    one, two = (RECIPES["iwae"](layers=layers).model for layers in (1, 2))
    assert (one.net.hidden, one.net.activation, one.latent_dim) == ((200, 200), "tanh", 50)
    assert (two.net, two.latent_dim) == (one.net, 100) and isinstance(two.prior, StochasticLayer)
    assert (two.prior.net.hidden, two.prior.net.activation, two.prior.latent_dim) == ((100, 100), "tanh", 50)


def test_dcgan_with_r1_has_no_momentum() -> None:
    for weight, betas in ((0.5, (0.0, 0.99)), (None, (0.0, 0.99)), (0.0, (0.5, 0.999))):
        turns = RECIPES["dcgan"](r1=weight).training.turns.values()
        assert [turn.optimizer.betas for turn in turns] == [betas] * 2


def test_the_nets_of_the_vampprior_are_the_published() -> None:
    """Tomczak & Welling 2018, appendix: two layers of 300 gated units, a code of 40, 500 pseudo-inputs of an image."""
    model = RECIPES["vampprior"]().model
    built = FAMILIES[type(model)](model, (1, 28, 28))
    sizes = [tuple(p.shape) for p in built.encoder.parameters() if p.dim() == 2]
    assert sizes == [(600, 784), (600, 300), (80, 300)]
    sizes = [tuple(p.shape) for p in built.decoder.parameters() if p.dim() == 2]
    assert sizes == [(600, 40), (600, 300), (784, 300)]
    assert built.prior.inputs.shape == (500, 1, 28, 28)


BLOTS = Facts((3, 64, 64), 3000, False)


@pytest.mark.parametrize(
    ("facts", "net", "likelihood"),
    [
        (Facts(), "mlp", "bernoulli"),
        (Facts((1, 8, 8), 1300, False), "mlp", "gaussian"),
        (Facts((1, 64, 64), 500, True), "residual", "bernoulli"),
        (BLOTS, "residual", "gaussian"),
        (Facts((12,), 150, False), "mlp", "gaussian"),
    ],
)
def test_a_vae_is_chosen_from_the_data(facts: Facts, net: str, likelihood: str) -> None:
    recipe = build(RECIPES["vae"], {"facts": facts})
    assert (kind(type(recipe.model.net)), kind(type(recipe.model.likelihood))) == (net, likelihood)
    assert {line.split(":")[0] for line in facts.chosen} >= {"net", "likelihood", "latent_dim"}


def test_what_is_given_stands_and_is_not_said() -> None:
    facts = Facts((3, 64, 64), 3000, False)
    given = {"net": "dcgan", "likelihood": "bernoulli", "latent_dim": 3, "fit": 0}
    recipe = build(RECIPES["vae"], {"facts": facts, **given})
    assert kind(type(recipe.model.net)) == "dcgan" and recipe.model.latent_dim == 3 and not recipe.model.fit
    assert facts.chosen == []


def test_fewer_images_are_seen_more_often() -> None:
    assert Facts((3, 64, 64), 46).epochs(250_000, 300) == 300
    assert Facts((3, 64, 64), 5000).epochs(250_000, 300) == 50
    assert Facts((3, 64, 64), 10**7).epochs(250_000, 300) == 1


def test_few_images_are_trained_in_small_batches() -> None:
    assert [Facts((1, 8, 8), n).batch_size(128, 16) for n in (1, 46, 320, 1437, 50_000)] == [16, 16, 32, 128, 128]
    assert RECIPES["vae"](facts=Facts((1, 32, 32), 320)).training.batch_size == 32
    assert RECIPES["vae"](facts=Facts((3, 64, 64), 320)).training.batch_size == 32
    assert RECIPES["vae"](facts=Facts((3, 64, 64), 5000)).training.batch_size == 64


def test_a_dcgan_is_steadied_unless_its_loss_is_given() -> None:
    facts = Facts((3, 64, 64), 800, False, 400.0)
    recipe = build(RECIPES["dcgan"], {"facts": facts})
    names = {kind(type(technique)) for technique in recipe.model.techniques}
    assert recipe.model.loss == "relativistic" and names == {"r1", "ema", "augment"}
    assert recipe.training.schedule == "cosine" and recipe.training.epochs == 500
    r1 = next(technique for technique in recipe.model.techniques if kind(type(technique)) == "r1")
    assert r1.weight == 1.0  # 6.5e-4 of the variance in [-1, 1], 4 x 400, to a digit
    many = build(RECIPES["dcgan"], {"facts": Facts((3, 64, 64), 80_000, False, 400.0), "r1": 0.0})
    assert {kind(type(technique)) for technique in many.model.techniques} == {"ema"}
    plain = build(RECIPES["dcgan"], {"facts": facts, "loss": "non-saturating"})
    assert plain.model.techniques == () and plain.training.schedule == "constant"


@pytest.mark.parametrize("given", [{"clip": 0.01}, {"gradient_penalty": 10.0}, {"minibatch_discrimination": 20}])
def test_a_default_gives_way_to_what_is_given(given: dict[str, Any]) -> None:
    recipe = RECIPES["dcgan"](**given)
    names = {kind(type(technique)) for technique in recipe.model.techniques}
    assert names == {"ema", next(iter(given)).replace("_", "-")}
    FAMILIES[type(recipe.model)](recipe.model, (3, 16, 16))


VARIATIONAL = ["vae", "iwae", "vampprior"]


@pytest.mark.parametrize("recipe", VARIATIONAL)
@pytest.mark.parametrize("levels", [256, 4096, 65536])
def test_levels_have_a_probability_and_deep_ones_are_no_chances(recipe: str, levels: int) -> None:
    facts = Facts((1, 64, 64), 3000, False, levels=levels)
    model = build(RECIPES[recipe], {"facts": facts, "likelihood": "discretised-logistic"}).model
    assert model.likelihood.levels == levels
    if levels > 256:
        with pytest.raises(UserError, match=rf"the data have {levels:,} levels, which are no chances"):
            build(RECIPES[recipe], {"facts": facts, "likelihood": "bernoulli"})
    for fine in (Facts((1, 64, 64), 3000, True, levels=levels), Facts((1, 64, 64), 3000, False)):
        model = build(RECIPES[recipe], {"facts": fine, "likelihood": "bernoulli"}).model
        assert model.likelihood == Bernoulli()


@pytest.mark.parametrize("recipe", ["iwae", "vampprior"])
def test_the_nets_of_papers_take_the_likelihood_that_the_data_are_of(recipe: str) -> None:
    colour, deep = Facts((3, 16, 16), 3000, False), Facts((1, 16, 16), 3000, False, levels=65536)
    for facts in (colour, deep, Facts((2,), 900, False)):
        model = build(RECIPES[recipe], {"facts": facts}).model
        assert model.likelihood == Gaussian(scale="shared")
        assert facts.chosen == ["likelihood: gaussian (the data are not black and white)"]
        built = FAMILIES[type(model)](model, facts.shape)
        terms = built(Batch(torch.rand(4, *facts.shape)), Draw(0))
        assert torch.isfinite(terms["loss"])
    assert RECIPES[recipe]().model == build(RECIPES[recipe], {"facts": Facts()}).model
    assert RECIPES[recipe]().model.likelihood == Bernoulli()


def test_facts_count_the_levels_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    random = np.random.default_rng(0)
    for values, levels in (
        (random.integers(0, 256, (20, 8, 8)).astype(np.uint8), 256),
        (np.arange(4096).reshape(64, 8, 8).astype(np.uint16), 4096),
        (random.random((20, 8, 8)), 65536),
        ((random.random((20, 8, 8)) < 0.5).astype(np.uint8), 2),
    ):
        assert Facts.of(load(values)).levels == levels


def test_lazy_is_of_the_penalties_alone() -> None:
    for asked in ({"r1": 0.5}, {"gradient_penalty": 10.0, "ema": 0.9}):
        techniques = make("gan", {**asked, "loss": "hinge", "lazy": 4}).model.techniques
        assert [technique.every for technique in techniques] == [4, 1][: len(techniques)]
    with pytest.raises(UserError, match="--lazy 4: it is of --r1, --r2 or --gradient-penalty, and there is none"):
        make("gan", {"loss": "hinge", "lazy": 4})
    with pytest.raises(UserError, match="every: 0 is refused"):
        make("gan", {"loss": "hinge", "r1": 1.0, "lazy": 0})


def test_black_and_white_images_are_learned_by_large_batches_where_there_are_many() -> None:
    for n, likelihood, expected in (
        (50_000, None, (256, Adam(lr=3e-3, rise=200, betas=(0.9, 0.99)))),
        (19_999, None, (128, Adam())),
        (50_000, "gaussian", (128, Adam())),
    ):
        made = RECIPES["vae"](likelihood=likelihood, facts=Facts((1, 28, 28), n, black_and_white=True)).training
        assert (made.batch_size, made.turns["vae"].optimizer) == expected
    assert RECIPES["vae"](facts=Facts((1, 28, 28), 50_000)).training.epochs == 15


@pytest.mark.parametrize(("name", "settings"), [("vampprior", {}), ("iwae", {"prior": "vamp"})])
def test_a_vampprior_has_no_more_pseudo_inputs_than_images(name: str, settings: dict[str, Any]) -> None:
    """Each starts as one; a number that is given stays, and is refused when the model is prepared."""
    few, many = Facts(n=80), Facts(n=600)
    assert make(name, settings, few).model.prior == Vamp(components=80)
    assert any(line.startswith("components: 80") for line in few.chosen)
    assert make(name, settings, many).model.prior == Vamp(components=500)
    assert not any(line.startswith("components") for line in many.chosen)
    assert make(name, {**settings, "components": 300}, Facts(n=80)).model.prior == Vamp(components=300)
