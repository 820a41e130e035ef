"""Starting the other ranks on this machine, as child processes. torchrun starts all of them itself; Ray: `launch_ray`."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from beholder.base.errors import UsageError
from beholder.machine.ranks import Group, Ranks, joined, loopback
from beholder.machine.workers import end_without

PARENT = "BEHOLDER_PARENT"
"""What a process that was started here finds the number of the one that started it under."""

LEAVING = 10.0
"""Seconds that the others are given to end, once they are told."""

SIOCGIFADDR = 0x8915
"""The request of Linux for the IPv4 address of an interface."""

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
    """Return how many processes are asked for, at least: "" is one, ray without a number two. Raises as `launched` does."""
    found = launched(launch)
    return found.count or (2 if found.kind else 1)


def check_launch(launch: str) -> None:
    """Raise `UsageError` (too-few-devices) where local:N has more processes than devices, which they cannot share.

    Raises as `launched` does, too.
    """
    found = launched(launch)
    if found.kind == "local" and found.count > 1:
        from beholder.machine.device import check_enough

        check_enough(
            found.count,
            asked=f"--launch local:{found.count}",
            fewer=lambda n: f"give --launch local:{n}" if n > 1 else "leave --launch out",
        )


def check_started() -> None:
    """Raise as `check_launch` does for the processes that torchrun started on this machine.

    Where just one GPU is visible, each process may have been given another one.
    """
    number = os.environ.get("LOCAL_WORLD_SIZE", "")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if number.isdecimal() and int(number) > 1 and (visible is None or "," in visible):
        from beholder.machine.device import check_enough

        check_enough(int(number), asked=f"torchrun --nproc-per-node {number}", fewer=lambda n: f"give --nproc-per-node {n}")


@contextlib.contextmanager
def local(world: int) -> Iterator[Group | None]:
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
        with meeting_on(loopback()), joined(Ranks(0, world), store=store, gone=lambda: _gone(children)) as group:
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
        port, listening = server.getsockname()[1], server.detach()
    return dist.TCPStore(  # type: ignore[attr-defined]
        host, port, world, is_master=True, wait_for_workers=False, master_listen_fd=listening
    )


@contextlib.contextmanager
def meeting_on(interface: str) -> Iterator[None]:
    """Have gloo connect by an interface for the block, where a person did not say by which."""
    if not interface or "GLOO_SOCKET_IFNAME" in os.environ:
        yield
        return
    os.environ["GLOO_SOCKET_IFNAME"] = interface
    try:
        yield
    finally:
        del os.environ["GLOO_SOCKET_IFNAME"]


def interface(address: str) -> str:
    """Return what the interface is called that has an IPv4 address; "" where that is not known."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # it has none
                found = fcntl.ioctl(asked, SIOCGIFADDR, struct.pack("256s", name[:15].encode()))
                if socket.inet_ntoa(found[20:24]) == address:
                    return name
    return ""


def _child(rank: int, world: int, port: int, threads: int) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        **variables(rank, world, "127.0.0.1", port),
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", loopback()),
        "OMP_NUM_THREADS": str(threads),
        PARENT: str(os.getpid()),
    }
    return subprocess.Popen([sys.executable, "-m", "beholder"], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def variables(rank: int, world: int, host: str, port: int) -> dict[str, str]:
    """Return what a process finds in its environment that is one of `world`, as torchrun would set it."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": host, "MASTER_PORT": port}
    return {name: str(value) for name, value in own.items()}


def end_with_first() -> None:
    """End a process that `local` started once the one that did is gone: before they meet, only `MEETING` would end it."""
    if parent := os.environ.pop(PARENT, ""):
        end_without(int(parent))


def _gone(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Return how many have ended."""
    return sum(child.poll() is not None for child in children)


def _end(child: subprocess.Popen[bytes], until: float) -> None:
    """Wait for a process that was told to leave, and end one that does not."""
    try:
        child.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
