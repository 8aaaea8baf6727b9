"""A recipe is JSON in and out, whatever was chosen, and refuses what it does not know."""

import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, reject, settings
from pydantic import ValidationError
from torch import nn

import ganvas.recipes  # noqa: F401  (fills the registry)
from ganvas.ground.errors import UserError
from ganvas.ground.registry import build, parameters
from ganvas.ground.registry import settings as settings_of
from ganvas.models import MODELS
from ganvas.parts.likelihoods import Gaussian
from ganvas.parts.nets import NETS
from ganvas.parts.nets.registry import BaseNet
from ganvas.parts.optimizers import OPTIMIZERS, SGD, Adam, Muon, RMSprop
from ganvas.parts.priors import Mixture, Normal
from ganvas.parts.techniques import EMA, R1
from ganvas.recipes import RECIPES, Data, Recipe, Training, Turn, from_json, make

SIDES, RATES = st.integers(1, 500), st.floats(1e-8, 10)
SHARES = st.floats(0, 1, exclude_max=True)
COMMON: dict[str, Any] = {"lr": RATES, "decay": st.floats(1, 2), "weight_decay": st.floats(0, 1)}
MOVES = (
    st.builds(Adam, **COMMON, betas=st.tuples(SHARES, SHARES))
    | st.builds(Muon, **COMMON, eps=RATES)
    | st.builds(RMSprop, **COMMON)
    | st.builds(SGD, **COMMON, momentum=SHARES, last_momentum=st.none() | SHARES, momentum_epochs=SIDES)
)
TURNS = st.builds(Turn, optimizer=MOVES, moves=SIDES, long=st.none() | SIDES)
DATA = st.builds(
    Data,
    source=st.text(),
    size=st.none() | st.tuples(SIDES, SIDES),
    channels=st.sampled_from([None, 1, 3]),
    binarise=st.booleans(),
)
TRAININGS = st.builds(
    Training, turns=st.dictionaries(st.text(), TURNS), seed=st.integers(0, 2**63 - 1), patience=st.none() | SIDES
)


