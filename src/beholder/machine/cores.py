"""How many processors this process may keep busy, where a container has been given fewer than the machine has."""

from __future__ import annotations

import math
from pathlib import Path

from beholder.machine.cpu import threads

CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux says what a container is given."""


def granted(root: Path = CGROUPS) -> int:
    """Return on how many processors this process may run, or what the limit of its container comes to, if that is less.

    Libraries count the processors of the machine, and a container that computes with more threads than it is given is made to
    wait in turns. root: where control groups are, of version 2 or 1
    """
    said = _words(root / "cpu.max") or _words(root / "cpu" / "cpu.cfs_quota_us") + _words(root / "cpu" / "cpu.cfs_period_us")
    if len(said) != 2 or not all(word.isdecimal() for word in said):  # "max" and -1: there is no limit
        return threads()
    return min(threads(), max(1, math.ceil(int(said[0]) / int(said[1]))))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").split()
    except OSError:
        return []
