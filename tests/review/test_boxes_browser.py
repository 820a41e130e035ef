"""Boxes on the review page in a browser: confirm, drop, relabel, draw by mouse and by keys, undo; what is then in the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.review.test_review_browser import Threaded, count, opened, wait
from tests.squares import drawn

from beholder.base.records import Finding
from beholder.quality.audit import Findings, read
from beholder.quality.boxes import decided_boxes
from beholder.quality.named import name_of, named
from beholder.sources import scan

pytestmark = pytest.mark.browser

NEW = "new 5,5,20,20 red"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Threaded]:
    source = drawn(tmp_path / "squares", n=16)
    pictures = scan(source)
    assert pictures.boxes is not None
    full = [k for k in range(16) if len(pictures.boxes[k].classes)][:3]
    names = [str(name_of(pictures.boxes, int(pictures.boxes.starts[k]), pictures.classes)) for k in full]
    rows = [Finding(pictures.keys[k], "box-size", 0.9 - i / 100, "is odd", "review", box=names[i]) for i, k in enumerate(full)]
    rows.append(Finding(pictures.keys[full[0]], "box-missing", 0.9, "is missing", "review", box=NEW))
    audit = Findings(pictures, tuple(rows), {}).save(tmp_path / "audit.csv")
    running = Threaded(source, audit)
    yield running
    running.end()


def shown(page: Any) -> None:
    wait(page, "document.querySelector('svg.boxes .meant')")


def decisions(program: Threaded) -> list[tuple[str, str]]:
    return [(box, what) for of in decided_boxes(read(program.audit)).values() for box, what in of.items()]


def test_confirm_drop_relabel_and_undo(browser: Any, program: Threaded) -> None:
    with opened(browser, program.address) as page:
        shown(page)
        assert page.locator("#keep").inner_text().startswith("Confirm box")
        page.keyboard.press("k")
        count(page, 1)
        shown(page)
        page.keyboard.press("d")
        count(page, 2)
        shown(page)
        page.keyboard.press("r")
        page.locator("#find").fill("blue")
        page.keyboard.press("Enter")
        count(page, 3)
        assert [what for _, what in decisions(program)] == ["keep", "drop", "relabel:blue"]
        wait(page, "document.getElementById('keep').textContent.startsWith('Draw it')")
        page.keyboard.press("k")
        count(page, 4)
        assert (NEW, "keep") in decisions(program)
        for left in (3, 2, 1, 0):
            page.keyboard.press("u")
            count(page, left)
        assert decisions(program) == []


def test_keys_in_a_hurry_are_about_boxes_and_never_about_the_whole_picture(browser: Any, program: Threaded) -> None:
    with opened(browser, program.address) as page:
        shown(page)
        for key in "kdk":
            page.keyboard.press(key)
        count(page, 3)
        assert sorted(what for _, what in decisions(program)) == ["drop", "keep", "keep"]


def test_a_missing_box_is_drawn_with_the_mouse_and_by_keys(browser: Any, program: Threaded) -> None:
    with opened(browser, program.address) as page:
        shown(page)
        place = page.locator("svg.boxes").bounding_box()
        scale = min(place["width"] / 96, place["height"] / 64)
        left, top = place["x"] + (place["width"] - 96 * scale) / 2, place["y"] + (place["height"] - 64 * scale) / 2
        page.mouse.move(left + 10 * scale, top + 12 * scale)
        page.mouse.down()
        page.mouse.move(left + 40 * scale, top + 50 * scale, steps=4)
        page.mouse.up()
        page.wait_for_selector("#labels[open]")
        page.locator("#find").fill("red")
        page.keyboard.press("Enter")
        wait(page, "document.querySelectorAll('svg.boxes .keep').length === 1")
        ((name, what),) = decisions(program)
        assert what == "keep"
        assert named(name).label == "red"
        assert named(name).corners == pytest.approx((10, 12, 40, 50), abs=1)
        page.keyboard.press("b")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_selector("#labels[open]")
        page.locator("#find").fill("a new class")
        page.keyboard.press("Enter")
        wait(page, "document.querySelectorAll('svg.boxes .keep').length === 2")
        last = named(decisions(program)[-1][0])
        assert last.label == "a new class"
        assert last.corners == pytest.approx((0.41 * 96, 0.4 * 64, 0.61 * 96, 0.61 * 64), abs=0.02)
        page.keyboard.press("b")
        page.keyboard.press("Escape")
        assert len(decisions(program)) == 2
        page.keyboard.press("u")
        wait(page, "document.querySelectorAll('svg.boxes .keep').length === 1")


def test_another_box_of_the_picture_is_chosen_by_key(browser: Any, program: Threaded) -> None:
    with opened(browser, program.address) as page:
        shown(page)
        many = page.evaluate("() => document.querySelectorAll('svg.boxes .box').length")
        assert many >= 2
        before = page.evaluate("() => document.querySelector('svg.boxes .meant').dataset.name")
        page.keyboard.press("]")
        after = page.evaluate("() => document.querySelector('svg.boxes .meant').dataset.name")
        assert after != before
        page.keyboard.press("d")
        wait(page, "document.querySelector('svg.boxes .drop')")
        assert decisions(program) == [(after, "drop")]
