"""(l) Cost as work grows: seconds and peak memory against images, batch, side, draws of log P(x), features, processes.

    python benchmarks/growth.py [AXIS ...] [--quick]    these axes anew, the others as they were; all by default

Writes results/growth.json, growth.md and growth.png. One thread. The main figure is processor time, since it can be
had on a machine that others use too; wall time stands beside it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import Any

from common import CACHE, ENVIRONMENT, HERE, OURS, Row, serve

RESULTS = HERE.parent / "results"
BATCH = 256
SECONDS = 2.0  # of steps at each point
STRAIGHT = 0.15  # of a point, that a straight line may miss it by
PROTOCOL = f"""\
Each point is a process of its own with one thread, forked from one that has done its imports. *Processor* is the
processor time of that process, *wall* the time that passed meanwhile: where the load that stands below a table is
above 1, other work ran beside it, and processor time is the figure to read. *Memory* is what the process's own pages
rose by at their peak, so without imports and, but for `ganvas.train`, without the model; *mapped* are pages of files
beside them, of data and of libraries, which the system takes back when it needs them. A step is the median of those of
{SECONDS:g} s after two to warm up, and its memory is that of these two: gradients, moments, activations. Images are
random, black and white: their content does not change the time. The data of up to 10^6 images are written, prepared,
trained on for one epoch in batches of {BATCH} by `ganvas.train` from the cache's memory map, and deleted.

The line is a + b x (x^2 for the kernel distance), a and b at least 0, fitted to relative errors; *off by* is the
largest error, in shares of its point: up to {STRAIGHT:.0%} it is straight. The exponent is the slope in logarithms with
its 95 % interval: below 1 where a fixed part a is not small beside what grows. Memory that never rises by 1 MB is left
out."""

Figures = dict[str, float]  # "cpu", "wall": seconds; "MB", and "mapped" beside these, where memory was measured
Point = tuple[float, dict[str, Figures]]  # where on the axis, and what was measured there by the line's name
Points = Callable[[bool], Iterable[Point]]
IMPORTED = (
    "ganvas.training.train",
    "ganvas.evaluate",
    "ganvas.recipes.vae",
    "ganvas.recipes.dcgan",
    "safetensors.torch",
)


@functools.cache
def forks() -> ProcessPoolExecutor:
    """Runs each call in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return ProcessPoolExecutor(1, context, max_tasks_per_child=1)


