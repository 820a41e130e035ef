"""What do pictures without labels give? A few labels a class, the rest of a set without: the error with and without the rest.

    .venv/bin/python bench/unlabelled.py SET LABELS SEEDS [POOL] [TEST]
    .venv/bin/python bench/unlabelled.py SET LABELS SEEDS POOL TEST MINUTES [force]

The first line fits heads on frozen features, the second runs `beholder train` with and without --unlabelled. SET: trashnet |
cifar10 | signs | fashion-mnist | pneumonia; LABELS: a class, training and validation together; SEEDS: how often, each
time others, or FIRST:END, which ones; POOL, TEST: pictures without labels, and for the test (default: 2,000 each, or what there
is); force: they join whatever is judged. Near-duplicates of test pictures are in no pool. Prints a line a seed: test error
without and with pseudo-labels, whether they are adopted by cross-fitting, how many there are and what share of them is right;
then the means: without, with them in any case, and of what is shipped, which is without them where they are not adopted.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import beholder
from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.recipe import load
from beholder.base.records import Pictures
from beholder.data.split import unit_of
from beholder.data.survey import survey
from beholder.duplicates.near import ties
from beholder.learn.probe import fitted
from beholder.learn.validate import score
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study import pseudo
from beholder.study.evidence import at_hand, features_of
from beholder.study.pseudo import judged
from beholder.tasks.single import SINGLE

SHARED = (Path(__file__).parent.parent / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data"
SETS = {"trashnet": "trashnet.zip", "signs": "sign-digits.zip", "cifar10": "cifar10.zip", "fashion-mnist": "fashion-mnist.zip"}
SETS |= {"pneumonia": "pneumonia.zip"}
LARGE, FOLDS = 5000, 5


@dataclass
class Drawn:
    """Rows of a set: with labels, without, and of the test."""

    labelled: np.ndarray
    pool: np.ndarray
    test: np.ndarray


def drawn(pictures: Pictures, units: np.ndarray, labels: int, pool: int, test: int, seed: int) -> Drawn:
    """Return so many labels a class, a pool and a test of other units, by chance."""
    draws = np.random.default_rng(seed)
    given = pictures.parts == 2
    order = draws.permutation(len(pictures))
    if given.any():
        held = order[given[order]][:test]
    else:
        share = min(test, len(pictures) // 4)
        held = order[np.isin(units[order], units[order[:share]])]
    rest = order[~np.isin(units[order], units[held]) & ~given[order]]
    mine = np.concatenate([rest[pictures.targets[rest] == k][:labels] for k in range(len(pictures.classes))])
    return Drawn(mine, rest[~np.isin(rest, mine)][:pool], held)


def sampled(name: str, pool: int, test: int) -> tuple[Pictures, np.ndarray]:
    """Return the pictures of a set, of a large one as many as are needed, and their units of near-duplicates."""
    pictures = scan(SHARED / SETS[name])
    if len(pictures) > LARGE:
        draws = np.random.default_rng(0)
        given = pictures.parts == 2
        some = [draws.permutation(np.flatnonzero(mask))[:count] for mask, count in ((~given, 2 * pool + 1000), (given, test))]
        pictures = digested(pictures.take(np.sort(np.concatenate(some))))
        return pictures, np.arange(len(pictures))
    pictures, twins, _ = ties(pictures)
    return pictures, unit_of(pictures, twins)


def error(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, goal: torch.Tensor) -> float:
    """Return the test error of the best of several heads by the labelled pictures' own fit, as training fits them."""
    decays = fitted((x, y), (z, goal), np.arange(len(z)), lambda *_: 0.0, task=SINGLE, weights=None, enough=lambda: True)
    return 1 - score(decays.logits, goal, SINGLE)


