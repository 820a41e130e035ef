"""What more seeds are worth: the first run alone and what was kept in the end, on the test part.

    .venv/bin/python bench/seeds.py [SETS] [MINUTES] [SEEDS] [EFFORT]

Each with commas between; default: trashnet for 20 minutes with seed 0. EFFORT below 1 makes the plan of training shorter, so
that a shorter budget has time for more seeds. Both are scored by their weights alone; results go to bench/out/seeds.jsonl.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from busy import ROOT, unpacked

import beholder
from beholder.learn.monitors import Weights
from beholder.study.steps import preprocess, train_and_test


def right(bundle: beholder.Bundle, test: Any) -> np.ndarray:
    """Return whether a bundle is right of each picture of the test part, bool (N,)."""
    found = beholder.evaluate(bundle, test)
    return np.asarray(found.logits.argmax(1) == found.targets)


def cell(name: str, minutes: float, seed: int, effort: float) -> dict[str, Any]:
    """Return what a run reached before its second seed, and after its last."""
    module, first = importlib.import_module("beholder.learn.train"), dict[str, Any]()
    seeded = module.seeded

    def kept(learning: Any, prepared: Any, stop: Any, **how: Any) -> Any:
        weights: Weights = {key: value.clone() for key, value in learning.run.best.weights.items()}
        first.update(weights=weights, valid=learning.run.best.score, seconds=learning.run.clock.spent)
        return seeded(learning, prepared, stop, **how)

    module.seeded = kept
    with tempfile.TemporaryDirectory() as folder:
        source, began = unpacked(name, Path(folder) / "set"), time.monotonic()
        recipe = beholder.Recipe().set(minutes=minutes, seed=seed, effort=effort)
        curated = preprocess(source, recipe)
        bundle = train_and_test(curated, recipe, began=began).bundle
        seconds = time.monotonic() - began
        last = right(bundle, curated.parts.test)
        bundle.net.load_state_dict(first["weights"])
        alone = right(bundle, curated.parts.test)
    module.seeded = seeded
    rows = [{"what": row.what, "score": row.score, "outcome": row.outcome} for row in bundle.config.tried]
    change = last.astype(float) - alone
    return {
        **{"set": name, "minutes": minutes, "seed": seed, "effort": effort, "n": len(last), "seconds": round(seconds, 1)},
        **{"first": round(float(alone.mean()), 4), "kept": round(float(last.mean()), 4)},
        "error": round(float(change.std() / np.sqrt(len(change))), 4),
        "tried": rows,
    }


def main(sets: str = "trashnet", minutes: str = "20", seeds: str = "0", effort: str = "1") -> None:
    """Measure each cell and say it."""
    for name in sets.split(","):
        for given in minutes.split(","):
            for seed in seeds.split(","):
                row = cell(name, float(given), int(seed), float(effort))
                print(json.dumps(row), flush=True)
                out = ROOT / "bench" / "out"
                out.mkdir(exist_ok=True)
                with (out / "seeds.jsonl").open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
