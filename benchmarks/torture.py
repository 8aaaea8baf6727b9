"""Runs are killed, damaged, moved and starved of room: is anything lost, is everything answered in words?

    python benchmarks/torture.py                  # the long one, two hours: results/torture.json, docs/reliability.md
    python benchmarks/torture.py --short          # a minute, for CI; nothing is written
    python benchmarks/torture.py kills --seed 3   # some of its parts, by name, into the same files

Each try is drawn from the seed. A part is a function that yields its tries: None, or what went wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import io
import json
import math
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import ganvas
from ganvas.cli import main
from ganvas.data import load, store
from ganvas.ground import files, tensors
from ganvas.ground.errors import UserError
from ganvas.training import checkpoint, loop
from ganvas.training.run import Run
from ganvas.training.run import load as load_model

HERE = Path(__file__).resolve().parent
RESULTS, DOCS = HERE.parent / "results" / "torture.json", HERE.parent / "docs" / "reliability.md"
PATIENCE = 120  # seconds after which an answer is none
IMAGES = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)
TINY: dict[str, Any] = {"data": IMAGES, "epochs": 10, "batch_size": 12, "device": "cpu"}
RECIPES: dict[str, dict[str, Any]] = {
    "vae": {"hidden": (12,), "latent_dim": 2, "patience": 3, "lr": 0.02},
    "autoencoder": {"latent_dim": 2},
    "denoising-autoencoder": {"latent_dim": 2, "snapshots": 3},
    "gan": {"hidden": (12,), "ema": 0.9},
    "dcgan": {"size": 16, "filters": 2, "epochs": 3},
    "wgan": {"generator": "mlp", "critic": "mlp", "epochs": 3},
}
LONG_RUN = {"epochs": 4000, "patience": None}
Tries = Iterator[str | None]


@dataclasses.dataclass(frozen=True)
class Scale:
    """How long each part takes."""

    kills: int
    mutations: int
    others: int


SHORT, LONG = Scale(kills=6, mutations=40, others=2), Scale(kills=100, mutations=1000, others=12)


def forked(function: Callable[[], Any]) -> int:
    """The number of a child that calls a function, silently; it ends with 0, or with 1 after an error."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        with Path(os.devnull).open("w") as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
        function()
        status = 0
    finally:
        os._exit(status)


def ended(child: int, seconds: float = math.inf) -> int | None:
    """How a child ended, in so many seconds; None: it goes on."""
    end = time.monotonic() + seconds
    while True:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.002)


def killed(function: Callable[[], Any], after: float) -> bool:
    """Whether a child that calls a function had to be killed, so many seconds after it began."""
    child = forked(function)
    if ended(child, after) is not None:
        return False
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def seconds_of(function: Callable[[], Any]) -> float:
    """What a child takes that calls a function."""
    began = time.monotonic()
    if ended(forked(function), PATIENCE) != 0:
        raise SystemExit(f"torture: {function} does not work at all")
    return time.monotonic() - began


def content(run: Path) -> dict[str, Any]:
    """All that two equal runs have in common."""
    it, newest = Run(run), Run(run).checkpoint
    assert newest
    moving, facts = checkpoint.load(newest)
    weights, _ = tensors.load(run / "model" / "model.safetensors")
    rows = [{k: v for k, v in row.items() if k != "images_per_second"} for row in it.metrics if row["split"] != "watch"]
    return {
        "weights": {name: t.numpy().tobytes() for name, t in {**moving, **weights}.items()},
        "facts": dataclasses.replace(facts, seconds=0.0),
        "rows": [json.dumps(row, sort_keys=True) for row in rows],
        "state": {name: value for name, value in it.state.items() if name != "seconds"},
        "files": sorted(
            str(path.relative_to(run))
            for path in run.rglob("*")
            # When the checkpoint before the last one was written depends on the time.
            if path.is_file() and (path.suffix != ".safetensors" or path == newest or path.name[:4] != "step")
        ),
    }


