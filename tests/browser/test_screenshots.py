"""The pictures in docs/studio/. They are made anew by

    GANVAS_SCREENSHOTS=1 GANVAS_RUNS=RUNS pytest tests/browser/test_screenshots.py

where RUNS (by default runs) holds the VAEs `manifold` (of two latent dimensions, on MNIST), `digits-vae` (of 20) and
`faces` (on avatars), and whatever else is to be listed. Without that flag nothing is written.
"""

import base64
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

RUNS = Path(os.environ.get("GANVAS_RUNS", "runs")).absolute()
CACHE = os.environ.get("GANVAS_CACHE")  # before these tests have one of their own
FOLDER = Path(__file__).parents[2] / "docs" / "studio"
LARGEST = 200_000  # bytes
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
pytestmark = pytest.mark.skipif(
    os.environ.get("GANVAS_SCREENSHOTS") != "1", reason="no screenshots are asked for: GANVAS_SCREENSHOTS=1"
)


@pytest.fixture(scope="module")
def shown(serving):
    """The address of a studio of those runs, with the data sets that were there before."""
    cache = {"GANVAS_CACHE": CACHE or str(Path("~/.cache/ganvas").expanduser())}
    with serving("-m", "ganvas", "studio", RUNS, "--port", 0, "--no-browser", **cache) as address:
        yield address


@pytest.fixture
def visit(visitor, shown):
    return visitor(shown)


@pytest.fixture
def keep(look):
    """Writes what is on the screen; with 256 colours, where it is large."""

    def written(page: Page, name: str) -> None:
        page.mouse.move(0, 0)
        pictures = page.locator("img:visible")
        there = "it => it.complete || it.getBoundingClientRect().top > innerHeight"
        look.until(page, lambda: all(it.evaluate(there) for it in pictures.all()), "a picture does not come")
        FOLDER.mkdir(exist_ok=True)
        path = FOLDER / f"{name}.png"
        with Image.open(io.BytesIO(page.screenshot(animations="disabled"))) as shot:
            image = shot.convert("RGB")
        image.save(path, optimize=True)
        if path.stat().st_size > 0.7 * LARGEST:
            few(image).save(path, optimize=True)
        assert path.stat().st_size < LARGEST

    return written


def few(image: Image.Image) -> Image.Image:
    """In 256 colours: the most frequent ones as they are, for surfaces and text, those of pictures, and rare ones."""
    frequent = [colour for _, colour in sorted(image.getcolors(2**24))[-64:]]
    methods = (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE)
    others = [np.reshape(image.quantize(96, method).getpalette(), (-1, 3)) for method in methods]
    palette = np.concatenate([frequent, *others])
    colours, places = np.unique(np.reshape(image, (-1, 3)), axis=0, return_inverse=True)
    nearest = [((palette - colour.astype(int)) ** 2).sum(1).argmin() for colour in colours]
    made = Image.fromarray(np.array(nearest, np.uint8)[places].reshape(image.height, image.width), "P")
    made.putpalette(palette.astype(np.uint8).tobytes())
    return made


def settled(page: Page) -> None:
    """Until the model, its map and all grids are there."""
    expect(page.get_by_role("img", name="Picture", exact=True)).not_to_have_attribute("data-sequence", "0")
    for waiting in (".x-loading", "[aria-busy=true]"):
        expect(page.locator(waiting)).to_have_count(0)


def under_the_header(page: Page, heading: str) -> None:
    """Scroll until a panel stands at the top."""
    box = page.get_by_role("heading", name=heading).locator("xpath=ancestor::section[1]").bounding_box()
    page.evaluate("top => scrollBy({top, behavior: 'instant'})", box["y"] - 60)


def text(code: Any) -> str:
    return ",".join(f"{x:.4g}" for x in code)


@pytest.fixture
def codes(visit):
    """The map of a run, and its codes (n, d)."""

    def asked(run: str):
        atlas = visit.browser.contexts[-1].request.get(f"{visit.home}api/atlas?run={run}").json()
        return atlas, np.frombuffer(base64.b64decode(atlas["codes"]), "<f4").reshape(len(atlas["rows"]), -1)

    return asked


def test_runs_and_watch(visit, keep):
    page = visit("#/runs", viewport=WIDE, color_scheme="light")
    expect(page.locator(".runs tbody tr").first).to_be_visible()
    keep(page, "runs")
    page.goto(visit.home + "#/runs?compare=manifold,digits-vae")
    expect(page.locator(".differs").first).to_be_visible()
    under_the_header(page, "Settings that differ")
    expect(page.locator(".chart canvas")).not_to_have_count(0)
    keep(page, "compare")
    page = visit("#/watch?run=faces", viewport=WIDE, color_scheme="dark")
    expect(page.locator(".chart canvas").first).to_be_visible()
    keep(page, "watch")


def test_explore(visit, codes, keep):
    page = visit("#/explore?run=manifold&z=-0.1,1.9", viewport=WIDE, color_scheme="light")
    settled(page)
    keep(page, "explore-plane")
    state = f"z={text(codes('digits-vae')[1][3])}&pc=1"
    phone = {"viewport": PHONE, "is_mobile": True, "has_touch": True}
    page = visit(f"#/explore?run=digits-vae&{state}", color_scheme="dark", **phone)
    settled(page)
    keep(page, "explore-phone")


def test_faces(visit, codes, keep):
    page = visit("#/runs", viewport={"width": 1280, "height": 1000}, color_scheme="light")
    atlas, all_codes = codes("faces")
    page.goto(f"{visit.home}#/explore?run=faces&z={text(all_codes[8])}")
    settled(page)
    keep(page, "explore-sliders")
    glasses = next(it for it in atlas["labels"] if it["name"] == "glasses")
    kind = np.array(glasses["values"])[glasses["of"]]
    bare = all_codes[kind == "none"]
    trays = {"A": all_codes[kind != "none"][:3], "B": bare[:3], "C": bare[3:4]}
    state = "&".join(f"{name}={';'.join(map(text, tray))}" for name, tray in trays.items())
    page.goto(f"{visit.home}#/explore?run=faces&by=glasses&{state}")
    settled(page)
    page.get_by_role("button", name="Go to the result").click()
    settled(page)
    under_the_header(page, "Trays")
    keep(page, "arithmetic")


def test_learn(visit, keep):
    page = visit("#/learn", viewport=WIDE, color_scheme="light")
    expect(page.locator("a.lesson").nth(9)).to_be_visible()
    keep(page, "learn")
    page.goto(visit.home + "#/learn/vanishing-gradients")
    expect(page.locator(".learn-picture img")).to_be_visible()
    keep(page, "lesson")


@pytest.mark.parametrize(
    ("game", "name", "steps", "scheme"), [("line", "gaussians", 400, "dark"), ("plane", "gan", 1500, "light")]
)
def test_games(game, name, steps, scheme, visit, look, keep):
    page = visit(f"#/learn/live-{game}", viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    start = page.get_by_role("button", name="Start", exact=True)
    expect(start).to_be_enabled()
    start.click()

    def step() -> int:
        found = re.match(r"step ([\d,]+)", page.locator(".learn-state").inner_text())
        return int(found[1].replace(",", "")) if found else 0

    look.until(page, lambda: step() >= steps, lambda: f"only {step()} steps")
    page.get_by_role("button", name="Pause", exact=True).click()
    keep(page, name)