def arguments(recipe: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Any settings of a recipe's own."""
    known = {int: st.integers(1, 500), float: st.floats(0.01, 0.99), bool: st.booleans()}
    known |= {int | None: st.none() | known[int], float | None: st.none() | known[float]}
    drawn: dict[str, Any] = {}
    for name, parameter in parameters(recipe).items():
        hint = (
            get_args(parameter.annotation)[0] if get_origin(parameter.annotation) is Annotated else parameter.annotation
        )
        literal = get_origin(hint) is Literal
        drawn[name] = st.from_type(hint) if literal else known.get(hint, st.just(parameter.default))
        if name == "groups":  # most numbers do not divide the draws
            drawn[name] = st.none()
    return st.fixed_dictionaries(drawn)


@pytest.mark.parametrize("name", sorted(RECIPES))
@given(choice=st.data(), data=DATA, training=TRAININGS)
@settings(deadline=None, max_examples=20)
def test_json_in_and_out(name: str, choice: st.DataObject, data: Data, training: Training) -> None:
    try:
        made = RECIPES[name](**choice.draw(arguments(RECIPES[name])))
    except (UserError, ValidationError):  # of settings that exclude each other
        reject()
    for recipe in (made, Recipe(name=name, data=data, model=made.model, training=training)):
        again = from_json(recipe.to_json(), MODELS)
        assert again == recipe and type(again.model) is type(made.model)
        assert again.to_json() == recipe.to_json()


def holders(values: Any) -> list[dict[str, Any]]:
    """Every object of a JSON text, but those whose keys are names of players."""
    if not isinstance(values, dict):
        return []
    inner = [holder for key, value in values.items() if key != "turns" for holder in holders(value)]
    return [values, *inner, *[holder for turn in values.get("turns", {}).values() for holder in holders(turn)]]


@pytest.mark.parametrize("name", sorted(RECIPES))
@given(key=st.text(st.characters(categories=["Ll"]), min_size=1).map("x_".__add__))
@settings(deadline=None, max_examples=5)
def test_an_unknown_key_is_refused_wherever_it_stands(name: str, key: str) -> None:
    text = RECIPES[name]().to_json()
    assert len(holders(json.loads(text))) >= 6
    for place in range(len(holders(json.loads(text)))):
        values = json.loads(text)
        holders(values)[place][key] = 1
        with pytest.raises(UserError, match=f"unknown setting '.*{key}' of "):
            from_json(json.dumps(values), MODELS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": {"kind": "vea"}}, "unknown model 'vea'. Did you mean 'vae'?"),
        ({"model": {}}, "no model"),
        ({"model": {"kind": "vae", "beta": -1}}, "beta: -1 is refused: should be greater than or equal to 0"),
        ({"model": {"kind": "vae", "net": {"kind": "cnn"}}}, "unknown net 'cnn'"),
        ({"training": {"turns": {}, "batch_size": 0}}, "training.batch_size: 0 is refused"),
        ({"training": {"turns": {"vae": {"moves": 0}}}}, "training.turns.vae.moves: 0 is refused"),
        ({"training": {"turns": {"vae": {"long": 0}}}}, "training.turns.vae.long: 0 is refused"),
        ({"training": {"turns": {"vae": {"optimizer": {"lr": 0}}}}}, "lr: 0 is refused"),
        ({"training": {"turns": {"vae": {"optimizer": {"decay": 0.9}}}}}, "decay: 0.9 is refused"),
        (
            {"training": {"turns": {"vae": {"optimizer": {"kind": "sgd", "last_momentum": 1}}}}},
            "last_momentum: 1 is refused",
        ),
        (
            {"training": {"turns": {"vae": {"optimizer": {"kind": "adam", "momentum": 0.5}}}}},
            "unknown setting 'momentum' of Adam",
        ),
        ({"training": {"turns": {"vae": {"optimizer": {"kind": "adan"}}}}}, "unknown optimizer 'adan'"),
        ({"training": {}}, "training.turns: "),
        ({"data": {"channels": 2}}, "data.channels: 2 is refused: should be 1, 3 or 4"),
        ({"name": None}, "name: None is refused"),
    ],
)
def test_values_out_of_range_are_refused_with_their_place(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as refused:
        from_json(json.dumps(json.loads(RECIPES["vae"]().to_json()) | change), MODELS)
    assert says in str(refused.value)


OLD = {
    "lr": 0.002,
    "betas": [0.5, 0.9],
    "eps": 1e-6,
    "momentum": 0.25,
    "last_momentum": 0.7,
    "momentum_epochs": 9,
    "decay": 1.5,
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adam", Adam(lr=0.002, betas=(0.5, 0.9), eps=1e-6, decay=1.5)),
        ("muon", Muon(lr=0.002, betas=(0.5, 0.9), eps=1e-6, decay=1.5)),
        ("rmsprop", RMSprop(lr=0.002, decay=1.5)),
        ("sgd", SGD(lr=0.002, momentum=0.25, last_momentum=0.7, momentum_epochs=9, decay=1.5)),
    ],
)
def test_a_file_of_one_class_for_all_optimisers_is_read(name: str, expected: Any) -> None:
    """As recipe.json was written before each had its own settings."""
    values = json.loads(RECIPES["vae"]().to_json())
    values["training"]["turns"]["vae"]["optimizer"] = {"name": name, **OLD}
    again = from_json(json.dumps(values), MODELS)
    assert again.training.turns["vae"].optimizer == expected
    assert from_json(again.to_json(), MODELS) == again
    values["training"]["turns"]["vae"]["optimizer"] = {"name": name, "nesterov": True}
    with pytest.raises(UserError, match="unknown setting 'nesterov' of"):
        from_json(json.dumps(values), MODELS)
    assert OPTIMIZERS.keys() == {"adam", "muon", "rmsprop", "sgd"}