def different(whole: dict[str, Any], broken: dict[str, Any]) -> str | None:
    """What of a broken run is not as in the whole one."""
    wrong = [name for name, value in whole.items() if broken[name] != value]
    for name in {"files", "rows"}.intersection(wrong):
        lines = set(whole[name]) ^ set(broken[name])
        wrong += [f"{'not' if line in whole[name] else 'only'} in the broken one: {line}" for line in sorted(lines)][:6]
    return f"differ: {', '.join(wrong)}" if wrong else None


# ---- the parts ----


def go_on(recipe: str, out: Path) -> None:
    """Begin a run, or continue it."""
    if (out / "recipe.json").exists():
        ganvas.resume(out)
    else:
        ganvas.train(recipe, out=out, **{**TINY, **RECIPES[recipe]})


def kills(folder: Path, scale: Scale, moments: random.Random) -> Tries:
    """SIGKILL in a training, at a random moment, and again in what continues it: it ends as an unbroken one."""
    loop.CHECKPOINT_SECONDS = 0.02
    took = {recipe: seconds_of(partial(go_on, recipe, folder / recipe)) for recipe in RECIPES}
    done = 0
    while done < scale.kills:
        for recipe in RECIPES:
            out, began = folder / f"{recipe}-{done}", done
            while done < scale.kills and done - began < 4:
                if not killed(partial(go_on, recipe, out), 0.9 * took[recipe] * moments.random()):
                    break
                done += 1
            if done == began:
                continue
            wrong = words(partial(load_model, out)) if (out / "recipe.json").exists() else None
            if not wrong and ended(forked(partial(go_on, recipe, out)), PATIENCE) != 0:
                wrong = "it can't be continued"
            wrong = wrong or different(content(folder / recipe), content(out))
            for kill in range(began, done):
                yield f"{recipe}: {wrong}" if wrong and kill == done - 1 else None
            shutil.rmtree(out, ignore_errors=True)


def killed_verbs(folder: Path, scale: Scale, moments: random.Random) -> Tries:
    """SIGKILL in evaluate, export, encode, fit-prior, and while a cache is built: done again, it gives the same."""
    run, images = folder / "run", folder / "images"
    ganvas.train("vae", out=run, **{**TINY, **RECIPES["vae"]})
    images.mkdir()
    from PIL import Image

    for i in range(300):
        pixels = np.random.default_rng(i).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{i}.png")

    def build() -> None:
        load(images, size=8, progress=False)

    def verb(*words: str) -> Callable[[], None]:
        def call() -> None:
            if main(list(words)):
                raise SystemExit(1)

        return call

    cases: dict[str, tuple[Callable[[], None], Callable[[], Any]]] = {
        "evaluate": (verb("evaluate", str(run), "-n", "50", "--metrics", "elbo"), lambda: _figures(run)),
        "export": (
            verb("export", str(run), "--onnx", "--out", str(folder / "onnx")),
            lambda: {path.name: path.read_bytes() for path in sorted((folder / "onnx").rglob("*.onnx"))},
        ),
        "encode": (
            verb("encode", str(run), "--out", str(folder / "codes.csv")),
            lambda: (folder / "codes.csv").read_bytes(),
        ),
        "cache": (build, lambda: load(images, size=8, progress=False).fingerprint),
    }
    for name, (call, result) in cases.items():
        took, whole = seconds_of(call), result()
        for _ in range(scale.others):
            if name == "cache":
                shutil.rmtree(store.root() / "sets")
                shutil.rmtree(store.root() / "index")
            killed(call, took * moments.random())
            wrong = words(result)  # what is there in the meantime is whole, or is not there
            if ended(forked(call), PATIENCE) != 0:
                wrong = f"{name}: it does not work any more"
            yield wrong or (None if result() == whole else f"{name}: it gives something else")
            left = list(run.rglob(".*.part")) + (list((store.root() / "building").iterdir()) if name == "cache" else [])
            yield f"{name}: {left[0]} is left" if left else None


