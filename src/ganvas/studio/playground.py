"""Trainings to play with: one a connection, in a process of its own that ends with the connection.

It has one core and low priority.

    page  <-- WebSocket /ws/play -->  server  <-- pipes -->  process (`ganvas.studio.games`)

The page sends JSON; all but `seen` counts as interest, and after ten minutes without any the process is ended:

    {"settings": {"kind": "line" | "plane", ...}}   begin, or change what can be changed while it goes
    {"settings": {...}, "again": true}              begin again
    {"run": bool}, {"steps": n}                     go on, pause; play so many steps
    {"seen": true}                                  the last picture is drawn: send another

It gets text, {"options": {...}} once, {"error": "..."} where settings are refused or a training breaks (nothing is
played then), {"ended": "..."} as the last word; and binary pictures, little endian:

    uint32 length, JSON of that length, arrays one after another at multiples of 4 bytes

Its "arrays" are [[type, shape], ...], type "float32" or "uint8"; "scene" is true of a picture of what stays as it is,
which comes first, and after each new start; see `ganvas.studio.games` for the rest. A picture is sent only when the one
before was seen, at most 20 a second; without anybody who sees them the game rests.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import IO, TYPE_CHECKING, Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ganvas.ground.errors import UserError

if TYPE_CHECKING:
    import numpy as np

MOST = 2  # trainings at once
INTEREST = 600.0  # seconds without a word from the page before a training is ended
START = 120.0  # more of them for the process's first word
LARGEST = 8192  # bytes of a message
PAUSE = 1 / 20  # seconds from a picture to the next, at least
MOST_STEPS = 10_000  # that can be asked for at once
NICE = 5  # a training beside it comes first, but a game that somebody watches must still move
UNSEEN = 1.0  # seconds for which a game goes on while a picture is not seen
TEXT, BINARY = 0, 1
HEAD = struct.Struct("<BI")  # kind and length of what the process writes

BUSY = f"{MOST} trainings run already, and more would slow down all: close another playground, then start again."
BORED = f"nobody has touched it for {INTEREST / 60:.0f} minutes, so the training has ended: start it again."
BROKEN = "the training's process has ended by itself: start it again. The server's terminal says more."


# ---- the server ----

_running: set[Process] = set()
_starting = 0


async def play(socket: WebSocket) -> None:
    """A connection's training, from its first word to its last."""
    await socket.accept()
    if len(_running) + _starting >= MOST:
        await _last_word(socket, BUSY)
        return
    async with await _start() as child:
        _running.add(child)
        try:
            await _last_word(socket, await _converse(socket, child))
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            _running.discard(child)
            with anyio.CancelScope(shield=True):
                assert child.stdout
                async for _ in child.stdout:  # to its end, so that the pipe is closed
                    pass


ROUTES = [WebSocketRoute("/ws/play", play)]


def end() -> None:
    """End all processes; they would end by themselves, too, when nobody holds their pipes."""
    for child in list(_running):
        with contextlib.suppress(ProcessLookupError):
            child.kill()


async def _start() -> Process:
    global _starting
    _starting += 1
    try:
        return await anyio.open_process(
            [sys.executable, "-m", "ganvas.studio.playground"],
            stderr=None,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # a Ctrl-C is the server's; it ends its processes
        )
    finally:
        _starting -= 1


async def _last_word(socket: WebSocket, word: str | None) -> None:
    """Say why, if there is anybody to hear it, and close."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        if word:
            await socket.send_text(json.dumps({"ended": word}))
            await socket.close()


async def _converse(socket: WebSocket, child: Process) -> str | None:
    """Pass words to and fro until one side is done; the last word for the page, None if it went away."""
    assert child.stdin and child.stdout
    to, of = child.stdin, BufferedByteReceiveStream(child.stdout)
    heard = time.monotonic() + START
    last: str | None = None

    async def pass_on() -> str | None:
        nonlocal heard
        while (message := await socket.receive())["type"] == "websocket.receive":
            try:
                words = _words(message)
            except UserError as error:
                await socket.send_text(json.dumps({"error": str(error)}))
                continue
            if "seen" not in words:
                heard = time.monotonic()
            await to.send(json.dumps(words).encode() + b"\n")
        return None

    async def bring_back() -> str | None:
        nonlocal heard
        started = False
        while True:
            kind, length = HEAD.unpack(await of.receive_exactly(HEAD.size))
            content = await of.receive_exactly(length)
            if not started:  # until then the page could but wait
                started, heard = True, time.monotonic()
            await (socket.send_text(content.decode()) if kind == TEXT else socket.send_bytes(content))

    async def wait_for_interest() -> str | None:
        while (rest := heard + INTEREST - time.monotonic()) > 0:
            await anyio.sleep(min(rest, 1.0))  # what is heard first takes the time to start off again
        return BORED

    async with anyio.create_task_group() as group:

        async def first(part: Callable[[], Awaitable[str | None]]) -> None:
            nonlocal last
            try:
                last = await part()
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                last = BROKEN
            except (WebSocketDisconnect, RuntimeError):  # the page went away while something was sent to it
                last = None
            group.cancel_scope.cancel()

        for part in (pass_on, bring_back, wait_for_interest):
            group.start_soon(first, part)
    return last


def _words(message: Any) -> dict[str, Any]:
    """What a page said.

    Raises:
        UserError: it is no JSON object of at most 8 KiB.
    """
    text = message.get("text") or ""
    if len(text) > LARGEST:
        raise UserError(f"a message of {len(text)} characters: at most {LARGEST} are taken.")
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, dict):
        raise UserError("a message that is no JSON object.")
    return words


# ---- the process ----


def main() -> None:
    """Read words, play, write pictures, until the server closes the pipe or dies."""
    words: queue.Queue[dict[str, Any]] = queue.Queue(100)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints goes to the server's terminal, not among the pictures
    threading.Thread(target=_listen, args=(sys.stdin.buffer, words), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICE)
    import torch

    torch.set_num_threads(1)
    from ganvas.studio.games import options

    player = Player(output)
    player.say({"options": options()})
    while True:
        with contextlib.suppress(queue.Empty):
            while True:  # all that was said meanwhile; if there is nothing to play, wait for more
                player.hear(words.get(timeout=player.idle()))
        player.go_on()


def _listen(source: IO[bytes], words: queue.Queue[dict[str, Any]]) -> None:
    """Lines into the queue. Its end is the process's, whatever else that is doing: nothing is left behind."""
    for line in source:
        words.put(json.loads(line))
    os._exit(0)


