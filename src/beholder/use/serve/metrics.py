"""What happened, counted, in the text format of Prometheus. Every value can be added up over worker processes."""

from __future__ import annotations

import bisect
import json
import mmap
import os
import struct
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper edges, in seconds, of the histogram of how long requests took."""

SLOT = 64 << 10
"""Bytes in which a worker leaves its values for the others."""

_HELP = {
    "beholder_requests_total": ("counter", "Requests answered, by path and status."),
    "beholder_request_seconds": ("histogram", "Seconds from the headers of a request to the end of its answer."),
    "beholder_pictures_total": ("counter", "Pictures by model and outcome: answered, unreadable."),
    "beholder_batches_total": ("counter", "Runs of the net, by model and pictures in the run."),
    "beholder_pending": ("gauge", "Pictures accepted and not yet answered."),
    "beholder_held_bytes": ("gauge", "Bytes of the bodies of all requests under way."),
    "beholder_connections": ("gauge", "Open connections."),
    "beholder_workers": ("gauge", "Processes that answer."),
    "process_cpu_seconds_total": ("counter", "Seconds of processor time."),
    "process_resident_memory_bytes": ("gauge", "Bytes of memory in use."),
}

STATM = Path("/proc/self/statm")

Values = dict[str, float]
"""Series, such as `beholder_pending{model="leaves"}`, and its value."""


def series(name: str, **labels: object) -> str:
    r"""Return the name of a series.

    >>> series("beholder_pending", model='a"b')
    'beholder_pending{model="a\\\\"b"}'
    """
    if not labels:
        return name
    return name + "{" + ",".join(f"{key}={json.dumps(str(value), ensure_ascii=False)}" for key, value in labels.items()) + "}"


class Requests:
    """Counts answers."""

    def __init__(self) -> None:
        self._count: dict[tuple[str, int], int] = defaultdict(int)
        self._within: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = defaultdict(float)

    def tell(self, route: str, status: int, seconds: float) -> None:
        """Note one answer. route: the pattern of its path; status: of HTTP; seconds: that it took."""
        self._count[route, status] += 1
        self._seconds[route] += seconds
        self._within.setdefault(route, [0] * (len(BUCKETS) + 1))[bisect.bisect_left(BUCKETS, seconds)] += 1

    def values(self) -> Values:
        """Return every series."""
        found: Values = {}
        for (route, status), count in self._count.items():
            found[series("beholder_requests_total", path=route, status=status)] = count
        for route, counts in self._within.items():
            total = 0
            for edge, count in zip((*BUCKETS, "+Inf"), counts, strict=True):
                total += count
                found[series("beholder_request_seconds_bucket", path=route, le=edge)] = total
            found[series("beholder_request_seconds_sum", path=route)] = self._seconds[route]
            found[series("beholder_request_seconds_count", path=route)] = total
        return found


class Board:
    """Memory that worker processes share: each leaves its values in a slot of its own.

    workers: how many there are; parent: the process that made it, and then them
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.parent = os.getpid()
        self._memory = mmap.mmap(-1, workers * SLOT)

    def leave(self, slot: int, values: Mapping[str, float]) -> None:
        """Write the values of worker `slot`, or nothing where they do not fit."""
        data = json.dumps(values).encode()
        if len(data) <= SLOT - 8:
            self._memory[slot * SLOT : slot * SLOT + 8 + len(data)] = struct.pack("<Q", len(data)) + data

    def others(self, slot: int) -> list[Values]:
        """Return the values that the other workers left; those that are just being written are passed over."""
        found = []
        for other in range(self.workers):
            start = other * SLOT
            (length,) = struct.unpack("<Q", self._memory[start : start + 8])
            if other != slot and 0 < length <= SLOT - 8:
                try:
                    found.append(json.loads(self._memory[start + 8 : start + 8 + length]))
                except ValueError:
                    continue
        return found


def resident() -> int:
    """Return the bytes of memory that this process has in use; 0 where the system does not say."""
    try:
        return int(STATM.read_text().split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return 0


def text(parts: list[Values]) -> str:
    """Return the sum of `parts` as Prometheus reads it."""
    total: Values = defaultdict(float)
    for part in parts:
        for name, value in part.items():
            total[name] += value
    lines: list[str] = []
    for family, (kind, words) in _HELP.items():
        names = (family, *(f"{family}{ending}" for ending in ("_bucket", "_sum", "_count") if kind == "histogram"))
        found = [name for name in total if name.partition("{")[0] in names]
        if found:
            lines += [f"# HELP {family} {words}", f"# TYPE {family} {kind}", *(f"{name} {total[name]:.10g}" for name in found)]
    return "\n".join(lines) + "\n"
