"""Two detectors beside each other on the same pictures."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.found import ANSWERS, TRUTH, Memory, Told, detector, pictures

from beholder.base.errors import DataError, UsageError
from beholder.bundle.finder import Finder
from beholder.evaluation.detected_compare import compare
from beholder.sources.digest import digested

MANY = TRUTH[:3] * 8
GOOD = {k: [(box, 0.9) for box in row] for k, row in enumerate(MANY)}
POOR = {k: ANSWERS[k % 3] for k in range(len(MANY))}


def test_the_better_one_is_named_and_each_class_is_told() -> None:
    found = compare([detector(POOR), detector(GOOD)], pictures(MANY))
    gap = found.pairs[0].differences["ap50"]
    assert found.n == 24
    assert gap.value == pytest.approx(1 - 51 / 202)
    assert gap.low > 0
    assert found.pairs[0].classes["bee"]["ap50"].value == pytest.approx(1)
    assert found.pairs[0].verdict.startswith("bundle 2 finds boxes better than bundle 1")
    assert "bundle 2 finds boxes better" in str(found)
    told = json.loads(json.dumps(found.json(), allow_nan=False))
    assert told["pairs"][0]["differences"]["ap50"]["value"] == pytest.approx(gap.value)
    assert told["scores"]["bundle 2"]["ap"]["value"] == pytest.approx(1)
    assert found.rows()[0]["second"] == "bundle 2"


def test_classes_in_another_order_are_matched_by_name() -> None:
    other = detector(GOOD)
    other = replace(other, config=replace(other.config, classes=("cat", "bee", "ant")))
    found = compare([detector(GOOD), other], pictures(MANY))
    assert found.pairs[0].differences["ap"].value == 0
    assert found.pairs[0].verdict.startswith("Not settled")


def test_several_pairs_hold_at_once() -> None:
    found = compare([detector(POOR), detector(GOOD), detector({})], pictures(MANY))
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        ("bundle 1", "bundle 2"),
        ("bundle 1", "bundle 3"),
        ("bundle 2", "bundle 3"),
    ]
    assert found.pairs[0].level == pytest.approx(1 - 0.05 / 3)
    assert any("Bonferroni" in note for note in found.notes)


def test_pictures_that_one_was_trained_on_are_left_out() -> None:
    some = pictures(MANY)
    seen = [(digest, "train") for digest in digested(some).hexdigests[:4]]
    found = compare([detector(POOR, splits=seen), detector(GOOD)], some)
    assert (found.n, found.left_out) == (20, 4)


def test_pictures_that_cannot_be_read_are_in_neither() -> None:
    some = pictures(MANY)
    files = {**some.store.files, "0.png": b""}  # type: ignore[attr-defined]
    assert compare([detector(POOR), detector(GOOD)], replace(some, store=Memory(files))).n == 23


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([detector(POOR)], pictures(MANY))
    other: Told = detector({})
    other = replace(other, config=replace(other.config, classes=("ant", "bee", "dog")))
    with pytest.raises(UsageError, match="only bundle 1 knows cat"):
        compare([detector(POOR), other], pictures(MANY))
    digests = digested(pictures(MANY)).hexdigests
    seen = detector(POOR, splits=[(digest, "train") for digest in digests])
    with pytest.raises(DataError, match="no picture"):
        compare([seen, detector(GOOD)], pictures(MANY).take(np.arange(24)))


class Exported(Finder):
    config = detector({}).config


def test_an_export_without_a_split_is_refused() -> None:
    with pytest.raises(UsageError, match="does not know") as error:
        compare([Exported(), detector(GOOD)], pictures(MANY))  # type: ignore[list-item]
    assert error.value.code == "no-split"
