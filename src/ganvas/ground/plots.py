"""Pictures of images."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganvas.ground import memory
from ganvas.ground.errors import UserError
from ganvas.ground.files import replace, vacant

YELLOW = (255, 214, 0)
CHANNELS = (1, 3, 4)  # of a picture


def grid(images: Tensor, columns: int | None = None, framed: Collection[int] = ()) -> NDArray[np.uint8]:
    """Images (N, C, H, W) in [0, 1], row by row, as one picture uint8 (H', W', C) with lines between them.

    Of other than 1, 3 and 4 channels it shows the mean.
    Those whose numbers are in `framed` have yellow lines round them, and the picture is in colour. Points (N, 2) are
    drawn as dots on a square from -1.2 to 1.2 times the largest coordinate; of rows (N, d) the first two numbers are,
    and one number on a line.
    """
    if images.dim() == 2:
        canvas = np.full((256, 256, 1), 255, np.uint8)
        xy = np.pad(images.detach().cpu().numpy(), ((0, 0), (0, 1)))[:, :2]
        reach = 1.2 * max(1e-6, float(np.abs(xy).max()))
        places = np.clip(((xy / reach + 1) * 128).astype(int), 0, 255)
        canvas[255 - places[:, 1], places[:, 0]] = 0
        return canvas
    images = visible(images)
    n, c, h, w = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    zoom = max(1, 56 // max(h, w))
    cells = (images.detach().float().cpu().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    cells = cells.repeat(zoom, 1).repeat(zoom, 2)
    h, w = h * zoom, w * zoom
    corners = [(i // columns * (h + 2), i % columns * (w + 2)) for i in range(n)]
    canvas = np.full((rows * (h + 2) + 2, columns * (w + 2) + 2, 3 if framed else c), 90, np.uint8)
    for y, x in (corners[i] for i in framed):
        canvas[y : y + h + 4, x : x + w + 4] = YELLOW
    for (y, x), cell in zip(corners, cells, strict=True):
        canvas[y + 2 : y + 2 + h, x + 2 : x + 2 + w] = cell
    return canvas


def visible(images: Tensor) -> Tensor:
    """Images (N, C, H, W) of 1, 3 or 4 channels: of others the mean."""
    return images if images.shape[1] in CHANNELS else images.mean(1, keepdim=True)


def rows(*images: Tensor, columns: int = 10, framed: int | None = None) -> NDArray[np.uint8]:
    """Batches (N, C, H, W) of one size under one another: ten of the first, the same ten of the next, and so on.

    The images of the batch whose number is `framed` have yellow lines round them, see `grid`.
    """
    columns = min(columns, n := len(images[0]))
    parts = zip(*(torch.split(batch.cpu(), columns) for batch in images), strict=True)
    full = [torch.cat([part, part.new_ones(columns - len(part), *part.shape[1:])]) for row in parts for part in row]
    line = columns * len(images)  # cells of a row of each batch
    places = [i // columns * line + (framed or 0) * columns + i % columns for i in range(n)]
    return grid(torch.cat(full), columns, places if framed is not None else ())


def captioned(images: Tensor, captions: Sequence[str], columns: int, framed: Collection[int] = ()) -> NDArray[np.uint8]:
    """`grid` of images (N, C, H, W), as they are or larger, with a line of text under each.

    Long ones lose their middle. An empty one leaves the cell white, whatever the image.
    """
    images = visible(images)
    h, w = images.shape[2:]
    zoom = max(1, 96 // max(h, w))
    h, w = h * zoom, w * zoom
    width, font = max(96, w), ImageFont.load_default(10)
    cells = []
    for image, text in zip(images, captions, strict=True):
        picture = Image.new("RGB", (width, h + 14), "white")
        if text:
            pixels = Image.fromarray(_pixels(image)).convert("RGB").resize((w, h), Image.Resampling.NEAREST)
            picture.paste(pixels, ((width - w) // 2, 0))
        while font.getlength(text) > width - 4:
            middle = len(text) // 2
            text = f"{text[: middle - 2]}..{text[middle + 2 :]}"
        ImageDraw.Draw(picture).text((2, h + 1), text, "black", font)
        cells.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255)
    return grid(torch.stack(cells), columns, framed)


def equation(terms: Sequence[Tensor], result: Tensor, pixels: Tensor) -> NDArray[np.uint8]:
    """A - B + C = result as one picture, and at its end what the same on pixels gives (Radford et al. 2015, figure 7).

    Args:
        terms: A, B and C, each (k + 1, C, H, W): a column of examples, and below them what stands for their average.
        result: (9, C, H, W), seen as 3 x 3.
        pixels: (C, H, W).
    """
    columns = [_stack(0, [grid(part[:-1], 1), grid(part[-1:], 1)]) for part in terms]
    signs = [_sign(columns[0], sign) for sign in "-+= "]
    blocks = [block for pair in zip([*columns, grid(result, 3)], signs, strict=True) for block in pair]
    return _stack(1, [*blocks, grid(pixels[None])])


def _stack(axis: int, blocks: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures beside one another (axis 1) or under one another, centred, with white around them."""
    size = max(block.shape[1 - axis] for block in blocks)
    parts = []
    for block in blocks:
        before, room = divmod(size - block.shape[1 - axis], 2)
        pad = [(8, 8), (8, 8), (0, 0)]
        pad[1 - axis] = (before, before + room)
        parts.append(np.pad(block, pad, constant_values=255))
    return np.concatenate(parts, axis)


