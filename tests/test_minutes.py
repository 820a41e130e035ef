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
    """Within 3 s, both ways: the epochs asked for could fill any time. The first run decodes, the second finds a cache.

    Other work on the machine may come and go shortly before the end, when nothing can be planned anew: a third
    run settles it where one of two misses.
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
        if abs(wall - 60 * minutes) > max(3.0, 0.03 * 60 * minutes):
            missed.append((wall, done.stderr))
        assert json.loads(done.stdout)["scores"]["accuracy"]["value"] > 0.9
        history = json.loads((out / "history.json").read_text())
        assert history[-1]["lr"] < 0.1 * json.loads((out / "config.json").read_text())["plan"]["lr"], "the schedule ends too"
    assert len(missed) <= 1, missed
