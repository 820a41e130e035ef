"""Evidence about boxes: detectors of other folds find what is missing, and boxes in two parts that show the same are paired."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.squares import drawn

from beholder.base import events
from beholder.base.recipe import load
from beholder.base.records import Parts
from beholder.duplicates.facts import fingerprinted
from beholder.measure.detections import Detected
from beholder.quality.checks import Evidence
from beholder.sources import scan
from beholder.study import boxed
from beholder.study.boxed import alike, found_by_others
from beholder.study.examine import audit


class Honest:
    """Stands for a detector: it finds the boxes of the pictures that it was not given, and nothing in those it learnt from."""

    def __init__(self, parts: Parts, whole: Any) -> None:
        self.seen = set(parts.train.keys) | set(parts.valid.keys)
        self.whole = whole


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    pictures, facts = fingerprinted(scan(drawn(tmp_path / "squares", n=40)))
    return Evidence(pictures, facts)


def test_each_picture_is_looked_at_by_a_detector_that_did_not_learn_from_it(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, made = evidence.pictures, list[Honest]()

    def train(parts: Parts, **_: Any) -> Honest:
        assert not {*parts.train.keys, *parts.valid.keys} & set(parts.test.keys)
        assert len(parts.valid)
        made.append(Honest(parts, pictures))
        return made[-1]

    def find(detector: Honest, of: Any, row: int, *_: Any) -> Detected:
        assert of.keys[row] not in detector.seen
        boxes = of.boxes[row]
        return Detected(boxes.corners, boxes.classes, np.full(len(boxes.classes), 0.9))

    monkeypatch.setattr(boxed, "train", train)
    monkeypatch.setattr(boxed, "_in", find)
    found = found_by_others(evidence, load("quick"), 6)
    assert found is not None
    assert len(made) == 3
    assert (found.corners == pictures.boxes.corners).all()  # type: ignore[union-attr]
    again = found_by_others(evidence, load("quick"), 6, spent=1.0)
    assert again is not None
    assert len(made) == 3  # it was remembered
    assert (again.scores == found.scores).all()


def test_without_time_or_pictures_it_is_said(evidence: Evidence) -> None:
    said: list[str] = []
    with events.listen(lambda event: said.append(event.message)):
        assert found_by_others(evidence, load("quick"), 1) is None
    assert any("3 minutes at least" in text for text in said)
    few = evidence.pictures.take(np.arange(10))
    assert found_by_others(Evidence(few, evidence.facts[:10]), load("quick"), 0) is None


def test_boxes_that_show_the_same_in_two_parts_are_paired(tmp_path: Path) -> None:
    from PIL import Image
    from tests.quality.checks.conftest import photograph

    rows = ["path,label,xmin,ymin,xmax,ymax,split"]
    for k in range(6):
        Image.fromarray(photograph(k, 120, 160)).save(tmp_path / f"{k}.png")
        rows += [
            f"{k}.png,a,10,10,74,74,{'train' if k < 3 else 'test'}",
            f"{k}.png,b,90,40,150,100,{'train' if k < 3 else 'test'}",
        ]
    copy = np.asarray(Image.open(tmp_path / "1.png"))[10:74, 10:74]
    other = photograph(4, 120, 160)
    other[40:104, 80:144] = copy
    Image.fromarray(other).save(tmp_path / "4.png")
    rows[9] = "4.png,a,80,40,144,104,test"
    (tmp_path / "boxes.csv").write_text("\n".join(rows) + "\n")
    pictures = scan(tmp_path / "boxes.csv")
    found = audit(pictures, checks=["box-leak", "box-twice"])
    (row,) = found.rows
    assert (row.check, row.picture, row.other) == ("box-leak", "1.png", "4.png")
    assert pictures.boxes is not None
    assert alike(replace(pictures, parts=np.full(6, -1, np.int8)), pictures.boxes) is None