@settings_of
class Straight(BaseNet):
    """A net of one's own, which nobody registers."""

    bias: bool = True

    def encoder(self, shape: tuple[int, ...], out: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), out, self.bias))

    def decoder(self, latent: int, shape: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(nn.Linear(latent, math.prod(shape), self.bias), nn.Unflatten(1, shape))


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a test makes known is not known to the next one."""
    yield
    NETS.pop("straight", None)


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("vae", {"net": Straight()}, {"net": Straight()}),
        ("autoencoder", {"net": Straight(bias=False)}, {"net": Straight(bias=False)}),
        ("vae", {"net": {"kind": "straight", "bias": False}}, {"net": Straight(bias=False)}),
        ("vae", {"prior": Mixture(components=3)}, {"prior": Mixture(components=3)}),
        ("iwae", {"prior": Mixture(components=3)}, {"prior": Mixture(components=3)}),
        ("vampprior", {"likelihood": Gaussian(scale=0.5)}, {"likelihood": Gaussian(scale=0.5)}),
        ("dcgan", {"generator": Straight()}, {"generator": Straight()}),
        ("wgan", {"critic": Straight()}, {"discriminator": Straight()}),
        ("gan", {"generator": Straight(), "prior": Normal()}, {"generator": Straight(), "prior": Normal()}),
        ("gan", {"techniques": [EMA()], "r1": 2}, {"techniques": (EMA(), R1(weight=2))}),
        ("vae", {"samples": 3, "beta": 2.0}, {"samples": 3, "beta": 2.0}),
    ],
)
def test_objects_of_settings_and_fields_of_the_model_are_arguments(
    name: str, arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    recipe = make(name, arguments)
    assert {key: getattr(recipe.model, key) for key in expected} == expected
    again = from_json(recipe.to_json(), MODELS)
    assert again == recipe, "what was asked for is JSON"
    assert make(name, again.arguments) == recipe


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"nett": Straight()}, "unknown setting of vae 'nett'. Did you mean 'net'?"),
        ({"net": Normal()}, "is not a net: its class does not inherit BaseNet. Known: "),
        ({"net": object()}, "is not a net: its class does not inherit BaseNet. Known: "),
        ({"prior": Straight()}, "is not a prior: its class does not inherit BasePrior."),
        ({"samples": 0}, "samples: 0 is refused"),
    ],
)
def test_arguments_that_are_none_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as refused:
        make("vae", arguments)
    assert says in str(refused.value)


@pytest.mark.parametrize("text", ["{}", "[]", '"vae"', '{"name": "vae", "training": {"turns": {}}}'])
def test_a_text_without_a_model_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="has no model"):
        from_json(text, MODELS)


def test_a_damaged_text_is_refused() -> None:
    with pytest.raises(UserError, match="damaged"):
        from_json(RECIPES["vae"]().to_json()[:-9], MODELS)


@given(st.builds(Turn, moves=st.integers(1, 20), long=st.none() | st.integers(1, 200)), st.integers(0, 2100))
@example(Turn(moves=5, long=100), 500)
@example(Turn(moves=5, long=100), 501)
@settings(deadline=None, max_examples=60)
def test_moves_before_a_step_are_those_of_all_steps_before(turn: Turn, step: int) -> None:
    assert turn.moves_before(step) == sum(turn.moves_at(earlier) for earlier in range(step))


def test_long_turns_are_those_of_the_wasserstein_papers_code() -> None:
    """100 critic moves before each of the first 25 generator moves, and before each 500th."""
    turn = Turn(moves=5, long=100)
    assert [step for step in range(1600) if turn.moves_at(step) == 100] == [*range(25), 500, 1000, 1500]
    assert {turn.moves_at(step) for step in range(1600)} == {5, 100}
    assert {Turn(moves=3).moves_at(step) for step in range(1600)} == {3}


def test_recipes_are_frozen_values() -> None:
    assert RECIPES["vae"]() == RECIPES["vae"]() != RECIPES["vae"](latent_dim=3)
    with pytest.raises(AttributeError, match="cannot assign to field 'name'"):
        RECIPES["vae"]().name = "x"


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_settings_of_a_recipe_are_checked_when_it_is_made(name: str) -> None:
    setting = "latent_dim" if "latent_dim" in parameters(RECIPES[name]) else "filters"
    with pytest.raises(UserError, match=f"{setting}: 0 is refused"):
        build(RECIPES[name], {setting: 0})
