"""What a model is told: rows of labels by hand, each family with a condition, and P(z) of those that are told."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import settings_of

import ganvas
from ganvas.data import Dataset, load
from ganvas.data.loader import Batch, to_tensor
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw
from ganvas.models import MODELS, Model
from ganvas.models.base import FAMILIES, UnsupportedError
from ganvas.models.conditions import Attribute, Condition, conditioned
from ganvas.models.fitted import fit_prior
from ganvas.models.vae import VAE, VAEModel
from ganvas.parts.nets.dcgan import DCGAN
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.priors import Mixture

KIND = Attribute(name="kind", column=0, values=("cat", "dog", "owl"))
AGE = Attribute(name="age", column=2, values=("10", "20", "60"), number=True)
CONDITIONAL = sorted(kind for kind, config in MODELS.items() if issubclass(config, Condition))
SHAPE = (1, 8, 8)


def make(kind: str, condition: tuple[Attribute, ...] = (KIND, AGE), **settings: Any) -> Any:
    config = MODELS[kind]
    net = MLP(hidden=(16,))
    nets = {field.name: net for field in dataclasses.fields(config) if type(getattr(config(), field.name)) is MLP}
    torch.manual_seed(0)
    made = settings_of(kind, **{"latent_dim": 3, "condition": condition, **nets, **settings})
    model: Any = FAMILIES[config](made, SHAPE)
    with torch.no_grad():  # patterns and projections begin at 0, where a condition says nothing yet
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def images(n: int = 6) -> torch.Tensor:
    return Draw(1).uniform("x", (n, *SHAPE))


def labels(n: int = 6) -> np.ndarray:
    """Columns kind, another one, age."""
    return np.stack([np.arange(n) % 3, np.full(n, 7), np.arange(n) // 2 % 3], 1)


def test_rows_by_hand() -> None:
    """One of three; a number as how far it is from the mean 30, over the deviation of its values, sqrt(1400 / 3)."""
    model = make("vae")
    rows = model.of_labels(np.array([[1, 7, 2], [-1, 7, 0], [2, 7, -1]]))
    sd = (1400 / 3) ** 0.5
    expected = [[0, 1, 0, 1, 30 / sd], [0, 0, 0, 1, -20 / sd], [0, 0, 1, 0, 0]]
    torch.testing.assert_close(rows, torch.tensor(expected))
    torch.testing.assert_close(model.given({"kind": "dog", "age": 60}).told, rows[:1])
    torch.testing.assert_close(model.given({"kind": "owl"}).told, rows[2:])
    between = model.given({"age": "37.5"}).told
    torch.testing.assert_close(between, torch.tensor([[0, 0, 0, 1, 7.5 / sd]]))


def test_the_decoder_takes_the_condition_beside_z_and_the_encoder_a_pattern() -> None:
    model = make("vae")
    told, z, x = model.given({"kind": "dog", "age": 60}), Draw(2).normal("z", (4, 3)), images(4)
    row = told.told.expand(4, -1)
    torch.testing.assert_close(told.output(z), model.decoder(torch.cat([z, 3**0.5 * row], 1)).float())
    pattern = (row @ model.pattern).view(-1, *SHAPE)
    torch.testing.assert_close(told.posterior(x)[0], model.encoder(x + pattern)[:, :3])
    torch.testing.assert_close(model.posterior(x)[0], model.encoder(x)[:, :3])
    torch.testing.assert_close(model.output(z), model.decoder(torch.cat([z, torch.zeros(4, 5)], 1)).float())


def test_guidance_by_hand() -> None:
    """nothing + 2.5 (told - nothing), before the sigmoid; the likelihood stays that of the model."""
    model, z, x = make("vae"), Draw(2).normal("z", (4, 3)), images(4)
    told, guided = model.given({"kind": "dog"}), model.given({"kind": "dog"}, guidance=2.5)
    expected = (model.output(z) + 2.5 * (told.output(z) - model.output(z))).sigmoid()
    torch.testing.assert_close(guided.decode(z), expected.detach())
    assert torch.equal(guided.log_prob(x, 20), told.log_prob(x, 20)) and torch.equal(guided.encode(x), told.encode(x))
    for wrong in (-0.5, float("nan"), float("inf")):
        with pytest.raises(UserError, match=r"guidance is .* it is a number from 0, 1 without"):
            model.given({"kind": "dog"}, guidance=wrong)
    with pytest.raises(UserError, match="of a VAE alone"):
        make("gan").given({"kind": "dog"}, guidance=2)


def test_several_codes_of_an_image_are_told_what_it_is_told() -> None:
    model = make("vae")
    told = model.being_told(model.of_labels(labels(2)))
    z = Draw(3).normal("z", (2, 4, 3))
    each = torch.stack([model.being_told(told.told[i : i + 1]).output(z[i]) for i in range(2)])
    torch.testing.assert_close(told._outputs(z), each)


def test_the_discriminator_projects_the_condition_on_its_features() -> None:
    """Miyato & Koyama 2018, equation 4, by hand."""
    model = make("gan")
    told = model.being_told(model.of_labels(labels(5)))
    x = images(5)
    features = model.discriminator.features(x)
    weight = model.discriminator.projection.weight
    expected = model.discriminator.logits(x) + torch.einsum("nd,dc,nc->n", features, weight, told.told)
    torch.testing.assert_close(told.logits(x), expected)
    torch.testing.assert_close(model.logits(x), model.discriminator.logits(x))


@pytest.mark.parametrize("technique", ["r1", "gradient_penalty"])
def test_penalties_are_of_the_discriminator_that_is_told(technique: str) -> None:
    """D = 0 but for its projection on f: the slope of what is not told would be 0."""
    from ganvas.recipes import RECIPES

    config = dataclasses.replace(RECIPES["gan"](**{technique: 1.0}).model, condition=(KIND,), untold=0.0)
    model: Any = FAMILIES[type(config)](config, SHAPE).train()
    with torch.no_grad():
        model.discriminator.head.weight.zero_()
        model.discriminator.projection.weight.add_(1)
    name, flat = technique.replace("_", "-"), 0.0 if technique == "r1" else 1.0
    untold, told = (
        float(model.discriminator(Batch(images(), torch.full((6, 1), label)), Draw(0, 1))[name].detach())
        for label in (-1, 0)
    )
    assert untold == pytest.approx(flat, abs=1e-6) and abs(told - flat) > 1e-3


@pytest.mark.parametrize("kind", CONDITIONAL)
@pytest.mark.parametrize("net", [MLP(hidden=(16,)), DCGAN(filters=2)], ids=["mlp", "dcgan"])
def test_conformance(kind: str, net: Any, tmp_path: Path) -> None:
    """Each family learns all that it has to with labels, is asked with and without them, and comes back from a file."""
    fields = {field.name: getattr(MODELS[kind](), field.name) for field in dataclasses.fields(MODELS[kind])}
    nets = {name: net for name, value in fields.items() if type(value) in (MLP, DCGAN)}
    model, x, given = make(kind, **nets, untold=0.5), images(), labels()
    batch = Batch(x, torch.from_numpy(given))
    for name, player in model.train().players().items():
        for other, opponent in model.players().items():
            opponent.requires_grad_(other == name)
        parts = player(batch, Draw(0, 1))
        parts["loss"].backward()
        without = [n for n, p in player.named_parameters() if p.grad is None or not p.grad.any()]
        assert not without, f"{name}: no gradient for {without}"
    model.eval()
    told = model.given({"kind": "owl", "age": 30})
    codes = Draw(2).normal("codes", (6, getattr(model, "latent_dim", 3)))
    asked: dict[str, tuple[Any, ...]] = {"sample": (6, 3), "decode": (codes,), "log_prob": (x, 50)}
    asked |= {"complete": (x, "left", 1)}
    for verb in model.verbs():
        values = asked.get(verb, (x,))
        plain, other = getattr(model, verb)(*values), getattr(told, verb)(*values)
        assert plain.shape == other.shape and not torch.equal(plain, other), f"{verb} does not hear what it is told"
        by_name = getattr(model, verb)(*values, condition={"kind": "owl", "age": 30})
        assert torch.equal(by_name, other)
        if verb not in ("sample", "log_prob", "complete"):  # draws of these are by an image's place among those asked
            each = getattr(model, verb)(*values, condition=given)
            for i in range(6):
                alone = model.being_told(model.of_labels(given[i : i + 1]))
                torch.testing.assert_close(each[i], getattr(alone, verb)(values[0][i : i + 1])[0])
    assert model.told is None, "to tell is not to keep"
    again = ganvas.load(model.save(tmp_path / "model"))
    assert again.config == model.config
    assert torch.equal(again.given({"kind": "owl"}).decode(codes), model.given({"kind": "owl"}).decode(codes))


def test_a_model_that_trains_goes_on_training_after_it_was_told_and_asked() -> None:
    """A copy shares its layers with the original, and their mode."""
    model = make("vae", net=MLP(hidden=(16,), dropout=0.5)).train()
    model.given({"kind": "dog"}).sample(2)
    assert all(part.training for part in model.modules())
    with model.asked():
        model.given({"kind": "dog"}).sample(2)
        assert not any(part.training for part in model.modules())


def test_in_training_a_share_is_told_nothing_and_when_asked_all() -> None:
    model = make("vae", untold=0.3)
    batch = Batch(images(1), torch.zeros(4000, 3, dtype=torch.int64))
    told = model.train().of_batch(batch, Draw(0, 1)).told
    kind, age = (told[:, columns].abs().sum(1) > 0 for columns in (slice(0, 3), slice(3, 5)))
    for heard, expected in ((kind, 0.7**2), (age, 0.7**2), (kind & age, 0.7**3)):  # all, and each besides
        assert abs(float(heard.double().mean()) - expected) < 5 * (expected * (1 - expected) / 4000) ** 0.5
    one = make("vae", (KIND,), untold=0.3).train().of_batch(batch, Draw(0, 1)).told
    assert abs(float((one.sum(1) == 0).double().mean()) - 0.3) < 5 * (0.3 * 0.7 / 4000) ** 0.5  # false alarms 6e-7 each
    assert bool((model.eval().of_batch(batch, Draw(0, 1)).told.abs().sum(1) > 0).all())
    assert model.of_batch(Batch(images(1)), Draw(0, 1)) is model


def test_an_unconditional_model_has_no_weight_more() -> None:
    assert not [name for name in make("vae", ()).state_dict() if name.startswith(("pattern", "rows_"))]
    assert make("gan", ()).discriminator.projection is None


def test_a_fitted_prior_is_another_one_where_it_is_told() -> None:
    """Codes that are 9 where nothing is told, and -9 where it is."""
    model: VAEModel = make("vae", (KIND,), latent_dim=1)
    with torch.no_grad():
        for weight in model.encoder.parameters():
            weight.zero_()
        first, last = (layer for layer in model.encoder if isinstance(layer, torch.nn.Linear))
        model.pattern.fill_(1)  # type: ignore[union-attr]
        first.weight[0].fill_(1)
        first.bias[0] = -64.0  # above 0 for an image with the pattern on it alone
        last.weight[0, 0] = -18 / 64
        last.bias[:] = torch.tensor([9.0, -8.0])
    x = torch.zeros(60, *SHAPE)
    fitted: Any = fit_prior(model, x + 1, 2, 0, np.arange(60) % 3)
    assert fitted.config.told_prior and isinstance(fitted.config.prior, Mixture)
    z = torch.tensor([[9.0]])
    untold, told = fitted.prior.log_prob(z, Draw(0)), fitted.given({"kind": "cat"}).prior.log_prob(z, Draw(0))
    assert untold > told + 10
    unknown = fitted.being_told(fitted.of_labels(np.array([-1])))
    assert torch.equal(unknown.prior.log_prob(z, Draw(0)), untold), "of an unknown label it is told nothing"
    assert fit_prior(model, x + 1, 2, 0).given({"kind": "cat"}).prior.log_prob(z, Draw(0)) > told + 10, "one for both"


# ---- of a data set ----


def sets(columns: np.ndarray, attributes: tuple[str, ...] | None = None, classes: Any = None) -> Dataset:
    made = load(
        np.zeros((len(columns), 4, 4, 1), np.uint8) + np.arange(len(columns), dtype=np.uint8)[:, None, None, None]
    )
    splits = {name: dataclasses.replace(split, labels=columns[split.order]) for name, split in made.splits.items()}
    return dataclasses.replace(made, splits=splits, attributes=attributes, classes=classes)


def test_columns_by_name() -> None:
    many = np.stack([np.arange(90) % 2, np.arange(90) % 25], 1)
    found = conditioned(VAE(), sets(many, ("sex", "age")), ("age", "sex")).condition
    assert [(it.name, it.column, it.number, it.width) for it in found] == [("age", 1, True, 2), ("sex", 0, False, 2)]
    (digits,) = conditioned(VAE(), sets(np.arange(90) % 10), ("class",)).condition
    assert digits.values == tuple("0123456789") and not digits.number


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("sexx",), r"unknown label 'sexx'.*Known: age, sex"),
        (("sex", "sex"), "--condition sex sex has sex twice"),
        (("age",), "age has one value in the training set, 3: it says nothing"),
    ],
)
def test_columns_that_are_refused(names: tuple[str, ...], says: str) -> None:
    given = np.stack([np.arange(90) % 2, np.full(90, 3)], 1)
    with pytest.raises(UserError, match=says):
        conditioned(VAE(), sets(given, ("sex", "age")), names)


def test_a_family_without_a_condition_says_so() -> None:
    with pytest.raises(UserError, match=r"denoiser takes no condition.*autoencoder.*vae"):
        conditioned(MODELS["denoiser"](), sets(np.arange(90) % 2), ("class",))
    model: Model = FAMILIES[MODELS["denoiser"]](MODELS["denoiser"](), SHAPE)
    with pytest.raises(UnsupportedError, match="denoiser has no condition"):
        model.given({"class": "1"})


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ({"kind": "cow"}, "value of kind.*cow.*cat, dog, owl"),
        ({"sort": "cat"}, r"unknown label 'sort'. Known: age, kind"),
        ({"age": "old"}, "age is 'old': it takes a number; those of the training are 10 to 60"),
        ({"age": float("nan")}, "it takes a number"),
        ({}, r"a condition is \{name: value\}, of kind, age"),
        (np.zeros((6, 2), int), "a label for each image as the data have them"),
        (np.zeros(6), "a condition of float64"),
        (np.full((6, 3), 3), "labels of kind are 3 to 3: they go from 0 to 2, or -1"),
        (np.zeros((5, 3), int), "5 labels for 6 rows"),
    ],
)
def test_conditions_that_are_refused(condition: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make("vae").reconstruct(images(), condition=condition)


def test_a_model_without_a_condition_says_how_to_get_one() -> None:
    for condition in ({"class": "1"}, np.zeros(6, int)):
        with pytest.raises(UserError, match="without a condition: train one with --condition NAME"):
            make("vae", ()).encode(images(), condition=condition)
    with pytest.raises(UserError, match="sample takes one condition"):
        make("vae").sample(6, condition=labels())


def test_train_and_ask_by_name(tmp_path: Path) -> None:
    run = ganvas.train("vae", data="digits", condition=("class",), epochs=40, out=tmp_path / "run", device="cpu")
    model: Any = run.model
    assert "condition" in run.recipe.to_json() and model.config.told_prior
    split = load("digits").splits["test"]
    x = to_tensor(split.images)
    wrong = (split.labels + 1) % 10
    of = {
        name: model.log_prob(x, 100, condition=given).mean() for name, given in (("own", split.labels), ("next", wrong))
    }
    assert of["own"] > of["next"] + 1, "an image is likelier as what it is"
    assert of["own"] > model.log_prob(x, 100).mean()
