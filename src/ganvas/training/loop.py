"""One loop plays every game: each player in turn, on a batch and draws that are functions of the step."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from ganvas import plots
from ganvas.data import Dataset
from ganvas.data.loader import Batches, to_tensor
from ganvas.devices import has_fast_bfloat16
from ganvas.errors import UserError
from ganvas.evaluate import average
from ganvas.files import writing
from ganvas.models import Model
from ganvas.muon import Muon
from ganvas.nets.layers import BatchNorm
from ganvas.randomness import Draw, key
from ganvas.recipe import Optimizer, Recipe
from ganvas.training import checkpoint, engine, peers
from ganvas.training.run import Run
from ganvas.training.watch import DIVERGED, Watch

CHECKPOINT_SECONDS = 30.0
VALIDATED = 100  # steps between two validations, at least, in a run of 20 epochs or more
TIDY_STEPS = 100  # a moment that keeps 0.9 a step takes 173 from NEGLIGIBLE to the subnormal numbers
NEGLIGIBLE = 1e-30
HUP = getattr(signal, "SIGHUP", signal.SIGTERM)
STOPS = (signal.SIGINT, signal.SIGTERM, HUP)  # Ctrl-C, a scheduler's end, a terminal that is closed
Report = Callable[[int, int, dict[str, float]], None]


def make_optimizer(config: Optimizer, player: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that a turn asks for, fused where the device has it."""
    fused = next(player.parameters()).device.type in ("cpu", "cuda")
    if config.name == "adam":
        return torch.optim.Adam(player.parameters(), config.lr, betas=config.betas, eps=config.eps, fused=fused)
    if config.name == "muon":
        return Muon(player.parameters(), config.lr, betas=config.betas, eps=config.eps, fused=fused)
    if config.name == "rmsprop":
        return torch.optim.RMSprop(player.parameters(), config.lr, foreach=True)
    return torch.optim.SGD(player.parameters(), config.lr, momentum=config.momentum, fused=fused)


