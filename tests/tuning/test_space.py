"""What may vary, and by how much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganvas.ground.errors import UserError
from ganvas.recipes import RECIPES
from ganvas.recipes.base import make
from ganvas.tuning.space import USUAL, Axis, axes


def found(recipe, *over, **fixed):
    return {axis.name: axis for axis in axes(recipe, make(recipe, {}), over, fixed)}


def test_without_names_the_usual_settings_vary_around_their_defaults():
    here = found("vae")
    assert list(here) == ["latent_dim", "lr", "beta"]
    assert here["latent_dim"] == Axis("latent_dim", 20, 5, 80, whole=True)
    assert here["beta"] == Axis("beta", 1.0, 0.25, 4.0)


def test_what_is_given_does_not_vary():
    assert "beta" not in found("vae", beta=2.0)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_something_that_varies_and_takes_its_ends(recipe):
    here = found(recipe)
    assert here.keys() <= USUAL.keys() and "lr" in here
    for axis in here.values():
        assert axis.low < axis.default < axis.high or axis.default == axis.low == 1


def test_a_range_choices_and_words():
    here = found("vae", "lr=1e-4..1e-2", "latent_dim=8,16", "elbo=analytic,sampled")
    assert here["lr"] == Axis("lr", 3e-3, 1e-4, 1e-2)
    assert here["latent_dim"].choices == (8, 16) and here["elbo"].choices == ("analytic", "sampled")
    assert [axis.words for axis in here.values()] == ["0.0001..0.01", "8,16", "analytic,sampled"]


def test_a_technique_varies_by_its_flag():
    made = make("dcgan", {"r1": 0.5})
    (axis,) = axes("dcgan", made, ("r1",), {})
    assert axis == Axis("r1", 0.5, 0.5 / 8, 4.0)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ("wheels", "vae has no setting 'wheels'; it has"),
        ("epochs", "no setting 'epochs'"),
        ("lr=2..1", "from its lesser end"),
        ("lr=a..b", "'a' is no number"),
        ("lr=-1..1", "a rate is above 0"),
        ("lr=1e-3", "two values or more"),
        ("net", "takes mlp by default, around which there is no range"),
        ("latent_dim=0..4", "latent_dim"),
        ("elbo=analytic,mystic", "mystic"),
    ],
)
def test_what_can_not_vary_is_refused(over, said):
    with pytest.raises(UserError, match=said):
        found("vae", over)


def test_one_setting_is_not_given_and_varied_nor_named_twice():
    with pytest.raises(UserError, match="given and to be varied"):
        found("vae", "beta", beta=2.0)
    with pytest.raises(UserError, match="twice"):
        found("vae", "lr", "lr=1e-4..1e-2")


def test_a_start_outside_of_the_range_is_its_nearest_end():
    assert Axis("latent_dim", 20, 30, 40, whole=True).start == 30
    assert Axis("net", None, choices=("a", "b")).start == "a"
    assert Axis("r1", None, 1.0, 100.0).start == pytest.approx(10.0)


@given(st.floats(1e-6, 1e3), st.floats(1.5, 1e4), st.integers(2, 40))
def test_a_grid_goes_from_end_to_end_and_lies_in_order(low, factor, n):
    axis = Axis("x", None, low, low * factor)
    values = axis.grid(n)
    assert values[0] == pytest.approx(axis.low) and values[-1] == pytest.approx(axis.high)
    places = [axis.place(value)[0] for value in values]
    assert places == sorted(places) and places[0] >= 0 and places[-1] <= 1 + 1e-9
    assert all(axis.low <= value <= axis.high for value in values)


def test_words_have_a_coordinate_each_and_numbers_one():
    assert Axis("net", None, choices=("a", "b", "c")).place("b") == [0.0, 1.0, 0.0]
    assert Axis("k", None, choices=(1, 10, 100)).place(10) == [pytest.approx(0.5)]
