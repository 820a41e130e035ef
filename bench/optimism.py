"""Does the score that the best of several is expected to have hold on a test? Twenty splits of each of some real sets.

    .venv/bin/python bench/optimism.py [SETS] [SPLITS]

SETS: names with commas between; default: trashnet,ants-bees,sign-digits,pneumonia,brain-mri; SPLITS: 20.
The candidates are heads on the frozen features of the backbones that come with the install (of photos above 256 pixels at 128,
192 and 256), each with four penalties, fitted on 60 % of at most 1,500 pictures and chosen by accuracy on 15 %; the rest is the
test.
Printed: how often the test lies in the interval of `beholder.measure.optimism.expected`, how wide that is beside the interval
of a candidate that nobody chose, and how far the plain validation score and the corrected one lie above the test, in points,
with standard errors over the splits.
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import torch
from busy import ROOT, WEIGHTS

import beholder
from beholder.base import events
from beholder.base.recipe import load
from beholder.data.survey import survey
from beholder.learn.material import targets_of
from beholder.learn.probe import DECAYS
from beholder.measure.optimism import expected
from beholder.nets.backbones import at_hand
from beholder.nets.head import fit
from beholder.sources.digest import digested
from beholder.study.evidence import at_hand as backbone
from beholder.study.evidence import features_of
from beholder.tasks import asked, named

SETS, SPLITS, MOST = ("trashnet", "ants-bees", "sign-digits", "pneumonia", "brain-mri"), 20, 1500
SIDES = 128, 192, 256
TRAIN, VALID = 0.6, 0.75


def accuracy(logits: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean(logits.argmax(1) == targets.argmax(1)))


def measured(name: str, splits: int) -> None:
    """Print what holds on the splits of a set."""
    pictures = digested(beholder.scan(WEIGHTS.parents[1] / "data" / f"{name}.zip"))
    rng = np.random.default_rng(0)
    pictures = pictures.take(np.sort(rng.permutation(len(pictures))[:MOST]))
    recipe, looked, y = load("quick"), survey(pictures), targets_of(pictures)
    task = named(asked("auto", pictures))
    sides = SIDES if max(looked.height, looked.width) > max(SIDES) else SIDES[:1]
    nets = [dataclasses.replace(recipe, net=net).set(size=side) for net in at_hand(recipe.net) for side in sides]
    found = [backbone(each.net, looked, small=True) for each in nets]
    features = [features_of(pictures, net, each, looked, 0.0) for net, each in zip(found, nets, strict=True) if net is not None]
    rows = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(pictures))
        train, valid, test = np.split(order, [int(TRAIN * len(order)), int(VALID * len(order))])
        said = []
        for each in features:
            x = torch.from_numpy(each)
            for decay in DECAYS:
                weight, bias = fit(x[train], y[train], task=task, decay=decay)
                said.append((x @ weight.T + bias).numpy())
        goal = y.numpy()
        order_of = sorted(range(len(said)), key=lambda k: -accuracy(said[k][valid], goal[valid]))
        outputs = [said[k][valid] for k in order_of]
        best = expected(outputs, goal[valid], accuracy, tested=len(test), proportion=True)
        plain = expected(outputs[:1], goal[valid], accuracy, tested=len(test), proportion=True)
        tested = accuracy(said[order_of[0]][test], goal[test])
        width = (best.high - best.low) / (plain.high - plain.low)
        rows.append((best.low <= tested <= best.high, width, best.score - tested, best.value - tested))
    held, width, above, corrected = np.array(rows, float).T
    error = 100 / len(rows) ** 0.5
    print(
        f"{name}: {len(pictures):,} pictures, {len(said)} candidates: held in {int(held.sum())} of {len(rows)},"
        f" {width.mean():.2f} times as wide (at most {width.max():.2f}); above the test: plain {100 * above.mean():+.2f} ±"
        f" {error * above.std():.2f}, corrected {100 * corrected.mean():+.2f} ± {error * corrected.std():.2f} points",
        flush=True,
    )


def main(sets: list[str], splits: int) -> None:
    if not WEIGHTS.is_dir():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED)")
        return
    print(f"{ROOT.name}: {splits} splits of each")
    with events.listen(alone=True):
        for name in sets:
            measured(name, splits)


if __name__ == "__main__":
    words = [*sys.argv[1:], *[""] * 2]
    main(words[0].split(",") if words[0] else list(SETS), int(words[1] or SPLITS))
