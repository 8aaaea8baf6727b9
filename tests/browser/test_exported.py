"""A model that was taken along: its page decodes in the browser, and asks nobody."""

import re
from statistics import NormalDist

import numpy as np
import pytest
from playwright.sync_api import expect

from ganvas.cli import main

SHARE = NormalDist().inv_cdf


@pytest.fixture(scope="module", params=["folder", "one file"])
def taken(request, runs, serving, tmp_path_factory):
    """The address of an exported page, at a server of files or on the disk."""
    folder = tmp_path_factory.mktemp("taken")
    if request.param == "folder":
        assert main(["export", str(runs / "plane"), "--html", "--out", str(folder / "plane")]) == 0
        with serving("-m", "http.server", 0, "--bind", "127.0.0.1", "--directory", folder) as address:
            yield f"{address}plane/"
    else:
        assert main(["export", str(runs / "plane"), "--html", "--one-file", "--out", str(folder / "plane.html")]) == 0
        yield (folder / "plane.html").as_uri()


def test_it_is_explored_without_a_server(taken, visitor, look, decode, model, digits):
    visit = visitor(taken)
    page = visit()
    expect(page).to_have_title("plane · ganvas")
    picture = page.get_by_role("img", name="Picture", exact=True)
    expect(picture).not_to_have_attribute("data-sequence", "0")
    plane = page.get_by_role("application", name="Latent plane")
    expect(plane).to_have_attribute("aria-busy", "false")
    box = plane.bounding_box()
    seen = []
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    for right, down in ((0.2, 0.2), (0.8, 0.3), (0.7, 0.9)):
        x, y = round(box["x"] + right * box["width"]), round(box["y"] + down * box["height"])
        page.mouse.move(x, y, steps=3)
        code = [SHARE((x - box["x"]) / box["width"]), SHARE(1 - (y - box["y"]) / box["height"])]
        seen.append(look.shows(page, picture, lambda code=code: decode("plane", [code])[0]))
    page.mouse.up()
    look.until(page, lambda: look.code(page) == pytest.approx(code, rel=1e-4), page.url)
    assert (seen[0] != seen[1]).any() and (seen[1] != seen[2]).any()

    page.get_by_role("button", name="Random", exact=True).click()
    look.until(page, lambda: look.code(page) != pytest.approx(code, rel=1e-4), page.url)
    look.shows(page, picture, lambda: decode("plane", [look.code(page)])[0])
    expect(page.locator(".x-loading")).to_have_count(0)
    expect(page.get_by_text(re.compile(r"\d+ encoded test images"))).to_be_visible()
    page.get_by_role("application", name="Map").focus()
    page.keyboard.press("Enter")
    said = page.get_by_text(re.compile(r"^Image \d+: \d$"))
    expect(said).to_be_attached()
    row = int(re.search(r"\d+", said.inner_text())[0])
    from ganvas.data.loader import to_tensor

    wanted = model("plane").encode(to_tensor(digits.splits["test"].images[row : row + 1]))[0].tolist()
    look.until(page, lambda: look.code(page) == pytest.approx(wanted, rel=1e-3, abs=1e-4), page.url)
    page.get_by_role("tab", name="Your image").click()
    assert look.trouble(page) == []


def test_it_encodes_an_image(taken, visitor, look, model, digits):
    import io

    from PIL import Image

    from ganvas.data.loader import to_tensor

    visit = visitor(taken)
    page = visit("#/explore?tool=image")
    bytes_ = digits.splits["test"].images[3:4]
    file = io.BytesIO()
    Image.fromarray(bytes_.squeeze()).save(file, "PNG")
    page.locator("#x-file").set_input_files({"name": "3.png", "mimeType": "image/png", "buffer": file.getvalue()})
    expect(page.get_by_text("The image is encoded")).to_be_visible()
    code = model("plane").encode(to_tensor(bytes_))[0].tolist()
    look.until(page, lambda: look.code(page) == pytest.approx(code, rel=1e-3, abs=1e-4), lambda: f"{page.url} {code}")
    for opened in (page, visit(f"#{page.url.split('#')[1]}")):  # its address brings the image back
        shown = look.pixels(opened.get_by_role("img", name="As the model sees it"))
        assert np.abs(shown.astype(int) - bytes_.squeeze()).max() == 0
