"""What is counted for Prometheus, by one process or by several worker processes together.

prometheus_client's own mode for several processes keeps files in a folder that has to be named in the environment before the
library is imported; here workers share memory instead, and what a worker counted outlives it, so that no total ever falls.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import Counter, Histogram, Metric, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Sample
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from beholder.server.model import Model

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper edges, in seconds, of the histogram of how long requests took."""

PROCESS = ("process_cpu_seconds", "process_resident_memory_bytes")
"""What is told of the process itself: of prometheus_client's metrics of it, those that can be added up."""

ROOM = 1 << 20
"""Bytes for what a worker counted; the system provides them only once they are used."""

SLOT = 1 + 2 * ROOM
"""Bytes of a worker on the board: which of the two halves that follow is valid."""


SILENT = 5.0
"""Seconds after which a server that left nothing is taken to have ended; each leaves what it counted once a second."""


class Families(list[Metric]):
    """Metric families as prometheus_client collects them."""

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self


class Counts(Collector):
    """What one process counts and measures.

    open_connections: returns how many there are, None where another process has them; held: bytes of bodies in memory
    """

    def __init__(
        self, models: Mapping[str, Model], open_connections: Callable[[], int] | None, held: Callable[[], int]
    ) -> None:
        self._models, self._connections, self._held = models, open_connections, held
        self._process = ProcessCollector(registry=None)
        self._requests = Counter(
            "beholder_requests", "Requests answered, by path and status.", ("path", "status"), registry=None
        )
        words = "Seconds from the headers of a request to the end of its answer."
        self._seconds = Histogram("beholder_request_seconds", words, ("path",), registry=None, buckets=BUCKETS)

    def tell(self, route: str, status: int, seconds: float) -> None:
        """Count one answer. route: the pattern of its path; status: of HTTP; seconds: that it took."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from (*self._requests.collect(), *self._seconds.collect(), *self._of_models())
        yield GaugeMetricFamily("beholder_held_bytes", "Bytes of the bodies of all requests under way.", self._held())
        if self._connections is not None:
            yield GaugeMetricFamily("beholder_connections", "Open connections.", self._connections())
        yield GaugeMetricFamily("beholder_workers", "Processes that answer.", 1)
        yield from (family for family in self._process.collect() if family.name in PROCESS)

    def _of_models(self) -> tuple[Metric, ...]:
        words = "Pictures by model and outcome: answered, unreadable."
        pictures = CounterMetricFamily("beholder_pictures", words, labels=("model", "outcome"))
        words = "Runs of the net, by model and pictures in the run."
        batches = CounterMetricFamily("beholder_batches", words, labels=("model", "pictures"))
        pending = GaugeMetricFamily("beholder_pending", "Pictures accepted and not yet answered.", labels=("model",))
        for name, model in self._models.items():
            pending.add_metric((name,), model.pending)
            for outcome, count in model.outcomes.items():
                pictures.add_metric((name, outcome), count)
            for size, count in model.batches.copy().items():
                batches.add_metric((name, str(size)), count)
        return pictures, batches, pending


class Board:
    """Memory that worker processes share: each leaves what it counted in a slot of its own.

    workers: how many there are; parent: the process that made it, and then them
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.parent = os.getpid()
        self._memory = mmap.mmap(-1, workers * SLOT)

    def leave(self, slot: int, families: Families) -> None:
        """Write what the worker of a slot counted, or nothing where it does not fit; what it wrote before stays till then."""
        data = generate_latest(families)
        if len(data) <= ROOM - 4:
            turn, start = self._where(slot, 1)
            self._memory[start : start + 4 + len(data)] = struct.pack("<I", len(data)) + data
            self._memory[slot * SLOT] = turn

    def left(self, slot: int) -> list[Metric]:
        """Return what was written last."""
        _, start = self._where(slot, 0)
        (length,) = struct.unpack("<I", self._memory[start : start + 4])
        return list(text_string_to_metric_families(self._memory[start + 4 : start + 4 + length].decode()))

    def bury(self, slot: int) -> None:
        """Keep the totals of a worker that ended, for the next of its slot, and drop what it only measured."""
        self.leave(slot, Families(family for family in self.left(slot) if family.type != "gauge"))

    def _where(self, slot: int, other: int) -> tuple[int, int]:
        """Return which half of a slot is valid (or, with `other`, is not), and where it begins."""
        turn = self._memory[slot * SLOT] ^ other
        return turn, slot * SLOT + 1 + turn * ROOM


class Together(Collector):
    """What all workers counted. own: what this one counts; slot: its own on the board, which there is where it is not alone."""

    def __init__(self, own: Collector | None = None, board: Board | None = None, slot: int = 0) -> None:
        self._own, self._board, self._slot = own or Families(), board, slot
        self._before = board.left(slot) if board else []

    def collect(self) -> Iterable[Metric]:
        """Return every family."""
        board = self._board
        others = [board.left(slot) for slot in range(board.workers) if slot != self._slot] if board else []
        return added([*self._mine(), *(family for left in others for family in left)])

    def leave(self) -> None:
        """Leave what this worker counted, and the workers of its slot before it, for the others."""
        if self._board is not None:
            self._board.leave(self._slot, self._mine())

    def _mine(self) -> Families:
        return added([*self._own.collect(), *self._before])


class Tally:
    """What servers of other machines counted: each leaves it here as text, and one that ended leaves its totals for ever.

    now: a clock in seconds
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._left: dict[str, tuple[float, list[Metric]]] = {}

    def leave(self, who: str, text: str) -> None:
        """Note what a server counted so far. who: its name, of no other; text: as /metrics has it."""
        self._left[who] = self._now(), list(text_string_to_metric_families(text))

    def others(self, who: str) -> str:
        """Return what all but one counted, as text; of those that were silent for `SILENT` seconds, the totals alone."""
        found: list[Metric] = []
        for name, (when, families) in self._left.items():
            silent = self._now() - when > SILENT
            found += [each for each in families if name != who and not (silent and each.type == "gauge")]
        return generate_latest(added(found)).decode()


def added(families: Iterable[Metric]) -> Families:
    """Return families of which each name comes once, with the sums of their samples; without the times of their making."""
    found: dict[str, Metric] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in families:
        found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        values = sums.setdefault(family.name, {})
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                key = sample.name, tuple(sorted(sample.labels.items()))
                values[key] = values.get(key, 0.0) + sample.value
    for name, values in sums.items():
        found[name].samples = [Sample(series, dict(labels), value) for (series, labels), value in values.items()]
    return Families(family for family in found.values() if family.samples)
