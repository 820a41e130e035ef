"""The report in a browser: quiet, self-contained, narrow enough for a phone, readable in light and dark."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.contrast import FAINT
from tests.evaluation.fakes import bundle, evaluated, evaluated_multi, sections

from beholder.base.records import Bad
from beholder.bundle.config import Audited
from beholder.reporting import report

pytestmark = pytest.mark.browser

LONG = "a_class_name_without_any_space_that_goes_on_for_longer_than_a_phone_is_wide"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    bad = (Bad("x/" + LONG + ".jpg", "truncated", "the file ends before the picture does"),)
    audit = Audited("report", {"label": 3, "near-duplicate": 4}, dropped=1)
    all_of_it = sections(ece=0.08, caught=0.2)
    kinds = [f"kind {k}" for k in range(10)]
    made = {
        "3": (
            bundle(machine={LONG: LONG}, notes=[LONG]),
            evaluated(["healthy", LONG, "rust"], skill=0.5, bad=bad, source=LONG, sections=all_of_it),
        ),
        "10": (bundle(audit=audit), evaluated(kinds, skill=0.6, shape=(1, 28, 28), sections=all_of_it)),
        "200": (bundle(), evaluated([f"{k:03}.Species_{k}" for k in range(200)], n=2000)),
        "multi": (bundle(task="multi", thresholds=[0.5] * 3), evaluated_multi(["RBC", "WBC", "Platelets"])),
    }
    found = {name: report(b, e, folder / f"{name}.html") for name, (b, e) in made.items()}
    return {**found, "zh": report(*made["10"], folder / "zh.html", lang="zh")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["3", "10", "200", "multi", "zh"])
def test_is_quiet_fits_and_can_be_read(browser: Any, pages: dict[str, Path], name: str, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(FAINT) == []
    assert page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length") == 0
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(int(v) for v in background[4:-1].split(",")) < 64) == (scheme == "dark")
    page.emulate_media(media="print", color_scheme=scheme)
    assert page.evaluate(FAINT) == []
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]
    page.close()


def test_the_table_of_classes_is_sorted_from_the_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["10"].as_uri())
    button = page.locator("#table thead button", has_text="Recall")
    button.focus()
    column = "[...document.querySelectorAll('#table tbody tr')].map(r => Number(r.cells[2].dataset.v))"
    before = page.evaluate(column)
    page.keyboard.press("Enter")
    assert page.evaluate(column) == sorted(before) != before
    assert button.locator("..").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert page.evaluate(column) == sorted(before, reverse=True)
    page.close()


def test_the_first_stop_of_the_keyboard_skips_to_the_verdict(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["3"].as_uri())
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**#verdict")  # on a busy machine the address follows the key a moment later
    page.close()


def test_the_large_matrix_is_read_cell_by_cell_with_the_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["200"].as_uri())
    page.locator(".heat").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.locator("#cell").inner_text().startswith("001.Species_1, taken for 000.Species_0: ")
    page.keyboard.press("ArrowRight")
    assert page.locator("#cell").inner_text().endswith(" of 10 found.")
    page.close()


def test_a_class_is_found_by_a_part_of_its_name(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["200"].as_uri())
    page.locator("#find").fill("species_199")
    assert page.locator("#table tbody tr:visible").count() >= 1
    assert "199.Species_199" in page.locator("#table tbody").inner_text()
    assert page.locator("#table tbody tr:visible").count() < 20
    page.close()


@pytest.mark.parametrize("name", ["10", "zh"])
def test_every_landmark_and_figure_has_a_name(browser: Any, pages: dict[str, Path], name: str) -> None:
    page = browser.new_page()
    page.goto(pages[name].as_uri())
    unnamed = """[...document.querySelectorAll('section, nav, svg, [role=region], [role=img]')].filter(e =>
        !(e.getAttribute('aria-label') || document.getElementById(e.getAttribute('aria-labelledby')))).length"""
    assert page.evaluate(unnamed) == 0
    assert page.evaluate("document.documentElement.lang") == {"10": "en", "zh": "zh-Hans"}[name]
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(a => document.getElementById(a.hash.slice(1)))")
    headings = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert all(later - earlier <= 1 for earlier, later in pairwise(headings))
    page.close()


def test_a_cell_of_the_matrix_opens_its_pictures(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(pages["10"].as_uri())
    link = page.locator(".matrix a").first
    assert page.locator(".cell:visible").count() == 0
    link.focus()
    page.keyboard.press("Enter")
    cell = page.locator(".cell:visible")
    assert cell.count() == 1
    assert cell.locator("img").count() >= 1
    assert cell.get_attribute("id") == str(link.get_attribute("href"))[1:]
    below = """[...document.querySelectorAll('.cell')].find(e => e.checkVisibility()).getBoundingClientRect().top
        >= document.querySelector('nav').getBoundingClientRect().bottom - 1"""
    page.wait_for_function(below)  # once the page has moved: the contents do not lie over it
    cell.locator("a").click()
    assert page.locator(".cell:visible").count() == 0


def test_the_contents_stay_in_sight_and_say_where_one_is(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    page.goto(pages["10"].as_uri())
    page.evaluate("document.getElementById('made').scrollIntoView()")
    page.wait_for_function("document.querySelector('nav [aria-current]')?.hash === '#made'")
    assert page.evaluate("document.querySelector('nav').getBoundingClientRect().top") == 0
    box = page.locator("nav [aria-current]").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_a_table_that_is_wider_than_a_phone_says_that_it_scrolls(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(pages["10"].as_uri())
    box = page.locator(".scroll:has(#table)")
    assert "more-right" in box.get_attribute("class")
    assert box.locator("xpath=preceding-sibling::*[1]").inner_text() == "Scroll sideways: there is more."
    box.evaluate("box => { box.scrollLeft = 9999 }")
    page.wait_for_function("box => box.matches('.more-left:not(.more-right)')", arg=box.element_handle())
    page.set_viewport_size({"width": 1600, "height": 844})
    page.wait_for_function("box => !box.matches('.more-left, .more-right')", arg=box.element_handle())
    assert box.locator("xpath=preceding-sibling::*[1]").is_hidden()


def test_names_that_turn_the_text_around_them_are_isolated(browser: Any, tmp_path: Path) -> None:
    names = ["cat", "\u05d7\u05ea\u05d5\u05dc", "\u202egnp.exe"]
    path = report(bundle(), evaluated(names, skill=0.4), tmp_path / "bidi.html")
    page = browser.new_page(viewport={"width": 1280, "height": 844})
    page.goto(path.as_uri())
    for figure in page.locator("#mistakes ~ .gallery figcaption").all()[:8]:
        share = figure.evaluate(
            "f => { const guess = f.querySelector('.guess'), range = document.createRange();"
            " range.selectNodeContents(guess.nextSibling);"
            " const a = guess.getBoundingClientRect(), b = range.getBoundingClientRect();"
            " return b.top > a.top + 5 || b.left >= a.right - 1 }"
        )
        assert share, "the share stands after the guess, whatever way that is written"
