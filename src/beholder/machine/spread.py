"""Work in numbered ranges, spread over this process, child processes or Ray: a range that is lost is begun again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from beholder.machine.launch import Launch
from beholder.machine.spread_local import local
from beholder.machine.spread_ray import on_ray
from beholder.machine.workers import Heard, Ranges, messages


def spread(work: str, argument: str, todo: Iterable[int], launch: Launch, *, gpu: bool = False) -> Iterator[Heard]:
    """Carry out the ranges `todo` of a work, and yield what is heard of them.

    launch: where: "" in this process; local: in so many processes of this machine; ray: in so many tasks of a cluster, 0: as
    many as it has room for; gpu: whether a task takes a GPU, where the cluster has some
    Raises what the work raises of `BeholderError`, as it would again, and `MachineError` (no-process) where no worker starts.
    Another end of a worker, and silence, costs a try.
    """
    ranges = Ranges(todo)
    if launch.kind == "local":
        return local(work, argument, ranges, launch.count)
    if launch.kind == "ray":
        return on_ray(work, argument, ranges, launch.count, gpu=gpu)
    return _here(work, argument, ranges)


def _here(work: str, argument: str, ranges: Ranges) -> Iterator[Heard]:
    while ranges.todo:
        index = ranges.begin()
        with contextlib.closing(messages(work, argument, index, 0)) as told:  # type: ignore[type-var]
            for message in told:
                yield ranges.heard(index, message, workers=1)
