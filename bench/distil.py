"""What does a teacher give? A small net alone, with a teacher, and with what the teacher says of pictures without labels, too.

    .venv/bin/python bench/distil.py SET SEEDS [PICTURES] [EPOCHS]

SET: cifar10 | fashion-mnist; PICTURES: with labels, training and validation together (default: 2,000), and as many without. The
teacher is `fastnet` at full width, the student `cnn` at a quarter; both learn for EPOCHS (default: 12) from the same parts.
Prints the mean test accuracy of each with its standard error, and of the differences to the student alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import beholder
from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.order import stratified
from beholder.learn.distil import asked, columns_of, probabilities
from beholder.learn.material import Beside
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study.setting import joined
from beholder.tasks.single import SINGLE

SHARED = (Path(__file__).parent.parent / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data"


def main() -> None:
    """Measure."""
    name, seeds, *rest = sys.argv[1:]
    count, epochs = int(rest[0]) if rest else 2000, int(rest[1]) if len(rest) > 1 else 12
    pictures = scan(SHARED / f"{name}.zip")
    held, some = np.flatnonzero(pictures.parts == 2), np.flatnonzero(pictures.parts != 2)
    test = pictures.take(held[stratified(pictures.targets[held])[:4000]])
    found: dict[str, list[float]] = {}

    def scored(way: str, bundle: beholder.Bundle) -> None:
        found.setdefault(way, []).append(beholder.evaluate(bundle, test).scores.headline["accuracy"].value)
        print(f"{way}: {found[way][-1]:.4f}", flush=True)

    with events.listen(alone=True):
        for seed in range(int(seeds)):
            rows = some[stratified(pictures.targets[some], seed=seed)[: 2 * count]]
            parts = beholder.split(digested(pictures.take(rows[:count])), seed=seed, test=0.01, val=0.15)
            fields: dict[str, Any] = {"epochs": epochs, "seed": seed, "batch": 64, "flip": "none", "augment": "light"}
            small = {"net": "cnn", "width": 0.25, **fields}
            teacher = beholder.train(parts, net="fastnet", width=1.0, **fields)
            scored("teacher", teacher)
            scored("alone", beholder.train(parts, **small))
            scored("T 2, weight 0.5", beholder.train(parts, teacher=teacher, **small))
            scored("T 4, weight 0.9", beholder.train(parts, teacher=teacher, temperature=4.0, teacher_weight=0.9, **small))
            pool = digested(pictures.take(rows[count:]))
            logits = asked(teacher, pool, until=Deadline())
            answers = probabilities(logits, columns_of(teacher, pool.classes, SINGLE), SINGLE).argmax(1)
            pool.targets[:] = answers
            more = beholder.Parts(joined(digested(parts.train), pool)[0], parts.valid, parts.test)
            beside = Beside(own=len(parts.train), logits=logits)
            scored("T 2, and unlabelled", beholder.train(more, teacher=teacher, beside=beside, **small))
            longer = {**small, "epochs": 2 * epochs}
            scored("alone, twice the epochs", beholder.train(parts, **longer))
    for way, values in found.items():
        change = np.array(values) - found["alone"]
        error = [each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan for each in (np.array(values), change)]
        print(f"{way}: {np.mean(values):.4f} ± {error[0]:.4f}, {change.mean():+.4f} ± {error[1]:.4f}")


if __name__ == "__main__":
    main()
