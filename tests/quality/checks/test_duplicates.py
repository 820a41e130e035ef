"""Copies, contradictions and leaks, planted."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from beholder.base.records import Pictures
from beholder.data.leaks import leaks
from beholder.duplicates.facts import FACTS
from beholder.duplicates.near import COPY, Twins
from beholder.quality.audit import audit
from beholder.quality.checks import CHECKS, Evidence, Marks
from beholder.sources import scan

NONE = np.empty((0, 2), np.int64)


def known(
    kinds: list[int],
    labels: npt.ArrayLike,
    *,
    parts: list[int] | None = None,
    near: dict[tuple[int, int], float] | None = None,
) -> Evidence:
    """Evidence of pictures of which only twins, labels and parts are known. near: pair of kinds → score."""
    pixels = np.arange(len(kinds) * 12, dtype=np.uint8).reshape(-1, 2, 2, 3)
    pictures: Pictures = scan((pixels, np.asarray(labels)))
    if parts is not None:
        pictures = dataclasses.replace(pictures, parts=np.array(parts, np.int8))
    pairs = np.array(list(near), np.int64) if near else NONE
    twins = Twins(np.array(kinds, np.int64), pairs, np.array(list((near or {}).values()), np.float64))
    return Evidence(pictures, np.zeros(len(kinds), FACTS), twins=twins)


def marks(name: str, evidence: Evidence) -> Marks:
    found = CHECKS.load(name).ask(evidence)
    assert isinstance(found, Marks)
    return found


def suggested(evidence: Evidence, name: str) -> dict[int, str]:
    rows = {key: row for row, key in enumerate(evidence.pictures.keys)}
    return {rows[found.picture]: found.suggestion for found in audit(evidence, names=[name]).rows}


def test_copy_beyond_the_first_is_a_duplicate() -> None:
    found = marks("duplicate", known([0, 1, 0, 2, 0], [0, 1, 0, 1, 0]))
    assert found.scores.tolist() == [0, 0, 1, 0, 1]
    assert found.other is not None
    assert found.other.tolist() == [-1, -1, 0, -1, 0]


def test_copies_of_another_label_or_part_are_no_duplicates() -> None:
    assert not marks("duplicate", known([0, 0], [0, 1])).scores.any()
    assert not marks("duplicate", known([0, 0, 1], [0, 0, 1], parts=[0, 2, 0])).scores.any()


def test_later_one_of_near_twins_is_marked_and_kept() -> None:
    evidence = known([0, 1, 2], [0, 1, 0], near={(0, 2): 0.95})
    found = marks("near-duplicate", evidence)
    assert found.scores.tolist() == [0, 0, 0.95]
    assert found.other is not None
    assert found.other[2] == 0
    assert suggested(evidence, "near-duplicate") == {2: "keep"}


def test_near_twins_that_agree_alike_are_ordered_by_what_a_backbone_sees() -> None:
    evidence = known([0, 1, 2, 3, 4, 5, 6], [0] * 6 + [1], near={(0, 1): 0.951, (2, 3): 0.949, (4, 5): 0.99})
    bare = [row.picture for row in audit(evidence, names=["near-duplicate"]).rows]
    features = np.array([[1, 0], [0, 1], [1, 0], [1, 0.1], [np.nan, np.nan], [1, 0], [0, 0]], np.float32)
    seen = [row.picture for row in audit(dataclasses.replace(evidence, features=features), names=["near-duplicate"]).rows]
    keys = evidence.pictures.keys
    assert bare == [keys[5], keys[1], keys[3]]
    assert seen == [keys[5], keys[3], keys[1]]


def test_words_tell_copies_from_second_shots() -> None:
    evidence = known([0, 1, 2, 3], [0, 1, 0, 1], near={(0, 2): 0.95, (1, 3): 0.95})
    assert evidence.twins is not None
    lit = dataclasses.replace(evidence.twins, light=np.array([COPY - 1, COPY + 1]))
    words = marks("near-duplicate", dataclasses.replace(evidence, twins=lit)).words
    assert "copy" in words[2]
    assert "taken again" in words[3]


def test_two_exact_twins_that_contradict_each_other_are_both_dropped() -> None:
    assert suggested(known([0, 1, 0], [0, 0, 1]), "conflict") == {0: "drop", 2: "drop"}


def test_one_of_three_that_contradicts_is_left_out_and_the_others_stay() -> None:
    evidence = known([0, 0, 0, 1], [1, 0, 1, 0])
    assert suggested(evidence, "conflict") == {1: "drop"}


def test_two_against_two_are_all_dropped() -> None:
    assert suggested(known([0, 0, 0, 0], [1, 0, 1, 0]), "conflict") == dict.fromkeys(range(4), "drop")


def test_near_twins_that_contradict_each_other_are_shown_and_kept() -> None:
    evidence = known([0, 1, 2], [0, 1, 0], near={(0, 1): 0.97, (0, 2): 0.99})
    found = audit(evidence, names=["conflict"]).rows
    assert [(row.score, row.suggestion) for row in found] == [(0.97, "review")] * 2
    assert "near-duplicate is labelled" in found[0].verdict


def test_sets_of_labels_are_compared_whole_and_never_relabelled() -> None:
    evidence = known([0, 0, 0, 1, 1], [[1, 0], [1, 0], [1, 1], [0, 1], [0, 1]])
    assert evidence.pictures.multi
    assert suggested(evidence, "conflict") == {2: "drop"}


def test_leak_is_marked_in_the_earlier_part_alone() -> None:
    evidence = known([0, 0, 1, 2, 3, 4], [0, 0, 1, 1, 0, 1], parts=[0, 2, 0, 1, 0, 2], near={(1, 2): 0.93, (3, 4): 0.96})
    found = marks("leak", evidence)
    assert found.scores.tolist() == [1, 0, 0.93, 0, 0.96, 0]
    assert found.other is not None
    assert found.other.tolist() == [1, -1, 3, -1, 5, -1]
    assert suggested(evidence, "leak") == {0: "drop", 2: "drop", 4: "drop"}


def test_test_outranks_valid_and_near_outranks_nothing() -> None:
    evidence = known([0, 0, 0], [0, 1, 0], parts=[0, 1, 2])
    assert evidence.twins is not None
    score, other = leaks(evidence.pictures, evidence.twins)
    assert score.tolist() == [1, 1, 0]
    assert other[1] == 2


def test_nothing_leaks_where_no_parts_are_given() -> None:
    found = marks("leak", known([0, 0], [0, 1]))
    assert np.isnan(found.scores).all()


def test_unreadable_pictures_are_not_judged() -> None:
    evidence = known([0, 1, 2], [0, 1, 0])
    evidence.facts["error"][1] = b"truncated"
    for name in ("duplicate", "near-duplicate", "conflict"):
        assert np.isnan(marks(name, evidence).scores).tolist() == [False, True, False]
