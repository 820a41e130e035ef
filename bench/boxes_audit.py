"""The audit of boxes: how many planted faults each check finds, and how much of what it finds was planted.

    .venv/bin/python bench/boxes_audit.py [MINUTES] [SEED]

Blood cells with boxes (364 pictures, 4,886 boxes), in which 100 boxes get another class, 100 are left out, 50 are drawn twice
(half of them two pixels off) and 50 are moved by a third of their size. The set has faults of its own: what is found there
without being planted is counted beside, as `others`, and in the precision as wrong.
Needs the shared pictures (BEHOLDER_SHARED, default ../shared).
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import beholder
from beholder.base.boxes import Boxes, Drawn
from beholder.measure.detection_overlap import overlaps
from beholder.quality.named import named
from beholder.study.examine import audit

SHARED = Path(os.environ.get("BEHOLDER_SHARED", "../shared"))
PLANTED = {"relabelled": 100, "dropped": 100, "doubled": 50, "moved": 50}
NAMES = ("box-twice", "box-size", "box-edge", "box-missing", "box-class", "box-place")
FINDS = {
    "box-twice": ("doubled",), "box-size": ("relabelled",), "box-edge": (), "box-missing": ("dropped",),
    "box-class": ("relabelled",), "box-place": ("moved",),
}  # fmt: skip


def planted(boxes: Boxes, seed: int) -> tuple[Boxes, dict[str, list[tuple[int, np.ndarray]]]]:
    """Return boxes with faults, and kind of fault → (picture, corners) where each is: of a dropped one where it was."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(boxes.classes))[: sum(PLANTED.values())]
    kind = dict(zip(chosen.tolist(), np.repeat(list(PLANTED), list(PLANTED.values())).tolist(), strict=True))
    truth: dict[str, list[tuple[int, np.ndarray]]] = {name: [] for name in PLANTED}
    rows = []
    for picture in range(len(boxes)):
        corners, classes = [], []
        for row in range(boxes.starts[picture], boxes.starts[picture + 1]):
            here, label, what = boxes.corners[row].copy(), int(boxes.classes[row]), kind.get(row)
            if what == "relabelled":
                label = int((label + rng.integers(1, 3)) % 3)
            if what == "moved":
                here += np.tile((here[2:] - here[:2]) / 3 * rng.choice([-1, 1], 2), 2)
            if what:
                truth[what].append((picture, here))
            if what == "dropped":
                continue
            corners.append(here)
            classes.append(label)
            if what == "doubled":
                corners.append(here + (rng.random() < 0.5) * 2)
                classes.append(label)
        n = len(classes)
        rows.append(Drawn(np.reshape(corners, (n, 4)), np.array(classes, np.int64), np.zeros(n, bool)))
    return Boxes.of(rows, boxes.sizes), truth


def main() -> None:
    minutes, seed = float((sys.argv[1:] or ["9"])[0]), int((sys.argv[2:] or ["0"])[0])
    pictures = beholder.scan(SHARED / "data" / "blood-cells-boxes.csv")
    assert pictures.boxes is not None
    boxes, truth = planted(pictures.boxes, seed)
    began = time.monotonic()
    found = audit(replace(pictures, boxes=boxes), checks=NAMES, minutes=minutes)
    print(f"{time.monotonic() - began:.0f} s, {len(boxes.classes):,} boxes, seed {seed}")
    place = {key: k for k, key in enumerate(pictures.keys)}
    print("| check | found | planted | recall | precision | others |\n|---|---|---|---|---|---|")
    for name in NAMES:
        mine = [(place[row.picture], np.array(named(row.box).corners)) for row in found.rows if row.check == name]
        hits = lambda wanted, given: [  # noqa: E731
            any(p == q and overlaps(a[None], b[None])[0, 0] > 0.5 for q, b in given) for p, a in wanted
        ]
        own = [fault for kind in FINDS[name] for fault in truth[kind]]
        every = [fault for faults in truth.values() for fault in faults]
        right, known = hits(mine, own), hits(mine, every)
        recall = f"{np.mean(hits(own, mine)):.2f}" if own else "–"
        precision = f"{np.mean(right):.2f}" if mine and own else "–"
        print(f"| `{name}` | {len(mine)} | {len(own)} | {recall} | {precision} | {len(mine) - sum(known)} |")
    for name in ("box-missing", "box-class", "box-place"):
        scores = [round(row.score, 2) for row in found.rows if row.check == name]
        print(name, "lowest scores:", scores[-5:])


if __name__ == "__main__":
    main()
