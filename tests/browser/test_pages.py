"""Each page at the size of a desktop and of a phone, light and dark. What `Visitor` notes counts here too."""

import re

import pytest
from playwright.sync_api import Page, expect

PAGES = {  # addresses, and what is there when the page is
    "#/runs": ".runs tbody tr >> nth=5",
    "#/runs?filter=nothing-is-called-so": "text=No run matches the filter.",
    "#/runs?compare=plane,wide": ".chart canvas",
    "#/watch?run=plane": ".chart canvas",
    "#/watch?run=ring": ".chart canvas",
    "#/watch?run=broken": ".card.bad",
    "#/explore": "text=Choose a run to explore",
    "#/explore?run=plane&tool=between": "[aria-label^=Strip][aria-busy=false]",
    "#/explore?run=wide&A=1,0,0,0,0,0&B=0,1,0,0,0,0&C=0,0,1,0,0,0": "[aria-label^=Calculated][aria-busy=false]",
    "#/explore?run=denoiser&tool=image&pc=1": "text=choose a file",
    "#/explore?run=dcgan&tool=three": "[aria-label^=Plane][aria-busy=false]",
    "#/explore?run=plane&tool=nearest&plain=1": "text=Find the nearest training images",
    "#/explore?run=ring": "text=This model makes points",
    "#/learn": ".lesson >> nth=9",
    "#/learn/manifold": ".learn-picture img",
    "#/learn/nothing": "text=There is no figure",
    "#/nowhere": "text=There is no page",
}


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_pages(phone, visit, look):
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 800}
    page = visit(viewport=size, is_mobile=phone, has_touch=phone, color_scheme="light")
    trouble = []
    for address, there in PAGES.items():
        page.goto(visit.home + address)
        expect(page.locator(there).first).to_be_visible()
        expect(page.locator(".x-loading")).to_have_count(0)
        trouble += look.trouble(page)
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            if (brightness(page, "backgroundColor") > brightness(page, "color")) != (scheme == "light"):
                trouble.append(f"{page.url} is not {scheme}")
    assert trouble == []


def brightness(page: Page, colour: str) -> int:
    """Of a colour of the page, as the browser has it: "rgb(1, 2, 3)"."""
    text = page.evaluate(f"getComputedStyle(document.documentElement).{colour}")
    return sum(map(int, re.findall(r"\d+", text)))


def test_the_theme_and_the_keyboard_go_from_page_to_page(visit):
    page = visit()
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    seen = {page.evaluate(ground)}
    theme = page.get_by_role("button", name=re.compile("^Theme: "))
    for _ in range(2):
        theme.click()
        seen.add(page.evaluate(ground))
    assert len(seen) == 2
    expect(theme).to_have_accessible_name(re.compile("^Theme: dark"))
    dark = page.evaluate(ground)
    for key, heading in (("l", "Learn"), ("w", "plane"), ("r", "Runs"), ("e", "Explore plane")):
        page.keyboard.press("r")  # by itself it goes nowhere
        if key == "w":
            page.goto(page.url.split("#")[0] + "#/watch?run=plane")
        else:
            page.keyboard.press("g")
            page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        assert page.evaluate(ground) == dark
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.reload()
    assert page.evaluate(ground) == dark, "the theme is remembered"
