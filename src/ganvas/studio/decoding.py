"""Codes in, pixels out: the WebSocket /ws/decode, see docs/studio.md."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

import numpy as np
from starlette.datastructures import QueryParams
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ganvas.ground.errors import UserError
from ganvas.studio.decoder import Codes
from ganvas.studio.studied import CannotError, of

Told = tuple[str, str]  # condition and guidance, see `ganvas.studio.studied.told`
ROWS, LARGEST = 1024, 4 * 2**20  # codes of a message, and its bytes

log = logging.getLogger("ganvas.studio")


def codes(body: bytes | memoryview, model: Any) -> Codes:
    """float32 (n, d), little endian, as a model decodes them.

    Raises:
        CannotError: a model of points, or of channels that a page can't show.
        UserError: another length, no codes or too many, NaN or infinite values.
    """
    from ganvas.ground.plots import CHANNELS

    size = 4 * model.latent_dim
    if len(model.shape) != 3:
        raise CannotError(f"this model is of points of shape {model.shape}: it makes no images.")
    if model.shape[0] not in CHANNELS:
        raise CannotError(f"this model's images have {model.shape[0]} channels, and a page shows 1, 3 or 4.")
    if len(body) % size or not 1 <= len(body) // size <= ROWS:
        raise UserError(f"{len(body):,} bytes: this model takes from 1 to {ROWS:,} codes of {size:,} bytes, float32.")
    found = np.frombuffer(body, "<f4").reshape(-1, size // 4)
    if not np.isfinite(found).all():
        raise UserError("the codes hold NaN or infinite values.")
    return found.astype(np.float32)


async def connection(socket: WebSocket) -> None:
    """A connection, from its first request to its end."""
    await socket.accept()
    latest: asyncio.Queue[tuple[bytes, Told]] = asyncio.Queue(1)
    told = socket.query_params.get("condition", ""), socket.query_params.get("guidance", "")
    answering = asyncio.create_task(_answer(socket, latest))
    try:
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            query = QueryParams(message.get("text") or "")
            if "condition" in query:  # it holds for the codes that follow
                told = query["condition"], query.get("guidance", "")
                continue
            if latest.full():
                latest.get_nowait()
            latest.put_nowait((message.get("bytes") or b"", told))
    finally:
        answering.cancel()


async def _answer(socket: WebSocket, latest: asyncio.Queue[tuple[bytes, Told]]) -> None:
    """Answer one request after the other; what is being decoded when this is cancelled is decoded no further."""
    models, run = of(socket.app), socket.query_params.get("run", "")
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message, told = await latest.get()
            try:
                if not 4 < len(message) <= LARGEST:
                    said = f"it takes a number, then codes, {LARGEST:,} at most."
                    raise UserError(f"a message of {len(message):,} bytes: {said}")
                held = await models.held(run)
                model = held.told(*told)
                pixels = await held.decoder.decode(codes(memoryview(message)[4:], model), model)
            except Exception as error:
                said = str(error)
                if not isinstance(error, UserError):
                    log.exception("%s can't be decoded", run)
                    said = f"decoding has failed ({type(error).__name__}): the studio's terminal shows more."
                sequence = int.from_bytes(message[:4], "little")
                await socket.send_text(json.dumps({"sequence": sequence, "error": said}))
            else:
                await socket.send_bytes(b"".join((message[:4], pixels.data)))


ROUTES = [WebSocketRoute("/ws/decode", connection)]
