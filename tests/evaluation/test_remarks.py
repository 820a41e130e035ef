"""The sentences on the sections follow their figures."""

from __future__ import annotations

from typing import Any

import pytest
from tests.evaluation.fakes import evaluated, readings, scored, sections

from beholder.base import events
from beholder.evaluation.remarks import Remarks, bias, remarks
from beholder.evaluation.summary import summary
from beholder.evaluation.words import Words

ENGLISH = Words("en")


def said(name: str, section: dict[str, Any]) -> Remarks:
    return next(one for one in remarks({name: section}, ENGLISH) if one != Remarks())


def test_probabilities_are_believed_only_where_they_are_right() -> None:
    assert "well calibrated" in said("calibration", sections(ece=0.02)["calibration"]).findings[0]
    assert "overconfident" in said("calibration", sections(ece=0.08)["calibration"]).weaknesses[0]
    shy = sections(ece=0.08)["calibration"]
    for row in shy["reliability"]["after"]:
        row["right"]["value"] = row["certainty"] + 0.05
    assert bias(shy["reliability"]["after"]) == pytest.approx(-0.05)
    assert "underconfident" in said("calibration", shy).weaknesses[0]


def test_of_too_few_pictures_nothing_is_said_of_calibration() -> None:
    for ece, low, high in ((0.0005, 0.0, 0.354), (0.02, 0.0, 0.101), (0.08, 0.0, 0.3), (0.01, None, None), (0.2, None, None)):
        section = sections(ece=ece)["calibration"]
        section["after"]["ece"] |= {"low": low, "high": high}
        assert remarks({"calibration": section}, ENGLISH)[2] == Remarks(), (ece, low, high)
    section = sections(ece=0.02)["calibration"]
    section["after"]["ece"] |= {"low": 0.0, "high": 0.099}
    assert remarks({"calibration": section}, ENGLISH)[2].findings


def test_a_promise_that_could_not_be_made_is_a_weakness_and_one_that_was_kept_a_finding() -> None:
    section = sections()["selective"]
    both = said("selective", section)
    assert "2.0\u00a0% was promised, and kept here" in both.findings[0]
    assert "95.0\u00a0% was promised, and not kept here" in both.weaknesses[0]
    none = said("selective", {**section, "risk": {**section["risk"], "threshold": None}})
    assert none.weaknesses[0] == "A risk of at most 2.0\u00a0% could not be promised."


def test_what_could_be_answered_is_said_where_nothing_was_asked_for() -> None:
    section = {key: value for key, value in sections()["selective"].items() if key not in ("risk", "sensitivity")}
    found = said("selective", section).findings
    assert [text.endswith("answer 50.0\u00a0% of them with at most 5.0\u00a0% mistakes.") for text in found] == [True]


def test_sets_that_pass_are_named() -> None:
    assert "shuffled patches" in said("ood", sections(caught=0.1)["ood"]).weaknesses[0]
    assert "at worst 90.0\u00a0%" in said("ood", sections(caught=0.9)["ood"]).findings[0]


def test_stronger_augmentation_is_advised_where_much_is_lost() -> None:
    assert said("corruptions", sections(lost=0.05)["corruptions"]).advice == []
    assert "data.augment=strong" in said("corruptions", sections(lost=0.3)["corruptions"]).advice[0]


def test_slices_that_do_no_worse_are_said_to() -> None:
    assert "none is surely worse" in said("slices", {**sections()["slices"], "worst": None}).findings[0]


def test_readings_and_pictures_that_are_not_new_make_one_sentence() -> None:
    assert remarks({"reuse": readings(1)}, ENGLISH)[0] == Remarks()
    often, known = said("reuse", readings(12)).findings, said("reuse", readings(1, alike=5)).findings
    assert often == [
        "The test part has been read 12 times, and an interval that allows for that is 84.0 to 96.0\u00a0% (Accuracy)."
    ]
    assert known == [
        "5 of the pictures tested were used in training or look the same as one that was: "
        "88.0\u00a0% without them (84.0 to 92.0\u00a0%)."
    ]
    both = said("reuse", readings(12, alike=5)).findings
    assert both == [f"{often[0][:-1]}; {known[0]}"]
    bare = {key: value for key, value in readings(1, same=2).items() if key != "without"}
    assert said("reuse", bare).findings[0].endswith("the same as one that was.")


def test_a_section_of_another_form_says_nothing_but_warns() -> None:
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        assert remarks({"slices": {"other": scored(0.5)}}, ENGLISH) == [Remarks()] * 6
    assert "'slices'" in heard[0].message


def test_the_last_advice_is_to_try_it_elsewhere() -> None:
    found = summary(evaluated(["a", "b"]).scores, {})
    assert found.advice[-1].startswith("Try it on pictures from elsewhere")
    assert summary(evaluated(["a", "b"], skill=0.0).scores, {}).advice[0].startswith("Do not use it yet")
