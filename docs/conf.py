"""The site: `make docs`. Its source is the repository, so that the links of its pages hold there too."""

import re
import shutil
from pathlib import Path
from typing import Any

from ganvas.version import __version__

ROOT = Path(__file__).resolve().parents[1]
project, release, author = "ganvas", __version__, "the ganvas authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["docs/**", "results/*.md", "benchmarks/*.md", "CONTRIBUTING.md", "CHANGELOG.md"]
html_theme = "furo"
html_title = "ganvas"
myst_heading_anchors = 4
myst_ref_domains = ["std"]  # `#codes` is a heading, and no method of that name
autodoc_typehints = "none"  # docstrings say more: shapes, units, ranges
autodoc_member_order = "bysource"
default_role = "code"
# The gallery's anchors are HTML, which MyST does not see; tests/test_readme.py follows every link.
suppress_warnings = ["myst.xref_missing"]


def plain(app: Any, what: str, name: str, it: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings are text: stars and bars of shapes and formulas mean themselves."""
    lines[:] = [re.sub(r"[*|](?=[^`]*(?:`[^`]*`[^`]*)*$)", r"\\\g<0>", line) for line in lines]


def finish(app: Any, error: Exception | None) -> None:
    """Images that pages ask for by HTML, which Sphinx does not see; and the way to the first page."""
    Path(app.outdir, "index.html").write_text('<meta http-equiv="refresh" content="0; url=docs/index.html">\n')
    for folder in () if error else ("docs", "results"):
        for file in sorted((ROOT / folder).rglob("*.png")):
            to = Path(app.outdir, file.relative_to(ROOT))
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", plain, priority=400)  # before napoleon makes markup of sections
    app.connect("build-finished", finish)
