"""The report on a detector: every figure and picture is there, names are escaped, and it stays small and quiet."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.contrast import FAINT
from tests.evaluation.found import ANSWERS, TRUTH, Memory, Told, detector, pictures

from beholder.base.errors import UsageError
from beholder.evaluation.detected import DetectionEvaluation, evaluate
from beholder.evaluation.words import Words
from beholder.reporting.detected import detected_report, render
from beholder.reporting.detected_figures import confusion, curves, limits, pairs, training
from beholder.reporting.detected_pictures import TYPICAL, WORST, Drawer

ENGLISH = Words("en")
HISTORY: list[dict[str, Any]] = [
    {"step": 5, "seconds": 1.0, "loss": 4.0, "valid_score": 0.1, "phase": "head"},
    {"step": 9, "seconds": 2.0, "loss": 3.0, "valid_score": 0.3, "phase": "head"},
    {"step": 4, "seconds": 3.0, "loss": 2.0, "valid_score": 0.4, "phase": "whole"},
]


@pytest.fixture(scope="module")
def told() -> tuple[Told, DetectionEvaluation]:
    one = detector({k: ANSWERS[k % 4] for k in range(40)}, history=HISTORY)
    return one, evaluate(one, pictures(TRUTH * 10))


def test_the_page_shows_figures_pictures_and_sentences(told: tuple[Any, DetectionEvaluation], tmp_path: Path) -> None:
    path = detected_report(*told, tmp_path / "report.html")
    text = path.read_text("utf-8")
    assert path.stat().st_size < 3_000_000
    for words in ("AP50", "25.2", "Kinds of errors", "localisation", "must not be trusted", "head on the frozen backbone"):
        assert words in text
    assert text.count('<svg class="shot" viewBox="0.0 0.0 100.0 80.0"') <= WORST + TYPICAL
    assert "http" not in re.sub(r'"Content-Security-Policy"|http-equiv', "", text)
    assert "<script" not in text


def test_names_are_escaped(tmp_path: Path) -> None:
    name = "<b>ant"
    one = detector({0: [((name, 10, 10, 30, 30), 0.9)]})
    one = replace(one, config=replace(one.config, classes=(name, "bee", "cat")))
    some = pictures([[(name, 10, 10, 30, 30)], [(name, 5, 5, 20, 20)]], classes=(name, "bee"))
    text = render(one, evaluate(one, some))  # type: ignore[arg-type]
    assert "<b>ant" not in text
    assert "&lt;b&gt;ant" in text


def test_chinese_and_unknown_languages(told: tuple[Any, DetectionEvaluation]) -> None:
    text = render(*told, "zh")
    assert 'lang="zh-Hans"' in text
    assert "错误类型" in text
    assert "Kinds of errors" not in text
    with pytest.raises(UsageError, match="no language"):
        render(*told, "xx")


def test_boxes_are_drawn_where_they_are() -> None:
    one = detector(ANSWERS)
    found = evaluate(one, pictures(TRUTH))
    svg = str(Drawer.of(found, one.policy, ENGLISH).picture(1).svg)
    assert 'class="wrong" d="M70.0 20.0H100.0V60.0H70.0Z"' in svg
    assert 'class="missed" d="M50.0 20.0H90.0V60.0H50.0Z"' in svg
    svg = str(Drawer.of(found, one.policy, ENGLISH).picture(0).svg)
    assert 'class="right" d="M10.0 10.0H30.0V30.0H10.0Z"' in svg
    assert 'class="true"' in svg
    assert "cat" not in svg  # below the threshold


def test_the_least_good_come_first_and_typical_ones_are_others() -> None:
    one = detector(ANSWERS)
    drawer = Drawer.of(evaluate(one, pictures([*TRUTH, []])), one.policy, ENGLISH)
    worst, typical = drawer.gallery()
    assert {shown.key for shown in worst} == {"1.png", "2.png", "3.png"}
    assert {shown.key for shown in typical} == {"0.png", "4.png"}
    assert worst[0].key == "1.png"  # one wrong box and one object that is not found
    assert worst[0].more == "localisation: bee × 1"


def test_examples_of_each_kind(told: tuple[Any, DetectionEvaluation]) -> None:
    one, found = told
    drawer = Drawer.of(found, one.policy, ENGLISH)
    for kind in ("localisation", "class", "background"):
        shown = drawer.examples(kind)
        assert len({one.key for one in shown}) == 3
    assert drawer.examples("class")[0].said == "bee 0.60; true: ant"
    assert drawer.examples("missed") == []


def test_a_picture_that_is_gone_is_said(told: tuple[Any, DetectionEvaluation]) -> None:
    one, found = told
    gone = replace(found, pictures=replace(found.pictures, store=Memory(dict.fromkeys(found.keys, b""))))
    assert "cannot be read any more" in render(one, gone)


def test_curves_of_precision_and_recall(told: tuple[Any, DetectionEvaluation]) -> None:
    made = curves(told[1], ENGLISH)
    assert [chart["title"] for chart in made] == ["ant: AP50 50.5\u00a0%", "bee: AP50 0.0\u00a0%"]
    assert "<polyline" in made[0]["svg"]


def test_confusion_with_background(told: tuple[Any, DetectionEvaluation]) -> None:
    scores = told[1].scores
    table = confusion(scores, ENGLISH)
    assert table is not None
    assert [name for name, _ in table] == ["ant", "bee", "cat", "background"]
    assert table[0][1] == [(10, 0.5, True), (10, 0.5, False), (0, 0.0, False), (0, 0.0, False)]
    assert pairs(scores, ENGLISH)[0] == ("background", "bee", 20)


def test_phases_of_training_follow_each_other() -> None:
    loss, score = training(HISTORY, ENGLISH)
    assert "from 4 to 2" in loss["svg"]
    assert ">12<" in loss["svg"] or ">10<" in loss["svg"]  # steps of both phases
    assert "from 0.1 to 0.4" in score["svg"]
    assert training(HISTORY[:1], ENGLISH) == []


def test_what_it_must_not_be_trusted_for() -> None:
    found = evaluate(detector(ANSWERS), pictures(TRUTH[:3]))
    said = " ".join(limits(found, ENGLISH))
    assert "Other objects than ant, bee, cat" in said
    assert "missed 66.7" in said
    assert "Pictures without any object: none was tested" in said
    assert "small, medium, large" in said
    with_empty = evaluate(detector(ANSWERS), pictures(TRUTH))
    assert not any("without any object" in sentence for sentence in limits(with_empty, ENGLISH))


def test_nothing_found_and_nothing_there_still_make_a_page() -> None:
    for rows, answers in ((TRUTH, {}), ([[], []], {}), ([[], []], ANSWERS)):
        one = detector(answers)
        assert "</html>" in render(one, evaluate(one, pictures(rows)))  # type: ignore[arg-type]


def test_many_classes_make_no_table_of_all() -> None:
    names = tuple(f"kind {k}" for k in range(60))
    rows = [[(names[k], 10.0, 10.0, 40.0, 40.0)] for k in range(60)]
    one = detector({k: [((names[k // 2], 10.0, 10.0, 40.0, 40.0), 0.9)] for k in range(60)})
    one = replace(one, config=replace(one.config, classes=names, thresholds=(0.5,) * 60))
    found = evaluate(one, pictures(rows, classes=names))
    assert confusion(found.scores, ENGLISH) is None
    assert np.isfinite(found.scores.headline["ap"].value)
    text = render(one, found)  # type: ignore[arg-type]
    assert ENGLISH("confusion.frequent") in text
    assert 'class="matrix' not in text


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_is_quiet_fits_and_can_be_read(
    browser: Any, told: tuple[Any, DetectionEvaluation], tmp_path: Path, width: int, scheme: str
) -> None:
    path = detected_report(*told, tmp_path / "report.html")
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(FAINT) == []
    assert said == []
    page.close()
