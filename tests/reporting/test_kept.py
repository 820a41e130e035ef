from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from beholder.base.records import Score
from beholder.reporting.kept import kept_page


def score(value: float, half: float = 0.02) -> dict[str, Any]:
    return Score(value, value - half, value + half, 379).json()


FOUND = {
    "measure": "accuracy",
    "points": [
        {"share": share, "pictures": n, "score": score(ours), "random": score(chance), "gain": score(ours - chance), "draws": 3}
        for share, n, ours, chance in ((0.1, 43, 0.61, 0.60), (0.5, 214, 0.80, 0.77))
    ],
    "whole": {"pictures": 428, "score": score(0.84)},
    "notes": ["Of <b>some</b> shares there was no time."],
}


def test_the_page_shows_every_figure_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    text = kept_page(tmp_path / "keep.html", FOUND, by="mixed", said=["mixed is better."]).read_text("utf-8")
    for figure in ("0.610", "0.600", "+0.030", "0.840", "mixed is better.", "50 %", "428"):
        assert figure in text, figure
    assert "<b>some" not in text
    svg = text[text.index("<svg") : text.index("</svg>")]
    assert len(re.findall("<polyline", svg)) == 2
    assert ">100%</text>" in svg


def test_of_chance_alone_there_is_one_line(tmp_path: Path) -> None:
    text = kept_page(tmp_path / "keep.html", FOUND, by="random", said=[]).read_text("utf-8")
    assert len(re.findall("<polyline", text)) == 1


def test_without_a_share_there_is_no_plot(tmp_path: Path) -> None:
    text = kept_page(tmp_path / "keep.html", {**FOUND, "points": []}, by="mixed", said=[]).read_text("utf-8")
    assert "<svg" not in text
    assert "0.840" in text
