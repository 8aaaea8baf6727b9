"""The page Explore: whatever it shows is what the model makes of the code in the address."""

import base64
import io
import re
from statistics import NormalDist

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from ganvas.data.loader import to_tensor

SHARE = NormalDist().inv_cdf  # the plane of two dimensions is laid out by shares of the prior
PIXELS = "it => it.getContext('2d').getImageData(0, 0, it.width, it.height).data.join()"


@pytest.fixture
def explore(visit, look, decode):
    """Opens a run, perhaps at a state; returns when its picture is there."""

    def opened(run: str, state: str = "", **profile) -> Page:
        page = visit(f"#/explore?run={run}{state and f'&{state}'}", **profile)
        expect(page.get_by_role("heading", name=f"Explore {run}")).to_be_visible()
        expect(page.locator(".x-loading")).to_have_count(0)
        drawn(page)
        return page

    return opened


@pytest.fixture
def true(look, decode):
    """Waits until the page shows what the run's model makes of a code, of that in the address by default."""

    def check(page: Page, run: str, code=None):
        return look.shows(page, picture(page), lambda: decode(run, [look.code(page) if code is None else code])[0])

    return check


def picture(page: Page) -> Locator:
    return page.get_by_role("img", name="Picture", exact=True)


def drawn(page: Page) -> None:
    expect(picture(page)).not_to_have_attribute("data-sequence", "0")


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def at(area: Locator, right: float, up: float) -> tuple[int, int]:
    """A whole pixel of the screen near a place of a square, whose sides go from 0 to 1."""
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    return round(box["x"] + right * box["width"]), round(box["y"] + (1 - up) * box["height"])


def code_at(area: Locator, x: int, y: int) -> list[float]:
    """The code that lies there, on the plane of a normal prior."""
    box = area.bounding_box()
    return [SHARE((x - box["x"]) / box["width"]), SHARE(1 - (y - box["y"]) / box["height"])]


def data(image: Locator) -> np.ndarray:
    """The pixels of a picture whose address holds it."""
    kind, content = image.get_attribute("src").split(",", 1)
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as opened:
        return np.array(opened.convert("L"))


def test_the_picture_follows_a_drag_in_the_plane(explore, look, true, decode):
    page = explore("plane")
    plane = page.get_by_role("application", name="Latent plane")
    seen = []
    page.mouse.move(*at(plane, 0.5, 0.5))
    page.mouse.down()
    before = page.url
    for right, up in ((0.9, 0.5), (0.9, 0.9), (0.1, 0.9), (0.1, 0.1)):
        x, y = at(plane, right, up)
        page.mouse.move(x, y, steps=4)
        seen.append(true(page, "plane", code_at(plane, x, y)))
    assert page.url == before, "a drag is one state, which is there at its end"
    page.mouse.up()
    look.until(page, lambda: look.code(page), page.url)
    assert look.code(page) == pytest.approx(code_at(plane, x, y), rel=1e-4)
    true(page, "plane")
    changes = [np.abs(a.astype(int) - b).max() for i, a in enumerate(seen) for b in seen[:i]]
    assert min(changes) > 10, "the pictures differ"

    shares = [SHARE((i + 0.5) / 20) for i in range(20)]
    grid = decode("plane", [(x, y) for y in reversed(shares) for x in shares]).reshape(20, 20, 8, 8)
    look.shows(page, plane.locator("canvas"), lambda: grid.swapaxes(1, 2).reshape(160, 160))


