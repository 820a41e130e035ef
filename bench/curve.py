"""Do the intervals of `beholder curve` hold what more pictures give? Small sources are drawn from a set; its rest is the truth.

    .venv/bin/python bench/curve.py SET SOURCE REPEATS [PICTURES]

SET: trashnet | signs | cifar | fashion | pneumonia; SOURCE: training and validation pictures that a curve is drawn on, REPEATS
times, each time others; PICTURES: so many of the set in all, as many of each class (default: 12,000). Near-duplicates are drawn
together. The truth at a size: the mean accuracy of a dozen heads fitted on so many pictures of the set, scored on the rest of
it; that of a class: what as many more of it as an average class has add to that, on the mean of two dozen.
Prints a line for twice and one for four times the pictures, and one for classes: how often the intervals hold the truth, their
mean width, and by how much the expected values are off on average; of the verdicts, the mean truth of each.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.order import stratified
from beholder.base.recipe import load
from beholder.base.records import Pictures, Score
from beholder.data.split import unit_of
from beholder.data.survey import survey
from beholder.duplicates.facts import fingerprinted
from beholder.duplicates.near import Twins, twins
from beholder.learn.material import targets_of
from beholder.measure.jackknife import left_out
from beholder.sources import scan
from beholder.study.evidence import at_hand, features_of
from beholder.study.gains import Ahead, ClassGain, ahead, by_class, measured
from beholder.study.growth import Fits, Grounds, grown, halved
from beholder.study.judge import Judge, prior_adjusted
from beholder.study.learners import by_head
from beholder.study.setting import FEW, rounds_of
from beholder.tasks.single import SINGLE

SHARED = (Path(__file__).parent.parent / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data"
SETS = {"trashnet": "trashnet.zip", "signs": "sign-digits.zip", "cifar": "cifar10.zip", "fashion": "fashion-mnist.zip"}
SETS |= {"pneumonia": "pneumonia.zip"}
NEAR = ("trashnet", "signs", "pneumonia")
VALID = 0.176
"""Share of the validation part in what is left without the test part."""

TRUTHS, NONE = 12, np.zeros(0, np.int64)


@dataclass
class Whole:
    """A set with its features: pictures (N), float32 (N, F), who is whose near-duplicate."""

    pictures: Pictures
    features: np.ndarray
    near: Twins | None

    @cached_property
    def units(self) -> np.ndarray:
        return unit_of(self.pictures, self.near)

    def drawn(self, size: int, seed: int) -> np.ndarray:
        everything = np.arange(len(self.pictures))
        return Grounds(self.pictures.targets, self.units, [(everything, everything)], seed).subset(0, size=size, draw=0)

    def scored(self, base: np.ndarray, more: np.ndarray) -> tuple[float, float]:
        """Return the accuracies of heads on `base`, and on it with `more`, on all others that are no duplicates of these.

        Each class counts by its share of the set, whatever is left of it; with `more`, the prior is adjusted to these shares.
        """
        learn, targets = by_head(self.features, self.pictures, SINGLE, balanced=False), self.pictures.targets
        both = np.concatenate([base, more])
        rest = np.flatnonzero(~np.isin(self.units, self.units[both]))
        counts = [np.bincount(targets[rows], minlength=len(self.pictures.classes)) for rows in (np.arange(len(targets)), rest)]
        weights = (counts[0] / counts[1])[targets[rest]]

        def accuracy(rows: np.ndarray) -> float:
            logits = learn(rows, rest)
            found = prior_adjusted(logits, counts[0] / len(targets), weights=weights) if len(more) else logits
            return float(np.average(found.argmax(axis=1) == targets[rest], weights=weights))

        first = accuracy(base)
        return first, accuracy(both) if len(more) else first

    def truth(self, size: int) -> float:
        """Return the mean score of heads on so many pictures."""
        return float(np.mean([self.scored(self.drawn(size, 10_000 + seed), NONE)[0] for seed in range(TRUTHS)]))

    def truth_of(self, size: int, k: int, more: int) -> float:
        """Return by how much that score rises with `more` pictures of a class."""
        gains = []
        for seed in range(2 * TRUTHS):
            order = self.drawn(len(self.pictures), 10_000 + seed)
            others = order[size:]
            first, then = self.scored(order[:size], others[self.pictures.targets[others] == k][:more])
            gains.append(then - first)
        return float(np.mean(gains))


def whole(name: str, most: int) -> Whole:
    pictures, recipe = scan(SHARED / SETS[name]), load("quick")
    if most < len(pictures):
        pictures = pictures.take(np.sort(stratified(pictures.targets)[:most]))
    pictures, measures = fingerprinted(pictures)
    near = twins(pictures, measures) if name in NEAR else None
    looked = survey(pictures)
    backbone = at_hand(recipe.net, looked, small=True)
    assert backbone is not None
    found = features_of(pictures, backbone, recipe, looked, 0.0)
    known = np.flatnonzero(np.isfinite(found).all(axis=1))
    return Whole(pictures.take(known), found[known], None if near is None else near.among(known))


def curve(of: Whole, rows: np.ndarray, seed: int, more: int) -> tuple[tuple[Ahead, ...], tuple[ClassGain, ...], int]:
    """Return what `beholder curve` expects of more pictures, of all and of each class, and from how many it learns."""
    pictures = of.pictures.take(rows)
    near = None if of.near is None else of.near.among(rows)
    valid = np.zeros(len(rows), bool)
    valid[stratified(pictures.targets, seed=seed)[: round(VALID * len(rows))]] = True
    rounds, _ = rounds_of(pictures, valid, near, seed, fold=True)
    grounds = Grounds(pictures.targets, unit_of(pictures, near), rounds, seed)
    scored, classes = grounds.scored, len(pictures.classes)
    weights = left_out(grounds.units[scored], pictures.targets[scored], seed=seed)
    judge = Judge(SINGLE, targets_of(pictures).numpy()[scored], weights)
    fits = Fits(by_head(of.features[rows], pictures, SINGLE, balanced=False), grounds, Deadline())
    found = grown(fits, judge, grounds.sizes(classes), until=Deadline())
    grew = measured(found, largest=grounds.largest, n=len(scored))
    law, halves = grew.law(seed=seed), halved(fits, judge, grounds.largest, classes)
    gains = by_class(halves, law, pictures.classes, more=more, n=len(scored), seed=seed)
    return ahead(law, grew.points()[-1].score), gains, grounds.largest


Row = tuple[Score, float]


def told(rows: list[Row]) -> str:
    """Return how often intervals hold the truth, their mean width, and by how much values are off."""
    held = np.mean([score.low <= truth <= score.high for score, truth in rows])
    width = np.mean([score.high - score.low for score, _ in rows])
    off = np.mean([score.value - truth for score, truth in rows])
    return f"held {held:.2f} of {len(rows)}, width {width:.3f}, off {off:+.4f}, truth {np.mean([t for _, t in rows]):+.3f}"


def main(name: str, source: int, repeats: int, most: int = 12_000) -> None:
    rows: dict[str, list[Row]] = defaultdict(list)
    verdicts: dict[str, list[float]] = defaultdict(list)
    with events.listen(alone=True):
        of = whole(name, most)
        most_at_once, near = int(0.8 * len(of.pictures)), round(0.8 * source if source * VALID < FEW else (1 - VALID) * source)
        more = near // len(of.pictures.classes)
        truth = {times: of.truth(times * near) for times in (1, 2, 4) if times * near <= most_at_once}
        of_class = {name: of.truth_of(near, k, more) for k, name in enumerate(of.pictures.classes)}
        for seed in range(repeats):
            began = time.monotonic()
            beyond, gains, largest = curve(of, of.drawn(source, seed), seed, more)
            assert abs(largest - near) <= 0.03 * near, (largest, near)
            for one in beyond:
                if one.times in truth:
                    rows[f"{one.times} times: score"].append((one.score, truth[one.times]))
                    rows[f"{one.times} times: gain"].append((one.gain, truth[one.times] - truth[1]))
            for row in gains:
                rows[f"{more} more of a class: gain"].append((row.gain, of_class[row.name]))
                verdicts[row.verdict].append(of_class[row.name])
            print(f"{seed}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(f"{name}, {source} pictures, {near} to learn from, {repeats} times")
    for what, found in rows.items():
        print(f"  {what} {told(found)}")
    print("  " + "; ".join(f"{verdict} {len(found)}: truth {np.mean(found):+.4f}" for verdict, found in verdicts.items()))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        print(__doc__)
    else:
        main(sys.argv[1], *map(int, sys.argv[2:]))
