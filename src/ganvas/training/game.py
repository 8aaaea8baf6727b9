"""The game: players that move in turn, each on a batch and draws that are functions of the step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from ganvas.data import Dataset
from ganvas.data.loader import Batches
from ganvas.evaluate import average
from ganvas.ground import memory
from ganvas.ground.devices import has_fast_bfloat16
from ganvas.ground.errors import UserError
from ganvas.ground.randomness import Draw, key, reseed
from ganvas.models import Model
from ganvas.models.base import FAMILIES
from ganvas.parts.nets.layers import BatchNorm
from ganvas.recipes.base import Recipe
from ganvas.training import checkpoint, engine
from ganvas.training.recorded import CudaGraphs, Recorded, Recorder

VALIDATED = 100  # steps between two validations, at least, in a run of 20 epochs or more
FLUSH_STEPS = 100  # a moment that keeps 0.9 a step takes 173 from NEGLIGIBLE to the subnormal numbers
NEGLIGIBLE = 1e-30


class Game:
    """What moves in a run: model, optimisers, step, and the sums of the metrics since their last row.

    Args:
        model: whose players play, on its device.
        recipe: how.
        data: on what.
        accelerator: the processes that share each batch.

    Raises:
        UserError: the batch does not fit the data or the processes.
    """

    def __init__(self, model: Model, recipe: Recipe, data: Dataset, accelerator: Accelerator) -> None:
        self.model, self.recipe, self.data, self.accelerator = model, recipe, data, accelerator
        training = recipe.training
        memory.keep_freed()
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.batches = Batches(
            data.splits["train"],
            training.batch_size,
            training.seed,
            rank=self.rank,
            world=self.world,
            device=model.device,
        )
        if training.batch_size == self.world and any(isinstance(module, BatchNorm) for module in model.modules()):
            raise UserError(
                "batch norm compares the images of a batch, and here each is alone in its own (there "
                f"{'is' if len(data.splits['train']) == 1 else 'are'} {len(data.splits['train'])} to train on): "
                "give more images, or a larger --batch-size."
            )
        self.players, self.turns = model.players(), training.turns
        self.forwards = {name: accelerator.prepare_model(self.players[name]) for name in self.turns}
        self.optimizers = {name: turn.optimizer.make(self.players[name]) for name, turn in self.turns.items()}
        self.recorder: Recorder | None = None
        self._recorded: dict[tuple[object, ...], Recorded] = {}
        if model.device.type == "cuda" and self.world == 1:
            self.record(CudaGraphs(model.device))
        # The turn of most moves decides which batches a step sees.
        self.longest = max(self.turns.values(), key=lambda turn: (turn.moves, turn.long or 0))
        self.epoch_steps = max(1, len(self.batches) // self.longest.moves)
        self.steps = training.steps or self.epoch_steps * training.epochs
        # Epochs of a few steps are validated several at a time.
        self.every = max(1, min(-(-VALIDATED // self.epoch_steps), training.epochs // 20))
        self.log_every = min(training.log_every, self.epoch_steps)
        # With a row of metrics, whose means are over all its steps.
        self.begins = {
            name: self.log_every * math.ceil(turn.since * self.steps / self.log_every)
            for name, turn in self.turns.items()
        }
        self.bfloat16 = training.precision == "bfloat16" or (
            training.precision == "auto" and len(model.shape) == 3 and has_fast_bfloat16(model.device)
        )
        # On a GPU, looking at a loss would wait for it: there it is looked at with every row of metrics.
        self.synchronous = model.device.type == "cpu"
        self.step, self.seconds = 0, 0.0
        self.window: dict[str, Tensor] = {}
        self.best: float | None = None
        self.best_epoch = 0
        self.stopped = False  # by patience

    def share(self) -> float:
        """Of the learning rates at this step, by the schedule."""
        cosine = self.recipe.training.schedule == "cosine"
        return 0.5 * (1 + math.cos(math.pi * self.step / self.steps)) if cosine else 1.0

    def record(self, recorder: Recorder) -> None:
        """From its fourth on, replay the moves of each player of whom nothing but the rate changes."""
        self.recorder = recorder
        for name, turn in self.turns.items():
            if turn.optimizer.steady:
                rate_as_tensor(self.optimizers[name], self.model.device)

    def play(self) -> dict[str, Tensor]:
        """One step: every player's moves. Returns the parts of their losses, by player where there are several."""
        parts: dict[str, Tensor] = {}
        seed, share = self.recipe.training.seed, self.share()
        for place, (name, turn) in enumerate(self.turns.items()):
            if self.step < self.begins[name]:
                continue
            if len(self.players) > 1:
                for other, player in self.players.items():
                    player.requires_grad_(other == name)
            set_rate(self.optimizers[name], turn.optimizer.scheduled(share, self.step, self.step / self.epoch_steps))
            outcome: dict[str, Tensor] = {}
            for move in range(turn.moves_at(self.step)):
                draw = Draw(seed, self.step, place, move, rank=self.rank, world=self.world)
                # Dropout draws from torch's own generator: it too is made a function of the move.
                reseed(key(seed, "layers", self.step, place, move, self.rank), self.model.device)
                fetched = self.batches.fetched(self.longest.moves_before(self.step) + move)
                outcome = self._mover(name, self.step + move)(*fetched, draw=draw)
            if self.step % FLUSH_STEPS == 0:
                flush_subnormals(self.optimizers[name])
            prefix = f"{name}/" if len(self.turns) > 1 else ""
            parts |= {prefix + part: value for part, value in outcome.items()}
        self.step += 1
        parts = engine.mean(self.accelerator, parts)
        seen = [part for part in parts if part in self.window]
        if seen:
            torch._foreach_add_([self.window[part] for part in seen], [parts[part] for part in seen])
        self.window |= {part: value.clone() for part, value in parts.items() if part not in self.window}
        return parts

    def _mover(self, name: str, count: int) -> Callable[..., dict[str, Tensor]]:
        """`move` of a player, or what was recorded of moves that are alike."""
        move = partial(self.move, name)
        if self.recorder is None or not self.turns[name].optimizer.steady:
            return move
        alike = (name, self.model.phase(count))
        if alike not in self._recorded:
            self._recorded[alike] = Recorded(f"the move of the player {name!r}", move, self.recorder)
        return self._recorded[alike]

    def move(self, name: str, *fetched: Tensor, draw: Draw) -> dict[str, Tensor]:
        """A move of one player on a batch. Returns the parts of its loss."""
        batch = self.batches.made(*fetched)
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.bfloat16):
            outcome = self.forwards[name](batch, draw)
        self.accelerator.backward(outcome["loss"])
        self.optimizers[name].step()
        self.optimizers[name].zero_grad(set_to_none=True)
        self.model.moved(name)
        return {part: value.detach() for part, value in outcome.items()}

    def means(self) -> dict[str, float]:
        """The means of the parts since the last call."""
        means = {name: float(total) / self.log_every for name, total in self.window.items()}
        self.window = {}
        return means

    def state(self) -> tuple[dict[str, Tensor], checkpoint.Facts]:
        """All that `restore` needs."""
        tensors = {f"model/{name}": t for name, t in self.model.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for i, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{name}/{i}/{entry}": t for entry, t in state.items() if isinstance(t, Tensor)}
        tensors |= {f"window/{part}": value for part, value in self.window.items()}
        names = ("step", "seconds", "best", "best_epoch", "stopped")
        return tensors, checkpoint.Facts(**{name: getattr(self, name) for name in names})

    def progress(self) -> dict[str, Any]:
        """How far it came, the seconds that it took, of all its parts if it was interrupted, and the model's verbs."""
        seconds = round(self.seconds, 1)
        return {"step": self.step, "steps": self.steps, "seconds": seconds, "verbs": self.model.verbs()}

    def restore(self, tensors: dict[str, Tensor], facts: checkpoint.Facts) -> None:
        """Continue from what `state` gave.

        Raises:
            UserError: it is another game's, or not all of it is there.
        """
        for name, value in dataclasses.asdict(facts).items():
            setattr(self, name, value)
        self.model.load_state_dict(checkpoint.part(tensors, "model"))
        device = self.model.device
        self.window = {name: tensor.to(device) for name, tensor in checkpoint.part(tensors, "window").items()}
        for name, optimizer in self.optimizers.items():
            weights = list(self.players[name].parameters())
            state: dict[int, dict[str, Tensor]] = {}
            for place, tensor in checkpoint.part(tensors, f"optimizer/{name}").items():
                i, entry = place.split("/")
                if tensor.dim() and tensor.shape != weights[int(i)].shape:
                    raise UserError(f"{name}'s {entry} of {i} is {tuple(tensor.shape)}: it is another game's.")
                if tensor.dim():
                    # Fused optimisers walk over memory: a moment must lie there as its weight does.
                    tensor = torch.empty_like(weights[int(i)]).copy_(tensor)
                state.setdefault(int(i), {})[entry] = tensor
            if self.step > self.begins[name] and not state and self.turns[name].optimizer.moments:
                raise UserError(f"a checkpoint of step {self.step} has no moments of {name}'s optimiser.")
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def averages(self, split: str, model: Model | None = None) -> dict[str, float]:
        """The figures of a split, shared by all processes; of `model` or the game's own."""
        seed = self.recipe.training.seed
        figures = average(model or self.model, self.data.splits[split], seed, rank=self.rank, world=self.world)
        if self.world == 1 or not figures:
            return figures
        sums = self.accelerator.reduce(torch.tensor(list(figures.values()), device=self.model.device), "sum")
        return dict(zip(figures, sums.tolist(), strict=True))


def make_model(recipe: Recipe, dataset: Dataset, device: torch.device) -> Model:
    """The recipe's model with its first weights, which depend on the seed alone.

    Raises:
        UserError: it does not fit the data.
    """
    if recipe.data.labelled and dataset.splits["train"].labels is None:
        raise UserError(
            f"the recipe {recipe.name} needs labels and {dataset.source!r} has none: sort the images into a "
            "subfolder for each class, or give --labels FILE with lines file,label."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        model = FAMILIES[type(recipe.model)](recipe.model, dataset.shape)
        model.prepare(dataset, recipe.training.seed)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def rate_as_tensor(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Let an optimiser read its rate from memory, where it can change without another launch."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], device=device)
        group["capturable"] = device.type == "cuda"


def set_rate(optimizer: torch.optim.Optimizer, figures: dict[str, float]) -> None:
    """Set an optimiser's rate, and what else changes."""
    (group,) = optimizer.param_groups
    for name, value in figures.items():
        if isinstance(group[name], Tensor):
            group[name].fill_(value)
        else:
            group[name] = value


def flush_subnormals(optimizer: torch.optim.Optimizer) -> None:
    """Set moments below NEGLIGIBLE to 0.

    A unit that no longer gets a gradient has moments that decay into subnormal numbers and, by rounding, stay there:
    with these a processor computes many times slower.
    """
    for state in optimizer.state.values():
        for entry in state.values():
            if isinstance(entry, Tensor) and entry.dim():
                entry.copy_(F.hardshrink(entry, NEGLIGIBLE))