def tidy(optimizer: torch.optim.Optimizer) -> None:
    """Set moments below NEGLIGIBLE to 0.

    A unit that no longer gets a gradient has moments that decay into subnormal numbers and, by rounding, stay there:
    with these a processor reckons many times slower.
    """
    for state in optimizer.state.values():
        for entry in state.values():
            if isinstance(entry, Tensor) and entry.dim():
                entry.copy_(F.hardshrink(entry, NEGLIGIBLE))


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
        self.optimizers = {
            name: make_optimizer(turn.optimizer, self.players[name]) for name, turn in self.turns.items()
        }
        # The turn of most moves decides which batches a step sees.
        self.longest = max(self.turns.values(), key=lambda turn: (turn.moves, turn.long or 0))
        self.moves = self.longest.moves
        self.epoch_steps = max(1, len(self.batches) // self.moves)
        self.steps = training.steps or self.epoch_steps * training.epochs
        # Epochs of a few steps are validated several at a time.
        self.every = max(1, min(-(-VALIDATED // self.epoch_steps), training.epochs // 20))
        self.log_every = min(training.log_every, self.epoch_steps)
        self.bfloat16 = training.precision == "bfloat16" or (
            training.precision == "auto" and len(model.shape) == 3 and has_fast_bfloat16(model.device)
        )
        self.step, self.seconds = 0, 0.0
        self.window: dict[str, Tensor] = {}
        self.best: float | None = None
        self.best_epoch = 0
        self.stopped = False  # by patience

    def pace(self, config: Optimizer) -> dict[str, float]:
        """What an optimiser's schedule makes of its rate and momentum at this step."""
        rate = config.lr
        if self.recipe.training.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        if config.decay > 1:
            rate = max(rate * config.decay**-self.step, min(rate, 1e-6))
        if config.name != "sgd":
            return {"lr": rate}
        rise = min(1.0, self.step / self.epoch_steps / config.momentum_epochs)
        last = config.momentum if config.last_momentum is None else config.last_momentum
        return {"lr": rate, "momentum": config.momentum + rise * (last - config.momentum)}

    def play(self) -> dict[str, Tensor]:
        """One step: every player's moves. Returns the parts of their losses, by player where there are several."""
        parts: dict[str, Tensor] = {}
        seed = self.recipe.training.seed
        for place, (name, turn) in enumerate(self.turns.items()):
            if len(self.players) > 1:
                for other, player in self.players.items():
                    player.requires_grad_(other == name)
            optimizer = self.optimizers[name]
            optimizer.param_groups[0].update(self.pace(turn.optimizer))
            for move in range(turn.moves_at(self.step)):
                images = self.batches[self.longest.moves_before(self.step) + move]
                draw = Draw(seed, self.step, place, move, rank=self.rank, world=self.world)
                # Dropout draws from torch's own generator: it too is made a function of the move.
                torch.manual_seed(key(seed, "layers", self.step, place, move, self.rank))
                with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bfloat16):
                    outcome = self.forwards[name](images, draw)
                self.accelerator.backward(outcome["loss"])
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                self.model.moved(name)
            if self.step % TIDY_STEPS == 0:
                tidy(optimizer)
            prefix = f"{name}/" if len(self.turns) > 1 else ""
            parts |= {prefix + part: value.detach() for part, value in outcome.items()}
        self.step += 1
        parts = engine.mean(self.accelerator, parts)
        for part, value in parts.items():
            self.window[part] = self.window[part] + value if part in self.window else value.clone()
        return parts

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

    def progress(self) -> dict[str, float]:
        """How far it came, and the seconds that it took, over all its parts if it was interrupted."""
        return {"step": self.step, "steps": self.steps, "seconds": round(self.seconds, 1)}

    def restore(self, tensors: dict[str, Tensor], facts: checkpoint.Facts) -> None:
        """Continue from what `state` gave.

        Raises:
            UserError: it is another game's, or not all of it is there.
        """
        for name, value in dataclasses.asdict(facts).items():
            setattr(self, name, value)
        self.model.load_state_dict({n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")})
        device = self.model.device
        self.window = {n.removeprefix("window/"): t.to(device) for n, t in tensors.items() if n.startswith("window/")}
        for name, optimizer in self.optimizers.items():
            weights = list(self.players[name].parameters())
            state: dict[int, dict[str, Tensor]] = {}
            for place, tensor in tensors.items():
                if place.startswith(f"optimizer/{name}/"):
                    _, _, i, entry = place.split("/")
                    if tensor.dim() and tensor.shape != weights[int(i)].shape:
                        raise UserError(f"{place} is {tuple(tensor.shape)}: it is another game's.")
                    if tensor.dim():
                        # Fused optimisers walk over memory: a moment must lie there as its weight does.
                        tensor = torch.empty_like(weights[int(i)]).copy_(tensor)
                    state.setdefault(int(i), {})[entry] = tensor
            config = self.turns[name].optimizer
            if self.step and not state and (config.name != "sgd" or config.momentum):
                raise UserError(f"a checkpoint of step {self.step} has no moments of {name}'s optimiser.")
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def pictures(game: Game, run: Run, epoch: int, model: Model | None = None) -> dict[str, NDArray[np.uint8]]:
    """Sample and reconstruction grids of an epoch, always from the same z and images; of `model` or the game's own.

    They are saved, and returned by the name of their folder, uint8 (H, W, C).
    """
    model, drawn = model or game.model, {}
    if hasattr(type(model), "sample"):
        drawn["samples"] = plots.grid(model.sample(100 if len(model.shape) == 3 else 2500))
    if hasattr(type(model), "reconstruct") and len(model.shape) == 3:
        images = to_tensor(game.data.splits["validation"].images[:30], model.device)
        seen = [images]
        if hasattr(type(model), "denoise"):
            seen.append(model.corrupt(images, Draw(0)))
        seen.append(model.reconstruct(seen[-1]))
        drawn["reconstructions"] = plots.rows(*seen)
    for name, picture in drawn.items():
        plots.save(picture, run.folder(name) / f"epoch-{epoch:04d}.png")
    return drawn


@contextmanager
def stop_on_interrupt() -> Iterator[list[float]]:
    """Collect the first of STOPS instead of raising it; another one, a second later, raises at once.

    A closed terminal that is ignored, as under nohup, stays so.
    """
    asked: list[float] = []

    def ask(number: int, _: Any) -> None:
        # A launcher passes on the Ctrl-C that the terminal has sent already: that is not a second one.
        if asked and time.monotonic() - asked[0] > 1:
            raise KeyboardInterrupt
        asked.append(time.monotonic())

    try:
        wanted = [number for number in STOPS if number != HUP or signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, ask) for number in wanted}
    except ValueError:  # not in the main thread: Ctrl-C does not come here
        before = {}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Log:
    """metrics.jsonl and, if asked, TensorBoard's event files; silent in all processes but the main one."""

    def __init__(self, run: Run, step: int, tensorboard: bool, main: bool) -> None:
        self.path = run.path / "metrics.jsonl"
        # Without a buffer: what could not be written would be tried again at the end.
        self.file = self.path.open("ab", buffering=0) if main else None
        self.board: Any = None
        if tensorboard and main:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(run.path / "tensorboard"), purge_step=step)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.close()
        if self.board:
            self.board.close()

    def write(self, split: str, step: int, epoch: float, figures: dict[str, float]) -> None:
        """Add a row.

        Raises:
            WriteError: there is no room for it.
        """
        if self.file:
            row = json.dumps({"step": step, "epoch": epoch, "split": split, **figures}).encode() + b"\n"
            with writing(self.path):
                if self.file.write(row) < len(row):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.board:
            for name, value in figures.items():
                self.board.add_scalar(f"{split}/{name}", value, step)

    def show(self, step: int, pictures: dict[str, NDArray[np.uint8]]) -> None:
        """Give TensorBoard pictures, uint8 (H, W, C), by name."""
        for name, picture in pictures.items() if self.board else ():
            self.board.add_image(name, picture[..., :3], step, dataformats="HWC")


def save(game: Game, run: Run) -> None:
    """Write a checkpoint; refused where a weight is not finite."""
    tensors, facts = game.state()
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point()):
        raise UserError(f"{DIVERGED}a weight is no longer finite at step {game.step}{_last_good(run)}.")
    if game.accelerator.is_main_process:
        checkpoint.save(run.folder("checkpoints"), tensors, facts)


def check(parts: dict[str, Tensor], game: Game, run: Run) -> None:
    """Stop at once where a part is not finite.

    Raises:
        UserError: with the step, the part and the last good checkpoint.
    """
    if bool(torch.isfinite(torch.stack(list(parts.values()))).all()):
        return
    bad = next(name for name, value in parts.items() if not bool(torch.isfinite(value)))
    when = f"at step {game.step}"
    if game.model.device.type != "cpu":
        when = f"in the {game.log_every} steps before {game.step}"
    raise UserError(
        f"{DIVERGED}{bad} became {float(parts[bad]):g} {when}{_last_good(run)}. The usual remedy is a smaller --lr"
        + (" or --precision float32." if game.bfloat16 else ".")
    )


def _last_good(run: Run) -> str:
    path = run.checkpoint
    return f"; the last good checkpoint is {path}" if path else "; there is no checkpoint before it"


def play(game: Game, run: Run, report: Report, *, tensorboard: bool = False) -> str:
    """Play to the end.

    Args:
        game: new or restored.
        run: where it is written down.
        report: called in the main process with (step, steps, figures) at each row of metrics.
        tensorboard: write event files too.

    Returns:
        "finished" or "interrupted".
    """
    training, accelerator = game.recipe.training, game.accelerator
    main = accelerator.is_main_process
    game.model.train()
    # On a GPU, looking at a loss would wait for it: there it is looked at with every row of metrics.
    synchronous = game.model.device.type == "cpu"
    saved = time.monotonic()
    start = saved - game.seconds
    seconds, steps = 0.0, 0  # spent on steps since the last row, without validation and pictures
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        log = stack.enter_context(Log(run, game.step, tensorboard, main))
        asked = stack.enter_context(stop_on_interrupt())
        watch = Watch(game, run, log.write)
        while game.step < game.steps and not game.stopped:
            began = time.monotonic()
            peers.at(game.step)
            parts = game.play()
            row = game.step % game.log_every == 0
            epoch, rest = divmod(game.step, game.epoch_steps)
            if synchronous or row:
                check(parts, game, run)
            means = game.means() if row else {}
            seconds, steps = seconds + time.monotonic() - began, steps + 1
            if row:
                moves = game.longest.moves_before(game.step) - game.longest.moves_before(game.step - steps)
                speed = moves * training.batch_size / seconds
                seconds, steps = 0.0, 0
                log.write(
                    "train", game.step, game.step / game.epoch_steps, {**means, "images_per_second": round(speed, 1)}
                )
                if main:
                    report(game.step, game.steps, {**means, "images/s": speed})
            n = training.snapshots or 0
            if main and game.step * n // game.steps > (game.step - 1) * n // game.steps:
                game.model.save(run.folder("snapshots") / f"step-{game.step:09d}")
            if (rest == 0 and epoch % game.every == 0) or game.step == game.steps:
                if figures := validate(game):
                    with game.model.calibrated(figures) as figures:
                        log.write("validation", game.step, epoch, figures)
                        if "loss" in figures and (game.best is None or figures["loss"] < game.best):
                            game.best, game.best_epoch = figures["loss"], epoch
                            if main:
                                game.model.save(run.folder("checkpoints") / "best")
                if main:
                    log.show(game.step, pictures(game, run, epoch))
                if "loss" in figures and training.patience and epoch - game.best_epoch >= training.patience:
                    game.stopped = True
                    break
            now, stop = time.monotonic(), bool(asked)
            game.seconds = now - start
            due, look = now - saved > CHECKPOINT_SECONDS, watch.due()
            if game.world > 1 and (synchronous or row):
                # All processes stop, save and look at one step.
                flags = torch.tensor([stop, due, look and main], dtype=torch.float32, device=game.model.device)
                stop, due, look = (bool(flag) for flag in accelerator.reduce(flags, "sum"))
            elif game.world > 1:
                stop = due = look = False
            if look:
                watch.look()
            if stop or due:
                save(game, run)
                saved = now
                if main:
                    run.note(state="interrupted" if stop else "running", **game.progress())
            if stop:
                return "interrupted"
    save(game, run)
    return "finished"


def validate(game: Game, split: str = "validation", model: Model | None = None) -> dict[str, float]:
    """The averages of a split, shared by all processes; of `model` or the game's own."""
    seed, rank, world = game.recipe.training.seed, game.rank, game.world
    figures = average(model or game.model, game.data.splits[split], seed, rank=rank, world=world)
    if world == 1 or not figures:
        return figures
    sums = game.accelerator.reduce(torch.tensor(list(figures.values()), device=game.model.device), "sum")
    return dict(zip(figures, sums.tolist(), strict=True))
