"""The studio as its users meet it: real runs, a real `ganvas studio`, and a real Chromium.

Without Chromium or the built page these tests are skipped; with GANVAS_BROWSER=required, as in CI, they fail then.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray

import ganvas.studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page, WebSocket

    from ganvas.data import Dataset
    from ganvas.models import Model

Pixels = NDArray[np.uint8]

CHROMIUM = shutil.which("chromium")
BUILT = Path(ganvas.studio.__file__).with_name("page") / "index.html"
QUIET = ("background-networking", "component-update", "sync", "quic", "gpu")
PATIENCE = 60  # seconds that a condition may take on a busy machine
TINY = ("--data", "digits", "--device", "cpu")
RUNS = {  # of which sort, and how little each is trained
    "plane": "vae --latent-dim 2 --hidden 32 --beta 0.1 --lr 0.01 --epochs 3",
    "wide": "vae --latent-dim 6 --hidden 32 --beta 0.1 --lr 0.01 --epochs 2",
    "denoiser": "denoising-autoencoder --latent-dim 6 --epochs 1",
    "dcgan": "dcgan --latent-dim 6 --filters 8 --epochs 1",
    "ring": "gan --data ring --latent-dim 2 --hidden 16 --batch-size 4096 --epochs 1",
}


@pytest.fixture(scope="package", autouse=True)
def able() -> None:
    """Whether there is all that these tests need."""
    lacking = None
    if CHROMIUM is None:
        lacking = "chromium is not installed (Debian: apt-get install chromium)"
    elif not BUILT.is_file():
        lacking = "the page is not built: make page"
    if lacking and os.environ.get("GANVAS_BROWSER") == "required":
        pytest.fail(lacking)
    elif lacking:
        pytest.skip(lacking)


# ---- what is shown ----


@pytest.fixture(scope="package", autouse=True)
def own_cache(able: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="package")
def folder(able: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the studio shows."""
    return tmp_path_factory.mktemp("runs")


@contextlib.contextmanager
def served(*command: object, errors: Path | None = None, **environment: str) -> Iterator[str]:
    """A server in a process of its own: the address that it prints."""
    with contextlib.ExitStack() as stack:
        err = stack.enter_context(errors.open("w")) if errors else subprocess.DEVNULL
        words, env = [sys.executable, "-u", *map(str, command)], os.environ | environment
        process = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=err, text=True, env=env))
        try:
            assert process.stdout
            found = re.search(r"http://[^\s)]+", process.stdout.readline())
            assert found, errors.read_text() if errors else "the server did not start"
            yield found[0]
        finally:
            process.terminate()  # not SIGINT: what a shell starts in the background ignores it
            try:
                process.communicate(timeout=PATIENCE)
            finally:
                process.kill()


@pytest.fixture(scope="package")
def serving() -> Callable[..., contextlib.AbstractContextManager[str]]:
    return served