def _figures(run: Path) -> list[tuple[str, float]]:
    from ganvas.evaluate.record import read

    return [(figure.name, figure.value) for record in read(run) for figure in record.figures]


def damaged(folder: Path, scale: Scale, moments: random.Random) -> Tries:
    """A file of a run is cut, flipped, of another type, a link, a folder: each verb answers as ever or in words."""
    good = folder / "good"
    ganvas.train("vae", out=good, snapshots=1, **{**TINY, **RECIPES["vae"], "epochs": 4})
    if main(["evaluate", str(good), "-n", "50", "--metrics", "elbo"]):
        raise SystemExit("torture: evaluate does not work at all")
    own = sorted(path.relative_to(good) for path in good.rglob("*") if path.is_file() and path.suffix != ".png")
    shelf = folder / "shelf"
    shutil.copytree(good, shelf / "good")
    for number in range(scale.mutations):
        run = shelf / "bad"
        shutil.copytree(good, run)
        file = run / moments.choice(own)
        how = damage(file, moments)
        said = f"{number}: {file.relative_to(run)} {how}"
        wrong = None
        for words_of in moments.sample(VERBS, 3):
            line = [word.replace("RUN", str(run)).replace("OUT", str(folder / "out")) for word in words_of]
            wrong = wrong or answered(line)
        wrong = wrong or words(lambda run=run: repr(Run(run)) + str(Run(run).findings) + str(Run(run).history))
        wrong = wrong or shown(shelf)
        yield f"{said}: {wrong}" if wrong else None
        shutil.rmtree(run)


VERBS = [
    ["show", "RUN"],
    ["diagnose", "RUN"],
    ["diagnose", "RUN", "--json"],
    ["sample", "RUN", "-n", "4"],
    ["reconstruct", "RUN", "-n", "4"],
    ["encode", "RUN", "--out", "OUT.npz"],
    ["evaluate", "RUN", "-n", "20", "--metrics", "elbo"],
    ["compare", "RUN"],
    ["neighbours", "RUN", "-n", "2"],
    ["interpolate", "RUN", "-n", "2", "--steps", "3"],
    ["fit-prior", "RUN", "--components", "2"],
    ["train", "--resume", "RUN"],
    ["train", "--resume", "RUN", "--epochs", "5"],
]
WRONG: list[Any] = [
    *(None, True, -1, 0, 2**70, 1.5, math.nan, math.inf, "", "x", "\ud800", "../../..", [], {}, [[]], {"kind": "vae"}),
    *([1] * 50, {"": 0}, "a" * 5000),
]


def damage(file: Path, moments: random.Random) -> str:
    """Damage a file of a run; what was done."""
    content, kind = file.read_bytes(), moments.choice(KINDS)
    place = moments.randrange(max(1, len(content)))
    if kind == "cut":
        file.write_bytes(content[:place])
    elif kind == "flipped":
        changed = bytearray(content or b"x")
        for _ in range(moments.choice([1, 1, 5, 100])):
            changed[moments.randrange(len(changed))] ^= 1 << moments.randrange(8)
        file.write_bytes(changed)
    elif kind == "zeros":
        file.write_bytes(content[:place] + bytes(len(content) - place))
    elif kind == "other":
        file.write_bytes(moments.choice([b"", b"\xff\xfe", b"null", b"[]", b"{}", b"3", b"[" * 100_000, b"\0\n" * 9]))
    elif kind == "gone":
        file.unlink()
    elif kind in ("folder", "link"):
        file.unlink()
        file.mkdir() if kind == "folder" else file.symlink_to("/nowhere")
    elif file.suffix in (".json", ".jsonl"):
        lines = content.decode().splitlines() if file.suffix == ".jsonl" else [content.decode()]
        line = moments.randrange(len(lines))
        value = json.loads(lines[line])
        where = change(value, moments)
        lines[line] = json.dumps(value)
        file.write_text("\n".join(lines) + "\n")
        return where
    else:
        file.write_bytes(moments.randbytes(len(content)))
        kind = "random bytes"
    return kind


