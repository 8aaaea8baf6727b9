"""The thread that decodes for all who ask of a model.

It takes from each request that waits its share of a batch, and batches last about a fiftieth of a second: a picture
that somebody drags waits no longer than that for a thousand that another asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ganvas.models import Model

THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))
BATCH = 0.02  # seconds
FEWEST, MOST = 4, 512  # codes of a batch
IDLE = 10.0  # seconds without work after which a thread ends; the next request starts another

Codes = NDArray[np.float32]
Pixels = NDArray[np.uint8]


class _Request:
    """Codes (n, d) of a model, how many of them are taken to be decoded, and the pixels that are done."""

    def __init__(self, codes: Codes, model: Model) -> None:
        self.codes, self.model, self.taken = codes, model, 0
        self.pixels: list[Pixels] = []
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Pixels] = self.loop.create_future()

    def say(self, result: Pixels | Exception) -> None:
        """Answer, from another thread; where the loop is closed or the asker gone there is nobody to hear."""

        def tell() -> None:
            if self.answer.done():
                return
            if isinstance(result, Exception):
                self.answer.set_exception(result)
            else:
                self.answer.set_result(result)

        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(tell)


class Decoder:
    """Decodes for all who ask, by a thread of its own that lives while there is work.

    Args:
        model: of images.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._changed = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._thread: threading.Thread | None = None
        self._rows = FEWEST

    async def decode(self, codes: Codes, model: Model | None = None) -> Pixels:
        """`model.decode` of codes (n, d), n > 0, as bytes (n, h, w, c).

        Args:
            codes: of the model.
            model: itself, or as it is told labels.
        """
        request = _Request(codes, model or self.model)
        with self._changed:
            self._waiting.append(request)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)
                self._thread.start()
            else:
                self._changed.notify()
        return await request.answer

    def _run(self) -> None:
        import torch

        torch.set_num_threads(THREADS)
        with torch.inference_mode():
            while parts := self._next():
                begun = time.perf_counter()
                try:
                    model = parts[0][0].model
                    images = model.decoded(torch.from_numpy(np.concatenate([codes for _, codes in parts])))
                    pixels = (images.clamp(0, 1) * 255).round_().byte().permute(0, 2, 3, 1).contiguous().numpy()
                except Exception as error:
                    for request, _ in parts:
                        request.say(error)
                    with self._changed:
                        self._waiting = deque(other for other in self._waiting if other not in dict(parts))
                    continue
                rate = len(pixels) / (time.perf_counter() - begun)
                self._rows = int(min(max(rate * BATCH, FEWEST), MOST))
                for request, codes in parts:
                    own, pixels = pixels[: len(codes)], pixels[len(codes) :]
                    request.pixels.append(own)
                    if sum(map(len, request.pixels)) == len(request.codes):
                        done = request.pixels
                        request.say(done[0] if len(done) == 1 else np.concatenate(done))

    def _next(self) -> list[tuple[_Request, Codes]]:
        """A batch: shares of the requests that wait, in turn. Without any for long, nothing: the thread ends.

        It is of one model: requests of another one, which is told something else, wait for the next.
        """
        with self._changed:
            while True:
                self._waiting = deque(request for request in self._waiting if not request.answer.done())
                if self._waiting:
                    break
                if not self._changed.wait(IDLE) and not self._waiting:
                    self._thread = None
                    return []
            alike = [request for request in self._waiting if request.model is self._waiting[0].model]
            share, parts = max(1, self._rows // len(alike)), []
            for request in alike[: self._rows]:
                self._waiting.remove(request)
                parts.append((request, request.codes[request.taken : request.taken + share]))
                request.taken += share
                if request.taken < len(request.codes):
                    self._waiting.append(request)
            return parts
