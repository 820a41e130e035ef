"""Ranges of work in tasks of a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from beholder.machine.cluster import check_cluster, connected, end
from beholder.machine.workers import Heard, Ranges, Silence, messages

LOOK = 1.0
"""Seconds between two looks at who is silent."""


@dataclass
class _Task:
    """A range that is under way in a task."""

    index: int
    silence: Silence
    why: str = ""


def on_ray(work: str, argument: str, ranges: Ranges, count: int, *, gpu: bool) -> Iterator[Heard]:
    """Yield what is heard of ranges in tasks of a cluster, `count` at a time, 0: as many as it has room for.

    A task takes a core, or a GPU with its share of the cores. Ray does not repeat tasks: that is done here, by range.
    Raises what `connected` and `check_cluster` raise.
    """
    with connected() as ray:
        room = ray.cluster_resources()
        gpus = int(room.get("GPU", 0)) if gpu else 0
        cores = max(1, int(room.get("CPU", 1)))
        each = max(1, cores // gpus) if gpus else 1
        options = {"num_cpus": each, "num_gpus": 1 if gpus else 0, "max_retries": 0, "num_returns": "streaming"}
        task = ray.remote(**options)(messages)
        running: dict[Any, _Task] = {}
        try:
            while ranges.todo or running:
                while ranges.todo and len(running) < min(count or cores, gpus or cores):
                    index = ranges.begin()
                    running[task.remote(work, argument, index, each)] = _Task(index, Silence(time.monotonic()))
                yield from _heard(ray, running, ranges)
                check_cluster()
                _end_silent(ray, running, ranges)
        finally:
            end(ray, running)


def _heard(ray: Any, running: dict[Any, _Task], ranges: Ranges) -> Iterator[Heard]:
    """Yield what the tasks say within `LOOK` seconds, and take those that are over from `running`."""
    ready, _ = ray.wait(list(running), num_returns=1, timeout=LOOK, fetch_local=False)
    for said in ready:
        task = running[said]
        try:
            message = ray.get(next(said))
        except StopIteration:  # it ended without a word that it is through
            message = {}
        except ray.exceptions.RayError as error:
            check_cluster(error)
            task.why = task.why or f"its task was lost ({type(error).__name__})"
            message = {}
        if not message:
            del running[said]
            yield ranges.lost(task.index, task.why or "its task ended", workers=len(running) + 1)
            continue
        task.silence.broken()
        heard = ranges.heard(task.index, message, workers=len(running))
        if heard.whole or "failed" in message:
            del running[said]
        yield heard


def _end_silent(ray: Any, running: dict[Any, _Task], ranges: Ranges) -> None:
    """End the tasks that are silent for too long: their ranges are then lost, and begun again."""
    for said, task in running.items():
        if not task.why and task.silence.too_long(ranges.patience(task.index, task.silence.slowest)):
            task.why = f"its task was silent for {time.monotonic() - task.silence.since:.0f} s"
            ray.cancel(said, force=True)
