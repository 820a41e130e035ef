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
from beholder.machine.cluster import at_hand, check_cluster, connected, end
from beholder.machine.ranks import Group, Ranks, joined


@contextlib.contextmanager
def on_ray(count: int, follow: Callable[[], None]) -> Iterator[Group | None]:
    """Have tasks of the cluster compute along with this process, for the block; each takes one GPU, or else one core.

    count: of processes, this one among them; 0: one for each GPU, or else core, that is free
    follow: what a task calls, in a process whose environment says which rank it is
    They connect to this process by the address that its node has in the cluster, at ports that the system chooses. Where the
    cluster is lost they are lost with it, and this process goes on alone.
    Raises `UsageError` (no-room) and what `connected` raises.
    """
    with connected(alone=True) as ray:
        with at_hand():
            check_cluster()
            world = _world(ray, count)
            host = ray.util.get_node_ip_address()
            store = launching.store_on(host, world) if world > 1 else None
            running = _started(ray, world, host, store.port, follow) if store is not None else []
        if store is None:
            yield None
            return
        try:
            together = joined(Ranks(0, world), store=store, gone=lambda: _gone(ray, running))
            with launching.meeting_on(launching.interface(host)), together as group:
                yield group
        finally:
            with at_hand() as there:
                if there:
                    _, left = ray.wait(running, num_returns=len(running), timeout=launching.LEAVING)
                    end(ray, left)


def _world(ray: Any, count: int) -> int:
    """Return how many processes there are to be. Raises `UsageError` (no-room)."""
    kind, room = _room(ray)
    if count - 1 > room:
        hint = "ask for fewer, or add nodes; `ray status` says what is in use"
        what = f"--launch ray:{count} needs {count - 1} free {kind}s in the cluster besides this process, which has {room}"
        raise UsageError(what, code="no-room", hint=hint)
    return count or room


def _started(ray: Any, world: int, host: str, port: int, follow: Callable[[], None]) -> list[Any]:
    """Return the tasks of all ranks but the first."""
    units = {"num_gpus": 1} if _room(ray)[0] == "GPU" else {"num_cpus": 1}
    task = ray.remote(max_retries=0, max_calls=1, scheduling_strategy="SPREAD", **units)(_task)
    return [task.remote(launching.variables(rank, world, host, port), follow) for rank in range(1, world)]


def _room(ray: Any) -> tuple[str, int]:
    """Return what a process takes, GPU or CPU, and how many of them are free."""
    kind = "GPU" if ray.cluster_resources().get("GPU", 0) >= 1 else "CPU"
    return kind, int(ray.available_resources().get(kind, 0))


def _gone(ray: Any, running: list[Any]) -> int:
    """Return how many tasks have ended: all where the cluster is lost."""
    with at_hand() as there:
        return len(ray.wait(running, num_returns=len(running), timeout=0)[0]) if there else len(running)


def _task(variables: dict[str, str], follow: Callable[[], None]) -> None:
    """Follow in this process, which Ray ends afterwards: a GPU that it was given is the only one that it sees."""
    import ray

    node: Any = ray.util
    os.environ.update({**variables, "LOCAL_RANK": "0"})
    with launching.meeting_on(launching.interface(node.get_node_ip_address())):
        follow()
