"""Overlaps and non-maximum suppression, by hand and against torchvision and pycocotools; what was found, as a value."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from pycocotools import mask
from torchvision.ops import batched_nms

from beholder.base.boxes import Boxes, Drawn
from beholder.measure.detection_overlap import overlaps, pairs, suppressed
from beholder.measure.detections import Detected, Found, nothing_found


def some(n: int, seed: int, *, side: int = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, side, (n, 2))
    return np.concatenate([low, low + rng.integers(0, 60, (n, 2))], axis=1).astype(np.float64)


def test_overlaps_are_pycocotools() -> None:
    a, b = some(40, 0), some(30, 1)
    crowd = np.random.default_rng(2).random(30) < 0.4
    wide = [np.concatenate([c[:, :2], c[:, 2:] - c[:, :2]], axis=1) for c in (a, b)]
    expected = mask.iou(wide[0], wide[1], crowd.astype(int).tolist())
    np.testing.assert_array_equal(overlaps(a, b, crowd), expected)
    assert overlaps(a, b[:0]).shape == (40, 0)
    assert overlaps(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0.0]]


def test_pairs_are_of_one_picture_and_by_default_of_one_class() -> None:
    box = np.array([[0.0, 0, 10, 10]])
    two = np.concatenate([box, box])
    row = Drawn(two, np.array([0, 1]), np.zeros(2, bool))
    truth, found = Boxes.of([row, row]), Found.of([nothing_found(), Detected(two, np.array([1, 2]), np.ones(2))])
    assert [column.tolist() for column in pairs(truth, found, least=0.5)] == [[0], [3], [1.0]]
    assert len(pairs(truth, found, least=0.5, alike=False).found) == 4
    assert len(pairs(truth, found, least=0.5, rows=np.array([False, True])).found) == 0


@pytest.mark.parametrize("seed", range(20))
def test_suppression_is_torchvisions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = (0, 1, 50, 300, 1500)[seed % 5]
    corners, scores, classes = some(n, seed), rng.permutation(n) / max(n, 1), rng.integers(0, 1 + seed % 4, n)
    overlap = (0.3, 0.5, 0.7)[seed % 3]
    expected = batched_nms(*(torch.from_numpy(a) for a in (corners, scores, classes)), overlap).numpy()
    assert suppressed(corners, scores, classes, overlap=overlap, most=n).tolist() == expected.tolist()
    assert suppressed(corners, scores, classes, overlap=overlap, most=7).tolist() == expected[:7].tolist()


def test_suppression_of_equal_scores_keeps_the_first() -> None:
    corners = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]])
    assert suppressed(corners, np.ones(3), np.zeros(3, np.int64), overlap=0.5, most=9).tolist() == [0, 2]


def test_suppression_is_fast() -> None:
    """5,000 boxes of one class that hardly overlap, the worst case, and of five classes that do."""
    start = time.process_time()
    suppressed(
        some(5000, 0, side=20_000), np.random.default_rng(0).random(5000), np.zeros(5000, np.int64), overlap=0.5, most=5000
    )
    suppressed(some(5000, 0), np.random.default_rng(0).random(5000), np.arange(5000) % 5, overlap=0.5, most=100)
    assert time.process_time() - start < 3


def test_found_is_cut_and_taken_by_picture() -> None:
    rows = [
        Detected(some(3, 0), np.array([0, 1, 0]), np.array([0.9, 0.3, 0.2])),
        nothing_found(),
        Detected(some(1, 1), np.array([1]), np.array([0.5])),
    ]
    found = Found.of(rows)
    assert (len(found), found.starts.tolist(), found.pictures.tolist()) == (3, [0, 3, 3, 4], [0, 0, 0, 2])
    assert found[2].scores.tolist() == [0.5]
    above = found.above([0.5, 0.3])
    assert (above.starts.tolist(), above.scores.tolist()) == ([0, 2, 2, 3], [0.9, 0.3, 0.5])
    assert found.above(0.4).starts.tolist() == [0, 1, 1, 2]
    turned = found.take(np.array([2, 1, 0, 0]))
    assert turned.starts.tolist() == [0, 1, 1, 4, 7]
    assert turned.scores.tolist() == [0.5, 0.9, 0.3, 0.2, 0.9, 0.3, 0.2]
    assert repr(found) == "Found(4 in 3 pictures)"
    assert len(Found.of([])) == 0
