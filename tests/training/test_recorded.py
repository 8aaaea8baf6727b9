"""A game whose moves are recorded and replayed plays as one that is played call by call, to the last bit."""

import dataclasses
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import RMSprop
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ganvas.data import Dataset, load
from ganvas.ground.randomness import Draw, Held
from ganvas.models.gan import GAN
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.optimizers import OPTIMIZERS, SGD, Adam
from ganvas.parts.priors import Normal
from ganvas.parts.techniques import EMA, R1, TECHNIQUES
from ganvas.recipes import RECIPES, Facts, Recipe, Training, Turn
from ganvas.recipes.base import make
from ganvas.training import engine
from ganvas.training.game import Game, make_model
from ganvas.training.recorded import WARM, Recorded, Results

CPU = torch.device("cpu")
STEPS = WARM + 9


class Tape(TorchDispatchMode):
    """What a CUDA graph does, on a CPU: each operation that was called is called again, on the memory of then."""

    def warm(self, function: Callable[[], Results]) -> Results:
        return function()

    def record(self, function: Callable[[], Results]) -> tuple[Results, Callable[[], object]]:
        calls: list[tuple[Any, ...]] = []
        self.calls = calls
        with self:
            results = function()

        def again() -> None:
            for operation, args, kwargs, found in calls:
                for old, new in zip(found, tree_leaves(operation(*aliases(args), **aliases(kwargs))), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)

        return results, torch.no_grad()(again)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("the host asks for a number.")
        call = operation, aliases(args), aliases(kwargs or {})
        found = operation(*args, **(kwargs or {}))
        self.calls.append((*call, tree_leaves(aliases(found))))
        return found


def aliases(values: Any) -> Any:
    """The same memory by other tensors, whose shape nobody changes in place."""
    return tree_map_only(Tensor, torch.ops.aten.alias, values)


class Calls:
    """No recording: what is to be done again is called again."""

    def warm(self, function: Callable[[], Results]) -> Results:
        return function()

    def record(self, function: Callable[[], Results]) -> tuple[Results, Callable[[], object]]:
        results = function()

        def again() -> None:
            for name, tensor in function().items():
                results[name].copy_(tensor)

        return results, again


def played(recipe: Recipe, data: Dataset, recorder: Any, resident: bool = False) -> dict[str, Tensor]:
    """All that a game is after some steps, the last losses among it."""
    game = Game(make_model(recipe, data, CPU), recipe, data, engine.make_accelerator(CPU))
    if resident:
        batches = game.batches
        game.batches = type(batches)(data.splits["train"], batches.batch_size, batches.seed, resident=True)
    game.record(recorder)
    game.model.train()
    for optimizer in game.optimizers.values():  # as on a GPU; on a CPU torch would ask for the rate
        optimizer.param_groups[0]["capturable"] = isinstance(optimizer, RMSprop)
    for _ in range(STEPS):
        last = game.play()
    return {**game.state()[0], **{f"last/{name}": value.clone() for name, value in last.items()}}


@pytest.fixture(autouse=True)
def rmsprop_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[RMSprop.__module__], "_get_capturable_supported_devices", lambda: ["cpu"])


def assert_alike(recipe: Recipe, data: Dataset) -> None:
    called, taped = played(recipe, data, Calls()), played(recipe, data, Tape(), resident=True)
    assert called.keys() == taped.keys()
    for name, value in called.items():
        assert torch.equal(value, taped[name]), name


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def of(name: str, data: Dataset, **arguments: Any) -> Recipe:
    recipe = make(name, arguments, Facts.of(data))
    turns = {player: dataclasses.replace(turn, long=None) for player, turn in recipe.training.turns.items()}
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, batch_size=32, turns=turns))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe(name: str, digits: Dataset) -> None:
    deep = name in ("dcgan", "wgan")
    data = load("grid") if name == "clustered-gan" else load("digits", size=16) if deep else digits
    assert_alike(of(name, data, **({"filters": 8} if deep else {})), data)