def heads(name: str, labels: int, seeds: range, pool: int, test: int) -> None:
    """Print the errors of heads."""
    pictures, units = sampled(name, pool, test)
    looked, recipe = survey(pictures), load("quick")
    backbone = at_hand(recipe.net, looked, small=True)
    assert backbone is not None
    features = features_of(pictures, backbone, recipe, looked, 0)
    hot = np.eye(len(pictures.classes), dtype=np.float32)[pictures.targets]
    found = []
    for seed in seeds:
        rows, began = drawn(pictures, units, labels, pool, test, seed), time.monotonic()
        mine, theirs = rows.labelled, rows.pool
        fold = np.empty(len(mine), np.int64)
        fold[np.argsort(pictures.targets[mine], kind="stable")] = np.arange(len(mine)) % FOLDS
        own = np.ones(len(mine), bool)
        judgement, given = judged(features[mine], hot[mine], fold, own, features[theirs], task=SINGLE, until=Deadline())
        assert judgement is not None
        seconds = time.monotonic() - began
        goal, z = torch.from_numpy(hot[rows.test]), torch.from_numpy(features[rows.test])
        x, y = torch.from_numpy(features[mine]), torch.from_numpy(hot[mine])
        both = torch.cat([x, torch.from_numpy(features[theirs[given.rows]])]), torch.cat([y, torch.from_numpy(given.hot)])
        right = float((given.hot.argmax(1) == pictures.targets[theirs[given.rows]]).mean())
        errors = error(x, y, z, goal), error(*both, z, goal)
        found.append((*errors, errors[judgement.helps], judgement.helps))
        changed = f"+{judgement.won} −{judgement.lost}, ahead {judgement.ahead:.2f}, adopted {judgement.helps}"
        span = f"{judgement.precision.value:.3f} [{judgement.precision.low:.3f}, {judgement.precision.high:.3f}]"
        print(
            f"{name} {labels} a class, seed {seed}: error {errors[0]:.4f} → {errors[1]:.4f} (cross-fitted "
            f"{1 - judgement.before:.4f} → {1 - judgement.after:.4f}, {changed}); {len(given.rows)} of {len(theirs)}, "
            f"right {right:.3f} (estimated {span}), {seconds:.1f} s",
            flush=True,
        )
    means = np.array(found, np.float64).mean(axis=0)
    print(
        f"{name} {labels} a class, {len(rows.pool)} without labels, {len(rows.test)} of the test, {len(seeds)} seeds: error "
        f"without {means[0]:.4f}, with {means[1]:.4f}, shipped {means[2]:.4f} ({means[2] / means[0] - 1:+.1%}), "
        f"adopted {means[3]:.0%}"
    )


def written(pictures: Pictures, rows: Drawn, folder: Path) -> None:
    """Write a source with train and test parts, and a flat folder without labels."""
    for part, some in (("train", rows.labelled), ("test", rows.test), ("", rows.pool)):
        for row in some.tolist():
            place = folder / "source" / part / pictures.classes[pictures.targets[row]] if part else folder / "pool"
            place.mkdir(parents=True, exist_ok=True)
            data = pictures.store.read(pictures.keys[row])
            assert isinstance(data, bytes)
            (place / f"{row:06}{Path(pictures.keys[row]).suffix}").write_bytes(data)


def trained(name: str, labels: int, seeds: range, pool: int, test: int, minutes: float) -> None:
    """Print the errors of whole runs."""
    pictures, units = sampled(name, pool, test)
    found = []
    for seed in seeds:
        folder = Path(tempfile.mkdtemp())
        written(pictures, drawn(pictures, units, labels, pool, test, seed), folder)
        errors = []
        for more in ({}, {"unlabelled": str(folder / "pool")}):
            outcome = beholder.steps(folder / "source", minutes=minutes, seed=seed, **more)
            errors.append(1 - outcome.evaluation.scores.headline["accuracy"].value)
            notes = [note for note in outcome.bundle.config.notes if note.startswith("unlabelled")]
            print(f"{name} {labels} a class, seed {seed}: error {errors[-1]:.4f}, {outcome.seconds:.0f} s {notes}", flush=True)
        found.append(errors)
        shutil.rmtree(folder)
    without, with_it = np.array(found).mean(axis=0)
    print(f"{name} {labels} a class, {len(seeds)} seeds, {minutes:g} minutes: error {without:.4f} → {with_it:.4f}")


def main() -> None:
    """Measure."""
    name, labels, which, *rest = sys.argv[1:]
    seeds = range(*map(int, which.split(":")))
    pool, test = (int(rest[k]) if len(rest) > k else 2000 for k in (0, 1))
    with events.listen(alone=True):
        if rest[3:] == ["force"]:
            pseudo.Judgement.helps = property(lambda _: True)  # type: ignore[assignment]
        if len(rest) > 2:
            trained(name, int(labels), seeds, pool, test, float(rest[2]))
        else:
            heads(name, int(labels), seeds, pool, test)


if __name__ == "__main__":
    main()