class Player:
    """The game that is on, and what the page has seen of it.

    Args:
        output: where to write.
    """

    def __init__(self, output: IO[bytes]) -> None:
        self.output = output
        self.stage: Any = None
        self.running, self.steps = False, 0
        self.seen, self.stale = True, False
        self.shown, self.cost = 0.0, 0.0  # when the last picture was sent, and the seconds that it took
        self.speed = 0.0
        self.parts: dict[str, float] = {}

    def hear(self, words: dict[str, Any]) -> None:
        """Do what the page says."""
        try:
            if "settings" in words:
                self.settle(words["settings"], bool(words.get("again")))
            if "run" in words:
                self.running = bool(words["run"])
            if "steps" in words:
                self.steps = min(MOST_STEPS, int(words["steps"]))
            if "seen" in words:
                self.seen = True
        except (TypeError, ValueError, ArithmeticError) as error:  # a UserError is a ValueError
            self.say({"error": str(error)})

    def settle(self, values: dict[str, Any], again: bool) -> None:
        """New settings: into the game that is on, or into a new one."""
        from ganvas.studio.games import GAMES

        before, self.stage = self.stage, None  # of settings that are refused nothing is played
        settings = GAMES.parse(values)
        if before and not again and type(settings) is type(before.it) and before.change(settings):
            self.stage = before
        else:
            self.stage = settings.start()
            self.parts, self.speed = {}, 0.0
            self.picture(self.stage.scene(), scene=True)
        self.stale = True

    @property
    def playing(self) -> bool:
        """Whether a step is due: asked for, and somebody looks."""
        wanted = self.stage is not None and (self.running or self.steps > 0)
        return wanted and (self.seen or time.monotonic() - self.shown < UNSEEN)

    def idle(self) -> float | None:
        """Seconds in which there is nothing to do but to listen; None: for ever."""
        if self.playing:
            return 0.0
        return max(0.001, self.due - time.monotonic()) if self.stale and self.seen and self.stage else None

    @property
    def due(self) -> float:
        """When the next picture may go out: pictures take at most half of the time."""
        return self.shown + max(PAUSE, 2 * self.cost)

    def go_on(self) -> None:
        """A step, and a picture if one is due."""
        try:
            if self.playing:
                began = time.monotonic()
                self.parts = self.stage.play()
                self.steps, self.stale = max(0, self.steps - 1), True
                took = time.monotonic() - began
                self.speed += (1 / max(took, 1e-6) - self.speed) * (0.05 if self.speed else 1)
            if self.stage and self.stale and self.seen and time.monotonic() >= self.due:
                self.shown = time.monotonic()
                self.picture(self.stage.frame())
                self.cost = time.monotonic() - self.shown
                self.seen = self.stale = False
        except UserError as error:
            self.stage, self.running, self.steps = None, False, 0
            self.say({"error": str(error)})

    def picture(self, made: tuple[dict[str, Any], list[np.ndarray[Any, Any]]], scene: bool = False) -> None:
        """Write facts and arrays."""
        facts, arrays = made
        state = {"step": self.stage.step, "speed": round(self.speed, 1), "losses": self.parts, "scene": scene}
        about = {"arrays": [[str(array.dtype), array.shape] for array in arrays]}
        text = json.dumps({**state, **facts, **about}).encode()
        text += b" " * (-len(text) % 4)
        parts = [struct.pack("<I", len(text)), text]
        for array in arrays:
            content = array.astype(array.dtype.newbyteorder("<")).tobytes()
            parts += [content, b"\0" * (-len(content) % 4)]
        self.write(BINARY, b"".join(parts))

    def say(self, words: dict[str, Any]) -> None:
        """Write JSON."""
        self.write(TEXT, json.dumps(words).encode())

    def write(self, kind: int, content: bytes) -> None:
        """One message; waits while the server takes none."""
        try:
            self.output.write(HEAD.pack(kind, len(content)) + content)
            self.output.flush()
        except BrokenPipeError:
            os._exit(0)


if __name__ == "__main__":
    main()
