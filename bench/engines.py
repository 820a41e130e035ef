"""Every engine that runs a bundle here, in turns: pictures/s at batch 1 and 32 beside onnxruntime in float32, and agreement.

    .venv/bin/python bench/engines.py M.beholder PICTURES [ROUNDS [SECONDS]]

M.beholder is exported (`beholder export M --like SOURCE`, again with --int8). PICTURES: a folder, of which 256 pictures, spread
evenly, are recognised. In each of ROUNDS (5) every engine works for SECONDS (2) at each batch, one after the other, on
decoded pixels; medians of the rounds, and of the rounds' ratios. Agreement: share of the pictures whose likeliest class is
that of torch in float32. The last line is JSON. Without arguments it says that it needs them.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCHES = (1, 32)
MOST = 256
BASE, EXACT = "onnxruntime fp32", "torch fp32"


def engines(path: Path) -> dict[str, Any]:
    """Name → recogniser of every engine that the bundle has here, those of lower precision only where they were verified."""
    from beholder.runtime.engines import fastest, names

    return {name: fastest(path, engine=name) for name in names(path)}


def rate(run: Callable[[np.ndarray], object], images: np.ndarray, batch: int, seconds: float) -> float:
    """Pictures/s of `run` over `seconds`, after one batch that does not count."""
    run(images[:batch])
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        start = done % (len(images) - batch + 1)
        run(images[start : start + batch])
        done += batch
    return done / passed


def whole(recogniser: Any) -> Callable[[np.ndarray], object]:
    """What gives a recogniser all of some images in one batch."""
    return lambda images: recogniser.outputs(images, batch=len(images))


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Name → median rate, and median of its ratios to `BASE` in the same round."""
    return {
        name: {
            "pictures_per_s": round(statistics.median(row[name] for row in rounds), 1),
            "ratio": round(statistics.median(row[name] / row[BASE] for row in rounds), 2),
        }
        for name in rounds[0]
    }


def main(path: Path, folder: Path, rounds: int, seconds: float) -> None:
    ways = engines(path)
    if BASE not in ways:
        sys.exit(f"{path} has no graph: beholder export {path} --like SOURCE")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    files = files[:: max(1, len(files) // MOST)][:MOST]
    images = np.stack([ways[BASE].pixels(file) for file in files])
    if len(images) < max(BATCHES):
        sys.exit(f"{folder} has {len(images)} pictures, {max(BATCHES)} are the fewest")
    wanted = ways[EXACT].probabilities(images)
    said: dict[str, Any] = {}
    for name, way in ways.items():
        found = way.probabilities(images)
        same = float((found.argmax(1) == wanted.argmax(1)).mean())
        said[name] = {"agreement": round(same, 4), "mean": float(f"{np.abs(found - wanted).mean():.2g}"), "n": len(images)}
    for batch in BATCHES:
        turns = [{name: rate(whole(way), images, batch, seconds) for name, way in ways.items()} for _ in range(rounds)]
        for name, row in medians(turns).items():
            said[name][f"batch {batch}"] = row
    for name, row in said.items():
        timed = {batch: row[f"batch {batch}"] for batch in BATCHES}
        rates = "  ".join(f"batch {k}: {one['pictures_per_s']:7.1f}/s {one['ratio']:5.2f}×" for k, one in timed.items())
        print(f"{name:18}  {rates}  the same label {row['agreement']:.3f}, p differs by {row['mean']:.2g}", file=sys.stderr)
    print(json.dumps(said))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("left out: it needs a bundle with exports and a folder of pictures (see the first lines of bench/engines.py)")
    else:
        turns, long = (sys.argv[3:] + ["5", "2"][len(sys.argv) - 3 :])[:2]
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(turns), float(long))
