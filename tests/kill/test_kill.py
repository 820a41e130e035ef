"""No run is lost: the program of this folder in the numbers that CI can afford; `make kill` does more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")]


def program(*modes: str, root: Path) -> Mapping[str, Any]:
    """Run the program on one thread and return its counts."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill.program", *modes],
        cwd=root,
        env={**os.environ, **one},
        capture_output=True,
        text=True,
        timeout=900,
    )
    print(done.stderr)
    assert done.stdout, done.stderr
    counts: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (counts["lost"], counts["unreadable"]) == ([], [])
    return counts


@pytest.mark.timeout(900)
def test_no_kill_loses_a_run(root: Path) -> None:
    counts = program("points:4", "random:30", root=root)
    assert counts["points"] >= 30
    assert counts["kills"] - counts["points"] >= 30
    assert counts["continued"] > counts["restarted"]


@pytest.mark.timeout(900)
def test_a_signal_at_any_moment_saves_and_leaves(root: Path) -> None:
    counts = program("signals:8", root=root)
    assert counts["signals"] >= 30
    assert counts["slowest_leave"] < 5


@pytest.mark.timeout(900)
def test_a_disk_that_fails_at_any_write_is_said_and_costs_nothing_that_was_kept(root: Path) -> None:
    assert program("disk:4", root=root)["disk"] >= 25


@pytest.mark.timeout(900)
def test_no_kill_loses_a_detector(root: Path) -> None:
    counts = program("boxes", "points:24", "random:6", root=root)
    assert counts["kills"] >= 12


WRITES = """
import os, sys
from pathlib import Path
opened, inside = [], []
def hear(event, given):
    if event == "open" and isinstance(given[0], str) and given[2] & (os.O_WRONLY | os.O_RDWR):
        if given[0].startswith(sys.argv[1]):
            opened.append((given[0], bool(inside)))
sys.addaudithook(hear)
from tests.kill import strikes
def note(name, _):
    if name.split()[1] in ("write_bytes", "save"):
        inside.clear() if name.startswith("after") else inside.append(name)
strikes.arm(note, under=Path(sys.argv[1]))
from tests.kill.program import Place, command, draw
place = Path(sys.argv[1]) / "run"
place.mkdir()
draw(place.parent / "leaves")
opened.clear()
assert command(Place(place).arguments()) == 0
print("\\n".join(path for path, known in opened if not known))
"""


def test_nothing_is_written_past_the_doors_that_are_struck_at(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITES, str(tmp_path)],
        cwd=root,
        env={**os.environ, "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(str(tmp_path))]
    past = [line for line in lines if not Path(line).is_dir()]  # a folder: a file without a name, that asks whether it may
    assert past == [], "add what writes there to strikes.DOORS"
