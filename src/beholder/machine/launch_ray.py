"""Starting the other ranks on a Ray cluster: a task each, on any of its nodes.

Ray Train is not used: there every worker runs the whole loop, and one that is lost restarts all of them from a checkpoint. Here
the first process alone decides, writes and speaks, and is the one that the person started.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import beholder.machine.launch as launching
from beholder.base.errors import UsageError
from beholder.machine.cluster import connected, end
from beholder.machine.ranks import Group, Ranks, joined


@contextlib.contextmanager
def on_ray(count: int, follow: Callable[[], None]) -> Iterator[Group | None]:
    """Have tasks of the cluster compute along with this process, for the block; each takes one GPU, or else one core.

    count: of processes, this one among them; 0: one for each GPU, or else core, that is free
    follow: what a task calls, in a process whose environment says which rank it is
    They connect to this process by the address that its node has in the cluster, at ports that the system chooses.
    Raises `UsageError` (no-room) and what `connected` raises.
    """
    with connected() as ray:
        kind, room = _room(ray)
        world = count or room
        if world - 1 > room:
            hint = "ask for fewer, or add nodes; `ray status` says what is in use"
            what = f"--launch ray:{count} needs {world - 1} free {kind}s in the cluster besides this process, which has {room}"
            raise UsageError(what, code="no-room", hint=hint)
        if world < 2:
            yield None
            return
        host = ray.util.get_node_ip_address()
        store = launching.store_on(host, world)
        units = {"num_gpus": 1} if kind == "GPU" else {"num_cpus": 1}
        task = ray.remote(max_retries=0, max_calls=1, scheduling_strategy="SPREAD", **units)(_task)
        running = [task.remote(launching.variables(rank, world, host, store.port), follow) for rank in range(1, world)]
        try:
            together = joined(Ranks(0, world), store=store, gone=lambda: _gone(ray, running))
            with launching.meeting_on(launching.interface(host)), together as group:
                yield group
        finally:
            _, left = ray.wait(running, num_returns=len(running), timeout=launching.LEAVING)
            end(ray, left)


def _room(ray: Any) -> tuple[str, int]:
    """Return what a process takes, GPU or CPU, and how many of them are free."""
    kind = "GPU" if ray.cluster_resources().get("GPU", 0) >= 1 else "CPU"
    return kind, int(ray.available_resources().get(kind, 0))


def _gone(ray: Any, running: list[Any]) -> int:
    """Return how many tasks have ended."""
    return len(ray.wait(running, num_returns=len(running), timeout=0)[0])


def _task(variables: dict[str, str], follow: Callable[[], None]) -> None:
    """Follow in this process, which Ray ends afterwards: a GPU that it was given is the only one that it sees."""
    import ray

    node: Any = ray.util
    os.environ.update({**variables, "LOCAL_RANK": "0"})
    with launching.meeting_on(launching.interface(node.get_node_ip_address())):
        follow()
