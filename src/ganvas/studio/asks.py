"""What the page asks about a model but its pictures, see docs/studio.md: each answer is made by a thread."""

from __future__ import annotations

import base64
import io
import math
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ganvas.ground.errors import UserError
from ganvas.studio.decoding import codes
from ganvas.studio.studied import CannotError, Held, of, png

if TYPE_CHECKING:
    from torch import Tensor

    from ganvas.models import Model

PIXELS = 40_000_000  # of an image that is uploaded
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MOVING = ("PNG", "WEBP", "GIF")  # formats whose frames are a film; those of others are pages, or views
SAMPLES, SEED = 1024, 2**63 - 1
SHOWN, NEAREST = 16, 20  # codes whose neighbours are sought, and how many of each
NOISE = 10.0
FRESH = {"Cache-Control": "no-store"}  # a model that trains is another one a minute later


async def space(request: Request) -> Response:
    """The dimensions of a model."""
    held = await _held(request)
    return Response(await of(request.app).ask(held.space), media_type="application/json", headers=FRESH)


async def atlas(request: Request) -> Response:
    """The map of its codes."""
    held = await _held(request)
    return Response(await of(request.app).ask(held.atlas), media_type="application/json", headers=FRESH)


async def thumbnails(request: Request) -> Response:
    """The map's pictures."""
    held = await _held(request)
    return Response(await of(request.app).ask(held.thumbnails), media_type="image/png", headers=FRESH)


async def samples(request: Request) -> Response:
    """Codes of P(z)."""
    n, seed = _whole(request, "n", 16, 1, SAMPLES), _whole(request, "seed", 0, 0, SEED)

    def answer(model: Model, held: Held) -> Any:
        from ganvas.latent import explore

        if not hasattr(model, "sample"):
            raise CannotError("this model has no P(z) to draw codes from: `ganvas fit-prior` fits one to its codes.")
        return {"codes": explore.sample_codes(model, n, seed).tolist()}

    return await _answered(request, answer)


async def encode(request: Request) -> Response:
    """The code of an image file."""
    body = await request.body()

    def answer(model: Model, held: Held) -> Any:
        image = _image(model, body, "encode")
        code = model.encode(image)
        return {"code": code[0].tolist(), "seen": _url(image), "reconstruction": _url(model.decode(code))}

    return await _answered(request, answer)


async def denoise(request: Request) -> Response:
    """An image file without its noise, or without noise that is put on it."""
    body = await request.body()
    noise, seed = _number(request, "noise", 0.0, NOISE), _whole(request, "seed", 0, 0, SEED)

    def answer(model: Model, held: Held) -> Any:
        from ganvas.ground.randomness import Draw
        from ganvas.models.autoencoder import corrupt

        image = _image(model, body, "denoise")
        kind = model.config.noise
        if kind != "gaussian" and noise > 1:
            raise UserError(f"noise={noise:g}: for {kind} noise it is a share of the values, at most 1.")
        noisy = corrupt(image, kind, noise, Draw(seed)).clamp(0, 1) if noise else image
        return {"seen": _url(image), "noisy": _url(noisy), "denoised": _url(model.denoise(noisy))}

    return await _answered(request, answer)


async def neighbours(request: Request) -> Response:
    """The training images that are nearest to the images of codes."""
    body, k = await request.body(), _whole(request, "k", 5, 1, NEAREST)

    def answer(model: Model, held: Held) -> Any:
        import torch

        from ganvas.data.loader import to_tensor
        from ganvas.latent import explore

        z = codes(body, model)
        if len(z) > SHOWN:
            raise UserError(f"{len(z)} codes: neighbours are sought for at most {SHOWN} at a time.")
        if held.dataset is None:
            raise CannotError("the data set of this run is not in the cache: `ganvas data show` prepares it.")
        train = held.dataset.splits["train"]
        found = explore.neighbours(model.decode(torch.from_numpy(z)), train, min(k, len(train)))
        distances, rows = (part.tolist() for part in found)
        images = [[_url(to_tensor(train.images[row : row + 1])) for row in near] for near in rows]
        return {"rows": rows, "distances": distances, "images": images}

    return await _answered(request, answer)


ROUTES = [
    Route("/api/space", space),
    Route("/api/atlas", atlas),
    Route("/api/atlas.png", thumbnails),
    Route("/api/samples", samples),
    Route("/api/encode", encode, methods=["POST"]),
    Route("/api/denoise", denoise, methods=["POST"]),
    Route("/api/neighbours", neighbours, methods=["POST"]),
]


async def _held(request: Request) -> Held:
    if "run" not in request.query_params:
        raise UserError(f"{request.url.path} needs run=.")
    return await of(request.app).held(request.query_params["run"])


async def _answered(request: Request, answer: Any) -> Response:
    """What a thread gives of the model, as it is told what the request says, and of what is held of it."""
    held, asked = await _held(request), request.query_params

    def told() -> Any:
        return answer(held.told(asked.get("condition", ""), asked.get("guidance", "")), held)

    return JSONResponse(await of(request.app).ask(told), headers=FRESH)


def _whole(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
    if not least <= value <= most:
        raise UserError(f"{name}={text}: it takes a whole number from {least} to {most:,}.")
    return value


def _number(request: Request, name: str, default: float, most: float) -> float:
    text = request.query_params.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise UserError(f"{name}={text}: it takes a number from 0 to {most:g}.")
    return value


def _image(model: Model, body: bytes, verb: str) -> Tensor:
    """The image of a file as a model that has the verb sees it (1, C, H, W), float32 in [0, 1]."""
    getattr(model, verb)  # refused before the file is looked at
    if len(model.shape) != 3:
        raise CannotError(f"this model is of points of shape {model.shape}: it takes no images.")
    return decoded(body, model)


def decoded(body: bytes, model: Model) -> Tensor:
    """The image file as the model takes it, (1, C, H, W) in [0, 1].

    Raises:
        UserError: no image, a damaged one, one of too many pixels, or a film.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(body), formats=FORMATS) as image:  # this reads its header alone
            if image.width * image.height > PIXELS:
                raise UserError(
                    f"an image of {image.width:,} x {image.height:,} pixels: the studio takes up to {PIXELS:,}."
                )
            if image.format in MOVING and getattr(image, "is_animated", False):
                raise UserError(f"an animated {image.format}: the studio takes images that stand still.")
        return model.rows(body)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            "this file is no image that the studio reads: it takes PNG, JPEG, WebP, GIF, BMP, TIFF."
        ) from error
    except Exception as error:  # Pillow raises whatever its parsers run into
        raise UserError(f"this image can't be read: {error}.") from error


def _url(images: Tensor) -> str:
    """The first of images (N, C, H, W) in [0, 1] as a data URL."""
    data = png((images[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy())
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
