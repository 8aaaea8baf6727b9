"""A conditional model on the page Explore: it is told what is chosen there."""

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

import ganvas

FLAGS = "--data digits --device cpu --condition class --latent-dim 2 --hidden 32 --beta 0.1 --lr 0.01 --epochs 3"


@pytest.fixture(scope="module")
def told(own_cache, tmp_path_factory):
    """A folder with one run."""
    from ganvas.cli import main

    folder = tmp_path_factory.mktemp("conditional")
    assert main(["train", "vae", *FLAGS.split(), "--fit", "0", "--out", str(folder / "it")]) == 0
    return folder


@pytest.fixture
def page(told, serving, visitor):
    with serving("-m", "ganvas", "studio", told, "--port", 0, "--no-browser") as address:
        it = visitor(address)
        yield it
        it.leave()
        it.contexts.clear()


def test_what_is_chosen_is_told(page, told, look):
    model = ganvas.load(told / "it")

    def images(codes, condition, guidance):
        it = model.given(condition, guidance) if condition else model
        return (it.decode(torch.tensor(codes, dtype=torch.float32)) * 255).round().byte()[:, 0].numpy()

    def shows(canvas, codes, condition=None, guidance=1.0):
        return look.shows(tab, canvas, lambda: images(codes, condition, guidance).swapaxes(0, 1).reshape(8, -1))

    tab = page("#/explore?run=it&z=0.5,-0.5&A=1,1&tool=between&ends=now,A1")
    picture = tab.get_by_role("img", name="Picture", exact=True)
    tray = tab.get_by_role("group", name="Tray A").locator("canvas")
    strip = tab.get_by_role("application", name="Strip").locator("canvas")
    chosen = tab.get_by_label("class", exact=True)
    way = [[0.5 + 0.5 * t, -0.5 + 1.5 * t] for t in np.linspace(0, 1, 10)]
    plain = shows(picture, way[:1])
    assert chosen.locator("option").all_inner_texts() == ["not told", *map(str, range(10))]
    expect(tab.get_by_label("Guidance")).to_be_disabled()

    chosen.select_option("7")
    seven = shows(picture, way[:1], {"class": "7"})
    assert np.abs(seven.astype(int) - plain).max() > 20
    shows(tray, [[1, 1]], {"class": "7"})
    shows(strip, way, {"class": "7"})
    assert look.state(tab)["given"] == "class:7"
    tab.get_by_label("Guidance").fill("2")
    tab.get_by_label("Guidance").press("Home")
    look.until(tab, lambda: look.state(tab).get("guidance") == "0", lambda: tab.url)
    shows(picture, way[:1])
    shows(strip, way)

    tab.get_by_role("button", name="Undo").click()  # what was told is a state like any other
    look.until(tab, lambda: look.state(tab).get("guidance") != "0", lambda: tab.url)
    other = page(f"#/explore?{tab.url.split('?', 1)[1].split('&guidance')[0]}&guidance=2.5")
    tab = other
    picture = other.get_by_role("img", name="Picture", exact=True)
    shows(picture, way[:1], {"class": "7"}, 2.5)
    expect(other.get_by_label("class", exact=True)).to_have_value("7")
    other.get_by_label("class", exact=True).select_option("not told")
    shows(picture, way[:1])
    look.until(other, lambda: "given" not in look.state(other), lambda: other.url)
    assert look.trouble(other) == []
