"""One HTML file with its pictures in it, to look at and to mail."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from typing import Any

from PIL import Image
from torch import Tensor

from ganvas.ground.plots import visible

STYLE = """\
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; }
td, th { border-bottom: 1px solid #8884; padding: .3rem .8rem; text-align: left; vertical-align: top; }
figure { display: inline-block; margin: 1rem 1rem 0 0; vertical-align: top; width: 16rem; overflow-wrap: anywhere; }
figure.wide { display: block; width: auto; }
img { image-rendering: pixelated; width: 100%; }
figcaption { font-size: 13px; }"""


def sheet(title: str, lines: Iterable[tuple[str, str]], said: str, figures: Iterable[str]) -> str:
    """The file's text.

    Args:
        title: of it.
        lines: names and values, for its head.
        said: a paragraph below them.
        figures: see `figure`.
    """
    head = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in lines)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(title)}</title>
<style>
{STYLE}
</style>
<h1>{html.escape(title)}</h1>
<table>{head}</table>
<p>{html.escape(said)}</p>
{"".join(figures)}
</html>
"""


def figure(picture: str, caption: str, wide: bool = False) -> str:
    """A picture, as `embedded` has it, with HTML below; a wide one has a line of its own."""
    return f"<figure{' class=wide' * wide}>{picture}<figcaption>{caption}</figcaption></figure>"


def embedded(picture: Any) -> str:
    """A picture, uint8 (H, W, C), as HTML that holds it."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def coloured(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with three channels: of other than 3 and 4 the mean."""
    return visible(images)[:, :3].expand(-1, 3, -1, -1)
