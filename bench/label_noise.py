"""How true the audit's probability of a wrong label is: known noise planted in sets that are clean.

    .venv/bin/python bench/label_noise.py chosen    seven sets, features of EfficientNet-Lite0: what the constants of
                                                    quality/checks/labels.py were chosen on
    .venv/bin/python bench/label_noise.py held      other pictures of five of them, features of MobileNetV2: held out
    .venv/bin/python bench/label_noise.py human     2,000 of CIFAR-10 under labels that people gave: the order of the scores
                                                    beside cleanlab's three, by their formulas from the same probabilities

At most 1,500 pictures a set, drawn by a fixed seed; of CIFAR-10 those on whose label three people (random1 to random3) agree
with the folder. A share of the labels is turned to another class, each alike; features are computed once, heads in folds anew
for each share and seed. "right": the label was turned, and the class suggested is the true one (for drop: it was turned).
Needs the shared pictures and weights (BEHOLDER_SHARED, default ../shared).
"""

from __future__ import annotations

import csv
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.recipe import load
from beholder.base.records import Pictures
from beholder.data.folds import folds
from beholder.duplicates.facts import facts
from beholder.duplicates.near import twins
from beholder.measure.curves import auroc, average_precision
from beholder.quality.checks import Evidence
from beholder.quality.checks.labels import LABEL, label
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study.evidence import gathered
from beholder.study.folded import heads
from beholder.tasks.single import SINGLE

