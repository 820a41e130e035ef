"""Average precision against pycocotools, by hand, and what its intervals promise."""

from __future__ import annotations

import contextlib
import io
import math
import time

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from beholder.base.boxes import Boxes, Drawn, nothing
from beholder.base.errors import UsageError
from beholder.measure.detection_matching import RIGHT, matched
from beholder.measure.detection_precision import average_precision, average_recall, differences, intervals, redrawn, summary
from beholder.measure.detections import Detected, Found, nothing_found


def scene(
    seed: int, *, pictures: int = 8, classes: int = 3, boxes: int = 8, extra: int = 6, crowds: float = 0.1, ties: bool = False
) -> tuple[Boxes, Found]:
    """True boxes of all sizes, and found ones near them, twice, of another class, or anywhere; some pictures without either."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(pictures):
        n = int(rng.integers(0, boxes + 1)) * int(rng.random() > 0.1)
        low = rng.integers(0, 300, (n, 2)).astype(float)
        corners = np.concatenate([low, low + rng.choice([8, 32, 40, 96, 150], (n, 2)) + rng.integers(0, 3, (n, 2))], axis=1)
        labels = rng.integers(0, classes, n)
        truth.append(Drawn(corners, labels, rng.random(n) < crowds))
        again = rng.integers(0, n, 2 * n) if n else np.zeros(0, int)
        shift = rng.integers(-6, 7, (len(again), 4)) * (rng.random((len(again), 1)) < 0.8)
        near = corners[again] + shift
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        m = int(rng.integers(0, extra + 1))
        start = rng.integers(0, 300, (m, 2)).astype(float)
        rest = np.concatenate([start, start + rng.integers(1, 120, (m, 2))], axis=1)
        named = np.where(rng.random(len(again)) < 0.85, labels[again], rng.integers(0, classes, len(again)))
        kinds = np.concatenate([named, rng.integers(0, classes, m)])
        keep = slice(None) if rng.random() > 0.1 else slice(0)
        scores = rng.integers(0, 5, len(kinds)) / 4 if ties else rng.random(len(kinds))
        found.append(Detected(np.concatenate([near, rest])[keep], kinds[keep], scores[keep]))
    return Boxes.of(truth), Found.of(found)


def limits(most: int) -> tuple[int, int, int]:
    return (1, 10 if most > 10 else 2, most)


def coco(truth: Boxes, found: Found, classes: int, most: int = 100) -> COCOeval:
    wide = lambda c: [float(c[0]), float(c[1]), float(c[2] - c[0]), float(c[3] - c[1])]  # noqa: E731
    names = {"images": [{"id": i + 1} for i in range(len(truth))], "categories": [{"id": c} for c in range(classes)]}
    area = lambda b: b[2] * b[3]  # noqa: E731
    true = [
        {"id": i + 1, "image_id": int(p) + 1, "category_id": int(c), "bbox": wide(b), "area": area(wide(b)), "iscrowd": int(w)}
        for i, (p, c, b, w) in enumerate(zip(truth.pictures, truth.classes, truth.corners, truth.crowd, strict=True))
    ]
    seen = [
        {"id": i + 1, "image_id": int(p) + 1, "category_id": int(c), "bbox": wide(b), "area": area(wide(b)), "score": float(s)}
        for i, (p, c, b, s) in enumerate(zip(found.pictures, found.classes, found.corners, found.scores, strict=True))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for annotations in (true, seen):
            side = COCO()
            side.dataset = {**names, "annotations": annotations}
            side.createIndex()
            sides.append(side)
        run = COCOeval(*sides, "bbox")
        run.params.maxDets = list(limits(most))
        run.evaluate()
        run.accumulate()
        if most == 100:
            run.summarize()
    return run


def assert_equal_to_coco(truth: Boxes, found: Found, classes: int, most: int = 100) -> None:
    run, matches = coco(truth, found, classes, most), matched(truth, found, classes, most=most)
    for a, size in enumerate(matches.sizes):
        expected = run.eval["precision"][:, :, :, a, 2]
        ap = np.where(expected[:, 0] < 0, np.nan, expected.mean(axis=1)).T
        np.testing.assert_allclose(average_precision(matches, size=size), ap, atol=1e-9, equal_nan=True)
        for m, count in enumerate(limits(most)):
            recall = run.eval["recall"][:, :, a, m].T
            found_recall = average_recall(matches, size=size, most=count)
            np.testing.assert_allclose(found_recall, np.where(recall < 0, np.nan, recall), atol=1e-9, equal_nan=True)
    if most == 100:
        stats = np.where(np.asarray(run.stats) < 0, np.nan, run.stats)
        np.testing.assert_allclose(list(summary(matches).values()), stats, atol=1e-9, equal_nan=True)


CASES = [
    {},
    {"ties": True},
    {"crowds": 0.5, "ties": True},
    {"classes": 1, "boxes": 15},
    {"pictures": 1},
    {"extra": 0},
    {"boxes": 0},
    {"classes": 6, "boxes": 3, "crowds": 0.0},
]


@pytest.mark.parametrize("seed", range(200))
def test_equals_pycocotools(seed: int) -> None:
    case = CASES[seed % len(CASES)] | ({"pictures": 15, "boxes": 20} if seed >= 160 else {})
    truth, found = scene(seed, **case)
    assert_equal_to_coco(truth, found, int(case.get("classes", 3)), most=(100, 100, 3, 12)[seed // len(CASES) % 4])


def test_nothing_found_is_zero_and_nothing_there_is_undefined() -> None:
    one = Drawn(np.array([[0.0, 0, 9, 9]]), np.zeros(1, np.int64), np.zeros(1, bool))
    truth, found = Boxes.of([one, nothing()]), Found.of([nothing_found(), nothing_found()])
    assert average_precision(matched(truth, found, 2)).tolist()[0] == [0.0] * 10
    assert np.isnan(average_precision(matched(truth, found, 2))[1]).all()
    assert all(
        math.isnan(value) for value in summary(matched(truth.take(np.array([1])), found.take(np.array([1])), 2)).values()
    )
    assert all(math.isnan(value) for value in summary(matched(Boxes.of([]), Found.of([]), 2)).values())


def test_average_precision_by_hand() -> None:
    box = np.array([[0.0, 0, 100, 100]])
    far = box + 500
    truth = Boxes.of([Drawn(np.concatenate([box, far]), np.zeros(2, np.int64), np.zeros(2, bool))])
    found = Found.of(
        [Detected(np.concatenate([far + 900, box - np.array([0, 0, 0, 20])]), np.zeros(2, np.int64), np.array([0.9, 0.8]))]
    )
    ap = average_precision(matched(truth, found, 1))[0]
    # One of two found, after a false one: precision 1/2 up to recall 1/2, that is at 51 of 101; the overlap is 0.8.
    assert ap.tolist() == pytest.approx([0.5 * 51 / 101] * 7 + [0.0] * 3)


def test_weights_are_as_many_copies_of_a_picture() -> None:
    truth, found = scene(5, pictures=12)
    matches = matched(truth, found, 3)
    weights = np.random.default_rng(0).integers(0, 4, (5, 12))
    many, recalls = average_precision(matches, weights), average_recall(matches, weights, size="medium", most=2)
    assert many.shape == (5, 3, 10)
    for row, ap, recall in zip(weights, many, recalls, strict=True):
        copies = np.repeat(np.arange(12), row)
        copied = matched(truth.take(copies), found.take(copies), 3)
        np.testing.assert_allclose(average_precision(copied), ap, atol=1e-9)
        np.testing.assert_allclose(average_recall(copied, size="medium", most=2), recall, atol=1e-9)


def test_intervals_hold_the_value_and_shrink_with_pictures() -> None:
    few, many = (intervals(matched(*scene(1, pictures=n, crowds=0), 4), repeats=200) for n in (20, 160))
    for name in ("ap", "ap50", "ap75"):
        a, b = few.headline[name], many.headline[name]
        assert 0 <= a.low < a.value < a.high <= 1
        assert b.high - b.low < 0.6 * (a.high - a.low)
        assert (a.n, b.n) == (20, 160)
        assert math.isnan(few.classes[3][name].value)
        assert few.classes[3][name].n == 0
    truth, found = scene(1, pictures=20, crowds=0)
    ap = summary(matched(truth, found, 4))
    assert [few.headline[name].value for name in ("ap", "ap50", "ap75")] == pytest.approx([ap["ap"], ap["ap50"], ap["ap75"]])


def test_perfect_boxes_of_few_pictures_leave_doubt() -> None:
    truth, _ = scene(3, pictures=10, crowds=0, classes=1)
    found = Found(truth.corners, truth.classes, np.full(len(truth.classes), 0.9), truth.starts)
    score = intervals(matched(truth, found, 1), repeats=50).headline["ap"]
    assert score.value == pytest.approx(1)
    assert 0.5 < score.low < 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "least"), [(1.0, 0.84), (0.2, 0.88)])
def test_intervals_hold_the_truth(noise: float, least: float) -> None:
    """200 samples of 40 pictures each, of scores that say nothing and of some that say much, against 6,000 pictures."""
    truth, found = scene(0, pictures=6000, crowds=0)
    every, right = matched(truth, found, 3), np.zeros(len(found.scores))
    right[every.rows] = (every.states[:, :, 0] == RIGHT).mean(axis=1)
    found = Found(found.corners, found.classes, noise * found.scores + (1 - noise) * right, found.starts)
    true = summary(matched(truth, found, 3))["ap"]
    rng, held = np.random.default_rng(1), 0
    for seed in range(200):
        rows = rng.choice(6000, 40, replace=False)
        score = intervals(matched(truth.take(rows), found.take(rows), 3), repeats=100, seed=seed).headline["ap"]
        held += score.low <= true <= score.high
    assert held / 200 >= least


def test_groups_widen_and_too_few_give_none() -> None:
    truth, found = scene(2, pictures=12, crowds=0)
    copies = np.repeat(np.arange(12), 6)
    matches = matched(truth.take(copies), found.take(copies), 3)
    alone, grouped = (intervals(matches, groups=g, repeats=200).headline["ap"] for g in (None, copies))
    assert grouped.high - grouped.low > 1.6 * (alone.high - alone.low)
    assert math.isnan(intervals(matches, groups=copies % 3, repeats=20).headline["ap"].low)


def test_differences_are_paired() -> None:
    truth, found = scene(4, pictures=60, crowds=0)
    worse = Found(found.corners, found.classes, np.random.default_rng(0).random(len(found.scores)), found.starts)
    better = Found(truth.corners, truth.classes, np.full(len(truth.classes), 0.9), truth.starts)
    base = matched(truth, found, 3)
    none = differences(base, base, repeats=100).headline["ap"]
    assert (none.value, none.low, none.high) == pytest.approx((0, 0, 0), abs=0.02)
    more = differences(base, matched(truth, better, 3), repeats=100)
    assert more.headline["ap"].value > more.headline["ap"].low > 0.2
    assert all(row["ap50"].low > 0 for row in more.classes)
    paired = differences(base, matched(truth, worse, 3), repeats=100).headline["ap50"]
    single = intervals(base, repeats=100).headline["ap50"]
    assert paired.high - paired.low < 1.2 * (single.high - single.low)


def test_budget_of_the_bootstrap() -> None:
    """500 resamples of 100 pictures with 15 boxes of 3 classes: the budget is 5 s, in processor time of this process."""
    truth, found = scene(1, pictures=100, boxes=30, extra=30)
    matches = matched(truth, found, 3)
    start = time.process_time()
    assert redrawn(matches, repeats=500).shape == (500, 3, 3)
    assert time.process_time() - start < 5


def test_what_does_not_fit_is_said() -> None:
    truth, found = scene(1)
    with pytest.raises(UsageError, match="8 and found in 1 pictures"):
        matched(truth, found.take(np.array([0])), 3)
    with pytest.raises(UsageError, match="class 2"):
        matched(truth, found, 2)
    with pytest.raises(UsageError, match="not a number"):
        matched(truth, Found(found.corners, found.classes, found.scores * np.nan, found.starts), 3)
    with pytest.raises(UsageError, match=r"overlap of 0\.4"):
        matched(truth, found, 3).at(0.4)
    with pytest.raises(UsageError, match="'tiny'"):
        average_precision(matched(truth, found, 3), size="tiny")
