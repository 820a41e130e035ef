"""Starting the other ranks: on this machine as child processes, or by torchrun, which starts all of them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

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
    import torch.distributed as dist

    store = dist.TCPStore("127.0.0.1", 0, world, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    threads = torch.get_num_threads()
    each = max(1, threads // world)
    children = [_child(rank, world, store.port, each) for rank in range(1, world)]
    try:
        torch.set_num_threads(each)
        with joined(Ranks(0, world), store=store) as group:
            yield group
    finally:
        torch.set_num_threads(threads)
        for child in children:
            _end(child)


def _child(rank: int, world: int, port: int, threads: int) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", loopback()),
        "OMP_NUM_THREADS": str(threads),
    }
    return subprocess.Popen([sys.executable, "-m", "beholder"], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was told to leave, and end one that does not."""
    try:
        child.wait(LEAVING)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