KINDS = ["value", "value", "value", "value", "cut", "flipped", "flipped", "zeros", "other", "gone", "folder", "link"]


def change(value: Any, moments: random.Random) -> str:
    """Put something wrong somewhere into a JSON value; what was done."""
    places = list(_places(value))
    if not places:
        return "nothing in it to change"
    holder, key = moments.choice(places)
    if moments.random() < 0.2:
        del holder[key]
        return f"without {key}"
    holder[key] = moments.choice(WRONG)
    return f"{key}: {holder[key]!r:.40}"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


class HangsError(BaseException):
    """No answer in time."""


def _hangs(*_: Any) -> None:
    raise HangsError


def words(function: Callable[[], Any]) -> str | None:
    """What is wrong with how a call answers: it may return, or refuse in a few lines."""
    signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(PATIENCE)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            function()
    except UserError as error:
        text = str(error)
        return f"{len(text)} letters: {text[:300]}" if len(text) > 1500 or text.count("\n") > 6 else None
    except HangsError:
        return "it hangs"
    except (SystemExit, Exception) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]} ({Path(place.filename).name}:{place.lineno})"
    finally:
        signal.alarm(0)
    return None


def answered(line: list[str]) -> str | None:
    """What is wrong with how a command answers."""
    out = io.StringIO()

    def call() -> None:
        with contextlib.redirect_stderr(out):
            main(line)

    wrong = words(call)
    if not wrong and "Traceback" in out.getvalue():
        wrong = f"a traceback: {out.getvalue()[-300:]}"
    return f"{' '.join(line[:3])}: {wrong}" if wrong else None


def shown(shelf: Path) -> str | None:
    """What is wrong with the studio's list of a folder with a good and a bad run in it."""
    from ganvas.studio.shelf import Shelf

    def look() -> None:
        found = Shelf(shelf).summaries()
        assert found["good"]["ok"], "the good run is not shown"
        json.dumps(list(found.values()), allow_nan=False).encode()
        for run in found:
            with contextlib.suppress(UserError):
                Shelf(shelf).detail(run)

    return words(look)


@contextlib.contextmanager
def room_for(writes: int) -> Iterator[None]:
    """A disk that takes so many files more."""
    left, before = [writes], files.writing

    @contextlib.contextmanager
    def writing(path: Path) -> Iterator[None]:
        with before(path):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield

    files.writing = writing
    try:
        yield
    finally:
        files.writing = before


def rooms(folder: Path, scale: Scale, moments: random.Random) -> Tries:
    """A disk that is full at a random moment: it is said, and with more room the run goes on as an unbroken one."""
    for number in range(scale.others):
        recipe = list(RECIPES)[number % len(RECIPES)]
        whole, out = folder / recipe, folder / "out"
        if not whole.exists():
            go_on(recipe, whole)
        said = "nothing"
        with room_for(moments.randrange(3, 10)):  # every run writes more files than that
            said = words(partial(go_on, recipe, out)) or "words"
        if said != "words" or Run(out).state["state"] not in ("new", "interrupted"):
            yield f"{recipe}: {said}, {Run(out).state}"
        else:
            ganvas.resume(out)
            yield different(content(whole), content(out))
        shutil.rmtree(out)


def moves(folder: Path, scale: Scale, moments: random.Random) -> Tries:
    """The folder is renamed while it is trained, or deleted: it is followed, or the training ends in words."""
    settings = {**TINY, **RECIPES["vae"], "patience": None, "epochs": 12}
    whole, old, new = folder / "whole", folder / "old", folder / "new"
    ganvas.train("vae", out=whole, **settings)

    def move(at: int, delete: bool, step: int, steps: int, _: Any) -> None:
        if step >= at * steps / 12 and old.exists() and not new.exists():
            shutil.rmtree(old) if delete else old.rename(new)

    for number in range(scale.others):
        delete = number % 3 == 2
        report = partial(move, moments.randrange(1, 10), delete)
        wrong = words(partial(ganvas.train, "vae", out=old, report=report, **settings))
        if not wrong and delete:
            wrong = "it was made again" if old.exists() or new.exists() else None
        elif not wrong:
            wrong = "the old name is back" if old.exists() else different(content(whole), content(new))
        yield wrong
        shutil.rmtree(new, ignore_errors=True)


