"""Draws docs/house.svg from the imports: `python docs/make_house.py`. A test holds that it is current.

An arrow goes from a room to one whose names it imports, unless a longer way leads there.
"""

from __future__ import annotations

import ast
import html
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src" / "ganvas"
WIDTH, HEIGHT, ACROSS, DOWN = 230, 76, 30, 44  # of a room, and between two


def files() -> dict[str, Path]:
    """Module name -> file."""
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(file: Path, known: dict[str, Path], called: bool) -> set[str]:
    """The modules that a file imports; those that a function imports when it is called only if `called`."""

    def nodes(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if called or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                yield child
                yield from nodes(child)

    found = set()
    for node in nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{name.name}" for name in node.names)
            found |= {name if name in known else node.module for name in names}
    return found & set(known)


def modules(called: bool) -> dict[str, set[str]]:
    """Every module, and those that it imports, see `imports`."""
    known = files()
    return {name: imports(file, known, called) - {name} for name, file in known.items()}


def rooms() -> dict[str, set[str]]:
    """The packages, and those that each stands on."""
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    found: dict[str, set[str]] = {name: set() for name in sorted(packages)}
    for module, others in modules(called=True).items():
        room = module.split(".")[1] if "." in module else ""
        if room in packages:
            found[room] |= {other.split(".")[1] for other in others if "." in other} & packages - {room}
    return found


def floors(below: dict[str, set[str]]) -> dict[str, int]:
    """How high each room lies: one floor above the highest that it stands on."""

    @cache
    def floor(room: str) -> int:
        return 1 + max((floor(other) for other in below[room]), default=-1)

    return {room: floor(room) for room in below}


def nearest(below: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that no longer way makes superfluous."""

    @cache
    def reached(room: str) -> frozenset[str]:
        return frozenset(below[room]).union(*(reached(other) for other in below[room]))

    return {room: others - frozenset().union(*(reached(other) for other in others)) for room, others in below.items()}


def sign(room: str) -> str:
    """The first sentence of a room's docstring."""
    text = ast.get_docstring(ast.parse((SOURCE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(text.replace("`", "").split()).partition(". ")[0].rstrip(".")


def lines(text: str, letters: int = 38) -> list[str]:
    """A text in lines of so many letters."""
    found = [""]
    for word in text.split():
        if len(found[-1]) + len(word) >= letters:
            found.append("")
        found[-1] += f" {word}" if found[-1] else word
    return found


def drawn() -> str:
    """The picture, as SVG."""
    below = rooms()
    height = floors(below)
    top = max(height.values())
    levels = [sorted(room for room in below if height[room] == level) for level in range(top, -1, -1)]
    wide = max(len(level) for level in levels)
    whole = wide * (WIDTH + ACROSS) + ACROSS, len(levels) * (HEIGHT + DOWN) + DOWN // 2
    place = {}
    for y, level in enumerate(levels):
        left = (whole[0] - len(level) * (WIDTH + ACROSS) + ACROSS) // 2
        for x, room in enumerate(level):
            place[room] = left + x * (WIDTH + ACROSS), DOWN // 2 + y * (HEIGHT + DOWN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole[0]} {whole[1]}" font-family="sans-serif">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#7a7a7a"/></marker></defs>',
        f'<rect width="{whole[0]}" height="{whole[1]}" fill="#ffffff"/>',
    ]
    for room, others in nearest(below).items():
        for other in sorted(others):
            (x, y), (to_x, to_y) = place[room], place[other]
            start, end = (x + WIDTH // 2, y + HEIGHT), (to_x + WIDTH // 2, to_y)
            bend = (end[1] - start[1]) // 2
            curve = f"C{start[0]} {start[1] + bend} {end[0]} {end[1] - bend} {end[0]} {end[1]}"
            line = f"M{start[0]} {start[1]}{curve}"
            parts.append(f'<path d="{line}" fill="none" stroke="#7a7a7a" marker-end="url(#tip)"/>')
    for room, (x, y) in place.items():
        box = f'x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}"'
        parts.append(f'<rect {box} rx="6" fill="#eef4fa" stroke="#0072b2"/>')
        parts.append(f'<text x="{x + 12}" y="{y + 20}" font-size="14" font-weight="bold">{room}/</text>')
        for i, line in enumerate(lines(sign(room))):
            parts.append(f'<text x="{x + 12}" y="{y + 37 + 14 * i}" font-size="10.5">{html.escape(line)}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    (HERE / "house.svg").write_text(drawn(), encoding="utf-8")
