"""The loop, a step at a time: batches, optimisers and their schedules, checkpoints, and processes that share a batch.

`torchrun tests/training/test_loop.py FILE` plays the games of the last test in several processes.
"""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.data import Dataset, load
from ganvas.data.loader import Batch, to_tensor
from ganvas.ground.registry import kind
from ganvas.models.gan import GAN
from ganvas.parts.nets.dcgan import DCGAN
from ganvas.parts.nets.mlp import MLP
from ganvas.parts.optimizers import SGD, Adam, Optimizer, RMSprop
from ganvas.parts.techniques import (
    EMA,
    Augment,
    Clip,
    FeatureMatching,
    GradientPenalty,
    HistoricalAveraging,
    LabelSmoothing,
    MinibatchDiscrimination,
    SpectralNorm,
    VirtualBatchNorm,
)
from ganvas.recipes import RECIPES, Facts, Recipe, Training, Turn
from ganvas.training import checkpoint, engine, loop
from ganvas.training.game import Game, make_model
from ganvas.training.log import Log

CPU = torch.device("cpu")
SMALL = MLP(hidden=(12,), norm="batch")
RISING = SGD(lr=0.1, momentum=0.2, last_momentum=0.8, momentum_epochs=2, decay=1.05)
RMSPROP = RMSprop(lr=1e-3)
ADAM = Adam(lr=1e-3, betas=(0.5, 0.9))


def images(n: int = 200, side: int = 8) -> np.ndarray:
    """The first two pixels of image i say i."""
    x = np.random.default_rng(0).integers(0, 256, (n, side, side), dtype=np.uint8)
    x[:, 0, 0], x[:, 0, 1] = np.divmod(np.arange(n), 256)
    return x


def numbers(images: Tensor) -> list[int]:
    first = (images[:, 0, 0, :2] * 255).round().int()
    return (256 * first[:, 0] + first[:, 1]).tolist()


def recipe(*techniques: Any, optimizer: Optimizer = ADAM, critic: Turn | None = None, **settings: Any) -> Recipe:
    settings = {"generator": SMALL, "discriminator": MLP(hidden=(12,)), **settings}
    training = {name: settings.pop(name) for name in ("schedule", "epochs", "batch_size") if name in settings}
    turns = {"discriminator": critic or Turn(optimizer=optimizer), "generator": Turn(optimizer=optimizer)}
    model = GAN(latent_dim=3, techniques=techniques, **settings)
    made = Training(turns=turns, **{"batch_size": 16, "precision": "float32", "device": "cpu", **training})
    return Recipe(name="gan", model=model, training=made)


def new_game(made: Recipe, data: Dataset | None = None) -> Game:
    data = data or load(images())
    return Game(make_model(made, data, CPU), made, data, engine.make_accelerator(CPU))


def pace(turn: Turn) -> str:
    return f"{turn.moves}-{turn.long}"


def watch(game: Game) -> dict[str, list[tuple[int, list[int], tuple[int, ...]]]]:
    """By player: at each move its step, its images' numbers and the place of its draw."""
    seen: dict[str, list[Any]] = {name: [] for name in game.turns}

    def watched(name: str, player: Any) -> Any:
        def forward(batch: Batch, draw: Any) -> Any:
            seen[name].append((game.step, numbers(batch.images), draw.position))
            return player(batch, draw)

        return forward

    for name, player in game.forwards.items():
        game.forwards[name] = watched(name, player)
    return seen


# ---- batches and turns ----


