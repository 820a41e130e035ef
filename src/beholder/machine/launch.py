"""Starting the other ranks: on this machine as child processes, or by torchrun, which starts all of them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from beholder.base.errors import UsageError
from beholder.machine.ranks import Group, Ranks, joined, loopback

LEAVING = 10.0
"""Seconds that the others are given to end, once they are told."""

MOST = {"local": 64, "ray": 4096}
"""How many processes can be asked for, by where they are started."""


@dataclass(frozen=True)
class Launch:
    """Where several processes are started. kind: "" (nowhere), local or ray; count: of processes, 0 where it is not said."""

    kind: str = ""
    count: int = 0


def launched(text: str) -> Launch:
    """Return what "", local:N, ray or ray:N ask for. Raises `UsageError` (bad-launch)."""
    kind, colon, number = text.partition(":")
    if not text:
        return Launch()
    if kind == "ray" and not colon:
        return Launch(kind)
    if kind in MOST and number.isdecimal() and 1 <= int(number) <= MOST[kind]:
        return Launch(kind, int(number))
    hint = "local:N starts N processes on this machine, from 1 to 64; ray or ray:N starts them on a cluster"
    raise UsageError(f"--launch cannot be '{text}'", code="bad-launch", hint=hint)


def count(launch: str) -> int:
    """Return how many processes `local:N` asks for; "" is one. Raises `UsageError` (bad-launch)."""
    found = launched(launch)
    return max(1, found.count)


@contextlib.contextmanager
def local(world: int) -> Iterator[Group]:
    """Start `world` - 1 processes that compute along with this one, for the block; each has its share of the cores.

    They meet on the loopback address; nothing is open to other machines.
    """
    import torch

    threads = torch.get_num_threads()
    each = max(1, threads // world)
    store = store_on("127.0.0.1", world)
    children = [_child(rank, world, store.port, each) for rank in range(1, world)]
    try:
        torch.set_num_threads(each)
        with _meeting_on(loopback()), joined(Ranks(0, world), store=store) as group:
            yield group
    finally:
        torch.set_num_threads(threads)
        until = time.monotonic() + LEAVING
        for child in children:
            _end(child, until)


def store_on(host: str, world: int) -> Any:
    """Return where ranks meet: a store that listens on one address of this machine; torch's own takes all of them."""
    import torch.distributed as dist

    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        port = server.getsockname()[1]
        given = {"is_master": True, "wait_for_workers": False, "master_listen_fd": server.detach()}
        return dist.TCPStore(host, port, world, **given)  # type: ignore[attr-defined]


@contextlib.contextmanager
def _meeting_on(interface: str) -> Iterator[None]:
    """Have gloo connect by an interface for the block, where a person did not say by which."""
    asked = "GLOO_SOCKET_IFNAME" in os.environ
    os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    try:
        yield
    finally:
        if not asked:
            del os.environ["GLOO_SOCKET_IFNAME"]


def _child(rank: int, world: int, port: int, threads: int) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        **variables(rank, world, "127.0.0.1", port),
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", loopback()),
        "OMP_NUM_THREADS": str(threads),
    }
    return subprocess.Popen([sys.executable, "-m", "beholder"], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def variables(rank: int, world: int, host: str, port: int) -> dict[str, str]:
    """Return what a process finds in its environment that is one of `world`, as torchrun would set it."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": host, "MASTER_PORT": port}
    return {name: str(value) for name, value in own.items()}


def _end(child: subprocess.Popen[bytes], until: float) -> None:
    """Wait for a process that was told to leave, and end one that does not."""
    try:
        child.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
