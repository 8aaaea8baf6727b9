"""(g) The studio in Chromium: drag to picture, first paint, a million rows of metrics, and a training beside it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from math import cos, sin
from pathlib import Path
from typing import Any

import vae
from common import CACHE, OURS, Row, _family, child, interleave, serve

GANVAS = str(Path(OURS).with_name("ganvas"))
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--disable-quic"),
]
DECODERS = {"VAE 28 x 28, MLP": "vae", "DCGAN 64 x 64, 64 filters": "dcgan"}
UNKNOWN = "unknown"  # data that are not there: maps are of samples
PACE = (0.012, 0.028)  # seconds from one move of the mouse to the next: at all moments of Chromium's frame of 17 ms
STREAM = 500  # rows a second that a live run gets
SETTLE = 1.5  # seconds after the studio is opened or left, which count for nobody


def compare(quick: bool) -> list[Row]:
    """All parts, in a folder of runs that are written for them."""
    if CHROMIUM is None:
        raise SystemExit("the studio's benchmark needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        return [*_drags(place, quick), *_paint(place, quick), *_rows(place, quick), *_beside(place, quick)]


def _drags(place: str, quick: bool) -> list[Row]:
    runs = f"{place}/decoders"
    child(OURS, "studio.write_decoders", runs=runs)
    for name in DECODERS.values():
        subprocess.run([GANVAS, "export", f"{runs}/{name}", "--html"], check=True, capture_output=True)
    moves, repeats = (40, 1) if quick else (400, 3)
    sides = list(itertools.product(("studio", "exported page"), DECODERS.items()))
    tasks = [{"runs": runs, "page": page, "run": run, "moves": moves} for page, (_, run) in sides]
    answers = interleave(repeats, *(lambda seed, t=t: child(OURS, "studio.drag", **t, seed=seed) for t in tasks))
    waited = statistics.median(one["waited"] for figures in answers for one in figures)
    browser = " ".join(subprocess.check_output([str(CHROMIUM), "--version"], text=True).split()[:2])
    note = (
        f"{moves} moves of the mouse while it is pressed, from the event's timeStamp until its picture or a newer one "
        "is on the canvas: putImageData has returned, and the next frame shows it; untrained weights; "
        f"{waited:.1f} ms pass before the browser gives the event to the page; {browser}"
    )
    rows = []
    for (page, (name, run)), figures in zip(sides, answers, strict=True):
        medians, tails = ([one[key] for one in figures] for key in ("median", "p95"))
        exported = f"under {16 if run == 'vae' else 50} ms", ""
        aims = ("under 8 ms", "under 16 ms") if page == "studio" else exported
        rows += [
            Row(f"{page}, drag to picture, {name}: median", "ms", medians, aim=aims[0], note="" if rows else note),
            Row(f"{page}, drag to picture, {name}: 95th percentile", "ms", tails, aim=aims[1]),
        ]
    return rows


def _paint(place: str, quick: bool) -> list[Row]:
    runs, n = f"{place}/many", 20 if quick else 200
    child(OURS, "studio.write_many", runs=runs, n=n)
    figures = [child(OURS, "studio.paint", runs=runs, n=n) for _ in range(1 if quick else 5)]
    return [
        Row(
            f"studio, {n} runs on disk: the page with its table is painted",
            "s",
            [one["table"] for one in figures],
            aim="under 1 s",
            note="from the navigation's start to the frame that shows every run, each time by a new server and a new "
            f"Chromium; the first contentful paint comes after {_said(figures, 'first')} s; before it "
            f"`ganvas studio` takes {_said(figures, 'started')} s to listen",
        )
    ]


def _rows(place: str, quick: bool) -> list[Row]:
    runs, n = f"{place}/long", 20_000 if quick else 1_000_000
    child(OURS, "studio.write_long", runs=runs, n=n)
    seconds = 2 if quick else 15
    figures = [child(OURS, "studio.stream", runs=runs, n=n, seconds=seconds) for _ in range(1 if quick else 3)]
    live = f"studio, a live run of {n:,} rows of metrics"
    streaming = f"{live}, {STREAM} more a second: from frame to frame"
    return [
        Row(
            f"{live}: to the first chart",
            "s",
            [one["first"] for one in figures],
            note="from the navigation's start, by a server that has not read the file before",
        ),
        Row(
            f"{streaming}, median",
            "ms",
            [one["median"] for one in figures],
            aim="fluid: 17 ms",
            note=f"over {seconds} s of requestAnimationFrame; the longest {_said(figures, 'longest')} ms",
        ),
        Row(f"{streaming}, 95th percentile", "ms", [one["p95"] for one in figures], aim="under 34 ms"),
    ]


def _beside(place: str, quick: bool) -> list[Row]:
    data, pairs, seconds = f"{vae.prepare(quick=False)}.npz", 1 if quick else 8, 3.0 if quick else 6.0
    rows = []
    for look, name in {"client": "a WebSocket client subscribed", "browser": "Chromium watching"}.items():
        runs = f"{place}/{look}"
        found = child(OURS, "studio.beside", data=data, runs=runs, look=look, pairs=pairs, seconds=seconds)
        note = f"one training, its own number of threads; {pairs} times {seconds:g} s with and without a look, in turn"
        if look == "browser":
            note += f"; Chromium itself takes {100 * statistics.median(found['chromium']):.0f} % of a core"
        server = [100 * share for share in found["server"]]
        rows += [
            Row(
                f"VAE 784-500-500-2, batch 128, beside the studio with {name}",
                "images/s",
                found["with"],
                found["without"],
                against="nobody looks",
                aim="0.98 x",
                note=note,
            ),
            Row(f"CPU of the studio's server meanwhile, {name}", "% of a core", server, aim="under 2 %"),
        ]
    return rows


def _said(figures: list[dict[str, float]], name: str) -> str:
    return f"{statistics.median(one[name] for one in figures):.3g}"


# ---- the runs ----


def write_decoders(runs: str) -> dict[str, Any]:
    """A finished run of each decoder, with its first weights: they take as long as trained ones."""
    from ganvas.models.base import FAMILIES
    from ganvas.recipes import dcgan
    from ganvas.recipes import vae as vae_recipe

    plain = dcgan(loss="non-saturating", filters=64)
    recipes = {"vae": (vae_recipe(latent_dim=2), (1, 28, 28)), "dcgan": (plain, (3, 64, 64))}
    for name, (recipe, shape) in recipes.items():
        run = _create(Path(runs, name), recipe, shape, state="finished")
        FAMILIES[type(recipe.model)](recipe.model, shape).eval().save(run.path / "model")
    return {}


def write_many(runs: str, n: int, rows: int = 500) -> dict[str, Any]:
    """Finished runs, with metrics and without models."""
    from ganvas.recipes import vae as vae_recipe

    recipe = vae_recipe(latent_dim=2)
    for i in range(n):
        run = _create(Path(runs, f"vae-{i:03d}"), recipe, (1, 28, 28), state="finished")
        (run.path / "metrics.jsonl").write_text("".join(map(_row, range(rows))), encoding="utf-8")
    return {}


def write_long(runs: str, n: int) -> dict[str, Any]:
    """A run in training."""
    from ganvas.recipes import vae as vae_recipe

    run = _create(Path(runs, "live"), vae_recipe(latent_dim=2), (1, 28, 28), state="running")
    with (run.path / "metrics.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(map(_row, range(n)))
    return {}


def _create(path: Path, recipe: Any, shape: tuple[int, ...], state: str) -> Any:
    from ganvas.models.base import FAMILIES
    from ganvas.training.run import create

    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=UNKNOWN))
    run = create(path, recipe, {"fingerprint": UNKNOWN, "shape": shape, "preparation": "", "versions": {}})
    run.note(state=state, step=1000, steps=10**9, seconds=60.0, verbs=FAMILIES[type(recipe.model)].verbs())
    return run


def _row(i: int) -> str:
    """The i-th row of a VAE's metrics: every tenth is of the validation, the others of the training."""
    split = "train" if i % 10 else "validation"
    kl, noise = 20 - 15 / (1 + i / 1000), sin(i * i)
    reconstruction = 100 + 400 / (1 + i / 1000) + noise
    figures = {"loss": reconstruction + kl, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
    speed = {"images_per_second": 20_000.0 + noise} if i % 10 else {}
    return json.dumps({"step": 50 * (i + 1), "epoch": (i + 1) / 1000, "split": split, **figures, **speed}) + "\n"


# ---- what is measured, each in a process of its own ----


@contextmanager
def _serving(command: list[str]) -> Iterator[tuple[str, int]]:
    """The address that a server prints when it listens, and the server's process."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = (re.search(r"http://[\w.:]+/", line) for line in process.stdout)
            address = next((said[0] for said in found if said), None)
            if address is None:
                raise SystemExit(f"{' '.join(command)} did not start")
            yield address, process.pid
        finally:
            process.terminate()


def _studio(runs: str) -> AbstractContextManager[tuple[str, int]]:
    return _serving([GANVAS, "studio", runs, "--port", "0", "--no-browser"])


@contextmanager
def _chromium() -> Iterator[Any]:
    """A page of a new Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser.new_page(viewport={"width": 1280, "height": 900})
        finally:
            browser.close()


# Which moves a picture answers: requests and pictures follow each other one by one, and a request is for the last move
# that the page was given before it. What one asks of the model goes by a WebSocket or, in an exported page, a worker.
ASKED = """
const bench = (window.bench = { moves: [], given: [], asked: [], drawn: [] });
let before = "";
for (const type of ["pointerrawupdate", "pointermove"]) { // the same move, at once and with the next frame
  addEventListener(type, (event) => {
    const place = `${event.clientX} ${event.clientY}`;
    if (place === before) return;
    before = place;
    bench.moves.push(event.timeStamp);
    bench.given.push(performance.now());
  }, true);
}
for (const [kind, name, isCode] of [
  [WebSocket, "send", (message) => message instanceof Uint8Array],
  [Worker, "postMessage", (message) => "batch" in message],
]) {
  const original = kind.prototype[name];
  kind.prototype[name] = function (...given) {
    if (isCode(given[0])) {
      bench.asked.push(bench.moves.length);
      bench.last = performance.now();
    }
    return original.apply(this, given);
  };
}
"""
READY = """() => {
  const [pad] = document.querySelectorAll("[role=application]"), drawn = document.querySelector("[data-sequence]");
  if (!pad || pad.ariaBusy === "true" || document.querySelector(".x-loading")) return false;
  return drawn.dataset.sequence !== "0" && performance.now() - bench.last > 1000;
}"""
DRAWN = """() => {
  for (const list of [bench.moves, bench.given, bench.asked, bench.drawn]) list.length = 0;
  new MutationObserver(() => bench.drawn.push(performance.now()))
    .observe(document.querySelector("[data-sequence]"), { attributes: true, attributeFilter: ["data-sequence"] });
}"""
PAINTED = """
function painted(what, ready) { // the time at which a frame is drawn that has what is waited for
  const observer = new MutationObserver(() => {
    if (!ready()) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => (window[what] = performance.now())));
  });
  observer.observe(document, { childList: true, subtree: true });
}
"""
FRAMES = """() => {
  window.frames = [];
  let before = performance.now();
  const next = () => {
    const now = performance.now();
    window.frames.push(now - before);
    before = now;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}"""


def drag(runs: str, page: str, run: str, moves: int, seed: int) -> dict[str, float]:
    """Milliseconds from a move of the mouse to its picture: the median, the 95th percentile, and what passes before
    the page is given the event."""
    folder = f"{runs}/{run}/page"
    files = [OURS, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", folder]
    pace = random.Random(seed)
    with _studio(runs) if page == "studio" else _serving(files) as (address, _), _chromium() as tab:
        tab.add_init_script(ASKED)
        tab.goto(f"{address}#/explore?run={run}" if page == "studio" else address)
        tab.wait_for_function(READY, timeout=120_000)
        pad = tab.locator("[role=application]").first
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        x, y, reach = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, 0.3 * box["width"]
        tab.mouse.move(x, y)
        tab.mouse.down()
        tab.wait_for_timeout(500)
        tab.evaluate(DRAWN)
        for i in range(moves):
            begun = time.perf_counter()
            tab.mouse.move(x + reach * cos(i / 23), y + reach * sin(i / 17))
            time.sleep(max(0.0, begun + pace.uniform(*PACE) - time.perf_counter()))
        tab.wait_for_function("() => bench.asked.length && bench.drawn.length === bench.asked.length")
        found = tab.evaluate("bench")
    latencies, picture = [], 0
    for i, moved in enumerate(found["moves"]):
        while found["asked"][picture] <= i:
            picture += 1
        latencies.append(found["drawn"][picture] - moved)
    waited = [given - moved for given, moved in zip(found["given"], found["moves"], strict=True)]
    return {"median": statistics.median(latencies), "p95": _p95(latencies), "waited": statistics.median(waited)}


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def paint(runs: str, n: int) -> dict[str, float]:
    """Seconds to the first paint and to that of a table with n runs, and those that the server took to listen."""
    begun = time.perf_counter()
    with _studio(runs) as (address, _):
        started = time.perf_counter() - begun
        there = f"document.querySelectorAll('tbody tr').length >= {n}"
        with _chromium() as tab:
            tab.add_init_script(PAINTED + f"painted('table', () => {there});")
            tab.goto(address, wait_until="commit")
            table = tab.wait_for_function("() => window.table").json_value()
            first = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    return {"table": max(table, first) / 1e3, "first": first / 1e3, "started": started}


def stream(runs: str, n: int, seconds: float) -> dict[str, float]:
    """Seconds to the first chart of a run of n rows; then, while rows come, milliseconds from frame to frame."""
    ended = threading.Event()

    def write() -> None:
        with Path(runs, "live", "metrics.jsonl").open("a", encoding="utf-8") as file:
            rows = itertools.count(n)
            while not ended.wait(10 / STREAM):
                file.writelines(map(_row, itertools.islice(rows, 10)))
                file.flush()

    writer = threading.Thread(target=write)
    with _studio(runs) as (address, _), _chromium() as tab:
        tab.add_init_script(PAINTED + "painted('chart', () => document.querySelector('.chart canvas'));")
        tab.goto(f"{address}#/watch?run=live", wait_until="commit")
        first = tab.wait_for_function("() => window.chart", timeout=120_000).json_value()
        writer.start()
        try:
            tab.wait_for_timeout(1000)
            tab.evaluate(FRAMES)
            tab.wait_for_timeout(1000 * seconds)
            frames = tab.evaluate("frames")
        finally:
            ended.set()
            writer.join()
    return {
        "first": first / 1e3,
        "median": statistics.median(frames),
        "p95": _p95(frames),
        "longest": max(frames),
    }


@dataclasses.dataclass
class _Window:
    """A stretch of time, in seconds of the monotonic clock, and the shares of a core that were taken in it."""

    begun: float
    ended: float
    server: float
    chromium: float


def beside(data: str, runs: str, look: str, pairs: int, seconds: float) -> dict[str, list[float]]:
    """Images/s of one training, for each of `pairs` once while the studio is looked at and once while it is not; and
    the shares of a core that its server and Chromium take while it is.

    Args:
        data: what it trains on.
        runs: an empty folder.
        look: "browser", in Chromium, or "client", over a WebSocket alone.
        pairs: how many.
        seconds: that each half of a pair lasts.
    """
    Path(runs).mkdir()
    stop = Path(runs, "stop")
    windows: dict[bool, list[_Window]] = {True: [], False: []}
    with ThreadPoolExecutor(1) as pool, _studio(runs) as (address, server), ExitStack() as stack:
        looking = _browsed(stack.enter_context(_chromium()), address) if look == "browser" else _subscribed(address)
        training = pool.submit(child, OURS, "studio.train", data=data, out=f"{runs}/run", stop=str(stop))
        stack.callback(stop.touch)
        rows = Path(runs, "run", "metrics.jsonl")
        while not (rows.is_file() and '"validation"' in rows.read_text()):  # the first epoch warms up
            if training.done():
                training.result()
            time.sleep(0.2)
        for pair in range(pairs):
            for looked in (True, False) if pair % 2 else (False, True):
                with looking() if looked else nullcontext():
                    time.sleep(SETTLE)
                    windows[looked].append(_measured(seconds, server))
        stop.touch()
        marks = training.result()["marks"]
    return {
        "with": [_rate(marks, window) for window in windows[True]],
        "without": [_rate(marks, window) for window in windows[False]],
        "server": [window.server for window in windows[True]],
        "chromium": [window.chromium for window in windows[True]],
    }


def _measured(seconds: float, server: int) -> _Window:
    before, begun = (_cpu([server]), _cpu(_browsers(os.getpid()))), time.perf_counter()
    time.sleep(seconds)
    ended = time.perf_counter()
    shares = [
        (now - then) / (ended - begun)
        for now, then in zip((_cpu([server]), _cpu(_browsers(os.getpid()))), before, strict=True)
    ]
    return _Window(begun, ended, *shares)


def _browsed(tab: Any, address: str) -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def looking() -> Iterator[None]:
        tab.goto(f"{address}#/watch?run=run")
        tab.wait_for_selector(".chart canvas")
        yield
        tab.goto("about:blank")

    return looking


def _subscribed(address: str) -> Callable[[], AbstractContextManager[None]]:
    from websockets.sync.client import connect

    @contextmanager
    def looking() -> Iterator[None]:
        with connect(address.replace("http", "ws") + "ws/live") as socket:
            socket.send(json.dumps({"runs": True, "curves": {"run": 0}}))
            reader = threading.Thread(target=lambda: list(socket))  # until it is closed
            reader.start()
            yield
        reader.join()

    return looking


def _rate(marks: list[tuple[int, int, float]], window: _Window) -> float:
    """Images per second in a window, of what goes on from row to row of metrics within an epoch."""
    images = seconds = 0.0
    for (step, epoch, begun), (next_step, next_epoch, ended) in itertools.pairwise(marks):
        inside = min(ended, window.ended) - max(begun, window.begun)
        if epoch == next_epoch and inside > 0:
            images += vae.BATCH * (next_step - step) * inside / (ended - begun)
            seconds += inside
    return images / seconds


def _cpu(processes: list[int]) -> float:
    """Seconds of CPU that processes have taken; only Linux tells, elsewhere 0."""
    ticks = 0
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def _browsers(process: int) -> list[int]:
    """The processes of Chromium among those that this one has started."""
    return [one for one in _family(process) if _named(one).startswith("chrom")]


def _named(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text()
    except OSError:
        return ""


def train(data: str, out: str, stop: str) -> dict[str, Any]:
    """Train until there is a file `stop`; returns the step, epoch and time of each row of metrics."""
    from contextlib import suppress

    from ganvas import train

    class StoppedError(Exception):
        pass

    epochs, marks = 10_000, []

    def report(step: int, steps: int, _: dict[str, float]) -> None:
        marks.append((step, (step - 1) // (steps // epochs), time.perf_counter()))
        if Path(stop).exists():
            raise StoppedError

    with suppress(StoppedError):
        train("vae", data=data, latent_dim=2, batch_size=vae.BATCH, epochs=epochs, out=out, report=report)
    return {"marks": marks}


if __name__ == "__main__":
    serve(write_decoders, write_many, write_long, drag, paint, stream, beside, train)