def _sign(beside: NDArray[np.uint8], sign: str) -> NDArray[np.uint8]:
    """-, +, = or nothing, in black on a white square half as wide as the column beside it."""
    side = beside.shape[1] // 2
    canvas = np.full((side, side, beside.shape[2]), 255, np.uint8)
    middle, bar = side // 2, max(1, side // 16)
    for centre in {"=": (middle - 3 * bar, middle + 3 * bar), " ": ()}.get(sign, (middle,)):
        canvas[centre - bar : centre + bar] = 0
    if sign == "+":
        canvas[:, middle - bar : middle + bar] = 0
    return canvas


def save(picture: NDArray[np.uint8], path: Path) -> Path:
    """Write a picture uint8 (H, W, C) as PNG, aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    replace(path, lambda part: image.save(part, format="PNG"))
    return path


def save_array(parts: Iterable[Tensor], shape: tuple[int, ...], path: Path) -> Path:
    """Write rows that come in parts as one array of this shape, float32, for numpy.load; aside first.

    Raises:
        UserError: the disk has no room for it.
    """

    def write(part: Path) -> None:
        with part.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for rows in parts:
                file.write(rows.cpu().numpy().astype("<f4", copy=False).tobytes())

    path.parent.mkdir(parents=True, exist_ok=True)
    memory.require_disk(4 * math.prod(shape), path.parent, f"{path.name} of {shape[0]:,} rows")
    replace(path, write)
    return path


def save_each(parts: Iterable[Tensor], n: int, folder: Path) -> Path:
    """Write n images (C, H, W) in [0, 1] that come in parts as PNG files of a folder, by their number.

    Raises:
        UserError: the folder holds something, which would be taken for one of them; images of other than 1, 3 and 4
            channels.
    """
    vacant(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(image for rows in parts for image in rows):
        if image.shape[0] not in CHANNELS:
            raise UserError(f"a PNG has 1, 3 or 4 channels, and these images {image.shape[0]}: give a name in .npy.")
        Image.fromarray(_pixels(image)).save(folder / f"{number:0{len(str(n - 1))}d}.png")
    return folder


def cell(image: Tensor) -> NDArray[np.uint8]:
    """An image (C, H, W) in [0, 1] as a picture uint8 (H, W, C)."""
    found: NDArray[np.uint8] = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return found


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    """An image (C, H, W) in [0, 1] as Pillow takes it."""
    found = cell(image)
    return found[..., 0] if found.shape[-1] == 1 else found


def suffix(path: Path) -> str:
    """Of a picture or film that can be written here, to be asked before there is any work: ".png", ".gif" or ".mp4".

    Raises:
        UserError: another one, or .mp4 without PyAV.
    """
    end = path.suffix.lower()
    if end not in (".png", *FILMS):
        raise UserError(f"{path}: it takes a name that ends in .png, .gif or .mp4.")
    if end == ".mp4" and find_spec("av") is None:
        raise UserError(f"{path}: .mp4 needs PyAV: pip install 'ganvas[video]', or take .gif.")
    return end


def film(pictures: Sequence[NDArray[np.uint8]], path: Path, rate: int = 20) -> Path:
    """Write pictures uint8 (H, W, C) of one size as GIF, which repeats, or MP4, by the suffix; aside first.

    Args:
        pictures: in their order.
        path: ends in .gif or .mp4.
        rate: pictures a second.
    """
    if (end := suffix(path)) not in FILMS:
        raise UserError(f"{path}: a film is a .gif or .mp4.")
    write = FILMS[end]
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, lambda part: write(pictures, part, rate))
    return path


def _gif(pictures: Sequence[NDArray[np.uint8]], path: Path, rate: int) -> None:
    first, *rest = [Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture) for picture in pictures]
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=round(1000 / rate), loop=0)


def _mp4(pictures: Sequence[NDArray[np.uint8]], path: Path, rate: int) -> None:
    import av

    height, width, channels = pictures[0].shape
    even = ((0, height % 2), (0, width % 2), (0, 0))  # yuv420p, which all players know, halves the colour's sides
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=rate, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for picture in pictures:
            pixels = np.pad(picture, even, mode="edge").repeat(3 // channels, 2)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())


FILMS = {".gif": _gif, ".mp4": _mp4}
