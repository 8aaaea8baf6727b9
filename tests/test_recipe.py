"""A recipe is JSON in and out, whatever was chosen, and refuses what it does not know."""

import json
from typing import Annotated, Any, Literal, get_args, get_origin

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, reject, settings
from pydantic import ValidationError

import ganvas.recipes  # noqa: F401  (fills the registry)
from ganvas.errors import UserError
from ganvas.models import MODELS
from ganvas.recipe import RECIPES, Data, Optimizer, Recipe, Training, Turn, from_json
from ganvas.registry import build, parameters

SIDES, RATES = st.integers(1, 500), st.floats(1e-8, 10)
OPTIMIZERS = st.builds(
    Optimizer,
    name=st.sampled_from(["adam", "rmsprop", "sgd"]),
    lr=RATES,
    momentum=st.floats(0, 1, exclude_max=True),
    last_momentum=st.none() | st.floats(0, 1, exclude_max=True),
    momentum_epochs=SIDES,
    decay=st.floats(1, 2),
)
TURNS = st.builds(Turn, optimizer=OPTIMIZERS, moves=SIDES, long=st.none() | SIDES)
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
        ({"training": {"turns": {"vae": {"optimizer": {"lr": 0}}}}}, "optimizer.lr: 0 is refused"),
        ({"training": {"turns": {"vae": {"optimizer": {"decay": 0.9}}}}}, "optimizer.decay: 0.9 is refused"),
        (
            {"training": {"turns": {"vae": {"optimizer": {"last_momentum": 1}}}}},
            "last_momentum: 1 is refused",
        ),
        ({"training": {}}, "training.turns: "),
        ({"data": {"channels": 2}}, "data.channels: 2 is refused: should be 1, 3 or 4"),
        ({"name": None}, "name: None is refused"),
    ],
)
def test_values_out_of_range_are_refused_with_their_place(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as refused:
        from_json(json.dumps(json.loads(RECIPES["vae"]().to_json()) | change), MODELS)
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
    with pytest.raises(UserError, match="latent_dim: 0 is refused"):
        build(RECIPES[name], {"latent_dim": 0})
