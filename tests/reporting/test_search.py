"""The report's section on a search: what was tried, when, at what cost, and what mattered."""

from __future__ import annotations

from typing import Any

import pytest
from tests.evaluation.fakes import bundle, evaluated
from tests.reporting.test_report import read

from beholder.reporting import render


def row(trial: int, score: float | None, seconds: float = 4.0, *, on: bool = False, reason: str = "") -> dict[str, Any]:
    return {
        "trial": trial,
        "valid_score": score,
        "screened": score,
        "went_on": on,
        "change": f"train.lr {trial}.5",
        "seconds": seconds,
        "latency_ms": None if reason else 3.25,
        "megabytes": None if reason else 1.5,
        "reason": reason,
    }


ROWS = [row(3, 0.9321, 9.0, on=True), row(1, 0.8), row(2, 0.7), row(4, None, reason="diverged: the <loss> became nan")]


def page(rows: list[dict[str, Any]], importance: dict[str, float], lang: str = "en") -> tuple[str, str]:
    html = render(bundle(search={"trials": rows, "importance": importance}), evaluated(["a", "b"]), lang=lang)
    return html, read(html)[1]


@pytest.mark.parametrize(("lang", "title"), [("en", "Score against cost"), ("zh", "得分与代价")])
def test_candidates_figures_and_importance_are_shown(lang: str, title: str) -> None:
    html, text = page(ROWS, {"train.lr": 0.75, "data.mixup": 0.001}, lang)
    assert title in text
    for words in ("0.9321", "train.lr 3.5", "9 s", "3.2 ms", "1.5 MB", "diverged: the <loss> became nan", "75.0"):
        assert words in text, words
    assert "data.mixup" not in text, "what hardly matters is left out"
    assert "<loss>" not in html
    assert html.count("<circle") >= 6


def test_few_candidates_have_no_curve_and_many_are_cut() -> None:
    text = page([row(1, 0.8)], {})[1]
    assert "Which fields mattered" not in text
    assert "History" not in text
    many = page([row(k, 0.5 + k / 1000) for k in range(1, 300)], {})[1]
    assert "more candidates" in many


def test_without_a_search_there_is_no_section() -> None:
    assert "what it changes of the recipe" not in read(render(bundle(), evaluated(["a", "b"])))[1]