SHARED = (Path(__file__).parent.parent / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve()
SETS = ("cifar10", "fashion-mnist", "pneumonia", "sign-digits", "trashnet", "ants-bees", "brain-mri")
HELD = SETS[:5]
NETS = {"chosen": "tf_efficientnet_lite0", "human": "tf_efficientnet_lite0", "held": "mobilenetv2_100"}
COUNT, SEEDS = 1500, 3
SHARES = (0.0, 0.003, 0.01, 0.03, 0.1)
HIGH = 0.9


@dataclass
class Tally:
    """What was counted over sets and seeds."""

    pictures: int = 0
    wrong: int = 0
    found: int = 0
    hits: int = 0
    suggested: int = 0
    right: int = 0
    high: int = 0
    high_right: int = 0

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def __str__(self) -> str:
        recall = f"recall {self.hits / self.wrong:.2f}" if self.wrong else "           "
        return (
            f"{self.wrong:5d} of {self.pictures:6,d} wrong; found {self.found:5d} {recall}; "
            f"suggested {self.suggested:4d}, {self.right:4d} right; at {HIGH:.0%} {self.high:4d}, {self.high_right:4d} right"
        )


def people() -> dict[int, dict[str, str]]:
    with (SHARED / "data" / "cifar10n.csv").open() as file:
        return {int(row["index"]): row for row in csv.DictReader(file)}


def drawn(name: str, which: str) -> Pictures:
    """Return the pictures of a set: the first `COUNT` of an order, for `held` the next."""
    pictures = digested(scan(SHARED / "data" / f"{name}.zip"))
    if name == "cifar10":
        pictures = pictures.take(np.flatnonzero(pictures.parts == 0))
    order, start = np.random.default_rng(0).permutation(len(pictures)), COUNT if which == "held" else 0
    if name == "cifar10":
        order, start = order[: 2 * (2000 if which == "human" else 2500)], 2500 if which == "held" else 0
    count = 2000 if which == "human" else 2500 if name == "cifar10" else COUNT
    pictures = pictures.take(np.sort(order[start : start + count]))
    if name == "cifar10" and which != "human":
        given = people()
        sure = [
            all(given[int(Path(key).stem)][f"random{n}"] == pictures.labels(row)[0] for n in (1, 2, 3))
            for row, key in enumerate(pictures.keys)
        ]
        pictures = pictures.take(np.flatnonzero(sure))
    return replace(pictures, parts=np.full(len(pictures), -1, np.int8))


def looked(pictures: Pictures, which: str) -> tuple[Pictures, np.ndarray, np.ndarray]:
    """Return the pictures that can be read, their features and folds."""
    recipe = load("quick").set(weights=str(SHARED / "weights" / NETS[which]))
    evidence = gathered(Evidence(pictures, facts(pictures)), recipe, needed={"features"}, minutes=0)
    assert evidence.features is not None
    rows = np.flatnonzero(evidence.readable)
    some = pictures.take(rows)
    known = twins(pictures, evidence.facts).among(rows)
    fold = folds(some, count=5, seed=0, same=evidence.facts["pixels"][rows], twins=known)
    return some, evidence.features[rows], fold


def judged(pictures: Pictures, given: np.ndarray, features: np.ndarray, fold: np.ndarray) -> Tally:
    k, true = len(pictures.classes), pictures.targets
    p = heads(features, np.eye(k, dtype=np.float32)[given], fold, task=SINGLE)
    marks = label(Evidence(replace(pictures, targets=given), facts(pictures)[:0], probabilities=p))
    assert marks.relabel is not None
    bad, scores = given != true, np.nan_to_num(marks.scores, nan=-1.0)
    found, rows = scores >= LABEL.limit, np.array(sorted(marks.suggest), np.int64)
    right = bad[rows] & ((marks.relabel[rows] < 0) | (marks.relabel[rows] == true[rows]))
    high = scores[rows] >= HIGH
    counts = (len(true), bad.sum(), found.sum(), (found & bad).sum(), len(rows), right.sum(), high.sum(), (high & right).sum())
    return Tally(*(int(count) for count in counts))


def planted(true: np.ndarray, classes: int) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (share, labels): that share of them turned to another class, each alike; clean ones once."""
    for share in SHARES:
        for seed in range(SEEDS if share else 1):
            rng = np.random.default_rng([seed, int(share * 10_000)])
            bad = np.zeros(len(true), bool)
            bad[rng.permutation(len(true))[: max(1, round(share * len(true))) if share else 0]] = True
            yield share, np.where(bad, (true + rng.integers(1, classes, len(true))) % classes, true)


def noise(which: str) -> None:
    total: dict[float, Tally] = defaultdict(Tally)
    for name in HELD if which == "held" else SETS:
        pictures, features, fold = looked(drawn(name, which), which)
        here: dict[float, Tally] = defaultdict(Tally)
        for share, given in planted(pictures.targets.astype(np.int64), len(pictures.classes)):
            here[share].add(judged(pictures, given, features, fold))
        for share, tally in here.items():
            print(f"{name:14s} {share:5.1%}  {tally}", flush=True)
            total[share].add(tally)
    for share, tally in total.items():
        print(f"{'all':14s} {share:5.1%}  {tally}")


def human() -> None:
    pictures, features, fold = looked(drawn("cifar10", "human"), "human")
    rows, given_by = np.arange(len(pictures)), people()
    for name in ("aggre", "random1", "worse"):
        given = np.array([pictures.classes.index(given_by[int(Path(key).stem)][name]) for key in pictures.keys])
        p = heads(features, np.eye(10, dtype=np.float32)[given], fold, task=SINGLE)
        marks = label(Evidence(replace(pictures, targets=given), facts(pictures)[:0], probabilities=p))
        own, others = p[rows, given], p.copy()
        others[rows, given] = -1
        entropy = -(p * np.log(np.clip(p, 1e-12, 1))).sum(axis=1)
        bad = given != pictures.targets
        print(
            f"{name}: {bad.mean():.1%} wrong, {np.mean(marks.scores >= LABEL.limit):.1%} found, suggested {len(marks.suggest)}"
        )
        scores = {"Beholder": marks.scores, "self-confidence": -own, "normalised margin": others.max(axis=1) - own}
        for who, values in (scores | {"confidence-weighted entropy": entropy / np.maximum(own, 1e-12)}).items():
            print(f"  {who:28s} AUROC {auroc(values, bad)[0]:.3f}  average precision {average_precision(values, bad):.3f}")


if __name__ == "__main__":
    if not SHARED.is_dir():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED)")
    with events.only("warn"):
        for asked in sys.argv[1:] or ["chosen", "held", "human"]:
            human() if asked == "human" else noise(asked)
