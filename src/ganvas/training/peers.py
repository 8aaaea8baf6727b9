"""Processes that train together give signs of life to each other: one that is lost ends the others, which name it.

A collective has no limit of its own: a process that prepares a set, or writes, may take its time, and its thread goes
on giving signs. One that gives none was killed, or stopped, or its machine is gone: who waits for it waits forever.
"""

from __future__ import annotations

import atexit
import datetime
import functools
import hashlib
import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, ParamSpec, TypeVar

import torch
import torch.distributed as dist

from ganvas.ground.errors import UserError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

BEAT = 1.0  # seconds between two signs
SILENCE = 30.0  # seconds without one, after which a process is lost: GANVAS_SILENCE
BROKEN = 5.0  # the same where a connection has broken already
GRACE = 5.0  # after one has ended by an error, in which the others find the same one by themselves
ARRIVE = 300.0  # seconds in which all have to come
FOREVER = datetime.timedelta(days=7)
P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("ganvas")


class LostError(UserError):
    """A process that shared the training is gone.

    Attributes:
        aloud: whether this process is the one of its machine that says so.
    """

    aloud = True


class Meeting(NamedTuple):
    """What the processes of a launch have in common.

    Attributes:
        rank: this process's place.
        world: how many they are.
        store: keys and values that all see.
    """

    rank: int
    world: int
    store: Store


@functools.cache
def meet(backend: str) -> Meeting:
    """Wait for all processes that were launched together, and join them in a group that collectives run in.

    torch 2.13's launcher keeps one store over all its restarts, and `init_process_group` would find the addresses of
    those who are dead. So here process 0 draws a name for this start, and tells it to who asks now.

    Raises:
        UserError: not all of them have come.
    """
    from torch.distributed.rendezvous import rendezvous

    patience = datetime.timedelta(seconds=ARRIVE)
    missing = "the others"
    try:
        store, rank, world = next(rendezvous("env://", timeout=patience))
        others = set(range(1, world))
        if rank == 0:
            name, until = secrets.token_hex(8), time.monotonic() + ARRIVE
            while others:
                missing = ", ".join(map(str, sorted(others)))
                if time.monotonic() > until:
                    raise dist.DistStoreError("not there")
                for other in others:
                    if store.check([f"asks/{other}"]):
                        store.set(f"named/{store.get(f'asks/{other}').decode()}", name)
                others = {other for other in others if not store.check([f"{name}/here/{other}"])}
                time.sleep(0.02)
            store.set(f"{name}/all", "")
        else:
            missing, nonce = "process 0", secrets.token_hex(8)
            store.set(f"asks/{rank}", nonce)
            store.wait([f"named/{nonce}"], patience)
            name, missing = store.get(f"named/{nonce}").decode(), "all others"
            store.set(f"{name}/here/{rank}", "")
            store.wait([f"{name}/all"], patience)
        if not dist.is_initialized():
            own, *_ = next(rendezvous("env://", timeout=patience))
            own = dist.PrefixStore(f"{name}/group", own)  # type: ignore[attr-defined]
            dist.init_process_group(backend, store=own, rank=rank, world_size=world, timeout=FOREVER)
            atexit.register(_part)
    except dist.DistError as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ.get('MASTER_PORT')}"
        raise LostError(
            f"process {os.environ.get('RANK')} of {os.environ['WORLD_SIZE']} waited for {missing} at {where} and gave "
            f"up: start all of them within {ARRIVE:g} s, with an address that each machine reaches."
        ) from error
    return Meeting(rank, world, dist.PrefixStore(name, store))  # type: ignore[attr-defined]


def _part() -> None:
    """End the group while Python still runs.

    gloo's threads give back the tensors of the last collective, for which they need Python's lock. One that asks for it
    when Python has begun to end aborts the process (torch 2.13): so they get a moment without it.
    """
    if dist.is_initialized() and not _broke:
        dist.destroy_process_group()
        time.sleep(0.1)


