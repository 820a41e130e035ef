"""The report in a browser: quiet, self-contained, narrow enough for a phone, readable in light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.use.contrast import FAINT
from tests.use.fakes import bundle, evaluated, evaluated_multi

from beholder.base.records import Bad
from beholder.use.report import report

pytestmark = pytest.mark.browser

LONG = "a_class_name_without_any_space_that_goes_on_for_longer_than_a_phone_is_wide"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    bad = (Bad("x/" + LONG + ".jpg", "truncated", "the file ends before the picture does"),)
    made = {
        "3": (
            bundle(machine={LONG: LONG}, notes=[LONG]),
            evaluated(["healthy", LONG, "rust"], skill=0.5, bad=bad, source=LONG),
        ),
        "10": (bundle(), evaluated([f"kind {k}" for k in range(10)], skill=0.6, shape=(1, 28, 28))),
        "200": (bundle(), evaluated([f"{k:03}.Species_{k}" for k in range(200)], n=2000)),
        "multi": (bundle(task="multi", thresholds=[0.5] * 3), evaluated_multi(["RBC", "WBC", "Platelets"])),
    }
    return {name: report(b, e, folder / f"{name}.html") for name, (b, e) in made.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["3", "10", "200", "multi"])
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
