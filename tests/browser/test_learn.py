"""The page Learn: the lecture's figures, and the two games that train while one watches."""

import re

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, expect

SCREENS = [(1280, 800, "dark"), (390, 844, "light")]


def drawing(canvas: Locator) -> NDArray[np.uint8]:
    return np.frombuffer(canvas.screenshot(), np.uint8)


def step(page: Page) -> int:
    """That the game's line says."""
    found = re.match(r"step ([\d,]+) ", page.locator(".learn-state").inner_text())
    return int(found[1].replace(",", "")) if found else -1


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def test_every_figure_opens_with_its_picture(visit, look):
    page = visit("#/learn")
    lessons = page.request.get(f"{visit.home}lessons.json").json()
    expect(page.locator("a.lesson")).to_have_count(len(lessons) + 2)
    assert len({it["name"] for it in lessons}) == len(lessons) > 20
    size = "it => it.complete && [it.naturalWidth, it.naturalHeight]"
    heading, picture = page.get_by_role("heading", level=1), page.locator(".learn-picture img")
    page.locator("a.lesson", has_text=re.compile(re.escape(lessons[0]["title"]), re.I)).first.click()
    for it in lessons:
        expect(heading).to_have_text(it["title"], ignore_case=True)
        assert page.url.endswith(f"#/learn/{it['name']}")
        look.until(page, lambda it=it: picture.evaluate(size) == it["size"], f"{it['name']} has no picture")
        expect(page.locator(".learn-formula math")).not_to_have_count(0)
        expect(page.locator(".card p").first).to_have_text(it["claim"], ignore_case=True)
        measured = page.get_by_role("region", name="Measured").locator("tbody tr")
        expect(measured).to_have_count(len(it["measures"]))
        if it is not lessons[-1]:
            page.keyboard.press("ArrowRight")
    button(page, f"Enlarge. Figure: {heading.inner_text()}").click()
    expect(page.get_by_role("dialog").locator("img")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_run_behind_a_figure(visit):
    page = visit("#/learn/manifold")
    behind = page.locator("section", has=page.get_by_role("heading", name="The run behind it"))
    expect(behind).to_contain_text("recipe vae")
    behind.get_by_role("link", name="Watch").click()
    expect(page.get_by_role("img", name=re.compile("^Loss"))).to_be_visible()


def plays(page: Page, look, visit, picture: Locator) -> None:
    """Start it: steps are made, pictures come, and what is drawn changes; then pause it."""
    before, frames, first = step(page), visit.frames, drawing(picture)
    button(page, "Start").click()
    look.until(page, lambda: step(page) > before + 20 and visit.frames > frames + 3, lambda: f"step {step(page)}")
    button(page, "Pause").click()
    after = drawing(picture)
    assert first.shape != after.shape or (first != after).any(), "the picture stands still"


def test_two_gaussians_train_live(visit, look):
    page = visit("#/learn/live-line", viewport={"width": 390, "height": 844}, color_scheme="dark")
    expect(button(page, "Start")).to_be_enabled()
    heights = page.get_by_role("img", name=re.compile("^Two Gaussians on a line"))
    plays(page, look, visit, heights)
    found = page.locator(".learn-at dd")
    expect(found).to_have_count(3)

    fake = page.get_by_role("slider", name="Fake: mean")
    fake.fill("-1.5")
    look.until(page, lambda: look.state(page).get("fake") == "-1.5", page.url)
    expect(heights).to_have_accessible_name(re.compile(r"Fakes are at .1\.5\."))
    heights.scroll_into_view_if_needed()
    box = heights.bounding_box()
    x = box["x"] + 34 + (box["width"] - 44) * (10 - 1.5) / 20  # between the axes' margins, from -10 to 10
    page.mouse.move(x, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(x + (box["width"] - 44) * 5 / 20, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    look.until(page, lambda: look.state(page).get("fake") == "3.5", page.url)
    expect(heights).to_have_accessible_name(re.compile(r"Fakes are at 3\.5\."))
    expect(fake).to_have_value("3.5")

    page.get_by_role("combobox", name="The critic is bounded by", exact=True).select_option("gradient penalty")
    expect(page.get_by_role("slider", name="Weight of the penalty")).to_be_visible()
    look.until(page, lambda: step(page) == 0, "another critic begins anew")
    before = step(page)
    button(page, "Step").click()
    look.until(page, lambda: step(page) == before + 1, lambda: f"step {step(page)}")
    for width, height, scheme in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        assert look.trouble(page) == []


def test_a_gan_in_the_plane_trains_live(visit, look):
    page = visit("#/learn/live-plane?units=16&layers=1&batch_size=32")
    expect(button(page, "Start")).to_be_enabled()
    picture = page.get_by_role("img", name=re.compile("^Real points, generated points"))
    plays(page, look, visit, picture)
    expect(page.locator(".learn-found")).to_have_text(re.compile(r"\d of 8 modes"))

    page.get_by_role("combobox", name="Data", exact=True).select_option("grid")
    expect(page.locator(".learn-found")).to_have_text(re.compile(r"\d+ of 25 modes"))
    page.get_by_role("combobox", name="Loss", exact=True).select_option("hinge")
    look.until(page, lambda: look.state(page).get("loss") == "hinge" and step(page) == 0, page.url)
    rate = page.get_by_role("slider", name="Learning rate of D")
    button(page, "10 steps").click()
    look.until(page, lambda: step(page) == 10, lambda: f"step {step(page)}")
    rate.fill("-2")
    look.until(page, lambda: look.state(page).get("lr_discriminator") == "0.01", page.url)
    button(page, "Step").click()
    look.until(page, lambda: step(page) == 11, "another learning rate does not begin anew")

    # What does not go together says why, and plays again when it is taken back.
    refused = page.get_by_role("alert")
    penalty = page.get_by_role("checkbox", name="gradient-penalty")
    penalty.check()
    expect(refused).to_contain_text("These settings don't go together")
    expect(refused).to_contain_text("gradient-penalty and r1")
    assert look.trouble(page) == []
    penalty.uncheck()
    expect(refused).to_be_hidden()
    plays(page, look, visit, picture)
    expect(page.locator(".chart canvas")).to_have_count(3)
    for width, height, scheme in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        assert look.trouble(page) == []
