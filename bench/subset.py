"""Does a part of the pictures in each epoch save time? RS2 and InfoBatch beside the same schedule, shorter.

    .venv/bin/python bench/subset.py SET EPOCHS SEEDS [PICTURES] [SHARE]

SET: cifar10 | fashion-mnist; PICTURES: of the training part (default: 5,000); SHARE: left out, or taken (default: 0.5). The net
is that of the recipe `sprint` with batches of 100, without a budget. The ways: all pictures; random:SHARE; all pictures
in so few epochs as take as many steps ("shorter"); prune:SHARE; and all in so few epochs as take as many steps as that.
Prints a line a way: mean test accuracy with its standard error, steps, seconds of training. The two cores of a machine are best
left alone meanwhile.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import beholder
from beholder.base import events
from beholder.base.order import stratified
from beholder.sources import scan

SHARED = (Path(__file__).parent.parent / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data"


def main() -> None:
    """Measure."""
    name, epochs, seeds, *rest = sys.argv[1:]
    count, share = int(rest[0]) if rest else 5000, float(rest[1]) if len(rest) > 1 else 0.5
    pictures = scan(SHARED / f"{name}.zip")
    held = np.flatnonzero(pictures.parts == 2)
    some = np.flatnonzero(pictures.parts != 2)
    some = some[stratified(pictures.targets[some])[: round(count / 0.85)]]
    test = pictures.take(held[stratified(pictures.targets[held])[:5000]])
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)

    def measured(way: str, seed: int, **fields: Any) -> int:
        parts = beholder.split(pictures.take(some), seed=seed, test=0.01, val=0.15)
        bundle = beholder.train(parts, recipe="sprint", batch=100, seed=seed, **fields)
        accuracy = beholder.evaluate(bundle, test).scores.headline["accuracy"].value
        steps, seconds = bundle.history[-1]["step"], bundle.history[-1]["seconds"]
        found[way].append((accuracy, steps, seconds))
        print(f"seed {seed} {way}: accuracy {accuracy:.4f}, {steps} steps, {seconds:.1f} s", flush=True)
        return int(steps)

    with events.listen(alone=True):
        for seed in range(int(seeds)):
            whole = measured("all", seed, epochs=int(epochs)) / int(epochs)
            measured(f"random:{share:g}", seed, epochs=int(epochs), subset=f"random:{share:g}")
            measured("shorter, as random", seed, epochs=max(1, round(share * int(epochs))))
            steps = measured(f"prune:{share:g}", seed, epochs=int(epochs), subset=f"prune:{share:g}")
            measured("shorter, as prune", seed, epochs=max(1, round(steps / whole)))
    for way, rows in found.items():
        table = np.array(rows)
        error = table[:, 0].std(ddof=1) / np.sqrt(len(table)) if len(table) > 1 else float("nan")
        accuracy, steps, seconds = table.mean(axis=0).tolist()
        print(f"{way}: accuracy {accuracy:.4f} ± {error:.4f}, {steps:.0f} steps, {seconds:.1f} s")


if __name__ == "__main__":
    main()