@pytest.mark.parametrize(
    "arguments",
    [
        {"likelihood": "gaussian", "warmup": 7},
        {"net": "residual", "likelihood": "gaussian", "scale": "shared"},
        {"prior": "mixture"},
        {"prior": "flow"},
        {"optimizer": "adam", "free_bits": 0.1},
    ],
    ids=str,
)
def test_kinds_of_vae(arguments: dict[str, Any], digits: Dataset) -> None:
    assert_alike(of("vae", digits, **arguments), digits)


def test_layers_and_the_doubly_reparametrised_gradient(digits: Dataset) -> None:
    assert_alike(of("iwae", digits, layers=2, k=3), digits)
    assert_alike(of("iwae", digits, gradient="doubly", k=3), digits)


def game_of(technique: Any, optimizer: Any) -> Recipe:
    generator, discriminator = MLP(hidden=(12,), norm="batch"), MLP(hidden=(12,), norm="batch", dropout=0.2)
    model = GAN(latent_dim=3, prior=Normal(), generator=generator, discriminator=discriminator, techniques=technique)
    turns = {"discriminator": Turn(optimizer=optimizer, moves=2), "generator": Turn(optimizer=optimizer)}
    return Recipe(name="gan", model=model, training=Training(batch_size=16, turns=turns))


@pytest.mark.parametrize("name", sorted(TECHNIQUES))
def test_every_technique(name: str, digits: Dataset) -> None:
    assert_alike(game_of((TECHNIQUES[name](),), Adam()), digits)


def test_a_penalty_at_every_third_move(digits: Dataset) -> None:
    """Moves with it and without it are recorded apart."""
    assert_alike(game_of((R1(every=3), EMA()), Adam()), digits)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer(name: str, digits: Dataset) -> None:
    assert_alike(game_of((), OPTIMIZERS[name](lr=1e-3, decay=1.01, weight_decay=0.1)), digits)


def test_what_changes_beside_the_rate_is_not_recorded(digits: Dataset) -> None:
    recipe = game_of((), SGD(momentum=0.5, last_momentum=0.9))
    game = Game(make_model(recipe, digits, CPU), recipe, digits, engine.make_accelerator(CPU))
    game.record(Tape())
    for _ in range(WARM + 2):
        game.play()
    assert not game._recorded


def test_a_number_of_the_host_that_changes_would_be_seen() -> None:
    """The tape is a test that can fail: it keeps what was a number when it was recorded."""
    counted: list[int] = []

    def function(x: Tensor, draw: Draw) -> Results:
        counted.append(1)
        return {"sum": x.sum() * len(counted) + draw.normal("z", (2,)).sum()}

    taped = Recorded("it", function, Tape())
    found = [float(taped(torch.ones(3), draw=Draw(0, step))["sum"]) for step in range(8)]
    drawn = [float(Draw(0, step).normal("z", (2,)).sum()) for step in range(8)]
    assert found == pytest.approx([3 * min(step + 1, WARM + 1) + drawn[step] for step in range(8)], abs=1e-6)


def test_what_can_t_be_recorded_is_called_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def function(x: Tensor, draw: Draw) -> Results:
        return {"sum": x.sum() * float(x[0])}

    asked = Recorded("the move of the player 'vae'", function, Tape())
    with caplog.at_level(logging.WARNING, "ganvas"):
        found = [float(asked(torch.full((2,), float(i)), draw=Draw(0))["sum"]) for i in range(8)]
    assert found == [2 * i * i for i in range(8)]
    said = (
        "the move of the player 'vae' can't be recorded, and is launched kernel by kernel: the host asks for a number."
    )
    assert [record.message for record in caplog.records] == [said]


def test_held_draws_are_those_of_the_draw_and_stay_where_they_are() -> None:
    held = Held(Draw(1, 2, 3))

    def asked(draw: Draw) -> list[Tensor]:
        above = draw.above()
        return [draw.normal("z", (4, 2)), draw.uniform("z", (4, 2)), draw.order("rows", 9), above.normal("z", (4, 2))]

    first = asked(held)
    for position in ((2, 3), (5, 3)):
        held.renew(Draw(1, *position))
        for own, other, drawn in zip(first, asked(held), asked(Draw(1, *position)), strict=True):
            assert own.data_ptr() == other.data_ptr() and torch.equal(own, drawn)
