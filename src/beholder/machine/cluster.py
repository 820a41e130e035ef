"""Ray, which spreads work over the machines of a cluster: how this process is connected to it, and to which clusters it is not.

Whoever reaches a Ray head can run any code on its cluster. So one that is reached by others than this machine has to ask for a
token, and one that is started here listens on the loopback address alone. Nothing is sent to the makers of Ray.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from beholder.base.errors import MachineError, UsageError
from beholder.machine.head import NODE, Head, asking, watched

LOOPBACK_ALONE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Where this is 0, Ray takes 127.0.0.1 for what it is; else it puts the address that other machines see in its place."""

_own: list[bool] = []
"""Whether the connection was made, and will be ended, by `connected`: not empty then."""

_heads: list[Head] = []
"""The head of the cluster that this process is connected to, inside of `connected`."""

_ending = threading.RLock()
"""Held by whoever uses a connection that another thread may end."""


@contextlib.contextmanager
def connected(*, alone: bool = False) -> Iterator[ModuleType]:
    """Yield `ray`, connected to the cluster of RAY_ADDRESS, or to one that is started on this machine, for the block.

    Within another such block, or where the caller is connected already, the connection is that one.
    alone: whether the block goes on where the cluster is lost, and asks `at_hand` before it uses it; the connection is then
    ended at once, for Ray would end this process. Else the block calls `check_cluster` while it waits.

    Raises `UsageError` (no-ray, open-cluster, bad-cluster) and `MachineError` (no-cluster) where nobody answers.
    """
    address = _address()
    check(address)
    ray = _imported(address)
    if _heads:
        yield ray
    elif ray.is_initialized():
        with _watching(ray, (lambda: None) if alone else None):
            yield ray
    else:
        with _connection(ray, address), _watching(ray, (lambda: _shutdown(ray)) if alone else None):
            yield ray


@contextlib.contextmanager
def _connection(ray: ModuleType, address: str) -> Iterator[None]:
    with _said(address), _signals_kept():
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level="ERROR",
            **({} if address else {"include_dashboard": False}),
        )
    try:
        _own.append(True)
        for node in ray.nodes():
            check(node["NodeManagerAddress"])
        yield
    finally:
        _shutdown(ray)
        _own.clear()


def _shutdown(ray: ModuleType) -> None:
    with _ending:
        if ray.is_initialized():
            ray.shutdown()


@contextlib.contextmanager
def _watching(ray: ModuleType, leave: Callable[[], None] | None) -> Iterator[None]:
    """Have the head watched for the block. leave: see `watched`. Raises `MachineError` (no-cluster)."""
    with _said(_address()):
        head = Head(asking(ray))
    _heads.append(head)
    try:
        with watched(head, leave):
            yield
    finally:
        _heads.clear()


def check_cluster(error: Exception | None = None) -> None:
    """Raise `MachineError` (lost-head) where the cluster that this process is connected to is lost.

    error: of a task; Ray's that the node of this process has died says so before the head does
    """
    head = _heads[0] if _heads else None
    if head and type(error).__name__ == "LocalRayletDiedError":
        head.why = head.why or NODE
    if head and head.why:
        raise head.error() from error


@contextlib.contextmanager
def at_hand() -> Iterator[bool]:
    """Yield whether the cluster is there; for the block the connection stays."""
    with _ending:
        yield not (_heads and _heads[0].why)


def end(ray: ModuleType, tasks: Iterable[Any]) -> None:
    """End tasks that nobody waits for any more.

    Where the connection is this process's own they end with it, and are not cancelled: of a task that ends at that very moment
    `cancel` may end the process that asked, by a failed check in Ray's core.
    """
    for task in () if _own else tasks:
        ray.cancel(task, force=True)


def check(address: str) -> None:
    """Raise `UsageError` (open-cluster) for a head, host:port, that others than this machine reach without a token."""
    if address.startswith("ray://"):
        hint = "run the command on a node of the cluster, or by `ray job submit`; RAY_ADDRESS is then host:port, or auto"
        raise UsageError(f"Ray Client cannot be used: RAY_ADDRESS is {address}", code="bad-cluster", hint=hint)
    if address in ("", "auto") or on_loopback(address) or os.environ.get("RAY_AUTH_MODE", "").lower() == "token":
        return
    hint = "set RAY_AUTH_MODE=token for every node and for this command: docs/SCALING.md"
    what = f"whoever reaches the Ray head at {address} can run code on the cluster: it asks for no token"
    raise UsageError(what, code="open-cluster", hint=hint)


def on_loopback(address: str) -> bool:
    """Return whether an address, host:port or host, is reached from this machine alone."""
    host = address if address.count(":") != 1 else address.partition(":")[0]
    host = host[1:].partition("]")[0] if host.startswith("[") else host
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address() -> str:
    """Return the address of the cluster that is asked for; "" for one on this machine."""
    found = os.environ.get("RAY_ADDRESS", "")
    return "" if found == "local" else found


def _imported(address: str) -> ModuleType:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address != "auto" and on_loopback(address or "localhost"):
        os.environ[LOOPBACK_ALONE] = "0"
    try:
        import ray
    except ModuleNotFoundError as error:
        hint = 'pip install "beholder[cluster]"'
        raise UsageError("a cluster is worked on by Ray, which is not installed", code="no-ray", hint=hint) from error
    return ray


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back who handles SIGTERM and Ctrl-C after the block: Ray's own handler of SIGTERM leaves by `sys.exit`."""
    main = threading.current_thread() is threading.main_thread()
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)} if main else {}
    try:
        yield
    finally:
        for number, handler in kept.items():
            if handler is not None:
                signal.signal(number, handler)


@contextlib.contextmanager
def _said(address: str) -> Iterator[None]:
    """Turn what Ray raises where it cannot connect into a `MachineError` (no-cluster)."""
    try:
        yield
    except Exception as error:  # Ray raises bare ones too, where a node does not start in time
        where = f"at {address}" if address else "on this machine"
        hint = "is it running, and of the same version of Ray and Python? RAY_ADDRESS says where it is"
        what = f"no Ray cluster {where}: {(str(error).splitlines() or [type(error).__name__])[0][:200]}"
        raise MachineError(what, code="no-cluster", hint=hint) from error