class Life(NamedTuple):
    """A sign of life.

    Attributes:
        host: the machine's name.
        pid: the process's number there.
        step: of the training; None before the first.
        signs: that it has given.
        ended: the error that it has ended by; "" if it has left in peace; None while it is there.
    """

    host: str
    pid: int
    step: int | None
    signs: int
    ended: str | None


class Watcher:
    """Gives signs of life in one thread, and in another one looks for those of the others.

    Silence is counted in looks, not by a clock: a process that was stopped itself accuses nobody when it goes on.

    Args:
        meeting: where all see the signs.
        name: of this training, another one for each.
        silence: seconds.
    """

    def __init__(self, meeting: Meeting, name: str, silence: float) -> None:
        self.rank, self.world, self.silence = meeting.rank, meeting.world, silence
        self.store = dist.PrefixStore(name, meeting.store)  # type: ignore[attr-defined]
        self.step: int | None = None
        self.note: Callable[[str], str] = lambda message: ""  # gets the reason, gives the remedy
        self.seen: dict[int, Life] = {}
        self._quiet = dict.fromkeys((r for r in range(self.world) if r != self.rank), 0.0)
        self._deaf = 0.0  # seconds since the store has answered
        self._ended: str | None = None
        self._wake, self._over, self._found = threading.Event(), threading.Event(), threading.Event()
        self._asking, self._lost, self._lock = False, "", threading.Lock()
        self._threads = [
            threading.Thread(target=work, name=f"ganvas-{work.__name__}", daemon=True)
            for work in (self._live, self._look)
        ]
        for thread in self._threads:
            thread.start()

    def _live(self) -> None:
        signs = 0
        while True:
            signs, last = signs + 1, self._ended
            own = Life(socket.gethostname(), os.getpid(), self.step, signs, last)
            try:
                self.store.set(str(self.rank), json.dumps(own))
                if last is not None:
                    return
                there = [r for r in self._quiet if r in self.seen or self.store.check([str(r)])]
                for r, text in zip(there, self.store.multi_get(list(map(str, there))) if there else [], strict=True):
                    life = Life(*json.loads(text))
                    if life != self.seen.get(r):
                        self.seen[r], self._quiet[r] = life, 0.0
                self._deaf = 0.0
            except RuntimeError as error:  # what a store raises; `_look` sees that it does not answer
                log.debug("no answer: %s", error)
                if last is not None:
                    return
            self._wake.wait(min(BEAT, self.silence / 5))

    def _look(self) -> None:
        pause = min(BEAT, self.silence / 5)
        while not self._over.wait(pause):
            self._deaf += pause
            for r in self._quiet:
                self._quiet[r] += pause
            with self._lock:
                self._lost = self._lost or self._missed()
                if self._lost and self._asking:
                    self._found.set()
                    return
                if self._lost:
                    self._die()

    def _missed(self) -> str:
        """Who is lost, as a sentence; or ""."""
        limit = min(BROKEN, self.silence) if self._asking else self.silence
        if self._deaf > limit:
            address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            return (
                f"process 0 of {self.world}{self._of(0)}, and with it what tells of the others, at {address}, has not "
                f"answered for {limit:g} s: it was killed, or its machine is lost, or the way to it."
            )
        for r, quiet in self._quiet.items():
            life = self.seen.get(r)
            if life is None or life.ended == "":
                continue
            who = f"process {r} of {self.world}{self._of(r)}"
            if life.ended is not None and quiet > (0 if self._asking else GRACE):
                return f"{who} has ended: {life.ended}"
            if life.ended is None and quiet > limit and self._deaf < 3 * BEAT:
                return f"{who} has given no sign of life for {quiet:.0f} s: it was killed, or it hangs."
        return ""

    def _of(self, r: int) -> str:
        life = self.seen.get(r)
        if life is None:
            return ""
        when = "last seen before its first step" if life.step is None else f"last seen at step {life.step:,}"
        return f" (pid {life.pid} on {life.host}, {when})"

    def _aloud(self) -> bool:
        """Whether no process before this one says it on this machine."""
        here = socket.gethostname()
        quiet, limit = self._quiet, min(BROKEN, self.silence)
        before = [self.seen[r] for r in self.seen if r < self.rank and quiet[r] <= limit]
        return not any(life.host == here and life.ended is None for life in before)

    def _die(self) -> NoReturn:
        """End the process, whose main thread may wait in a collective from which nothing brings it back."""
        said = f"{self._lost} {self.note(self._lost)}".strip()
        if self._aloud():
            print(f"ganvas: {said}", file=sys.__stderr__, flush=True)
        os._exit(1)

    def explain(self, error: BaseException) -> BaseException:
        """What a broken connection comes of; any other error is returned as it is."""
        if isinstance(error, LostError) or not _broken(error):
            return error
        with self._lock:
            self._asking = True
        self._found.wait(self.silence + 4 * BEAT)
        line = str(error).strip().split("\n")[0]
        lost = self._lost or f"the connection to another process has broken, and none of them is lost: {line}"
        found = LostError(lost)
        found.aloud = self._aloud()
        return found

    def leave(self, ended: str) -> None:
        """Give the last sign: of an error, or ""."""
        with self._lock:
            self._over.set()
        self._ended = ended
        self._wake.set()
        for thread in self._threads:
            thread.join(4 * BEAT)


