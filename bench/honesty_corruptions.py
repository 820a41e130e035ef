"""The part of bench/honesty.py about corruptions."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.records import PARTS, Pictures
from beholder.bundle.bundle import load
from beholder.evaluation.evaluate import evaluate
from beholder.evaluation.sections.corruptions import corruptions as section
from beholder.sources import scan

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data"
BUNDLES = Path(os.environ.get("BEHOLDER_BUNDLES", ROOT / "bench" / "out" / "bundles"))
PICTURES = 400
NAMES = ("cifar", "cifar-strong")
"""The recogniser of CIFAR-10 with its usual augmentation, and the same with `strong`."""


def corruptions(seed: int = 0) -> None:
    """Print the table of corruptions of the recognisers that are there, side by side."""
    found: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        path = BUNDLES / f"{name}.beholder"
        if not path.is_dir():
            print(f"{name}: left out, there is no {path.name} in BEHOLDER_BUNDLES")
            continue
        bundle = load(path)
        bundle.path = None  # readings of the test part by a bench are not written into it
        evaluation = evaluate(bundle, _some(seed))
        began = time.monotonic()
        figures = section(bundle, evaluation)
        assert figures is not None
        found[name] = figures
        print(f"{name}: n = {figures['n']} of {figures['of']}, {time.monotonic() - began:.0f} s")
    if found:
        _print(found)


def _some(seed: int) -> Pictures:
    """Return `PICTURES` of the test part of CIFAR-10, the same for every recogniser."""
    pictures = scan(SHARED / "cifar10.zip")
    test = np.flatnonzero(pictures.parts == PARTS.index("test"))
    return pictures.take(np.sort(np.random.default_rng(seed).permutation(test)[:PICTURES]))


def _print(found: dict[str, dict[str, Any]]) -> None:
    kinds = next(iter(found.values()))["kinds"]
    rows: dict[str, list[dict[str, Any]]] = {"clean": [figures["clean"] for figures in found.values()]}
    for kind in kinds:
        rows[kind] = [figures["kinds"][kind]["mean"] for figures in found.values()]
        rows[f"{kind}, severity 5"] = [figures["kinds"][kind]["severities"][-1] for figures in found.values()]
    for name in ("error", "lost", "error_all"):
        rows[name] = [figures[name] for figures in found.values()]
    print("| | " + " | ".join(found) + " |")
    print("|---|" + "---|" * len(found))
    for name, scores in rows.items():
        print(f"| {name} | " + " | ".join(f"{s['value']:.3f} [{s['low']:.3f}, {s['high']:.3f}]" for s in scores) + " |")
    for name, figures in found.items():
        worst, score = figures["worst"], figures["worst"]["score"]
        interval = f"[{score['low']:.3f}, {score['high']:.3f}]"
        print(f"{name}, worst: {worst['kind']} {worst['severity']}: {score['value']:.3f} {interval}")
