"""The pages Runs and Watch: what lies in the folder, and what happens in it."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect


def rows(page: Page) -> list[str]:
    """The runs of the table, from its top."""
    return page.locator(".runs tbody td.id").all_inner_texts()


def test_runs_are_listed_sorted_and_filtered(visit, look):
    page = visit()
    table = page.locator(".runs tbody tr")
    expect(page.get_by_text("6 runs")).to_be_visible()
    assert sorted(rows(page)) == ["broken", "dcgan", "denoiser", "plane", "ring", "wide"]
    broken = table.filter(has_text="broken")
    expect(broken.locator(".badge")).to_have_text("Unreadable")
    expect(broken).to_contain_text("recipe.json")
    for name in ("plane", "ring"):
        expect(table.filter(has_text=name).locator(".badge")).to_have_text("Finished")
    expect(table.filter(has_text="ring")).to_contain_text("gan on ring")

    by_name = page.locator("th", has_text="Run").first
    by_name.get_by_role("button").click()
    expect(by_name).to_have_attribute("aria-sort", "ascending")
    assert rows(page) == ["broken", "dcgan", "denoiser", "plane", "ring", "wide"]
    by_name.get_by_role("button").click()
    expect(by_name).to_have_attribute("aria-sort", "descending")
    assert rows(page) == ["wide", "ring", "plane", "denoiser", "dcgan", "broken"]

    page.keyboard.press("/")
    page.keyboard.type("vae digits")
    expect(page.get_by_text("2 of 6 runs")).to_be_visible()
    assert rows(page) == ["wide", "plane"]
    look.until(page, lambda: look.state(page) == {"sort": "-id", "filter": "vae digits"}, page.url)
    page.reload()  # the address is the state
    expect(page.get_by_text("2 of 6 runs")).to_be_visible()
    assert rows(page) == ["wide", "plane"]
    page.get_by_label("Filter", exact=True).fill("")
    page.get_by_label("State", exact=True).select_option("Unreadable")
    expect(page.get_by_text("1 of 6 runs")).to_be_visible()
    assert rows(page) == ["broken"]


def test_two_runs_beside_each_other(visit, look):
    page = visit()
    for name in ("plane", "wide"):
        page.get_by_label(f"Compare {name}").check()
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name="Comparison")).to_be_visible()
    assert look.state(page)["compare"] == "plane,wide"
    loss = page.get_by_role("img", name=re.compile("^Loss, training"))
    expect(loss).to_have_accessible_name(re.compile(r"Last values: plane [\d.]+, wide [\d.]+\."))
    loss.scroll_into_view_if_needed()
    expect(loss.locator("canvas")).to_be_visible()
    for kind in ("Last samples", "Last reconstructions"):
        for name in ("plane", "wide"):
            picture = page.get_by_role("img", name=f"{kind}: {name}")
            look.until(page, lambda it=picture: it.evaluate("it => it.naturalWidth"), f"no {kind} of {name}")
    table = page.locator("table:visible tbody tr")
    settings = {name: values for name, *values in (row.split("\t") for row in table.all_inner_texts())}
    assert settings["model.latent_dim"] == ["2", "6"] and "model.hidden" not in settings
    assert page.locator("td.differs").count() == 2 * len(settings)
    page.get_by_label("Show equal ones too").check()
    hidden = page.get_by_role("row", name=re.compile(r"^training\.batch_size"))
    expect(hidden).to_be_visible()
    expect(hidden.locator("td.differs")).to_have_count(0)
    page.get_by_label("Take wide out of the comparison").click()
    expect(page.get_by_text("6 runs")).to_be_visible()


def test_the_pictures_of_a_run_through_its_training(visit, look):
    page = visit("#/watch?run=plane")
    film = page.get_by_role("region", name="Samples", exact=True)
    newest = page.get_by_role("img", name="Samples after epoch 3")
    expect(newest).to_be_visible()
    film.get_by_role("slider").press("ArrowLeft")
    expect(page.get_by_role("img", name="Samples after epoch 2")).to_be_visible()
    film.get_by_role("button", name="Newest").click()
    expect(newest).to_be_visible()
    look.until(page, lambda: newest.evaluate("it => it.complete && it.naturalWidth"), "no picture")
    page.get_by_text("Settings", exact=True).click()
    expect(page.get_by_role("row", name="model.latent_dim 2")).to_be_visible()


def test_a_folder_that_is_no_run_says_why(visit):
    page = visit("#/watch?run=broken")
    expect(page.get_by_role("alert")).to_contain_text("This folder can't be read as a run.")
    expect(page.get_by_role("alert")).to_contain_text("recipe.json")


class Training:
    """A training in a process of its own, which stands still between the steps that a test lets it make."""

    def __init__(self, run: Path, recipe: str, *flags: str) -> None:
        self.run = run
        command = [sys.executable, "-m", "ganvas", "train", recipe, *flags, "--out", str(run)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def rows(self) -> list[dict[str, Any]]:
        """What it has written down."""
        path = self.run / "metrics.jsonl"
        lines = path.read_text().splitlines(True) if path.exists() else []
        return [json.loads(line) for line in lines if line[-1] == "\n"]

    def losses(self) -> list[float]:
        return [row["loss"] for row in self.rows() if row["split"] == "train"]

    def go(self) -> None:
        """Let it make steps, until it has written a loss down."""
        n = len(self.losses())
        self.process.send_signal(signal.SIGCONT)
        while len(self.losses()) == n:
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.002)
        self.process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        shutil.rmtree(self.run, ignore_errors=True)


@pytest.fixture
def training(runs: Path) -> Iterator[Training]:
    flags = "--data digits --device cpu --latent-dim 2 --hidden 32 --epochs 12"
    started = Training(runs / "live", "vae", *flags.split())
    yield started
    started.end()


def redrawn(chart: Locator, before: str) -> str:
    """What a chart shows, if that is not what it showed before; else nothing."""
    now = chart.locator("canvas").evaluate("it => it.toDataURL()")
    return "" if now == before else now


def test_a_training_is_watched_as_it_goes(visit, look, training):
    page = visit()
    expect(page.get_by_text("6 runs")).to_be_visible()
    page.evaluate("window.here = true")
    training.go()
    row = page.locator(".runs tbody tr", has_text="live")
    expect(row.locator(".badge")).to_have_text("Running")
    expect(page.get_by_text("7 runs")).to_be_visible()
    row.get_by_role("link", name="live").click()
    step = page.locator(".facts div", has_text="Step").locator("dd")
    loss = page.get_by_role("img", name=re.compile(r"^Loss\. Last values"))
    drawn = ""
    for _ in range(4):
        training.go()
        expect(step).to_have_text(f"{training.rows()[-1]['step']} of 120")
        expect(loss).to_have_accessible_name(re.compile(rf"training {training.losses()[-1]:.4g}\b"))
        drawn = look.until(page, lambda before=drawn: redrawn(loss, before), "the curves do not grow")
    expect(page.locator(".badge")).to_have_text("Running")

    training.process.send_signal(signal.SIGCONT)
    expect(page.locator(".badge")).to_have_text("Finished")
    expect(page.get_by_role("img", name="Samples after epoch 12")).to_be_visible()
    assert training.process.wait(60) == 0
    page.get_by_role("link", name="Explore this run").click()
    expect(page.get_by_role("application", name="Latent plane")).to_be_visible()
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(row.locator(".badge")).to_have_text("Finished")
    assert page.evaluate("window.here"), "the page was loaded anew"
