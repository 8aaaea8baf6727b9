"""One loop plays every game: each player in turn, on a batch and draws that are functions of the step."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ganvas import plots
from ganvas.data import Dataset
from ganvas.data.loader import Batches, to_tensor
from ganvas.errors import UserError
from ganvas.files import replace
from ganvas.models import Model
from ganvas.randomness import Draw
from ganvas.recipe import Optimizer, Recipe
from ganvas.training.run import Run

CHECKPOINT_SECONDS = 30.0


def make_optimizer(config: Optimizer, player: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that a turn asks for, fused where the device has it."""
    fused = next(player.parameters()).device.type in ("cpu", "cuda")
    if config.name == "adam":
        return torch.optim.Adam(player.parameters(), config.lr, betas=config.betas, fused=fused)
    return torch.optim.SGD(player.parameters(), config.lr, momentum=config.momentum, fused=fused)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    cpuinfo = Path("/proc/cpuinfo")
    return device.type == "cpu" and cpuinfo.exists() and "amx_bf16" in cpuinfo.read_text()


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto": the first GPU, else the CPU.

    Raises:
        UserError: there is none such here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"--device {name} can't be used here: {str(error).splitlines()[0]} Take --device cpu."
        ) from error
    return device


class Game:
    """A run's moving state: model, optimisers, step, and what they were measured at.

    Args:
        model: whose players play.
        recipe: how.
        data: on what.
        run: where it is written down.
    """

    def __init__(self, model: Model, recipe: Recipe, data: Dataset, run: Run) -> None:
        self.model, self.recipe, self.data, self.run = model, recipe, data, run
        training = recipe.training
        self.players, self.turns = model.players(), training.turns
        self.optimizers = {
            name: make_optimizer(turn.optimizer, self.players[name]) for name, turn in self.turns.items()
        }
        self.batches = Batches(data.splits["train"], training.batch_size, training.seed, device=model.device)
        self.moves = max(turn.moves for turn in self.turns.values())
        self.epoch_steps = max(1, len(self.batches) // self.moves)
        self.steps = self.epoch_steps * training.epochs
        bfloat16 = training.precision == "bfloat16" or (
            training.precision == "auto" and has_fast_bfloat16(model.device)
        )
        self.dtype = torch.bfloat16 if bfloat16 else torch.float32
        self.step = 0
        self.window: dict[str, Tensor] = {}
        self.best: float | None = None
        self.best_epoch = 0

    def learning_rate(self, base: float) -> float:
        """The rate of this step."""
        if self.recipe.training.schedule == "cosine":
            return base * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        return base

    def play(self) -> dict[str, Tensor]:
        """One step: every player's moves. Returns the parts of their losses, by player where there are several."""
        parts: dict[str, Tensor] = {}
        for place, (name, turn) in enumerate(self.turns.items()):
            for other, player in self.players.items():
                player.requires_grad_(other == name)
            optimizer = self.optimizers[name]
            optimizer.param_groups[0]["lr"] = self.learning_rate(turn.optimizer.lr)
            for move in range(turn.moves):
                images = self.batches[self.step * self.moves + move]
                draw = Draw(self.recipe.training.seed, self.step, place, move)
                with torch.autocast(images.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
                    outcome = self.players[name](images, draw)
                outcome["loss"].backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            prefix = f"{name}/" if len(self.turns) > 1 else ""
            parts |= {prefix + part: value.detach() for part, value in outcome.items()}
        self.step += 1
        for part, value in parts.items():
            self.window[part] = self.window[part] + value if part in self.window else value.clone()
        return parts

    def save(self) -> Path:
        """Write a checkpoint, drop all but the newest two; refused where a weight is not finite."""
        tensors = {f"model/{name}": t for name, t in self.model.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for i, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{name}/{i}/{key}": t for key, t in state.items() if isinstance(t, Tensor)}
        tensors |= {f"window/{part}": value for part, value in self.window.items()}
        if not all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point()):
            raise UserError(f"a weight is no longer finite at step {self.step}{self._last_good()}.")
        folder = self.run.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        path = folder / f"step-{self.step:09d}.safetensors"
        meta = {"step": str(self.step), "best": json.dumps(self.best), "best_epoch": str(self.best_epoch)}
        tensors = {name: t.contiguous().cpu() for name, t in tensors.items()}
        replace(path, lambda part: save_file(tensors, part, metadata=meta))
        for old in sorted(folder.glob("step-*.safetensors"))[:-2]:
            old.unlink()
        return path

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint."""
        with safe_open(path, framework="pt") as file:
            meta = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.step, self.best = int(meta["step"]), json.loads(meta["best"])
        self.best_epoch = int(meta["best_epoch"])
        self.model.load_state_dict({n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")})
        device = self.model.device
        self.window = {n.removeprefix("window/"): t.to(device) for n, t in tensors.items() if n.startswith("window/")}
        for name, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, tensor in tensors.items():
                if key.startswith(f"optimizer/{name}/"):
                    _, _, i, entry = key.split("/")
                    state.setdefault(int(i), {})[entry] = tensor
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        self.run.truncate_metrics(self.step)

    def check(self, parts: dict[str, Tensor]) -> None:
        """Stop at once where a part is not finite.

        Raises:
            UserError: with the step, the part and the last good checkpoint.
        """
        bad = [name for name, value in parts.items() if not bool(torch.isfinite(value))]
        if bad:
            raise UserError(
                f"{bad[0]} became {float(parts[bad[0]]):g} at step {self.step}{self._last_good()}. A smaller --lr, or "
                "--precision float32, is the usual remedy."
            )

    def _last_good(self) -> str:
        path = self.run.checkpoint
        return f"; the last good checkpoint is {path}" if path else "; there is no checkpoint before it"


def evaluate(model: Model, data: Dataset, split: str, seed: int) -> dict[str, float]:
    """A likelihood model's ELBO and its parts, or an autoencoder's loss, over a split, per image, in float32."""
    images = data.splits[split].images
    if hasattr(model, "elbo"):
        measure: Callable[[Tensor, Draw], dict[str, Tensor]] = model.elbo
    elif hasattr(type(model), "encode"):
        measure = model.forward
    else:
        return {}
    totals: dict[str, float] = {}
    model.eval()
    with torch.inference_mode():
        for number, start in enumerate(range(0, len(images), 1000)):
            rows = to_tensor(images[start : start + 1000], model.device)
            for name, value in measure(rows, Draw(seed, number)).items():
                total = value.double().sum() if value.dim() else value.double() * len(rows)
                totals[name] = totals.get(name, 0.0) + float(total)
    model.train()
    return {name: total / len(images) for name, total in totals.items()}


def pictures(game: Game, epoch: int) -> None:
    """Sample and reconstruction grids of an epoch, always from the same z and the same images."""
    model, folder = game.model, game.run.path
    if hasattr(type(model), "sample"):
        plots.save(
            plots.grid(model.sample(100 if len(model.shape) == 3 else 2500)),
            folder / "samples" / f"epoch-{epoch:04d}.png",
        )
    if hasattr(type(model), "reconstruct") and len(model.shape) == 3:
        images = to_tensor(game.data.splits["validation"].images[:30], model.device)
        seen = [images]
        if hasattr(type(model), "denoise"):
            seen.append(model.corrupt(images, Draw(0)).clamp(0, 1))
        seen.append(model.reconstruct(seen[-1]))
        rows = [part for chunk in zip(*(torch.split(s, 10) for s in seen), strict=True) for part in chunk]
        plots.save(plots.grid(torch.cat(rows), 10), folder / "reconstructions" / f"epoch-{epoch:04d}.png")


@contextmanager
def stop_on_interrupt() -> Iterator[list[int]]:
    """Collect the first Ctrl-C (or SIGTERM) instead of raising it; a second one raises at once."""
    asked: list[int] = []

    def ask(number: int, _: Any) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: Ctrl-C does not come here
        before = {}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def play(game: Game, report: Callable[[int, int, dict[str, float]], None]) -> str:
    """Play to the end.

    Args:
        game: new or restored.
        report: called with (step, steps, row) at each row of metrics.

    Returns:
        "finished" or "interrupted".
    """
    training, run = game.recipe.training, game.run
    game.model.train()
    synchronous = game.model.device.type == "cpu"
    saved = began = time.monotonic()
    rows = 0
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as log, stop_on_interrupt() as asked:

        def write(row: dict[str, Any]) -> None:
            log.write(json.dumps(row) + "\n")
            log.flush()

        while game.step < game.steps:
            parts = game.play()
            rows += 1
            last = game.step % training.log_every == 0
            if synchronous or last:
                game.check(parts)
            if last:
                means = {name: float(total) / training.log_every for name, total in game.window.items()}
                game.window = {}
                speed = rows * training.batch_size / (time.monotonic() - began)
                row = {"step": game.step, "epoch": game.step / game.epoch_steps, "split": "train", **means}
                write({**row, "images_per_second": round(speed, 1)})
                report(game.step, game.steps, {**means, "images/s": speed})
            if game.step % game.epoch_steps == 0:
                epoch = game.step // game.epoch_steps
                figures = evaluate(game.model, game.data, "validation", training.seed)
                if figures:
                    write({"step": game.step, "epoch": epoch, "split": "validation", **figures})
                    figure = -figures["elbo"] if "elbo" in figures else figures["loss"]
                    if game.best is None or figure < game.best:
                        game.best, game.best_epoch = figure, epoch
                        game.model.save(run.path / "checkpoints" / "best")
                pictures(game, epoch)
                if figures and training.patience and epoch - game.best_epoch >= training.patience:
                    break
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                game.save()
                run.note(state="running", step=game.step, steps=game.steps)
                saved = time.monotonic()
            if asked:
                game.save()
                run.note(state="interrupted", step=game.step, steps=game.steps)
                return "interrupted"
    game.save()
    return "finished"