def test_a_player_that_moves_later_has_whole_rows_of_metrics(tmp_path: Path) -> None:
    """From the first row of the last 40 % on: of 60 steps, in rows of 10, from step 30 on."""
    made = recipe(epochs=20, batch_size=16)
    turns = made.training.turns | {"generator": Turn(optimizer=ADAM, since=0.45)}
    training = dataclasses.replace(made.training, turns=turns, steps=60, log_every=10)
    data = load(images())
    game = new_game(dataclasses.replace(made, training=training), data)
    assert game.begins == {"discriminator": 0, "generator": -(-27 // game.log_every) * game.log_every}
    before = [value.detach().clone() for value in game.model.generator.parameters()]
    seen = watch(game)
    while game.step < game.steps:
        parts = game.play()
        assert ("generator/loss" in parts) == (game.step > game.begins["generator"])
        if game.step % game.log_every == 0:
            means = game.means()
            assert ("generator/loss" in means) == (game.step > game.begins["generator"])
        if game.step <= game.begins["generator"]:
            assert all(map(torch.equal, game.model.generator.parameters(), before))
    assert [step for step, *_ in seen["generator"]] == list(range(game.begins["generator"], 60))


@pytest.mark.parametrize("turn", [Turn(moves=3), Turn(moves=3, long=7), Turn(moves=1, long=4)], ids=pace)
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_every_move_of_the_longest_turn_has_a_fresh_batch(turn: Turn, player: str) -> None:
    """An epoch's batches hold each image once; none is seen again before all were, and none is left out."""
    made = recipe(batch_size=12)
    made = dataclasses.replace(
        made, training=dataclasses.replace(made.training, turns=made.training.turns | {player: turn})
    )
    game = new_game(made)
    seen = watch(game)
    for _ in range(30):
        game.play()
    batches = [batch for _, batch, _ in seen[player]]
    assert len(batches) == turn.moves_before(30)
    everything, whole = set(itertools.chain(*batches)), len(game.batches)
    assert whole * 12 <= len(game.data.splits["train"]) < (whole + 1) * 12
    for first in range(0, len(batches) - whole + 1, whole):
        epoch = list(itertools.chain(*batches[first : first + whole]))
        assert len(epoch) == len(set(epoch)) == whole * 12
    assert everything == set(numbers(to_tensor(game.data.splits["train"].images)))


@pytest.mark.parametrize("turn", [Turn(moves=4), Turn(moves=2, long=6)], ids=pace)
def test_the_critic_moves_as_often_as_asked_before_each_move_of_the_generator(turn: Turn) -> None:
    game = new_game(recipe(critic=turn))
    seen, moved = watch(game), []
    game.model.moved = lambda player: moved.append((player, len(seen[player])))
    for step in range(28):
        weights = [p.detach().clone() for p in game.players["generator"].parameters()]
        game.play()
        assert [s for s, _, _ in seen["discriminator"]].count(step) == turn.moves_at(step)
        assert [s for s, _, _ in seen["generator"]].count(step) == 1
        pairs = zip(weights, game.players["generator"].parameters(), strict=True)
        assert any(not torch.equal(before, p) for before, p in pairs)
    assert moved == [(p, n + 1) for s in range(28) for p in seen for n, move in enumerate(seen[p]) if move[0] == s]
    places = [place for moves in seen.values() for _, _, place in moves]
    assert len(places) == len(set(places)), "every move has its own draws"


def test_layers_that_draw_do_so_anew_at_each_move_and_alike_in_each_run() -> None:
    """Dropout takes from torch's generator, which every move seeds."""
    made = recipe(critic=Turn(optimizer=ADAM, moves=2), discriminator=MLP(hidden=(50,), dropout=0.5))
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        game, numbers_ = new_game(made), []
        for name, forward in list(game.forwards.items()):
            game.forwards[name] = lambda x, draw, f=forward, n=numbers_: (n.append(torch.rand(4).tolist()), f(x, draw))[
                1
            ]
        for _ in range(3):
            game.play()
        drawn.append(numbers_)
    assert drawn[0] == drawn[1] and len({tuple(row) for row in drawn[0]}) == 9


def test_speed_counts_the_images_of_long_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that ticks at each look, a step takes a second."""
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    made = recipe(critic=Turn(optimizer=ADAM, moves=2, long=5), epochs=10)
    game, run = new_game(made), ganvas.training.run.create(tmp_path / "run", made, {})
    with Log(run, 0, (), main=True) as log:
        loop.play(game, run, lambda *_: None, log)
    speeds = {row["step"]: row["images_per_second"] for row in run.metrics if row["split"] == "train"}
    assert game.epoch_steps == 5 and speeds[5] == speeds[25] == 5 * 16 and speeds[30] == speeds[50] == 2 * 16


# ---- optimisers ----


def by_hand(
    config: Optimizer, start: np.ndarray, gradients: list[np.ndarray], rates: list[float], m: list[float]
) -> Any:
    """The weights after each gradient, in float64."""
    w, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for t, g in enumerate(gradients):
        if kind(type(config)) != "adam":
            g = g + config.weight_decay * w
        if kind(type(config)) == "sgd":
            first = m[t] * first + g if t else g
            w = w - rates[t] * first
        elif kind(type(config)) == "rmsprop":
            second = 0.99 * second + 0.01 * g**2
            w = w - rates[t] * g / (np.sqrt(second) + 1e-8)
        else:
            a, b = config.betas
            w = w * (1 - rates[t] * config.weight_decay)
            first, second = a * first + (1 - a) * g, b * second + (1 - b) * g**2
            w = w - rates[t] * first / (1 - a ** (t + 1)) / (np.sqrt(second / (1 - b ** (t + 1))) + 1e-8)
        yield w


PLAIN = [RISING, RMSPROP, dataclasses.replace(RMSPROP, decay=1.5), ADAM]


@pytest.mark.parametrize("config", [*PLAIN, *(dataclasses.replace(one, weight_decay=0.3) for one in PLAIN)], ids=repr)
def test_optimisers_by_their_recursions(config: Optimizer) -> None:
    """Weights of the discriminator over 8 steps, from the gradients that it had."""
    game = new_game(recipe(optimizer=config, batch_size=32))
    weights = list(game.players["discriminator"].parameters())
    backward, gradients, after = game.accelerator.backward, [], []
    start = np.concatenate([p.detach().double().numpy().ravel() for p in weights])

    def recorded(loss: Tensor) -> None:
        backward(loss)
        if weights[0].grad is not None:
            gradients.append(np.concatenate([p.grad.double().numpy().ravel() for p in weights]))

    game.accelerator.backward = recorded
    for _ in range(8):
        game.play()
        after.append(np.concatenate([p.detach().double().numpy().ravel() for p in weights]))
    rates = [config.lr / config.decay**step for step in range(8)]
    momenta = [0.2 + min(1, step / (2 * game.epoch_steps)) * 0.6 for step in range(8)]
    for ours, theirs in zip(after, by_hand(config, start, gradients, rates, momenta), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_moments_without_a_gradient_do_not_stay_subnormal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pixel that is always black gives its weights no gradient; no weight is another for that."""
    dark = images()
    dark[:, 3] = 0
    smallest = torch.finfo(torch.float32).tiny

    def moments() -> tuple[Tensor, list[Tensor]]:
        """Of the weights of that row of pixels, and all weights, after 101 steps."""
        data = load(dark)
        game = new_game(RECIPES["vae"](hidden=(12,), facts=Facts.of(data)), data)
        game.play()
        (optimizer,) = game.optimizers.values()
        moment = optimizer.state[game.model.get_parameter("encoder.1.weight")]["exp_avg"]
        moment[:, 24:32] = 1e-36
        for _ in range(100):
            game.play()
        return moment[:, 24:32].abs(), [p.detach().clone() for p in game.model.parameters()]

    moment, weights = moments()
    assert (moment == 0).all()
    monkeypatch.setattr("ganvas.training.game.flush_subnormals", lambda optimizer: None)
    moment, same = moments()
    assert ((moment > 0) & (moment < smallest)).all()
    assert all(map(torch.equal, weights, same))


@pytest.mark.parametrize(
    ("config", "step", "expected"),
    [
        (Adam(lr=0.5), 1000, {"lr": 0.5}),
        (Adam(lr=0.1, decay=1.000004), 100_000, {"lr": 0.0670320}),
        (Adam(lr=0.4, rise=200), 0, {"lr": 0.002}),
        (Adam(lr=0.4, rise=200), 49, {"lr": 0.1}),
        (Adam(lr=0.4, rise=200), 300, {"lr": 0.4}),
        (RMSprop(lr=0.1, decay=2.0), 10_000, {"lr": 1e-6}),
        (Adam(lr=1e-7, decay=2.0), 10_000, {"lr": 1e-7}),
        (SGD(lr=0.1), 1000, {"lr": 0.1, "momentum": 0.5}),
        (SGD(lr=0.1, last_momentum=0.7), 0, {"lr": 0.1, "momentum": 0.5}),
        (SGD(lr=0.1, last_momentum=0.7), 125 * 10, {"lr": 0.1, "momentum": 0.6}),
        (SGD(lr=0.1, last_momentum=0.7), 300 * 10, {"lr": 0.1, "momentum": 0.7}),
    ],
)
def test_rate_and_momentum_of_a_step(config: Optimizer, step: int, expected: dict[str, float]) -> None:
    """Goodfellow et al. 2014, code: 0.1 over 1.000004 to the step, not under 1e-6; momentum to 0.7 by epoch 250."""
    assert config.scheduled(1.0, step, step / 10) == pytest.approx(expected, rel=1e-5)


def test_a_cosine_and_a_decay_multiply() -> None:
    halfway = new_game(recipe(schedule="cosine"))
    halfway.step = halfway.steps // 2
    rate = Adam(lr=1.0, decay=1.001).scheduled(halfway.share(), halfway.step, 0.0)
    assert rate["lr"] == pytest.approx(0.5 * 1.001**-halfway.step)


# ---- checkpoints ----

GAMES = {
    "paper": dataclasses.replace(
        RECIPES["gan"](paper=True),
        training=dataclasses.replace(
            RECIPES["gan"](paper=True).training, batch_size=16, epochs=20, device="cpu", precision="float32"
        ),
    ),
    "clip": recipe(Clip(), loss="wasserstein", critic=Turn(optimizer=RMSPROP, moves=2, long=4), optimizer=RMSPROP),
    "penalty": recipe(GradientPenalty(), EMA(decay=0.9), loss="wasserstein", critic=Turn(optimizer=ADAM, moves=3)),
    "everything": recipe(
        EMA(decay=0.9),
        HistoricalAveraging(),
        SpectralNorm(),
        VirtualBatchNorm(size=8),
        MinibatchDiscrimination(kernels=5),
        FeatureMatching(),
        LabelSmoothing(),
        Augment(),
        optimizer=RISING,
        generator=DCGAN(filters=2),
        discriminator=DCGAN(filters=2),
        output="tanh",
    ),
}


@pytest.mark.parametrize("name", GAMES)
def test_a_game_goes_on_from_its_checkpoint_bit_for_bit(name: str, tmp_path: Path) -> None:
    whole, broken = new_game(GAMES[name]), new_game(GAMES[name])
    for _ in range(7):
        whole.play()
    for _ in range(3):
        broken.play()
    path = checkpoint.save(tmp_path, *broken.state())
    torch.manual_seed(1)
    again = new_game(GAMES[name])
    torch.rand(11)
    again.restore(*checkpoint.load(path))
    for _ in range(4):
        again.play()
    (tensors, facts), (expected, expected_facts) = again.state(), whole.state()
    assert facts == expected_facts and tensors.keys() == expected.keys()
    assert [key for key in tensors if not torch.equal(tensors[key], expected[key])] == []
    assert torch.equal(again.model.sample(6), whole.model.sample(6))
    kept = {key.split("/")[1] for key in tensors if key.startswith("optimizer/")}
    assert kept == {"discriminator", "generator"} and any(key.startswith("window/") for key in tensors)


# ---- several processes ----

# A little gradient descent leaves rounding as small as it is; Adam divides small gradients by small moments.
SLOW = SGD(lr=0.01)
SHARED = {
    "clip": GAMES["clip"],
    "penalty": recipe(GradientPenalty(), EMA(decay=0.9), loss="wasserstein", optimizer=SLOW),
    "batch": recipe(FeatureMatching(), MinibatchDiscrimination(), HistoricalAveraging(), loss="hinge", optimizer=SLOW),
    "layers": recipe(VirtualBatchNorm(size=8), SpectralNorm(), Augment(), EMA(decay=0.9), optimizer=SLOW),
}


def figures() -> dict[str, Any]:
    """The costs of the first steps of each game, and samples at the end."""
    found = {}
    for name, made in SHARED.items():
        game = new_game(made)
        costs = [{part: float(value) for part, value in game.play().items()} for _ in range(4)]
        found[name] = {"costs": costs, "samples": game.model.sample(4).flatten().tolist()}
    return found


def test_two_processes_lose_what_one_loses(tmp_path: Path) -> None:
    """Penalties, averages and clipping as well, and what compares the images of a batch."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__, str(tmp_path / "two")]
    done = subprocess.run([sys.executable, *launch], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    two, one = json.loads((tmp_path / "two").read_text()), figures()
    for name in SHARED:
        for a, b in zip(two[name]["costs"], one[name]["costs"], strict=True):
            assert a == pytest.approx(b, rel=1e-4, abs=1e-6), name
        np.testing.assert_allclose(two[name]["samples"], one[name]["samples"], rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    text, processes = json.dumps(figures()), engine.make_accelerator(CPU)
    if processes.is_main_process:
        Path(sys.argv[1]).write_text(text)
    processes.wait_for_everyone()
    torch.distributed.destroy_process_group()
    os._exit(0)  # once in many times a thread of the group that still ends aborts the interpreter's exit
