"""What changes, pushed. One task looks at the folder for all; a client is sent what is new to it when it can take it.

So there are no queues: a client that is slow is sent less often, and the others don't wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from ganvas.ground.errors import UserError
from ganvas.studio.curves import ANEW, rows_after
from ganvas.studio.shelf import Shelf, Stamp, Summary, stamp
from ganvas.studio.workers import SlowError, Workers

PERIOD = 1.0  # seconds between looks: each is drawn by every page that watches, on the processor that trains
THOROUGH = 2  # each so many looks, at all runs; else at those in training
MESSAGE = 2**16  # characters of a client's message
WATCHED = 64  # runs whose curves a client may ask for
READERS, READING, LOST = 4, 30.0, 16  # threads that look, seconds that they may take, and those that may hang
BEHIND = 2**20  # bytes of rows that are sent at once; with more, the whole curves are to be asked for
log = logging.getLogger("ganvas.studio")


class Client:
    """What one client has asked for, and what it has been sent.

    Args:
        shelf: of the runs.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.shelf, self.lock = shelf, threading.Lock()
        self.awake = asyncio.Event()
        self.runs = False
        self.curves: dict[str, int] = {}  # the cursor
        self.told: dict[str, Summary] = {}
        self.files: dict[str, Stamp] = {}  # metrics.jsonl, as it was
        self.shown: dict[str, list[Stamp]] = {}

    def ask(self, text: str) -> None:
        """Take a client's message: {"runs": bool, "curves": {ID: cursor}}.

        Raises:
            UserError: it is none.
        """
        try:
            asked = json.loads(text) if len(text) <= MESSAGE else None
        except (ValueError, RecursionError):
            asked = None
        curves = asked.get("curves", {}) if isinstance(asked, dict) else None
        if not isinstance(asked, dict) or not isinstance(curves, dict) or {*map(type, curves.values())} - {int}:
            raise UserError('/ws/live takes {"runs": true or false, "curves": {ID: cursor}}.')
        if len(curves) > WATCHED:
            raise UserError(f"the curves of {len(curves)} runs are asked for: at most {WATCHED} can be.")
        with self.lock:
            self.runs = bool(asked.get("runs"))
            self.told = self.told if self.runs else {}
            # Rows that are on their way to the client are not in its cursor yet.
            curves = {run: max(cursor, self.curves.get(run, ANEW)) for run, cursor in curves.items()}
            self.files = {run: it for run, it in self.files.items() if self.curves.get(run) == curves.get(run)}
            self.shown = {run: it for run, it in self.shown.items() if run in curves}
            self.curves = curves

    def news(self, summaries: dict[str, Summary]) -> list[dict[str, Any]]:
        """The messages that tell what has changed since the last call."""
        messages: list[dict[str, Any]] = []
        with self.lock:
            if self.runs:
                gone = [run for run in self.told if run not in summaries]
                changed = [it for run, it in summaries.items() if self.told.get(run) is not it]
                self.told = dict(summaries)
                messages += [{"gone": gone}] * bool(gone) + [{"runs": changed}] * bool(changed)
            for run in self.curves:
                with contextlib.suppress(UserError):  # gone, or not yet there
                    messages += self._of_run(run, self.shelf.find(run))
        return messages

    def _of_run(self, run: str, path: Path) -> Iterator[dict[str, Any]]:
        shown = self.shelf.shown(run)
        if self.shown.get(run) != shown:
            self.shown[run] = shown
            yield {"detail": run}
        cursor, now = self.curves[run], stamp(f"{path}/metrics.jsonl")
        before = self.files.get(run)
        if cursor == ANEW or (run in self.files and now == before):
            return
        self.files[run] = now
        replaced = before is not None and (now is None or now[2] != before[2])
        reached, rows = (ANEW, []) if replaced else rows_after(path / "metrics.jsonl", cursor, BEHIND)
        if reached != cursor:
            self.curves[run] = reached
            yield {"curves": run, "cursor": reached, "rows": rows}


class Live:
    """Serves `/ws/live`.

    Args:
        shelf: of the runs.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.summaries: dict[str, Summary] = {}
        self.clients: set[Client] = set()
        self.watch: asyncio.Task[None] | None = None
        self.workers = Workers("looking", READING, READERS, LOST)

    async def serve(self, socket: WebSocket) -> None:
        """Serve a client until it goes away."""
        await socket.accept()
        client = Client(self.shelf)
        sender = asyncio.create_task(self._send(client, socket))
        self.clients.add(client)
        if self.watch is None or self.watch.done():
            self.watch = asyncio.create_task(self._watch())
        try:
            while True:
                await self.workers.do("the question", partial(client.ask, await socket.receive_text()))
                client.awake.set()
        except WebSocketDisconnect:
            pass
        except (UserError, KeyError) as error:  # KeyError: bytes where there should be text
            await socket.close(1008, str(error)[:100])
        finally:
            self.clients.discard(client)
            sender.cancel()

    async def _watch(self) -> None:
        """Look at the folder as long as there are clients."""
        turn = 0
        while self.clients:
            try:
                look = partial(self.shelf.summaries, turn % THOROUGH == 0)
                self.summaries = await self.workers.do("looking at the runs", look, of="all")
            except Exception:
                log.exception("the folder of runs can't be looked at")
            for client in self.clients:
                client.awake.set()
            turn += 1
            await asyncio.sleep(PERIOD)

    async def _send(self, client: Client, socket: WebSocket) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it has gone away
            while True:
                await client.awake.wait()
                client.awake.clear()
                try:
                    news = await self.workers.do("the news", partial(client.news, self.summaries))
                except SlowError as error:
                    await socket.close(1011, str(error)[:100])
                    return
                for message in news:
                    await socket.send_text(json.dumps(message, allow_nan=False))
