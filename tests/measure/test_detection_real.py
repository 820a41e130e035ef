"""Average precision on a real set of boxes, beside pycocotools: found boxes are the true ones, moved, dropped and doubled."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.base.boxes import Boxes
from beholder.measure.detection_matching import matched
from beholder.measure.detection_precision import summary
from beholder.measure.detections import Detected, Found

NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large")


def disturbed(truth: Boxes, classes: int) -> Found:
    """Return boxes near the true ones: moved by some pixels, a tenth of another class, a tenth left out, some twice."""
    rng, rows = np.random.default_rng(0), []
    for k in range(len(truth)):
        drawn = truth[k]
        keep = np.repeat(np.arange(len(drawn.classes)), rng.choice([0, 1, 2], len(drawn.classes), p=[0.1, 0.8, 0.1]))
        corners = drawn.corners[keep] + rng.normal(0, 6, (len(keep), 4))
        other = rng.random(len(keep)) < 0.1
        labels = np.where(other, rng.integers(0, classes, len(keep)), drawn.classes[keep])
        rows.append(Detected(corners, labels, rng.random(len(keep)).round(2)))
    return Found.of(rows)


def coco(truth: Boxes, found: Found) -> list[float]:
    """Return the twelve figures of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def box(corners: Any) -> list[float]:
        left, top, right, bottom = map(float, corners)
        return [left, top, right - left, bottom - top]

    def area(corners: Any) -> float:
        return float((corners[2] - corners[0]) * (corners[3] - corners[1]))

    images = [{"id": k + 1} for k in range(len(truth))]
    true = [
        {"id": n + 1, "image_id": int(k) + 1, "category_id": int(c) + 1, "bbox": box(b), "area": area(b), "iscrowd": 0}
        for n, (k, c, b) in enumerate(zip(truth.pictures, truth.classes, truth.corners, strict=True))
    ]
    seen = [
        {"image_id": int(k) + 1, "category_id": int(c) + 1, "bbox": box(b), "score": float(s)}
        for k, c, b, s in zip(found.pictures, found.classes, found.corners, found.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        base = COCO()
        base.dataset = {"images": images, "annotations": true, "categories": [{"id": k + 1} for k in range(3)]}
        base.createIndex()
        judge = COCOeval(base, base.loadRes(seen), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [float(value) for value in judge.stats]


@pytest.mark.shared
def test_figures_of_blood_cells_are_those_of_pycocotools(shared: Path) -> None:
    truth = beholder.scan(shared / "data" / "blood-cells-boxes.csv").boxes
    assert truth is not None
    found = disturbed(truth, 3)
    ours = summary(matched(truth, found, 3))
    assert [ours[name] for name in NAMES] == pytest.approx(coco(truth, found), abs=1e-6)
    assert 0.1 < ours["ap"] < 0.9