def clocks(folder: Path, scale: Scale, moments: random.Random) -> Tries:
    """Files dated in the past or the future, of a run that was killed: it is interrupted, and goes on."""
    from ganvas.studio.shelf import Shelf

    for number in range(scale.others):
        run = folder / "runs" / "run"
        killed(partial(ganvas.train, "vae", out=run, **{**TINY, **RECIPES["vae"], **LONG_RUN}), 1.5)
        at = time.time() + moments.choice([-1, 1]) * 10 ** moments.uniform(1, 9)
        for path in run.rglob("*"):
            os.utime(path, (at, at))
        states = {Run(run).state["state"], Shelf(folder / "runs").summaries()["run"]["state"]}
        yield None if states <= {"interrupted", "new"} else f"{number}: dated {at - time.time():+.0f} s it is {states}"
        shutil.rmtree(run)


def slow_disks(folder: Path, scale: Scale, moments: random.Random) -> Tries:
    """A disk that takes up to a third of a second for each file, and a kill meanwhile: as an unbroken run."""
    loop.CHECKPOINT_SECONDS, sync = 0.02, os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(moments.random() / 3)
        sync(descriptor)

    go_on("vae", folder / "whole")
    for _ in range(scale.others):
        os.fsync = slow
        try:
            killed(partial(go_on, "vae", folder / "out"), 1 + 3 * moments.random())
        finally:
            os.fsync = sync
        go_on("vae", folder / "out")
        yield different(content(folder / "whole"), content(folder / "out"))
        shutil.rmtree(folder / "out")


SERVER = """
import sys
from pathlib import Path
from ganvas.studio import app
app.PAGE = Path(sys.argv.pop(1))
from ganvas.cli import main
sys.exit(main(sys.argv[1:]))
"""


@contextlib.contextmanager
def studio(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """The studio of a folder in a process of its own, its port, and the lines that it prints to stderr."""
    page = folder.parent / "page"
    page.mkdir(exist_ok=True)
    (page / "index.html").write_text("the page")
    command = [sys.executable, "-c", SERVER, str(page), "studio", str(folder), "--port", "0", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout and server.stderr
    port, said = int(server.stdout.readline().split(":")[-1].strip("/\n ")), []
    threading.Thread(target=lambda: said.extend(server.stderr or ()), daemon=True).start()
    try:
        yield server, port, said
    finally:
        server.kill()
        server.wait()


def asked(port: int, path: str, most: float = PATIENCE) -> tuple[int, float]:
    """The status of an answer, and the seconds that it took."""
    began = time.monotonic()
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=most)) as line:
        line.request("GET", path)
        answer = line.getresponse()
        answer.read()
        return answer.status, time.monotonic() - began


def studios(folder: Path, scale: Scale, moments: random.Random) -> Tries:
    """The studio is killed, and ended while it is asked for models of good and damaged runs: then it starts anew."""
    runs = folder / "runs"
    go_on("vae", runs / "good")
    own = sorted(path.relative_to(runs / "good") for path in (runs / "good").rglob("*") if path.suffix != ".png")
    own = [path for path in own if (runs / "good" / path).is_file()]
    for number in range(scale.others):
        shutil.copytree(runs / "good", runs / "bad")
        how = damage(runs / "bad" / moments.choice(own), moments)
        os.mkfifo(runs / "bad" / "pipe")
        with studio(runs) as (server, port, said):
            good = [asked(port, path)[0] for path in ("/api/runs", "/api/run?run=good", "/api/space?run=good")]
            bad = [asked(port, f"/api/{what}?run=bad")[0] for what in ("run", "space", "atlas", "curves")]
            wrong = None
            if good != [200, 200, 200] or 500 in bad or any("Traceback" in line for line in said):
                wrong = f"{how}: {good} {bad} {said[:3]}"
            number_of_signal = signal.SIGKILL if number % 2 else signal.SIGTERM
            began = time.monotonic()
            server.send_signal(number_of_signal)
            server.wait(PATIENCE)
            if time.monotonic() - began > 4:
                wrong = wrong or f"it took {time.monotonic() - began:.1f} s to end"
        yield wrong
        shutil.rmtree(runs / "bad")


