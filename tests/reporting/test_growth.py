from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from beholder.base.records import Score
from beholder.reporting.charts import Axis, Series, chart
from beholder.reporting.growth import growth


def score(value: float, half: float = 0.02) -> dict[str, Any]:
    return Score(value, value - half, value + half, 379).json()


FOUND = {
    "measure": "accuracy",
    "points": [{"pictures": n, "subsets": 5, "score": score(v)} for n, v in ((107, 0.73), (214, 0.78), (428, 0.82))],
    "expected": [
        {"times": times, "pictures": 428 * times, "score": score(value, 0.03), "gain": score(value - 0.82)}
        for times, value in ((2, 0.85), (4, 0.87))
    ],
    "more": 50,
    "classes": [
        {"class": "<b>metal", "pictures": 70, "drop": score(0.013), "own": score(0.1), "gain": score(0.01), "verdict": "gains"},
        {
            "class": "glass",
            "pictures": 71,
            "drop": score(0.0),
            "own": score(float("nan")),
            "gain": score(0.0),
            "verdict": "nothing",
        },
    ],
    "notes": ["The test part was not read."],
}
BAND = tuple((float(n), 0.7 + n / 10_000, 0.68 + n / 10_000, 0.72 + n / 10_000) for n in (107, 214, 428, 856))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return growth(tmp_path / "curve.html", FOUND, said=["More would help."], band=BAND)


def test_the_page_shows_every_figure_and_escapes_names(page: Path) -> None:
    text = page.read_text("utf-8")
    assert "More would help." in text
    assert "<b>metal" not in text
    assert "&lt;b&gt;metal" in text
    for number in ("0.730", "0.780", "0.850", "+0.013", "0.820 … 0.880"):
        assert number in text
    svg = text[text.index("<svg") : text.index("</svg>")]
    assert svg.count("<circle") == 6  # three sizes, two ahead, and the end of the law
    assert svg.count("<polygon") == 1
    assert re.findall(r">(\d{3})</text>", svg) == ["107", "214", "428", "856"]


def test_without_a_law_or_classes_there_is_less(tmp_path: Path) -> None:
    few = {**FOUND, "points": FOUND["points"][:1], "expected": [], "classes": [], "notes": []}
    text = growth(tmp_path / "curve.html", few, said=[], band=()).read_text("utf-8")
    assert "<svg" not in text
    assert "Of which class" not in text


def test_an_axis_of_doublings_is_written_in_pictures() -> None:
    assert [Axis("n", doubled=100).text(value) for value in (-2, 0, 3)] == ["25", "100", "800"]
    drawn = chart("a", [Series("s", "first", [(0, 1), (1, 2)], [(0, 0.5, 1.5), (1, 1, 3)], band=True)], Axis("x"), Axis("y"))
    assert str(drawn).count("<polygon") == 1
    assert 'class="span' not in str(drawn)


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1100])
def test_nothing_is_cut_in_a_browser(page: Path, browser: Any, width: int) -> None:
    opened = browser.new_page(viewport={"width": width, "height": 900})
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.goto(page.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert opened.locator("svg").bounding_box()["height"] > 100
    assert said == []
    opened.close()
