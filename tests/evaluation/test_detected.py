"""Tests of detectors: figures by hand, and what is left out, mapped, counted or refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.found import ANSWERS, OWN, TRUTH, Memory, Told, detector, pictures

from beholder.base.deadline import Deadline
from beholder.base.errors import DataError, UsageError
from beholder.evaluation import detected_summary
from beholder.evaluation.detected import BATCH, LEAST, evaluate, looked_through
from beholder.evaluation.words import Words
from beholder.measure.detection_matching import matched
from beholder.measure.detection_precision import summary
from beholder.sources.digest import digested

HALF = 51 / 101
"""AP50 of a class of whose two objects one is found first: precision 1 at recalls of 0 to 0.5."""


def test_figures_by_hand() -> None:
    found = evaluate(detector(ANSWERS), pictures(TRUTH))
    scores = found.scores
    assert scores.classes["ant"].ap50.value == pytest.approx(HALF)
    assert scores.classes["bee"].ap50.value == 0
    assert np.isnan(scores.classes["cat"].ap50.value)
    assert scores.headline["ap50"].value == pytest.approx(HALF / 2)
    assert scores.headline["ap"].value == pytest.approx(HALF / 2)
    assert scores.headline["ap"].n == 4
    assert scores.wrong == {"localisation": 1, "class": 1, "both": 0, "duplicate": 0, "background": 1, "missed": 0}
    ant, bee, cat, nothing = range(4)
    expected = np.zeros((4, 4), int)
    expected[ant, ant] = expected[ant, bee] = expected[bee, nothing] = 1
    expected[nothing, bee] = 2
    assert scores.confusion.tolist() == expected.tolist()
    assert (scores.overall.right, scores.overall.false, scores.overall.missed) == (1, 3, 2)
    assert scores.classes["ant"].rates.precision.value == 1
    assert scores.classes["ant"].rates.recall.value == 0.5
    assert scores.told.sum() == 4
    assert cat == OWN.index("cat")


def test_boxes_come_back_in_pixels_of_the_picture() -> None:
    seen = looked_through(detector(ANSWERS), pictures(TRUTH))
    assert seen.found[1].corners.tolist() == [[70, 20, 100, 60]]
    assert seen.sizes.tolist() == [[100, 80]] * 4
    assert seen.rows.tolist() == [0, 1, 2, 3]


def test_scores_as_json_and_as_a_table() -> None:
    found = evaluate(detector(ANSWERS), pictures(TRUTH))
    told = json.loads(json.dumps(found.json(), allow_nan=False))
    assert told["scores"]["ap50"]["value"] == pytest.approx(HALF / 2)
    assert told["scores"]["ap_large"] == {"value": None, "low": None, "high": None, "n": 0}
    assert told["classes"]["cat"]["ap"]["value"] is None
    assert told["classes"]["ant"]["recall"]["value"] == 0.5
    assert told["confusion"]["classes"] == [*OWN, "background"]
    assert told["errors"]["kinds"]["class"]["count"] == 1
    assert told["boxes"] == {"true": 3, "crowds": 0, "told": 4, "found": 5}
    text = str(found)
    for words in ("AP50 0.252", "ant", "localisation 1", "“bee”", "No object here is of “cat”"):
        assert words in text


def test_a_perfect_detector_has_no_weakness_but_few_objects() -> None:
    right = {k: [(box, 0.9) for box in row] for k, row in enumerate(TRUTH)}
    found = evaluate(detector(right), pictures(TRUTH))
    assert found.scores.headline["ap"].value == pytest.approx(1)
    assert sum(found.scores.wrong.values()) == 0
    assert not any("errors" in sentence for sentence in found.findings)
    assert any("rest on few objects" in sentence for sentence in found.findings)


def test_a_detector_that_finds_nothing_is_scored() -> None:
    found = evaluate(detector({}), pictures(TRUTH))
    assert found.scores.headline["ap"].value == 0
    assert found.scores.wrong["missed"] == 3
    assert "At its thresholds it tells no box at all." in found.findings
    assert found.json()["calibration"]["ece"] is None


def test_pictures_without_any_object_give_no_score() -> None:
    found = evaluate(detector(ANSWERS), pictures([[], []]))
    assert np.isnan(found.scores.headline["ap"].value)
    assert found.findings[0] == "There is no true box in these 2 pictures, so nothing is known of how much it finds."
    assert "background 2" in str(found)


def test_a_picture_that_cannot_be_read_is_listed() -> None:
    some = pictures(TRUTH)
    files = {**some.store.files, "1.png": b"", "2.png": b"no picture"}  # type: ignore[attr-defined]
    found = evaluate(detector(ANSWERS), replace(some, store=Memory(files)))
    assert {bad.key: bad.code for bad in found.bad} == {"1.png": "empty", "2.png": "not-a-picture"}
    assert found.keys == ["0.png", "3.png"]
    assert found.json()["n"] == 2
    with pytest.raises(DataError, match="2 cannot be read"):
        evaluate(detector(ANSWERS), replace(some, store=Memory(files)).take(np.array([1, 2])))


def test_boxes_are_scaled_and_those_that_cannot_be_placed_are_left_out() -> None:
    drawn = [[(name, *(2 * v for v in rest)) for name, *rest in TRUTH[0]], TRUTH[1]]
    found = evaluate(detector(ANSWERS), pictures(drawn, sizes=[(200, 160), (80, 100)]))  # type: ignore[arg-type]
    assert found.truth.corners.tolist() == [[10, 10, 30, 30]]
    assert found.unplaced == ("1.png",)
    assert found.scores.classes["ant"].ap.value == pytest.approx(1)
    assert any("1.png" in note for note in found.notes)


def test_a_class_that_the_detector_does_not_know_is_refused() -> None:
    with pytest.raises(DataError, match="1 boxes are of classes that the detector does not know: dog") as error:
        evaluate(detector(ANSWERS), pictures([[("dog", 0, 0, 9, 9)]], classes=("ant", "dog")))
    assert error.value.code == "other-classes"
    assert "ant, bee, cat" in error.value.hint


def test_pictures_without_boxes_are_refused() -> None:
    with pytest.raises(DataError, match="no boxes") as error:
        evaluate(detector(ANSWERS), replace(pictures(TRUTH), boxes=None))
    assert error.value.code == "no-boxes"
    with pytest.raises(UsageError, match="no part"):
        evaluate(detector(ANSWERS), pictures(TRUTH), part="tset")


def split() -> Told:
    digests = digested(pictures(TRUTH)).hexdigests
    return detector(ANSWERS, splits=list(zip(digests, ["train", "valid", "test", "test"], strict=True)))


def test_readings_of_the_test_part_are_counted() -> None:
    one, some = split(), pictures(TRUTH).take(np.array([2, 3]))
    assert evaluate(one, some).readings == 1
    found = evaluate(one, some)
    assert found.readings == 2
    assert one.readings[0]["n"] == 2
    assert any("read 2 times" in note for note in found.notes)
    assert evaluate(one, pictures(TRUTH).take(np.array([0]))).readings == 0
    assert len(one.readings) == 2


def test_pictures_that_were_trained_on_flatter() -> None:
    found = evaluate(split(), pictures(TRUTH))
    assert any("2 of these 4 pictures were used in training or validation" in note for note in found.notes)


def test_groups_are_resampled_whole() -> None:
    some = pictures(TRUTH, groups=np.array([0, 0, 1, 1]))
    found = evaluate(detector(ANSWERS), some)
    assert np.isnan(found.scores.headline["ap50"].low)
    assert found.groups is not None
    assert found.groups.tolist() == [0, 0, 1, 1]
    assert any("2 groups" in note for note in found.notes)


def test_where_there_is_no_time_some_are_tested_and_that_is_said() -> None:
    rows = TRUTH * 10
    answers = {k: ANSWERS[k % 4] for k in range(40)}
    found = evaluate(detector(answers), pictures(rows), until=Deadline(0.0, now=Slow()))
    assert LEAST <= found.scores.n < LEAST + BATCH
    assert found.whole == 40
    assert any(f"{found.scores.n} of 40" in note for note in found.notes)


class Slow:
    """A clock of which each look costs a second."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        self.at += 1
        return self.at


def test_sentences_are_there_in_chinese() -> None:
    found = evaluate(detector(ANSWERS), pictures(TRUTH))
    said = detected_summary.summary(found.scores, words=Words("zh"))
    assert any("最弱的类别是“bee”" in sentence for sentence in said.weaknesses)
    assert len(said.advice) == len(found.summary.advice)


def test_the_figures_are_those_of_coco() -> None:
    some = pictures(TRUTH)
    found = evaluate(detector({k: [(box, 0.9 - 0.1 * k) for box in row] for k, row in enumerate(TRUTH[:2])}), some)
    coco = summary(matched(found.truth, found.found, len(OWN)))
    assert {name: score.value for name, score in found.scores.headline.items() if name != "ar"} == pytest.approx(
        {name: coco[name] for name in found.scores.headline if name != "ar"}, nan_ok=True
    )
    assert found.scores.headline["ar"].value == pytest.approx(coco["ar100"])
