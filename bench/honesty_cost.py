"""The part of bench/honesty.py about time: what a test with everything on costs beside bare inference."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from honesty import SHARED

import beholder
from beholder.evaluation.sections import SECTIONS, examined
from beholder.reporting import report

BUNDLES = Path(os.environ.get("BEHOLDER_BUNDLES", "."))


def everything(seed: int) -> None:
    """Test CIFAR-10's 10,000 test pictures with every section and the report; wall seconds of each, pixels decoded before."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copytree(BUNDLES / "cifar.beholder", Path(folder) / "cifar.beholder"))
        bundle, source = beholder.load(path), SHARED / "data" / "cifar10.zip"
        before = beholder.evaluate(bundle, source)
        images = before.pixels.take(np.arange(len(before.keys))) if before.pixels is not None else np.zeros(0)
        bundle.outputs(images[:256])
        rounds = []
        for _ in range(3):
            seconds, began = {}, time.monotonic()
            bundle.outputs(images)
            seconds["bare inference"], began = time.monotonic() - began, time.monotonic()
            evaluation = beholder.evaluate(bundle, source)
            seconds["evaluate"] = time.monotonic() - began
            for name in SECTIONS.names():
                began = time.monotonic()
                evaluation = examined(bundle, evaluation, [name])
                seconds[name] = time.monotonic() - began
            began = time.monotonic()
            report(bundle, evaluation, Path(folder) / "report.html")
            seconds["report"] = time.monotonic() - began
            rounds.append(seconds)
        found = {name: float(np.median([one[name] for one in rounds])) for name in rounds[0]}
        for name, value in found.items():
            print(f"  {name:<16} {value:6.2f} s")
        bare = found.pop("bare inference")
        rest = sum(value for name, value in found.items() if name != "corruptions")
        print(f"n = {len(images)}: all but corruptions takes {rest / bare:.2f} times bare inference (goal: at most 3)")