def test_a_finger_drags_too(explore, look, true):
    page = explore("plane", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    plane = page.get_by_role("application", name="Latent plane")
    plane.scroll_into_view_if_needed()
    top = page.evaluate("scrollY")
    touch = page.context.new_cdp_session(page)

    def finger(what: str, *points: tuple[int, int]) -> None:
        touch.send("Input.dispatchTouchEvent", {"type": what, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    finger("touchStart", at(plane, 0.5, 0.5))
    for share in (0.6, 0.7, 0.8, 0.9):
        x, y = at(plane, 0.2, share)
        finger("touchMove", (x, y))
    true(page, "plane", code_at(plane, x, y))
    finger("touchEnd")
    look.until(page, lambda: look.code(page), page.url)
    true(page, "plane")
    assert page.evaluate("scrollY") == top, "the page scrolled under the finger"
    page.touchscreen.tap(*at(plane, 0.8, 0.3))
    true(page, "plane", code_at(plane, *at(plane, 0.8, 0.3)))


def test_the_keyboard_is_enough(explore, look, true, model):
    page = explore("plane")

    def tab(name: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.getAttribute('aria-label')") == name:
                return
        pytest.fail(f"Tab does not lead to {name}")

    tab("Latent plane")
    page.keyboard.press("m")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowUp"):
        page.keyboard.press(key)
    start = page.request.get(f"{page.url.split('#')[0]}api/space?run=plane").json()["mean"]
    step = 6 / 100  # of the six standard deviations that the plane is wide
    wanted = pytest.approx([start[0] + 2 * step, start[1] + 6 * step], abs=1e-3)
    look.until(page, lambda: look.code(page) == wanted, lambda: f"{page.url} is not {wanted}")
    true(page, "plane")
    tab("Map")
    before = look.code(page)
    page.keyboard.press("ArrowLeft")
    look.until(page, lambda: look.code(page) != before, page.url)
    true(page, "plane")
    page.keyboard.press("Enter")  # to the nearest image
    said = page.get_by_text(re.compile(r"^Image \d+: \d$"))
    expect(said).to_be_attached()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    look.until(page, lambda: look.code(page) == before, page.url)
    true(page, "plane")


def test_a_click_on_the_map_goes_to_that_images_code(explore, look, true, model, digits):
    page = explore("wide")
    area, tip = page.get_by_role("application", name="Map"), page.locator(".x-tip")
    for place in range(64):  # there may be no point just there
        page.mouse.move(*at(area, 0.3 + place % 8 / 20, 0.3 + place // 8 / 20))
        if tip.is_visible():
            break
    hovered = tip.inner_text()
    page.mouse.down()
    page.mouse.up()
    said = page.get_by_text(re.compile(r"^Image \d+: \d$"))
    expect(said).to_be_attached()
    row, label = map(int, re.findall(r"\d+", said.inner_text()))
    test = digits.splits["test"]
    assert label == test.labels[row].item() == int(hovered)
    code = model("wide").encode(to_tensor(test.images[row : row + 1]))[0].tolist()
    look.until(page, lambda: look.code(page), page.url)
    assert look.code(page) == pytest.approx(code, rel=1e-4, abs=1e-5)
    shown = true(page, "wide")
    button(page, "Undo").click()
    look.until(page, lambda: "z" not in look.state(page), page.url)
    look.until(page, lambda: (look.pixels(picture(page)) != shown).any(), "Undo changed nothing")
    expect(button(page, "Undo")).to_be_disabled()
    button(page, "Redo").click()
    look.until(page, lambda: look.code(page) == pytest.approx(code, rel=1e-4, abs=1e-5), page.url)
    true(page, "wide")


def test_sliders_random_lock_and_nudge(explore, look, true):
    page = explore("wide")
    space = page.request.get(f"{page.url.split('#')[0]}api/space?run=wide").json()
    sliders = page.get_by_role("slider", name=re.compile(r"^z\d$"))
    names = [it.get_attribute("aria-label") for it in sliders.all()]
    assert names == [f"z{i + 1}" for i in space["order"][: space["active"]]]
    first = space["order"][0]
    box = sliders.first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    look.until(page, lambda: look.code(page), page.url)
    moved = look.code(page)
    assert moved[first] > space["mean"][first] + space["spread"][first]
    others = np.arange(6) != first
    assert np.array(moved)[others] == pytest.approx(np.array(space["mean"])[others], rel=1e-4, abs=1e-6)
    true(page, "wide")

    button(page, f"Lock z{first + 1}").click()
    for key in ("r", "n"):  # random, nudge
        before = look.code(page)
        page.keyboard.press(key)
        look.until(page, lambda before=before: look.code(page) != before, page.url)
        now = np.array(look.code(page))
        assert now[first] == before[first] and (now[others] != np.array(before)[others]).all()
        true(page, "wide")
    assert np.abs(now - before).max() < 2, "a nudge is small"
    button(page, "Mean").click()
    true(page, "wide", space["mean"])
    middle = look.code(page)
    sliders.nth(1).press("ArrowRight")
    look.until(page, lambda: look.code(page) != middle, page.url)
    second = space["order"][1]
    assert look.code(page)[second] > middle[second]
    true(page, "wide")


def test_directions_from_labels_turn_the_picture(explore, look, decode):
    page = explore("wide")
    space = page.request.get(f"{page.url.split('#')[0]}api/space?run=wide").json()
    third = next(it for it in space["directions"] if it["name"] == "class 3")
    page.get_by_role("slider", name="class 3: others to 3").fill("1.2")
    look.until(page, lambda: look.state(page).get("turn") == "class 3:1.2", page.url)
    code = np.array(look.code(page)) + 1.2 * np.array(third["vector"])
    look.shows(page, picture(page), lambda: decode("wide", [code])[0])


def test_an_address_shows_the_same_picture_elsewhere(explore, look, true, visit):
    page = explore("wide")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button(page, "Random").click()
    look.until(page, lambda: look.code(page), page.url)
    button(page, "Copy address").click()
    expect(page.get_by_text("The address is copied.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.url
    other = visit(copied.removeprefix(visit.home))
    drawn(other)
    code = look.code(page)
    assert (true(page, "wide", code) == true(other, "wide", code)).all()


def test_arithmetic(explore, look, true, decode):
    page = explore("wide")
    for i, key in enumerate("aabc"):
        before = look.code(page)
        page.keyboard.press("r")
        look.until(page, lambda before=before: look.code(page) not in ([], before), page.url)
        page.keyboard.press(key)
        look.until(page, lambda n=i + 1: sum(map(len, trays(look, page))) == n, page.url)
    a, b, c = trays(look, page)
    assert len(a) == 2 and c == [look.code(page)]
    middle = np.mean(a, 0) - b[0] + c[0]
    result = page.locator(".x-results").get_by_role("application", name=re.compile("^Calculated with codes"))
    expect(result).to_have_attribute("aria-busy", "false")
    sheet = result.locator("canvas")
    mine = decode("wide", [middle])[0]
    cells = look.pixels(sheet).reshape(3, 8, 3, 8).swapaxes(1, 2).reshape(9, 8, 8).astype(int)
    assert np.abs(cells[4] - mine).max() <= 1
    assert all((cell != cells[4]).any() for i, cell in enumerate(cells) if i != 4)
    images = [decode("wide", codes).astype(float) for codes in (a, b, c)]
    blend = np.clip(images[0].mean(0) - images[1][0] + images[2][0], 0, 255)
    pixels = page.get_by_role("heading", name="Calculated with pixels").locator("xpath=..").locator("canvas")
    look.shows(page, pixels, lambda: blend)
    button(page, "Go to the result").click()
    look.until(page, lambda: look.code(page) == pytest.approx(middle, rel=1e-4, abs=1e-5), page.url)
    true(page, "wide")


def trays(look, page: Page) -> list[list[list[float]]]:
    """The codes in the trays, by the address."""
    texts = [look.state(page).get(name, "") for name in "ABC"]
    return [[[float(x) for x in code.split(",")] for code in text.split(";") if code] for text in texts]


def test_an_interpolation_goes_from_one_picture_to_the_other(explore, look, decode):
    page = explore("wide", "z=1,0,-1,0.5,0,2&A=-1,1,0,0,1,-2&tool=between&ends=now,A1")
    strip = page.get_by_role("application", name=re.compile("^Strip"))
    expect(strip).to_have_attribute("aria-busy", "false")
    ends = np.array([look.code(page), trays(look, page)[0][0]])
    wanted = decode("wide", [(1 - t) * ends[0] + t * ends[1] for t in np.linspace(0, 1, 10)])
    look.shows(page, strip.locator("canvas"), lambda: np.hstack(list(wanted)))
    for name, code in zip(("From", "To"), ends, strict=True):
        slot = page.locator(".x-slot", has=page.get_by_label(name, exact=True)).locator("canvas")
        look.shows(page, slot, lambda code=code: decode("wide", [code])[0])
    loop = page.get_by_role("img", name="Loop")
    first = loop.evaluate(PIXELS)
    look.until(page, lambda: loop.evaluate(PIXELS) != first, "the loop does not play")
    page.get_by_label("To", exact=True).select_option("Choose on the map …")
    expect(page.get_by_text("Choose a point of the map.")).to_be_visible()
    page.mouse.click(*at(page.get_by_role("application", name="Map"), 0.5, 0.5))
    look.until(page, lambda: re.fullmatch(r"now,m\d+", look.state(page).get("ends", "")), page.url)


def test_the_plane_of_three_has_them_at_its_corners(explore, look, decode):
    codes = [[1, 0, -1, 0.5, 0, 2], [-1, 1, 0, 0, 1, -2], [0, -2, 1, 1, 0, 0]]
    text = ";".join(",".join(map(str, code)) for code in codes)
    page = explore("wide", f"A={text}&tool=three&corners=A1,A2,A3&side=4")
    plane = page.get_by_role("application", name=re.compile("^Plane through three points"))
    expect(plane).to_have_attribute("aria-busy", "false")
    cells = look.pixels(plane.locator("canvas")).reshape(4, 8, 4, 8).swapaxes(1, 2)
    for (row, column), image in zip(((0, 0), (0, 3), (3, 0)), decode("wide", codes), strict=True):
        assert np.abs(cells[row, column].astype(int) - image).max() <= 1


def test_an_image_is_dropped_in(explore, look, true, model, digits):
    page = explore("wide")
    bytes_ = digits.splits["test"].images[5]
    file = io.BytesIO()
    Image.fromarray(bytes_.squeeze()).save(file, "PNG")
    files = page.evaluate_handle(
        """text => {
            const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
            const files = new DataTransfer();
            files.items.add(new File([bytes], "five.png", {type: "image/png"}));
            return files;
        }""",
        base64.b64encode(file.getvalue()).decode(),
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": files})
    expect(page.get_by_text("Drop the image to encode it")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": files})
    expect(page.get_by_text("The image is encoded")).to_be_visible()
    code = model("wide").encode(to_tensor(bytes_[None]))
    look.until(page, lambda: look.code(page), page.url)
    assert look.code(page) == pytest.approx(code[0].tolist(), rel=1e-4, abs=1e-5)
    shown = true(page, "wide")
    assert (data(page.get_by_role("img", name="As the model sees it")) == bytes_.squeeze()).all()
    made = data(page.get_by_role("img", name="Reconstruction")).astype(int)
    assert np.abs(made - shown).max() <= 1

    # The address alone brings it back, and undo takes it away.
    other = explore("wide", page.url.split("&", 1)[1])
    assert look.code(other) == look.code(page)
    assert (data(other.get_by_role("img", name="As the model sees it")) == bytes_.squeeze()).all()
    assert (data(other.get_by_role("img", name="Reconstruction")) == made).all()
    page.keyboard.press("Control+z")
    expect(page.get_by_role("img", name="As the model sees it")).to_have_count(0)
    assert "image=" not in page.url


def test_an_image_in_the_address_that_is_none(explore, visit):
    for text in ("AAAA", "%20%20", "a" * 2001):
        page = explore("wide", f"tool=image&image={text}")
        expect(page.get_by_text("no image that the studio reads")).to_be_visible()
    assert len(visit.said) == 3 and all("400" in said for said in visit.said), "the browser itself notes each refusal"
    visit.said.clear()


def test_noise_is_put_on_and_taken_away(explore, look, model, digits):
    page = explore("denoiser", "tool=image")
    bytes_ = digits.splits["test"].images[7].squeeze()
    file = io.BytesIO()
    Image.fromarray(bytes_).save(file, "PNG")
    page.locator("#x-file").set_input_files({"name": "7.png", "mimeType": "image/png", "buffer": file.getvalue()})
    noisy, denoised = (page.get_by_role("img", name=name, exact=True) for name in ("With noise", "Denoised"))
    expect(noisy).to_be_visible()
    expect(denoised).to_be_visible()
    distances = []
    for dial in ("0", "0.5"):
        before = noisy.get_attribute("src")
        page.get_by_role("slider", name="Noise").fill(dial)
        look.until(page, lambda before=before: noisy.get_attribute("src") != before, "the dial does nothing")
        given = data(noisy)
        distances.append(np.abs(given.astype(int) - bytes_).mean())
        wanted = model("denoiser").denoise(torch.from_numpy(given / 255).float()[None, None])
        shown = data(denoised).astype(int)
        assert np.abs(shown - (wanted.squeeze() * 255).numpy()).max() <= 3  # the noisy image itself was rounded
    assert distances[0] == 0 and distances[1] > 20
    look.until(page, lambda: "noise=0.5" in page.url, page.url)
    other = explore("denoiser", page.url.split("&", 1)[1])
    assert (data(other.get_by_role("img", name="With noise", exact=True)) == given).all()
    page.keyboard.press("Control+z")  # what is looked at is no step of its own: the image is the last
    expect(noisy).to_have_count(0)


def test_the_nearest_training_images(explore, look, decode, digits):
    page = explore("wide", "z=1,0,-1,0.5,0,2&tool=nearest")
    button(page, "Find the nearest training images").click()
    found = page.get_by_role("img", name=re.compile(r"^Training image"))
    expect(found).to_have_count(8)
    rows = [int(re.search(r"\d+", it.get_attribute("alt"))[0]) for it in found.all()]
    train = digits.splits["train"].images.squeeze().reshape(-1, 64) / 255
    distances = np.linalg.norm(train - decode("wide", [look.code(page)]).reshape(1, 64) / 255, axis=1)
    assert distances[rows] == pytest.approx(np.sort(distances)[:8], abs=0.02)
    for row, image in zip(rows, found.all(), strict=True):
        assert (data(image).ravel() == train[row] * 255).all()


def test_a_picture_is_saved(explore, look, true):
    page = explore("plane", "z=1,-1")
    shown = true(page, "plane")
    with page.expect_download() as waited:
        button(page, "Save Picture as PNG").click()
    assert waited.value.suggested_filename == "picture.png"
    with Image.open(waited.value.path()) as image:
        assert image.format == "PNG" and image.size == (256, 256)
        saved = np.array(image.convert("L"))
    assert (saved.reshape(8, 32, 8, 32) == shown[:, None, :, None]).all()
    page.keyboard.press("a")

    def kept() -> bool:  # its picture comes a moment after it
        with page.expect_download() as waited:
            button(page, "Save A1 as PNG").click()
        assert waited.value.suggested_filename == "a1.png"
        with Image.open(waited.value.path()) as image:
            return bool((np.array(image.convert("L")) == saved).all())

    look.until(page, kept, "A1 is another picture")


def test_a_gan_of_images_and_one_of_points(explore, look, true, visit):
    page = explore("dcgan")
    for _ in range(2):
        before = look.code(page)
        button(page, "Random").click()
        look.until(page, lambda before=before: look.code(page) != before, page.url)
        true(page, "dcgan")
    page = visit("#/explore?run=ring")
    expect(page.get_by_text("This model makes points, not images")).to_be_visible()
    page = visit("#/explore")
    page.get_by_role("link", name="plane", exact=True).click()
    expect(page.get_by_role("application", name="Latent plane")).to_be_visible()
