"""Does choosing pay? Fewer training pictures by each way of `shrink`, and labels chosen by `next`, each beside chance.

    .venv/bin/python bench/reduction.py shrink [PICTURES] [EPOCHS] [SEEDS] [WIDTH] [SHARES] [WAYS]
    .venv/bin/python bench/reduction.py labels [SETS] [SEEDS] [PICTURES] [FROM]

shrink: of PICTURES training pictures of CIFAR-10 (10,000; 0: all) the SHARES (0.7,0.5,0.3,0.1) are kept by each of the WAYS
(all), and a fastnet of WIDTH (0.25) learns from them by the recipe `sprint` for EPOCHS (15) passes over what is kept, so time
falls as the share does; SEEDS (3) of selection and training. Prints the mean accuracy on CIFAR-10's test part with its standard
deviation, and the difference to random with the 95 % interval of a paired t test over seeds; and what scoring took beside a
training on all pictures of 30 epochs, reckoned from one of EPOCHS, both in seconds of CPU time, features not remembered.

labels: of each of the SETS (signs,trashnet,pneumonia,cifar) a fifth is the test, with near-duplicates kept together; labels are
given to the rest in rounds, of a fifth more each (two more at least), by `data.select.to_label` on the features of a pretrained
net, or by chance; after each round a linear head on these is scored. PICTURES (10,000): of each set at most; FROM (0): the
first seed. Prints after how many labels a head has 90 % of what one has that has all, by accuracy and by its mean over the
classes, on the mean over SEEDS (5), and the ratio to chance with its standard error. Where one answer for all has 90 % already,
as in pneumonia, accuracy says nothing: the mean over the classes does.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.order import stratified
from beholder.base.recipe import load
from beholder.base.records import Parts, Pictures
from beholder.data.cache import cached
from beholder.data.clusters import Axes
from beholder.data.folds import folds
from beholder.data.select import SCORED, WAYS, Ground, select, strata_of, to_label
from beholder.data.split import split
from beholder.data.survey import survey
from beholder.duplicates.facts import fingerprinted
from beholder.duplicates.near import Twins, twins
from beholder.learn.train import train
from beholder.measure.neighbours import unit
from beholder.runtime.inference import outputs
from beholder.sources import scan
from beholder.study.difficulty import Looks, duplicates_of, looked
from beholder.study.evidence import at_hand, features_of
from beholder.study.learners import by_head
from beholder.tasks.single import SINGLE

SHARED = (Path(__file__).parent.parent / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data"
SETS = {"trashnet": "trashnet.zip", "signs": "sign-digits.zip", "cifar": "cifar10.zip", "pneumonia": "pneumonia.zip"}
EPOCHS = 30
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
"""Quantiles of Student's t by degrees of freedom."""


# --- fewer pictures --------------------------------------------------------------------------------------------------


def some(pictures: Pictures, most: int) -> Pictures:
    rows = stratified(pictures.targets)
    return pictures.take(np.sort(rows[:most])) if 0 < most < len(pictures) else pictures


