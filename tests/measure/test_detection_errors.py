"""Confusion with background and kinds of error, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from beholder.base.boxes import Boxes, Drawn
from beholder.measure.detection_errors import KINDS, confusion, error_kinds
from beholder.measure.detections import Detected, Found

CAT, DOG = 0, 1


def at(left: float, width: float = 10, *, top: float = 0) -> tuple[float, float, float, float]:
    return (left, top, left + width, top + 10)


Box = tuple[float, float, float, float]


def picture(true: list[tuple[Box, int]], found: list[tuple[Box, int, float]], crowd: int = 0) -> tuple[Boxes, Found]:
    """The last `crowd` true boxes are of crowds."""
    drawn = Drawn(
        np.array([box for box, _ in true]).reshape(-1, 4),
        np.array([label for _, label in true], np.int64),
        np.arange(len(true)) >= len(true) - crowd,
    )
    detected = Detected(
        np.array([box for box, _, _ in found]).reshape(-1, 4),
        np.array([label for _, label, _ in found], np.int64),
        np.array([score for _, _, score in found]),
    )
    return Boxes.of([drawn]), Found.of([detected])


SCENE = picture(
    [(at(0), CAT), (at(100), CAT), (at(200), DOG), (at(300), CAT), (at(400), DOG), (at(500, 100), CAT)],
    [
        (at(1), CAT, 0.9),  # right
        (at(0), CAT, 0.8),  # duplicate: the surer one was matched first
        (at(106), CAT, 0.7),  # localisation: overlap 4 / 16
        (at(107), CAT, 0.65),  # localisation, of the same one
        (at(201), CAT, 0.6),  # class
        (at(306), DOG, 0.5),  # both: overlap 4 / 16 with a cat
        (at(800), DOG, 0.95),  # background
        (at(510), CAT, 0.4),  # ignored: in a crowd
    ],
    crowd=1,
)


def test_kinds_by_hand() -> None:
    found = error_kinds(*SCENE, 2)
    names = [KINDS[kind] for kind in found.found]
    assert names == ["right", "duplicate", "localisation", "localisation", "class", "both", "background", "ignored"]
    assert found.about.tolist() == [0, 0, 1, 1, 2, 3, -1, -1]
    assert [KINDS[kind] for kind in found.truth] == ["right", "localisation", "class", "missed", "missed", "ignored"]
    expected = {
        "right": 1,
        "localisation": 2,
        "class": 1,
        "both": 1,
        "duplicate": 1,
        "background": 1,
        "missed": 2,
        "ignored": 1,
    }
    assert found.counts == expected


def test_gains_by_hand() -> None:
    found = error_kinds(*SCENE, 2)
    # Of three cats one is found, at once: precision 1 up to recall 1/3; of two dogs none.
    cats, dogs = 34 / 101, 0.0
    assert found.ap50 == pytest.approx((cats + dogs) / 2)
    # Without localisation errors: right, duplicate, right; so precision 2/3 from recall 1/3 to 2/3.
    assert found.gains["localisation"] == pytest.approx((34 + 33 * 2 / 3) / 101 / 2 - found.ap50)
    # Without class errors one of two dogs is found, behind one on the background: precision 1/2 up to recall 1/2.
    assert found.gains["class"] == pytest.approx((cats + 51 / 101 / 2) / 2 - found.ap50)
    # Without the cat and the dog that are missed there are two cats and one dog.
    assert found.gains["missed"] == pytest.approx(51 / 101 / 2 - found.ap50)
    assert [found.gains[kind] for kind in ("both", "duplicate", "background")] == pytest.approx([0, 0, 0])


def test_false_boxes_cost_where_they_are_sure() -> None:
    true = [(at(0), CAT), (at(100), CAT)]
    truth, found = picture(true, [(at(0), CAT, 0.9), (at(1), CAT, 0.8), (at(900), CAT, 0.7), (at(100), CAT, 0.6)])
    kinds = error_kinds(truth, found, 1)
    assert kinds.ap50 == pytest.approx((51 + 50 * 0.5) / 101)
    assert kinds.gains["duplicate"] == pytest.approx(50 * (2 / 3 - 0.5) / 101)
    assert kinds.gains["background"] == pytest.approx(50 * (2 / 3 - 0.5) / 101)


def test_kinds_of_nothing() -> None:
    kinds = error_kinds(*picture([], []), 2)
    assert sum(kinds.counts.values()) == 0
    assert math.isnan(kinds.ap50)
    alone = error_kinds(*picture([], [(at(0), CAT, 0.9)]), 2)
    assert alone.counts["background"] == 1
    only = error_kinds(*picture([(at(0), CAT)], []), 2)
    assert (only.counts["missed"], only.ap50) == (1, 0.0)


def test_boxes_beyond_the_most_are_ignored() -> None:
    truth, found = picture([(at(0), CAT)], [(at(0), CAT, 0.9), (at(50), CAT, 0.8)])
    assert [KINDS[kind] for kind in error_kinds(truth, found, 1, most=1).found] == ["right", "ignored"]


def test_confusion_by_hand() -> None:
    table = confusion(*SCENE, 2)
    # The duplicate lies exactly on the cat, so here it is the pair and the other one is false.
    assert table.tolist() == [[1, 0, 2], [1, 0, 1], [3, 2, 0]]


def test_confusion_pairs_by_overlap_whatever_the_class() -> None:
    true = [(at(0), CAT)]
    nearer = picture(true, [(at(2), CAT, 0.9), (at(1), DOG, 0.2)])
    assert confusion(*nearer, 2).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]
    equal = picture(true, [(at(1), DOG, 0.9), (at(1), CAT, 0.2)])
    assert confusion(*equal, 2).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert confusion(nearer[0], nearer[1].above([0.5, 0.5]), 2).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_confusion_counts_no_crowds_but_other_classes_in_them() -> None:
    crowd = picture([(at(0, 100), CAT)], [(at(10), CAT, 0.9), (at(50), DOG, 0.9)], crowd=1)
    assert confusion(*crowd, 2).tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert confusion(*picture([], []), 2).tolist() == [[0] * 3] * 3
