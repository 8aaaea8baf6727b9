"""What verbs have made from a run, on the page Watch."""

import pytest
from PIL import Image
from playwright.sync_api import expect

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
PAGE = f"""<!doctype html><title>A page</title><style>h1 {{ color: rgb(1, 2, 3); }}</style><h1>What was found</h1>
<img src="data:image/png;base64,{DOT}"><script>document.querySelector("h1").textContent = "a script ran"</script>"""


@pytest.fixture
def made(runs):
    """A picture and a page of the run "wide", which are gone afterwards."""
    folder = runs / "wide" / "scores" / "my photos"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    Image.new("L", (40, 20), 200).save(runs / "wide" / "similar.png")
    yield folder
    (folder / "index.html").unlink()
    folder.rmdir()
    folder.parent.rmdir()
    (runs / "wide" / "similar.png").unlink()


def test_what_was_made_is_listed_and_opened(visit, look, made, runs):
    page = visit("#/watch?run=wide")
    section = page.get_by_role("region", name="Made from this run")
    picture, link = (section.get_by_role("link", name=name) for name in ("similar", "scores/my photos"))
    expect(picture).to_be_visible()
    picture.scroll_into_view_if_needed()
    look.until(page, lambda: picture.locator("img").evaluate("it => it.naturalWidth") == 40, "no thumbnail")
    with page.context.expect_page() as opened:
        link.click()
    other = opened.value
    expect(other.get_by_role("heading")).to_have_text("What was found")
    assert other.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(1, 2, 3)"
    assert other.evaluate("document.querySelector('img').naturalWidth") == 1
    assert other.evaluate("self.origin") == "null", "it is a page of the studio's origin"
    other.close()
    assert visit.said and all("script" in said for said in visit.said)  # that none may run
    visit.said.clear()

    section.get_by_text("Commands that make more of it").click()
    expect(section.get_by_text(f"ganvas score {runs / 'wide'} --data ./photos")).to_be_visible()
    expect(section.get_by_text(f"ganvas denoise {runs / 'wide'}")).to_have_count(0)
    assert look.trouble(page) == []


def test_of_a_run_with_nothing_made(visit):
    page = visit("#/watch?run=ring")
    section = page.get_by_role("region", name="Made from this run")
    expect(section).to_contain_text("Nothing yet")
    section.get_by_text("Commands that make more of it").click()
    expect(section.get_by_text("ganvas sample")).to_be_visible()
    expect(section.get_by_text("ganvas manifold")).to_have_count(0)  # it makes points