def crowds(folder: Path, scale: Scale, moments: random.Random) -> Tries:
    """300 slow clients and a flood of new ones: a good one's pictures come in under 50 ms (median)."""
    go_on("vae", folder / "runs" / "good")
    with studio(folder / "runs") as (_, port, said):
        for _ in range(scale.others):
            slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
            end, took = time.monotonic() + 5, []
            while time.monotonic() < end:
                for line in moments.sample(slow, 30):
                    with contextlib.suppress(OSError):
                        line.sendall(moments.choice([b"G", b"GET / HTTP/1.1\r\n", b"\xff\0", b"X: y\r\n"]))
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    pass
                took.append(asked(port, "/api/run?run=good")[1])
            for line in slow:
                line.close()
            median = statistics.median(took)
            wrong = f"{1000 * median:.0f} ms" if median > 0.05 else None
            yield wrong or ("a traceback" if any("Traceback" in line for line in said) else None)


PARTS = (kills, killed_verbs, damaged, rooms, slow_disks, moves, clocks, studios, crowds)


def run_part(part: Callable[..., Tries], scale: Scale, seed: int) -> dict[str, Any]:
    """Its tries and what went wrong."""
    began, tried, wrong = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory() as name:
        os.environ["GANVAS_CACHE"] = str(Path(name) / "cache")
        (folder := Path(name) / "torture").mkdir()
        for outcome in part(folder, scale, random.Random(seed)):
            tried += 1
            if outcome:
                wrong.append(outcome)
                print(f"  {part.__name__}: {outcome}", flush=True)
    seconds = round(time.monotonic() - began)
    print(f"{part.__name__}: {tried - len(wrong)} of {tried}, {seconds} s", flush=True)
    about = " ".join((part.__doc__ or "").split())
    return {"part": part.__name__, "what": about, "tried": tried, "wrong": wrong, "seconds": seconds}


def written(row: dict[str, Any], seed: int) -> None:
    """The results, beside those of other parts, and the table in the docs."""
    commit = subprocess.check_output(["git", "rev-parse", "--short=12", "HEAD"], cwd=HERE, text=True).strip()
    about = {"seed": seed, "commit": commit, "date": time.strftime("%Y-%m-%d"), "torch": torch.__version__}
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found[row["part"]] = {**row, **about}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    table = ["| what | held | minutes | commit |", "|---|---|---|---|"]
    for part in PARTS:
        if one := found.get(part.__name__):
            held = f"{one['tried'] - len(one['wrong']):,} of {one['tried']:,}"
            table.append(f"| {one['what']} | {held} | {one['seconds'] / 60:.0f} | {one['commit']}, {one['date']} |")
    before, _, rest = DOCS.read_text().partition("<!-- torture -->\n")
    after = rest.partition("<!-- /torture -->")[2]
    DOCS.write_text(before + "<!-- torture -->\n" + "\n".join(table) + "\n<!-- /torture -->" + after)


def torture() -> int:
    """Run the parts; returns the exit status, 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {part.__name__: part for part in PARTS}
    parser.add_argument("parts", nargs="*", help=", ".join(names))
    parser.add_argument("--short", action="store_true", help="a minute")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scale = SHORT if arguments.short else LONG
    wrong = False
    for name in arguments.parts or names:
        row = run_part(names[name], scale, arguments.seed)
        wrong = wrong or bool(row["wrong"])
        if not arguments.short:
            written(row, arguments.seed)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(torture())