def fresh(task: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """What `task` returns in a process of its own."""
    return forks().submit(task, **arguments).result()


@dataclass(frozen=True)
class Axis:
    """What grows.

    Attributes:
        label: of the axis.
        points: measures them; tiny ones where it is told to be quick.
        power: of x, that processor time grows by, where it is not 1: by the line's name.
    """

    label: str
    points: Points
    power: dict[str, int] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def measured() -> Iterator[Figures]:
    """Fills in what the block took: see `Figures`.

    The system tells the peak of all pages, but not that of a process's own. Two figures are never above it: the most
    of them that was seen every 20 ms, and the peak of all less the most pages of files that were seen. The larger one
    counts.
    """
    found: Figures = {}
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    ended, seen, before = threading.Event(), [], resident()

    def watch() -> None:
        while not ended.wait(0.02):
            seen.append(resident())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    cpu, wall = time.process_time(), time.perf_counter()
    yield found
    found |= {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    seen.append(resident())
    ended.set()
    thread.join()
    if before:
        own, mapped = (max(one[name] for one in seen) - before[name] for name in ("RssAnon", "RssFile"))
        found |= {"MB": max(own, seen[-1]["VmHWM"] - before["VmRSS"] - max(0.0, mapped)), "mapped": max(0.0, mapped)}


def resident() -> Figures:
    """Megabytes of this process by the names that Linux gives them; nothing elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {}
    return {
        name: int(text.split()[0]) / 1e3 for name, _, text in (line.partition(":") for line in lines) if "kB" in text
    }


# Images -----------------------------------------------------------------------------------------------------------


BESIDE = ("loader, file not in memory", "epoch: checkpoints")  # in the table alone


def images(quick: bool) -> Iterator[Point]:
    """Of black and white noise, 28 x 28, a `.npy` file: prepared, opened again, passed over, trained on."""
    for n in (1000, 2000) if quick else (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000):
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            fresh(draw, folder=folder, n=n)
            parts = [fresh(task, folder=folder) for task in (prepare, reopen, epoch)]
        lines = {name: figures for part in parts for name, figures in part.items()}
        yield n, dict(sorted(lines.items(), key=lambda one: one[0] in BESIDE))


def draw(folder: str, n: int) -> dict[str, Any]:
    import numpy as np

    random, rows = np.random.default_rng(0), 10_000
    file = np.lib.format.open_memmap(Path(folder, "noise.npy"), "w+", np.uint8, (n, 28, 28))
    for start in range(0, n, rows):
        part = file[start : start + rows]
        part[:] = random.integers(0, 2, part.shape, dtype=np.uint8) * np.uint8(255)
    return {}


def _in(folder: str) -> str:
    os.environ["GANVAS_CACHE"] = str(Path(folder, "cache"))
    return str(Path(folder, "noise.npy"))


def prepare(folder: str) -> dict[str, Any]:
    source = _in(folder)
    from ganvas.data import load

    with measured() as found:
        load(source)
    return {"prepare for the cache, once": found}


def reopen(folder: str) -> dict[str, Any]:
    """A second start, and an epoch of the loader alone: the file in the page cache, and dropped from it."""
    source = _in(folder)
    import numpy as np

    from ganvas.data import Split, load
    from ganvas.data.loader import Batches

    found: dict[str, Any] = {}
    with measured() as found["open again: checksums"]:
        n = len(load(source).splits["train"])
    file = next(Path(os.environ["GANVAS_CACHE"], "sets").glob("*/images.npy"))
    for name, dropped in (("loader alone", False), ("loader, file not in memory", True)):
        if dropped:
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        batches = Batches(Split(np.load(file, mmap_mode="r")[:n], None), BATCH, seed=0)
        with measured() as found[name]:
            for i in range(len(batches)):
                batches[i]
        del batches  # pages that are mapped are not dropped
    return found


def epoch(folder: str) -> dict[str, Any]:
    """An epoch of the default VAE by `train`, and of it the steps, the validations and the checkpoints."""
    source = _in(folder)
    from ganvas import train
    from ganvas.training import loop

    parts: dict[str, Figures] = {}

    def timed(owner: Any, name: str, part: str) -> None:
        function, spent = getattr(owner, name), parts.setdefault(part, {"cpu": 0.0, "wall": 0.0})

        def instead(*arguments: Any) -> Any:
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                return function(*arguments)
            finally:
                spent["cpu"] += time.process_time() - cpu
                spent["wall"] += time.perf_counter() - wall

        setattr(owner, name, instead)

    timed(loop.Rows, "step", "epoch: steps")
    timed(loop, "validate", "epoch: validation, with pictures")
    timed(loop, "save", "epoch: checkpoints")
    with measured() as whole:
        train("vae", data=source, epochs=1, batch_size=BATCH, out=Path(folder, "run"))
    return {"`ganvas.train`, one epoch": whole, **parts}


# Steps ------------------------------------------------------------------------------------------------------------


def batch(quick: bool) -> Iterator[Point]:
    for size in (8, 16) if quick else (16, 32, 64, 128, 256, 512, 1024, 2048, 4096):
        lines = {"VAE 784-500-500-20": _step("vae", size, 28, 1, quick)}
        if size <= 256:
            lines["DCGAN 32 x 32, 32 filters"] = _step("dcgan", size, 32, 3, quick)
        yield size, lines


def side(quick: bool) -> Iterator[Point]:
    for pixels in (16, 32) if quick else (16, 32, 64, 128):
        lines = {
            "VAE, MLP, grey, batch 128": _step("vae", 128, pixels, 1, quick),
            "VAE, residual, colour, batch 16": _step("residual", 16, pixels, 3, quick),
            "DCGAN, 32 filters, batch 16": _step("dcgan", 16, pixels, 3, quick),
        }
        yield pixels**2, lines


def _step(recipe: str, size: int, pixels: int, channels: int, quick: bool) -> Figures:
    what = {"recipe": recipe, "size": size, "pixels": pixels, "channels": channels}
    return fresh(steps, seconds=0.1 if quick else SECONDS, **what)


def _game(recipe: str, size: int, pixels: int, channels: int, **arguments: Any) -> Any:
    """A game of the default nets on random images; several processes share it, where a launcher has started them."""
    import numpy as np
    import torch

    from ganvas.data import load
    from ganvas.recipes import RECIPES
    from ganvas.recipes.facts import Facts
    from ganvas.training.engine import make_accelerator
    from ganvas.training.game import Game, make_model

    cpu = torch.device("cpu")
    accelerator = make_accelerator(cpu)
    random = np.random.default_rng(0)
    data = load(random.integers(0, 2, (max(1000, 2 * size), pixels, pixels, channels), dtype=np.uint8) * np.uint8(255))
    if recipe != "dcgan":
        net = {"vae": "mlp", "residual": "residual"}[recipe]
        recipe, arguments = "vae", {"net": net, "latent_dim": 20, "likelihood": "bernoulli", "fit": 0, **arguments}
    made = RECIPES[recipe](facts=Facts.of(data), **arguments)
    made = dataclasses.replace(made, training=dataclasses.replace(made.training, batch_size=size))
    game = Game(make_model(made, data, cpu), made, data, accelerator)
    game.model.train()
    return game


def steps(seconds: float, **what: Any) -> dict[str, Any]:
    """Median processor and wall seconds of a step, and the memory of the first two."""
    from ganvas.training.engine import on_main

    game = _game(**what)
    with measured() as memory:
        for _ in range(2):
            game.play()
    taken, until = [], time.perf_counter() + seconds
    while len(taken) < 5 or on_main(game.accelerator, time.perf_counter) < until:  # by one clock
        cpu, wall = time.process_time(), time.perf_counter()
        game.play()
        taken.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = (statistics.median(column) for column in zip(*taken, strict=True))
    return memory | {"cpu": cpu, "wall": wall}


# log P(x), distances, checkpoints, orders --------------------------------------------------------------------------


def draws(quick: bool) -> Iterator[Point]:
    for k in (10, 100) if quick else (50, 150, 500, 1500, 5000, 15_000, 50_000):
        yield k, {"log P(x) of 16 images": fresh(log_prob, k=k)}


def log_prob(k: int) -> dict[str, Any]:
    """By a VAE 784-500-500-20."""
    import torch

    game = _game("vae", 128, 28, 1)
    x = (torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    model = game.model.eval()
    model.log_prob(x[:1], num_samples=10, seed=0)
    with measured() as found:
        model.log_prob(x, num_samples=k, seed=0)
    return found


def features(quick: bool) -> Iterator[Point]:
    for n in (200, 400) if quick else (2500, 5000, 10_000, 20_000):
        what = {"n": n, "d": 64 if quick else 2048}
        yield n, {name: fresh(distance, name=name, **what) for name in ("kernel distance", "Frechet distance")}


def distance(name: str, n: int, d: int) -> dict[str, Any]:
    import numpy as np

    from ganvas.evaluate import frechet_distance, kernel_distance

    random = np.random.default_rng(0)
    real, fake = (random.standard_normal((n, d), np.float32) for _ in range(2))
    function: Any = {"kernel distance": kernel_distance, "Frechet distance": frechet_distance}[name]
    function(real[:, :8], fake[:, :8])
    with measured() as found:
        function(real, fake)
    return found


def weights(quick: bool) -> Iterator[Point]:
    """x: megabytes of a checkpoint of a DCGAN of 64 x 64 with moments, of ever more filters."""
    for filters in (8, 16) if quick else (8, 16, 32, 64, 128):
        found = fresh(checkpoints, filters=filters)
        yield found.pop("size"), found


def checkpoints(filters: int) -> dict[str, Any]:
    from ganvas.training import checkpoint

    game = _game("dcgan", 2, 64, 3, filters=filters)
    game.play()
    tensors, facts = game.state()
    found: dict[str, Any] = {"size": sum(tensor.nbytes for tensor in tensors.values()) / 1e6}
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        with measured() as found["write"]:
            path = checkpoint.save(Path(folder), tensors, facts)
        with measured() as found["read"]:
            checkpoint.load(path)
    found["read"]["MB"] += found["read"].pop("mapped")  # tensors lie in a map of the file, or in a copy
    return found


def orders(quick: bool) -> Iterator[Point]:
    for n in (1000, 10_000) if quick else (10**4, 10**5, 10**6, 10**7, 10**8):
        yield n, {"order of an epoch": fresh(permutation, n=n)}


def permutation(n: int) -> dict[str, Any]:
    from ganvas.ground.randomness import order

    order(0, "order", 0, n=1000)
    with measured() as found:
        order(0, "order", 0, n=n)
    return found


# Processes ----------------------------------------------------------------------------------------------------------


def processes(quick: bool) -> Iterator[Point]:
    """Of one thread each, joined by gloo over loopback."""
    seconds = 0.2 if quick else 3 * SECONDS
    for world in (1, 2):
        lines = {}
        for size in (128, 512, 2048):
            one = {"seconds": seconds, "recipe": "vae", "pixels": 28, "channels": 1}
            lines[f"VAE 784-500-500-20, {size} in all"] = launched(world, steps, **one, size=size)
        yield world, lines


def bytes_sent(quick: bool) -> Iterator[Point]:
    """x: megabytes that two processes sum."""
    for power in (12, 16) if quick else (12, 15, 18, 20, 22, 24, 26):
        found = launched(2, all_reduce, size=2**power, seconds=0.2 if quick else 1.0)
        yield 2**power / 1e6, {"all-reduce between two": found}


def launched(world: int, task: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """What `task` returns in one of several processes that are started together."""
    if world == 1:
        return fresh(task, **arguments)
    command = [
        OURS,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={world}",
        str(HERE / "growth.py"),
    ]
    done = subprocess.run([*command, task.__name__, json.dumps(arguments)], capture_output=True, text=True, cwd=CACHE)
    if done.returncode:
        raise SystemExit(f"{task.__name__} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(next(text for text in done.stdout.splitlines() if text.startswith("{")))
    return answer


def all_reduce(size: int, seconds: float) -> dict[str, Any]:
    import torch
    import torch.distributed as dist

    from ganvas.training.engine import make_accelerator, on_main

    accelerator = make_accelerator(torch.device("cpu"))
    numbers = torch.zeros(size // 4)
    for _ in range(3):
        dist.all_reduce(numbers)
    taken, until = [], time.perf_counter() + seconds
    while len(taken) < 5 or on_main(accelerator, time.perf_counter) < until:
        cpu, wall = time.process_time(), time.perf_counter()
        dist.all_reduce(numbers)
        taken.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = (statistics.median(column) for column in zip(*taken, strict=True))
    return {"cpu": cpu, "wall": wall}


# Tables ---------------------------------------------------------------------------------------------------------------

AXES = {
    "images": Axis("images, 28 x 28", images),
    "batch": Axis("batch", batch),
    "side": Axis("pixels (side x side)", side),
    "draws": Axis("K, draws an image", draws),
    "features": Axis("rows of 2,048 features", features, power={"kernel distance": 2}),
    "weights": Axis("MB of a checkpoint", weights),
    "orders": Axis("images to shuffle", orders),
    "bytes": Axis("MB of gradients", bytes_sent),
    "processes": Axis("processes", processes),
}


@dataclass(frozen=True)
class Line:
    """A line of one axis: y = a + b x^power.

    Attributes:
        x, y: its points.
        power: of x.
    """

    x: list[float]
    y: list[float]
    power: int = 1

    def fit(self) -> tuple[float, float, float]:
        """(a, b, the largest relative error)."""
        import numpy as np
        from scipy.optimize import nnls

        x, y = np.array(self.x) ** self.power, np.array(self.y)
        (a, b), _ = nnls(np.stack([1 / y, x / y], 1), np.ones(len(y)))
        return float(a), float(b), float(np.abs((a + b * x) / y - 1).max())

    def exponent(self) -> tuple[float, float]:
        """(the slope in logarithms, half of its 95 % interval)."""
        import numpy as np
        from scipy import stats

        found = stats.linregress(np.log(self.x), np.log(self.y))
        wide = float(stats.t.ppf(0.975, len(self.x) - 2)) if len(self.x) > 2 else float("nan")
        return float(found.slope), wide * float(found.stderr)


def line(points: list[Any], name: str, key: str, power: int = 1) -> Line | None:
    """A line of an axis; None where there are no two points, or memory is below 1 MB."""
    found = [(x, lines[name][key]) for x, lines in points if key in lines.get(name, {})]
    if key == "MB" and max((y for _, y in found), default=0.0) < 1:
        return None
    found = [(x, max(y, 0.1) if key == "MB" else y) for x, y in found]
    return Line([x for x, _ in found], [y for _, y in found], power) if len(found) > 1 else None


def names(points: list[Any]) -> list[str]:
    """Of an axis's lines, in order."""
    return list(dict.fromkeys(name for _, lines in points for name in lines))


def number(value: float) -> str:
    """Three digits."""
    if not value:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e6:
        return f"{value:.2e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.{max(0, 2 - int(log10(abs(value)) // 1))}f}"


def report(found: dict[str, Any], quick: bool) -> str:
    """The tables as Markdown."""
    lines = ["# Cost as work grows", "", *(["**Quick: the figures mean nothing.**", ""] if quick else [])]
    lines += ["![Processor seconds and peak memory against what grows](growth.png)", ""]
    lines += [PROTOCOL, "", "## Lines", ""]
    lines += ["| against | what | exponent | a | b | off by | straight |", "|---|---|---|---|---|---|---|"]
    for axis, one in found.items():
        for name in names(one["points"]):
            for key, unit in (("cpu", "s"), ("MB", "MB")):
                drawn = line(one["points"], name, key, AXES[axis].power.get(name, 1) if key == "cpu" else 1)
                if drawn is None or axis == "processes":
                    continue
                (slope, wide), (a, b, off) = drawn.exponent(), drawn.fit()
                what = f"{name}: {'processor' if key == 'cpu' else 'memory'}"
                cells = [
                    AXES[axis].label,
                    what,
                    f"{slope:.2f} ± {wide:.2f}",
                    f"{number(a)} {unit}",
                    f"{number(b)} {unit}",
                ]
                lines.append("| " + " | ".join([*cells, f"{off:.0%}", "yes" if off <= STRAIGHT else "no"]) + " |")
    for axis, one in found.items():
        machine = one["machine"]
        lines += ["", f"## {AXES[axis].label}", ""]
        lines += [
            f"| {AXES[axis].label} | what | processor, s | wall, s | peak memory, MB | mapped, MB |",
            "|" + "---|" * 6,
        ]
        for x, measured_lines in one["points"]:
            for name, figures in measured_lines.items():
                cells = [number(figures[key]) if key in figures else "-" for key in ("cpu", "wall", "MB", "mapped")]
                lines.append("| " + " | ".join([number(x), name, *cells]) + " |")
        where = f"{machine['cpu']}, {machine['cores']} cores, load {one['load']:.1f} at the end"
        made = f"torch {machine['ours']['torch']}; commit {machine['commit']}, {machine['date'][:10]}"
        lines += ["", f"{where}; {made}, `{one['command']}`, {one['seconds']:.0f} s."]
    return "\n".join([*lines, ""])


def figure(found: dict[str, Any], path: Path) -> None:
    """Small multiples: seconds above memory, for each axis; of the lines as many as there are colours."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    from ganvas.ground import drawing

    columns = 3
    blocks = -(-len(found) // columns)
    with drawing.style():
        picture = drawing.figure(3.7 * columns, 4.6 * blocks)
        grid = picture.subplots(2 * blocks, columns, squeeze=False)
        for place, (axis, one) in enumerate(found.items()):
            above, below = (grid[2 * (place // columns) + row][place % columns] for row in range(2))
            above.set_title(AXES[axis].label)
            for axes, key, label in ((above, "cpu", "processor seconds"), (below, "MB", "memory, MB")):
                for name, shade in zip(names(one["points"]), drawing.COLOURS, strict=False):
                    drawn = line(one["points"], name, key, AXES[axis].power.get(name, 1) if key == "cpu" else 1)
                    if drawn is None:
                        continue
                    whole = axis != "processes"  # two points are joined, and no line is fitted
                    said = f"{name.replace('`', '')}: {drawn.exponent()[0]:.2f}" if whole else name
                    axes.plot(drawn.x, drawn.y, "o" if whole else "o-", color=shade, label=said)
                    if whole:
                        axes.plot(*curve(drawn), color=shade, linewidth=1)
                if not axes.has_data():
                    axes.set_visible(False)
                    continue
                axes.set(xscale="log", yscale="log", ylabel=label)
                values = [float(y) for drawn in axes.lines for y in drawn.get_ydata()]
                low, high = min(values), max(values)
                spare = max(1.6, (100 * low / high) ** 0.5)  # two decades at least, so that flat looks flat
                legend = 1.6 ** len(axes.lines) if key == "cpu" and axis == "images" else 1.0
                axes.set_ylim(low / spare, high * spare * legend)
                for side in (axes.xaxis, axes.yaxis):
                    side.set_major_locator(LogLocator(numticks=6))
                    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.5g}".replace("e+0", "e")))
                    side.set_minor_formatter(NullFormatter())
                if axis == "processes":
                    axes.set(xscale="linear", xticks=[1, 2], xlim=(0.8, 2.2))
                if key == "cpu":
                    axes.legend(fontsize=6.5, handlelength=1)
        for axes in grid.flat[2 * columns * (blocks - 1) :]:
            axes.set_visible(axes.has_data())
        drawing.save(picture, path)


def curve(drawn: Line) -> tuple[Any, Any]:
    """The fitted line between its first and last points."""
    import numpy as np

    a, b, _ = drawn.fit()
    x = np.geomspace(min(drawn.x), max(drawn.x), 100)
    return x, a + b * x**drawn.power


def measure(chosen: list[str], quick: bool) -> dict[str, Any]:
    """Measure these axes, and write all that were ever measured."""
    from run import machine

    os.environ.update(OMP_NUM_THREADS="1", GANVAS_CACHE=ENVIRONMENT["GANVAS_CACHE"])  # before the first fork
    CACHE.mkdir(exist_ok=True)
    folder = CACHE if quick else RESULTS
    file = folder / "growth.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() and not quick else {}
    for name in chosen:
        began, points = time.perf_counter(), []
        for point in AXES[name].points(quick):
            points.append(point)
            print(f"{name} {point[0]:,.6g}", file=sys.stderr, flush=True)
        found[name] = {
            "points": points,
            "seconds": time.perf_counter() - began,
            "load": os.getloadavg()[0],
            "machine": machine() | {"threads": "1"},
            "command": f"python benchmarks/growth.py {name}",
        }
        found = {axis: found[axis] for axis in AXES if axis in found}
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (folder / "growth.md").write_text(report(found, quick), encoding="utf-8")
    figure(found, folder / "growth.png")
    return found


def compare(quick: bool) -> list[Row]:
    """The exponents, for the table of all benchmarks."""
    found = measure(list(AXES), quick)
    rows = []
    for axis, one in found.items():
        for name in names(one["points"]):
            drawn = line(one["points"], name, "cpu", AXES[axis].power.get(name, 1))
            if drawn and axis != "processes":
                slope, wide = drawn.exponent()
                what = f"exponent of processor time against {AXES[axis].label}: {name}"
                rows.append(Row(what, "", [slope], note=f"± {wide:.2f}; results/growth.md"))
    return rows


def main() -> None:
    """See above."""
    words = [word for word in sys.argv[1:] if word != "--quick"]
    if unknown := set(words) - AXES.keys():
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(AXES)}")
    measure(words or list(AXES), "--quick" in sys.argv)


if __name__ == "__main__":
    if sys.argv[1:2] in (["steps"], ["all_reduce"]):  # a process that `launched` started
        serve(steps, all_reduce)
    else:
        main()