@pytest.fixture(scope="package")
def studio(folder: Path, own_cache: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a studio, which has nothing to complain about."""
    errors = tmp_path_factory.mktemp("studio") / "stderr"
    with served("-m", "ganvas", "studio", folder, "--port", 0, "--no-browser", errors=errors) as address:
        yield address
    assert errors.read_text() == ""


@pytest.fixture(scope="package")
def runs(studio: str, folder: Path) -> Path:
    """A run of each sort, and a folder that is broken. The studio starts meanwhile."""
    from ganvas.cli import main

    for name, words in RUNS.items():
        recipe, *flags = words.split()
        assert main(["train", recipe, *TINY, *flags, "--out", str(folder / name)]) == 0
    (folder / "broken").mkdir()
    (folder / "broken" / "recipe.json").write_text("{")
    return folder


@pytest.fixture(scope="package")
def model(runs: Path) -> Callable[[str], Model]:
    """The model of a run, by its name."""
    return cache(lambda name: ganvas.load(runs / name))


@pytest.fixture(scope="package")
def decode(model: Callable[[str], Model]) -> Callable[[str, Any], Pixels]:
    """What a run's model makes of codes (n, d): bytes (n, h, w)."""
    import torch

    def made(name: str, codes: Any) -> Pixels:
        images = model(name).decode(torch.tensor(np.asarray(codes), dtype=torch.float32))
        return (images * 255).round().byte().squeeze(1).numpy()

    return made


@pytest.fixture(scope="package")
def digits(own_cache: None) -> Dataset:
    """The data set of all runs but ring."""
    from ganvas.data import load

    return load("digits", progress=False)


# ---- who looks at it ----


@pytest.fixture(scope="package")
def browser(able: None) -> Iterator[Browser]:
    """Chromium. Of the package, since an event loop runs in this thread while it is there."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in QUIET)]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


class Visitor:
    """Opens pages of a server, each in a fresh profile, and notes what they should not do."""

    def __init__(self, browser: Browser, home: str) -> None:
        self.browser, self.home = browser, home
        self.contexts: list[BrowserContext] = []
        self.strangers: list[str] = []  # requests that went elsewhere
        self.said: list[str] = []  # in the console, and errors that nobody caught
        self.frames = 0  # that came over WebSockets

    def __call__(self, address: str = "", **profile: Any) -> Page:
        profile = {"viewport": {"width": 1280, "height": 800}} | profile
        context = self.browser.new_context(**profile)
        context.set_default_timeout(PATIENCE * 1000)
        self.contexts.append(context)
        context.on("request", lambda request: self._asked(request.url))
        context.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        context.on("weberror", lambda error: self.said.append(str(error.error)))
        context.on("page", lambda page: page.on("websocket", self._connected))
        page = context.new_page()
        page.goto(self.home + address)
        return page

    def _connected(self, socket: WebSocket) -> None:
        self._asked(socket.url.replace("ws:", "http:", 1))
        socket.on("framereceived", lambda _: setattr(self, "frames", self.frames + 1))

    def _asked(self, url: str) -> None:
        own = urlsplit(self.home)
        asked = urlsplit(url)
        if asked.scheme not in ("data", "blob") and (asked.scheme, asked.netloc) != (own.scheme, own.netloc):
            self.strangers.append(url)

    def leave(self) -> None:
        """Close all, and look at the notes."""
        for context in self.contexts:
            context.close()
        assert self.strangers == [], "a request left the server"
        assert self.said == [], "the console is not clean"


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Callable[[str], Visitor]]:
    """A visitor of the server at an address."""
    visitors = []

    def made(home: str) -> Visitor:
        visitors.append(Visitor(browser, home))
        return visitors[-1]

    yield made
    for it in visitors:
        it.leave()


@pytest.fixture
def visit(visitor: Callable[[str], Visitor], studio: str, runs: Path) -> Visitor:
    """A visitor of the studio, when its runs are there."""
    return visitor(studio)


# ---- what one sees ----


class Look:
    """What tests ask of a page. Nothing here waits for a time: it waits for what is asked."""

    @staticmethod
    def until(page: Page, holds: Callable[[], Any], what: str | Callable[[], str]) -> Any:
        """Wait until something holds: its value. `what` says what did not come to be."""
        end = time.monotonic() + PATIENCE
        while not (value := holds()):
            if time.monotonic() > end:
                pytest.fail(what() if callable(what) else what)
            page.wait_for_timeout(10)  # in which the page's events are heard
        return value

    @staticmethod
    def state(page: Page) -> dict[str, str]:
        """The state that the address holds."""
        return {name: values[-1] for name, values in parse_qs(page.url.partition("?")[2]).items()}

    @classmethod
    def code(cls, page: Page) -> list[float]:
        """The code that the address holds; [] of none."""
        return [float(x) for x in cls.state(page).get("z", "").split(",") if x]

    @staticmethod
    def pixels(canvas: Locator) -> Pixels:
        """What a canvas or an image shows: (h, w), of grey ones."""
        height, width, *values = canvas.evaluate(
            """it => {
                const canvas = it instanceof HTMLCanvasElement ? it : document.createElement("canvas");
                if (canvas !== it) {
                    [canvas.width, canvas.height] = [it.naturalWidth, it.naturalHeight];
                    canvas.getContext("2d").drawImage(it, 0, 0);
                }
                const {width, height} = canvas;
                return [height, width, ...canvas.getContext("2d").getImageData(0, 0, width, height).data];
            }"""
        )
        shown = np.array(values, np.uint8).reshape(height, width, 4)
        assert (shown[..., :3] == shown[..., :1]).all(), "a grey model shows colours"
        return shown[..., 0]

    @classmethod
    def shows(cls, page: Page, canvas: Locator, expected: Callable[[], Pixels]) -> Pixels:
        """Wait until a canvas shows what is expected, each pixel within 1 of 255: what it shows."""
        seen: list[Any] = []

        def holds() -> bool:
            shown, wanted = cls.pixels(canvas), expected()
            seen[:] = [shown, wanted]
            return shown.shape == wanted.shape and np.abs(shown.astype(int) - wanted).max() <= 1

        cls.until(page, holds, lambda: f"it shows\n{seen[0]}\nand not\n{seen[1]}")
        return seen[0]

    @staticmethod
    def trouble(page: Page) -> list[str]:
        """What is wrong with a page's looks: wider than the screen, and controls and pictures without a name."""
        width = page.viewport_size["width"]  # type: ignore[index]
        found = []
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"{page.url} is {wide} pixels wide on a screen of {width}")
        session = page.context.new_cdp_session(page)
        for node in session.send("Accessibility.getFullAXTree")["nodes"]:
            role = node.get("role", {}).get("value")
            facts = {it["name"]: it["value"].get("value") for it in node.get("properties", [])}
            asks = facts.get("focusable") and role not in ("RootWebArea", "main", "heading")
            if not node["ignored"] and (asks or role == "image") and not node.get("name", {}).get("value", "").strip():
                found.append(f"{page.url}: a {role} without a name: {_markup(session, node)}")
        session.detach()
        return found


def _markup(session: Any, node: dict[str, Any]) -> str:
    return str(session.send("DOM.getOuterHTML", {"backendNodeId": node["backendDOMNodeId"]})["outerHTML"])[:200]


@pytest.fixture(scope="package")
def look() -> type[Look]:
    return Look
