"""What does a teacher give a small net? The same recipe from labels alone and with `--teacher`, also on unlabelled pictures.

    .venv/bin/python bench/distil.py SET SEEDS FOLDER [EPOCHS] [WIDTH] [WAYS]

SET: cifar10 (10,000 training pictures) | fashion-mnist (6,000); SEEDS: of the student, how many, or FIRST:END; FOLDER: where
teachers and answers are kept, and found again; EPOCHS: of the student over all pictures (default: 8); WIDTH: of its fastnet
(default: 0.125); WAYS: how many, from the first (default: 5). The student's recipe is `sprint` in batches of 200, without a
budget; the parts are the same for all. The ways:

    labels                      labels of all training pictures
    teacher                     the same with a teacher, which learnt from the same labels
    few                         labels of a quarter, in four times the epochs
    few, teacher                the same with a teacher, which learnt from that quarter
    few, teacher, unlabelled    the same teacher, and the other three quarters as `--unlabelled`, in as many steps

Prints a line a run; then a line a way: mean test accuracy and the difference from the way without a teacher: its standard
error over 5,000 test pictures, each paired with itself and averaged over the seeds, and the differences of the seeds.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import beholder
from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.order import stratified
from beholder.base.recipe import Recipe, load
from beholder.base.records import Parts, Pictures
from beholder.bundle.bundle import Bundle
from beholder.learn.material import Beside
from beholder.learn.train import train
from beholder.sources import scan
from beholder.study.policy import Curated
from beholder.study.unlabelled import joining

SHARED = (Path(__file__).parent.parent / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data"
COUNTS = {"cifar10": 10_000, "fashion-mnist": 6_000}
TEACHERS: dict[str, dict[str, Any]] = {
    "cifar10": {"net": "timm:tf_efficientnet_lite0", "enlarge": 64, "epochs": 1},
    "fashion-mnist": {"recipe": "sprint", "width": 0.5, "batch": 100, "epochs": 10},
}
WAYS = "labels", "teacher", "few", "few, teacher", "few, teacher, unlabelled"
BASES = {"teacher": "labels", "few, teacher": "few", "few, teacher, unlabelled": "few"}
TEST, PART = 5000, 4


def divided(name: str) -> tuple[Parts, Parts, Pictures]:
    """Return the parts with all labels, those with labels of a quarter of the training part, and the rest of it."""
    pictures = scan(SHARED / f"{name}.zip")
    held, some = np.flatnonzero(pictures.parts == 2), np.flatnonzero(pictures.parts != 2)
    some = some[stratified(pictures.targets[some])[: round(COUNTS[name] / 0.84)]]
    parts = beholder.split(pictures.take(some), seed=0, test=0.01, val=0.15)
    whole = replace(parts, test=pictures.take(held[stratified(pictures.targets[held])[:TEST]]))
    order = stratified(whole.train.targets)
    few, rest = (whole.train.take(np.sort(rows)) for rows in np.split(order, [len(order) // PART]))
    return whole, replace(whole, train=few), rest


def written(pictures: Pictures, folder: Path) -> None:
    """Write a flat folder of pictures without labels."""
    folder.mkdir()
    for row, key in enumerate(pictures.keys):
        data = pictures.store.read(key)
        assert isinstance(data, bytes)
        (folder / f"{row:06}{Path(key).suffix}").write_bytes(data)


def right(bundle: Bundle, test: Pictures) -> np.ndarray:
    """Return which test pictures are answered rightly, bool (N,)."""
    found = beholder.evaluate(bundle, test)
    return found.probabilities.argmax(axis=1) == found.targets


def teacher(name: str, parts: Parts, kept: Path, times: int) -> Bundle:
    """Return the teacher that is kept, or one that is trained now, `times` the epochs."""
    if not kept.exists():
        asked = TEACHERS[name]
        train(parts, out=kept, seed=100, **asked | {"epochs": asked["epochs"] * times})
        print(f"{kept.name}: accuracy {right(beholder.load(kept), parts.test).mean():.4f}", flush=True)
    return beholder.load(kept)


def summed(found: dict[str, list[np.ndarray]]) -> None:
    """Print a line a way."""
    for way, rows in found.items():
        words = f"{way}: accuracy {np.mean(rows):.4f}"
        if way in BASES:
            apart = np.stack(rows).astype(float) - np.stack(found[BASES[way]])
            error = apart.mean(axis=0).std(ddof=1) / np.sqrt(apart.shape[1])
            seeds = ", ".join(f"{100 * each:+.1f}" for each in apart.mean(axis=1))
            words += f", {100 * apart.mean():+.2f} ± {100 * error:.2f} points beside '{BASES[way]}' (seeds: {seeds})"
        print(words)


def student(way: str, recipe: Recipe, parts: Parts, tutor: Bundle, pool: Path) -> Bundle:
    """Return a student, trained as its way says."""
    if "unlabelled" in way:
        recipe = recipe.set(unlabelled=str(pool))
        joins = joining(Curated(parts), recipe, Beside(tutor), began=time.monotonic(), until=Deadline())
        return train(joins.parts, recipe=recipe, beside=joins.beside, whole_run=True)
    return train(parts, recipe=recipe, teacher=tutor if "teacher" in way else None)


def measured(name: str, seeds: range, folder: Path, epochs: float = 8, width: float = 0.125, ways: float = 5) -> None:
    """Train and test students of all ways; answers that are kept are taken as they are."""
    whole, few, rest = divided(name)
    pool = folder / f"{name}-pool"
    if not pool.exists():
        written(rest, pool)
    tutors = [teacher(name, whole, folder / f"{name}-teacher", 1)]
    tutors += [teacher(name, few, folder / f"{name}-few", PART)] if ways > 3 else tutors
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for seed in seeds:
        for way in WAYS[: int(ways)]:
            kept = folder / f"{name} {width:g} {epochs:g} {seed} {way}.npy"
            if not kept.exists():
                began, part = time.process_time(), "few" in way
                times = PART if part and "unlabelled" not in way else 1
                recipe = load("sprint").set(batch=200, width=width, seed=seed, epochs=int(epochs) * times)
                bundle = student(way, recipe, few if part else whole, tutors[part], pool)
                np.save(kept, right(bundle, whole.test))
                counts = bundle.history[-1]["step"], sum(value.numel() for value in bundle.net.parameters())
                words = f"{counts[0]} steps, {counts[1]:,} parameters, {time.process_time() - began:.0f} s of CPU time"
                print(f"{name} seed {seed} {way}: accuracy {np.load(kept).mean():.4f}, {words}", flush=True)
            found[way].append(np.load(kept))
    summed(found)


def main() -> None:
    """Measure."""
    name, seeds, folder, *rest = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    with events.listen(alone=True):
        measured(name, range(*map(int, seeds.split(":"))), Path(folder), *map(float, rest))


if __name__ == "__main__":
    main()