def accuracy(parts: Parts, epochs: int, width: float, seed: int) -> tuple[float, float]:
    """Return the accuracy on the test part of a net that learnt from the training part, and the CPU seconds of that."""
    recipe = load("sprint").set(width=width, epochs=epochs, seed=seed, batch=max(50, min(500, len(parts.train) // 20)))
    began = time.process_time()
    bundle = train(parts, recipe=recipe, whole_run=True)
    seconds = time.process_time() - began
    logits, _ = outputs(bundle, cached(parts.test, bundle.policy), label="")
    return float((logits.argmax(axis=1) == parts.test.targets).mean()), seconds


def looks_of(parts: Parts, ways: list[str]) -> tuple[Looks | None, float]:
    began = time.process_time()
    if ways == ["random"]:
        return None, 0.0
    found = looked(parts, load("sprint"), Deadline(), judged=any(way in SCORED for way in ways), twins=None)
    return found, time.process_time() - began


def shrink(most: int, epochs: int, seeds: int, width: float, shares: list[float], ways: list[str]) -> None:
    whole = split(scan(SHARED / SETS["cifar"]), seed=0, val=0.04, near=False)
    parts = replace(whole, train=some(whole.train, most))
    looks, scoring = looks_of(parts, ways)
    full, seconds = accuracy(parts, epochs, width, 0)
    print(f"{len(parts.train):,} pictures, fastnet {width:g}, {epochs} epochs: {full:.4f} in {seconds:.0f} s of CPU time")
    if looks is not None:
        cost = scoring / (seconds * EPOCHS / epochs)
        print(f"scores and features: {scoring:.0f} s, {100 * cost:.0f} % of {EPOCHS} epochs ({looks.way})")
    strata, units = strata_of(parts.train.targets), duplicates_of(parts.train, None)
    ground = Ground(strata, units) if looks is None else Ground(strata, units, looks.scores, looks.directions)
    for share in shares:
        found: dict[str, list[float]] = defaultdict(list)
        for seed in range(seeds):
            for way in ways:
                rows = select(way, ground, round(share * len(strata)), seed=seed)
                found[way].append(accuracy(replace(parts, train=parts.train.take(rows)), epochs, width, seed)[0])
        for way in ways:
            print(f"kept {100 * share:.0f} %: {way:7} {told(found[way])}{beside(found[way], found.get('random'))}", flush=True)


def told(values: list[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) if len(values) > 1 else np.nan:.4f} (n = {len(values)})"


def beside(values: list[float], chance: list[float] | None) -> str:
    if chance is None or values is chance or len(values) < 2:
        return ""
    pairs = np.subtract(values, chance)
    half = T95.get(len(pairs) - 1, 2.0) * pairs.std(ddof=1) / np.sqrt(len(pairs))
    return f", {100 * pairs.mean():+.2f} points [{100 * (pairs.mean() - half):+.2f}, {100 * (pairs.mean() + half):+.2f}]"


# --- labels ----------------------------------------------------------------------------------------------------------

FIRST, GROWTH, LEAST, GOAL = 1, 1.2, 2, 0.9
"""Labels of a class, on average, in the first round, by how many times there are more in the next, at least by how many, and
the goal."""

MEASURES = ("accuracy", "mean over classes")


@dataclass
class Pool:
    """Pictures to be labelled, and others to be tested on, with features, float32 (N, F), of both."""

    pictures: Pictures
    features: np.ndarray
    pool: np.ndarray
    test: np.ndarray
    seed: int

    @cached_property
    def directions(self) -> np.ndarray:
        rows = self.features[np.random.default_rng(self.seed).permutation(self.pool)]
        return unit(Axes.of(rows)(self.features[self.pool]))

    def scored(self, labelled: np.ndarray) -> tuple[list[float], np.ndarray]:
        """Return the `MEASURES` on the test pictures of a head on the labelled ones of the pool, and logits of the pool."""
        learn = by_head(self.features, self.pictures, SINGLE, balanced=False)
        logits, truth = learn(self.pool[labelled], np.concatenate([self.test, self.pool])), self.pictures.targets[self.test]
        right = logits[: len(self.test)].argmax(axis=1) == truth
        return [right.mean(), np.mean([right[truth == k].mean() for k in np.unique(truth)])], logits[len(self.test) :]

    def more(self, way: str, have: np.ndarray, logits: np.ndarray, size: int) -> np.ndarray:
        """Return `size` labelled places of the pool, those at hand among them."""
        if way == "chance":
            return np.random.default_rng([self.seed, 1]).permutation(len(self.pool))[:size]
        left = np.setdiff1d(np.arange(len(self.pool)), have)
        how = {"known": self.directions[have], "seed": self.seed}
        return np.concatenate([have, left[to_label(self.directions[left], leads(logits[left]), size - len(have), **how)]])


def reached(way: str, pools: list[Pool]) -> tuple[np.ndarray, np.ndarray]:
    """Return sizes float (R,), and at each the scores over those of all labels, float (R, seeds, `MEASURES`), to two beyond."""
    most = min(len(pool.pool) for pool in pools)
    full = np.array([pool.scored(np.arange(len(pool.pool)))[0] for pool in pools])
    have = [np.zeros(0, np.int64) for _ in pools]
    logits = [np.zeros((len(pool.pool), 2)) for pool in pools]
    sizes, shares, size = [0.0], [np.zeros(full.shape)], FIRST * len(pools[0].pictures.classes)
    while len(sizes) < 4 or shares[-2].mean(axis=0).min() < GOAL:
        size, now = min(size, most), np.zeros(full.shape)
        for k, pool in enumerate(pools):
            have[k] = pool.more(way, have[k], logits[k], size)
            now[k], logits[k] = pool.scored(have[k])
        sizes.append(float(size))
        shares.append(now / full)
        if size == most:
            break
        size = max(size + LEAST, round(size * GROWTH))
    return np.array(sizes), np.array(shares)


def needed(sizes: np.ndarray, shares: np.ndarray) -> float:
    """Return at which size the mean over seeds reaches the goal, on a straight line between two rounds."""
    mean = np.maximum.accumulate(shares.mean(axis=1))
    return float(np.interp(GOAL, mean, sizes))


def ratio(chance: tuple[np.ndarray, np.ndarray], ours: tuple[np.ndarray, np.ndarray]) -> tuple[float, float, float]:
    """Return the labels that chance needs, those that ours needs over these, and its standard error by a jackknife."""
    whole = needed(*chance)
    value, n = needed(*ours) / whole, chance[1].shape[1]
    left = [needed(ours[0], np.delete(ours[1], k, 1)) / needed(chance[0], np.delete(chance[1], k, 1)) for k in range(n)]
    return whole, value, float(np.sqrt((n - 1) * np.var(left))) if n > 1 else np.nan


def leads(logits: np.ndarray) -> np.ndarray:
    """Return by how much the most probable class leads over the next, float (N,), of logits (N, K)."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    best = np.sort(np.partition(p / p.sum(axis=1, keepdims=True), -2, axis=1)[:, -2:], axis=1)
    return best[:, 1] - best[:, 0]


def with_features(name: str, most: int) -> tuple[Pictures, np.ndarray, Twins]:
    """Return the pictures of a set with features, these, float32 (N, F), and who is whose near-duplicate."""
    pictures, recipe = some(scan(SHARED / SETS[name]), most), load("quick")
    pictures, facts = fingerprinted(pictures)
    near = twins(pictures, facts, near=name != "cifar")
    looks = survey(pictures)
    backbone = at_hand(recipe.net, looks, small=True)
    assert backbone is not None
    found = features_of(pictures, backbone, recipe, looks, 0.0)
    known = np.flatnonzero(np.isfinite(found).all(axis=1))
    return pictures.take(known), found[known], near.among(known)


def labels(names: list[str], seeds: int, most: int, first: int) -> None:
    for name in names:
        pictures, features, near = with_features(name, most)
        pools = []
        for seed in range(first, first + seeds):
            tested = folds(pictures, count=5, seed=seed, twins=near) == 0
            pools.append(Pool(pictures, features, np.flatnonzero(~tested), np.flatnonzero(tested), seed))
        chance, ours = reached("chance", pools), reached("next", pools)
        for k, measure in enumerate(MEASURES):
            whole, value, error = ratio((chance[0], chance[1][..., k]), (ours[0], ours[1][..., k]))
            print(
                f"{name}, {len(pictures):,} pictures, {measure}: chance {whole:.0f} labels, next {value * whole:.0f}: "
                f"{value:.2f} of chance (± {error:.2f} by a jackknife over {seeds} seeds)",
                flush=True,
            )


def main(what: str, *rest: str) -> None:
    given = dict(enumerate(rest))
    with events.listen(alone=True):
        if what == "shrink":
            shares = [float(share) for share in given.get(4, "0.7,0.5,0.3,0.1").split(",")]
            ways = given.get(5, ",".join(WAYS)).split(",")
            most, epochs, seeds = (int(given.get(place, default)) for place, default in ((0, 10_000), (1, 15), (2, 3)))
            shrink(most, epochs, seeds, float(given.get(3, 0.25)), shares, ways)
        else:
            names = given.get(0, "signs,trashnet,pneumonia,cifar").split(",")
            labels(names, int(given.get(1, 5)), int(given.get(2, 10_000)), int(given.get(3, 0)))


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("shrink", "labels"):
        print(__doc__)
    else:
        main(*sys.argv[1:])
