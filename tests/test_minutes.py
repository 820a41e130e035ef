"""The budget as a user measures it: from the start of the command to its end, start-up, test, report and saving included."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [0.2, 0.35])
def test_minutes_are_kept_from_the_outside(
    minutes: float, tmp_path: Path, draw: Callable[..., Path], record_property: Callable[[str, object], None]
) -> None:
    """Within 3 s, both ways, with a net that learnt and a schedule that came to its end: the epochs could fill any time.

    The first run decodes, the second finds a cache. Other work on the machine may come when nothing can be planned anew: a
    third run settles it where one of two misses.
    """
    source = draw(tmp_path / "leaves", each=150, size=(32, 32))
    out = tmp_path / "m.beholder"
    command = [sys.executable, "-m", "beholder", "train", str(source), "--net", "fastnet", "--out", str(out), "--json"]
    missed = []
    for run in range(3):
        if run == 2 and not missed:
            break
        began = time.monotonic()
        done = subprocess.run(
            [*command, "--minutes", str(minutes), "--set", "train.epochs=100000", "--set", "net.width=0.25"],
            capture_output=True,
            text=True,
            check=True,
            timeout=200,
        )
        wall = time.monotonic() - began
        record_property("wall_seconds", round(wall, 2))
        score = json.loads(done.stdout)["scores"]["accuracy"]["value"]
        ended = json.loads((out / "history.json").read_text())[-1]["lr"]
        height = json.loads((out / "config.json").read_text())["plan"]["lr"]
        if abs(wall - 60 * minutes) > max(3.0, 0.03 * 60 * minutes) or score <= 0.9 or ended >= 0.1 * height:
            missed.append((wall, score, ended, done.stderr))
    assert len(missed) <= 1, missed