_watcher: Watcher | None = None
_trainings = 0
_broke = False  # a training has ended by an error: others may be gone, and parting would wait for them


def _broken(error: BaseException) -> bool:
    """Whether an error is of the connections of a group; gloo has no class of its own for it."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def silence() -> float:
    """Seconds without a sign of life after which a process is lost.

    Raises:
        UserError: GANVAS_SILENCE is no number above 0.
    """
    text = os.environ.get("GANVAS_SILENCE", "")
    try:
        seconds = float(text or SILENCE)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UserError(f"GANVAS_SILENCE={text}: it takes seconds above 0, in which a process gives no sign of life.")
    return seconds


def watch(where: torch.device) -> None:
    """Meet the processes that were launched with this one, if there are any, and watch them until the training ends."""
    global _watcher, _trainings
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "MASTER_ADDR" not in os.environ:
        return
    limit = silence()
    meeting = meet("nccl" if where.type == "cuda" else "gloo")
    if _watcher is None and _scopes:
        _trainings += 1
        _watcher = Watcher(meeting, f"life/{_trainings}", limit)


def at(step: int) -> None:
    """Say how far this process is."""
    if _watcher:
        _watcher.step = step


def on_loss(note: Callable[[str], str]) -> None:
    """What to do before the process ends because another one is lost: it gets the reason, and gives the remedy."""
    if _watcher:
        _watcher.note = note


def explained(error: BaseException) -> BaseException:
    """An error; or, in its place, the process whose loss has broken the connections."""
    return _watcher.explain(error) if _watcher else error


_scopes = 0


def watched(function: Callable[P, T]) -> Callable[P, T]:
    """Let a training that is shared end for all: those that `watch` looks at are told how this process ends."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        global _scopes, _broke
        _scopes += 1
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            why, _broke = explained(error), True
            _leave(str(why) or type(why).__name__)
            if why is error:
                raise
            raise why from error
        else:
            _leave("")
            return result
        finally:
            _scopes -= 1

    return call


def _leave(ended: str) -> None:
    global _watcher
    if _watcher and _scopes == 1:
        _watcher.leave(ended)
        _watcher = None


def remedy(path: Path) -> str:
    """How a run goes on that another process's loss has ended."""
    again = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) - int(
        os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    )
    if again > 0:
        return (
            f"The launcher may start all again, {again} time{'s' * (again > 1)}: they go on from the last checkpoint."
        )
    return f"Go on with `ganvas train --resume {path}`, launched as this was."


def launch() -> str | None:
    """What all starts of one launch have in common, in hex; None without `torchrun` or `accelerate launch`."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    if name is None:
        return None
    if name in ("", "none"):  # its default: then the launcher's own process tells them apart
        name = f"{socket.gethostname()} {os.getppid()}"
    return hashlib.sha256(name.encode()).hexdigest()[:16]
