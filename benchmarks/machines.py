"""Two processes as on two machines, one thread each, beside one process: images per second of the same global batch.

As root on Linux each process has a network namespace of its own, joined by a veth pair with an address at each end.
Without root both are on one machine's loopback. It takes two cores that nobody else uses.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from common import CACHE, ENVIRONMENT, HERE, OURS, Row, child, interleave, serve

BATCHES = (128, 512, 2048)
NAMES = ("ganvas-bench-a", "ganvas-bench-b")
ADDRESSES = ("10.213.77.1", "10.213.77.2")
PORT = 29577


def compare(quick: bool) -> list[Row]:
    """By turns two processes, and one alone with the whole batch and with half of it."""
    return list(rows(quick))


def rows(quick: bool) -> Iterator[Row]:
    """A row for each batch."""
    ENVIRONMENT.update(OMP_NUM_THREADS="1")  # of every child
    for batch in BATCHES:
        yield _row(batch, 0.5 if quick else 10.0, 1 if quick else 5)


def _row(batch: int, seconds: float, repeats: int) -> Row:
    def alone(size: int) -> dict[str, Any]:
        return child(OURS, "machines.rate", batch=size, seconds=seconds)

    with machines() as prefixes:
        both, one, half = interleave(
            repeats,
            lambda _: together(prefixes, batch, seconds),
            lambda _: alone(batch),
            lambda _: alone(batch // 2),
        )

    def milliseconds(sides: list[dict[str, Any]], name: str) -> float:
        return 1e3 * statistics.median(side[name] for side in sides)

    step, sent = milliseconds(both, "step"), milliseconds(both, "sent")
    return Row(
        f"VAE 784-500-500-20, a batch of {batch:,} shared by two processes "
        + ("in two network namespaces" if prefixes[0] else "over loopback"),
        "images/s",
        [batch / side["step"] for side in both],
        [batch / side["step"] for side in one],
        against="one process with one thread",
        aim="at least 1.8",
        note=f"a step of two takes {step:.1f} ms, of one with half the batch {milliseconds(half, 'step'):.1f} ms; the "
        f"all-reduce of {both[0]['bytes'] / 1e6:.1f} MB of gradients by itself {sent:.1f} ms, {sent / step:.0%} of it",
    )


@contextlib.contextmanager
def machines() -> Iterator[list[list[str]]]:
    """What stands before a command to run on either machine: a namespace, which is removed at the end, or nothing."""
    if not hasattr(os, "geteuid") or os.geteuid():
        yield [[], []]
        return
    ends = [name.removeprefix("ganvas-") for name in NAMES]
    try:
        for name in NAMES:
            _ip("netns", "add", name)
        _ip("link", "add", ends[0], "netns", NAMES[0], "type", "veth", "peer", "name", ends[1], "netns", NAMES[1])
        for name, end, address in zip(NAMES, ends, ADDRESSES, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            _ip("-n", name, "link", "set", end, "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield [
            ["ip", "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={end}"]
            for name, end in zip(NAMES, ends, strict=True)
        ]
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def together(prefixes: list[list[str]], batch: int, seconds: float) -> dict[str, Any]:
    """What `rate` returns in the first of two processes that share the batch."""
    master = ADDRESSES[0] if prefixes[0] else "127.0.0.1"
    launcher = [OURS, "-m", "torch.distributed.run", "--nnodes=2", f"--master-addr={master}", f"--master-port={PORT}"]
    work = [str(HERE / "machines.py"), "rate", json.dumps({"batch": batch, "seconds": seconds})]
    started = [
        subprocess.Popen(
            [*prefix, *launcher, f"--node-rank={place}", *work],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=CACHE,
            env=ENVIRONMENT,
        )
        for place, prefix in enumerate(prefixes)
    ]
    until = time.monotonic() + 60 + 10 * seconds
    while any(process.poll() is None for process in started):
        if time.monotonic() > until or any(process.poll() for process in started):
            for process in started:
                process.kill()  # a launcher waits for the other one for 5 minutes, SIGTERM or not
        time.sleep(0.1)
    ended = [process.communicate() for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"machines.rate failed:\n{ended[0][1][-3000:]}\n{ended[1][1][-3000:]}")
    answer: dict[str, Any] = json.loads(ended[0][0].splitlines()[-1])
    return answer


def rate(batch: int, seconds: float) -> dict[str, Any]:
    """Seconds of a step, and of an all-reduce of as many bytes as the gradients are, with nothing else to do."""
    import dataclasses

    import numpy as np
    import torch
    import torch.distributed as dist

    from ganvas.data import load
    from ganvas.recipes import RECIPES
    from ganvas.training.engine import make_accelerator, on_main
    from ganvas.training.game import Game, make_model

    cpu = torch.device("cpu")
    accelerator = make_accelerator(cpu)
    data = load(np.random.default_rng(0).integers(0, 2, (20_000, 28, 28), dtype=np.uint8) * np.uint8(255))
    made = RECIPES["vae"](latent_dim=20, likelihood="bernoulli", net="mlp", fit=0)
    made = dataclasses.replace(made, training=dataclasses.replace(made.training, batch_size=batch))
    game = Game(make_model(made, data, cpu), made, data, accelerator)
    game.model.train()

    def timed(work: Any, budget: float) -> float:
        """Seconds of each call; by one clock, so that all stop at one call."""
        for _ in range(3):
            work()
        began, n = on_main(accelerator, time.perf_counter), 0
        while (spent := on_main(accelerator, time.perf_counter) - began) < budget or n == 0:
            for _ in range(10):
                work()
            n += 10
        return spent / n

    gradients = torch.zeros(sum(p.numel() for p in game.model.parameters() if p.requires_grad))
    step = timed(game.play, seconds)
    sent = timed(lambda: dist.all_reduce(gradients), seconds / 5) if game.world > 1 else 0.0
    return {"step": step, "sent": sent, "bytes": 4 * len(gradients)}


def main() -> None:
    """`python benchmarks/machines.py [--quick]` prints its rows alone."""
    CACHE.mkdir(exist_ok=True)
    for row in rows("--quick" in sys.argv):
        print(" | ".join(row.cells({})), row.note, sep="\n    ", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["rate"]:
        serve(rate)
    else:
        main()
