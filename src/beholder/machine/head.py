"""Whether the head of a Ray cluster is still there, and still the one that this process is connected to.

Ray itself ends a process 60 s after its head is gone, and lets it wait for ever where another head has taken the place. So the
head is asked by a thread of its own, which never waits for long, whatever the main thread waits for.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from beholder.base.errors import MachineError
from beholder.machine.workers import beside

LOOK, ANSWER = 1.0, 4.0
"""Seconds between two questions, and within which one is to be answered."""

PATIENCE = 20.0
"""Seconds without an answer after which a head counts as gone: one that is busy, or was stopped for ten, goes on."""

LEAVING = 8.0
"""Seconds in which whoever waits for a cluster that is lost has to leave, before this process is ended.

Calls of Ray Serve do not return; others take a second at most.
"""

NODE = "the node of this process is no longer part of it"
"""Why a cluster is lost to this process alone."""


@dataclass
class Head:
    """What is known of a head. ask: says why it is lost, "" where it is not, and raises where nobody answers in time."""

    ask: Callable[[], str]
    now: Callable[[], float] = time.monotonic
    why: str = ""
    silent: float = 0.0

    def look(self) -> bool:
        """Ask, and return whether the head still counts as there.

        A question costs `ANSWER` seconds at most, however long this process itself was stopped meanwhile.
        """
        began = self.now()
        try:
            self.why, self.silent = self.ask(), 0.0
        except Exception:  # noqa: BLE001  (Ray's errors of the network have no common base)
            self.silent += LOOK + min(ANSWER, self.now() - began)
            if self.silent >= PATIENCE:
                self.why = f"its head has not answered for {self.silent:.0f} s"
        return not self.why

    def error(self) -> MachineError:
        """Return the error that says why it is lost."""
        hint = "once the cluster is there again, give the same command: what it had finished is kept"
        return MachineError(f"the Ray cluster is lost: {self.why}", code="lost-head", hint=hint)


def asking(ray: Any) -> Callable[[], str]:
    """Return what asks the head of the cluster that this process is connected to whether this node is one of its nodes.

    By a client that is not public, for no other can be told how long to wait, and `ray.nodes` ends the process where another
    head answers. A Ray without it is not asked.
    """
    try:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]
    except ImportError:
        return lambda: ""
    context = ray.get_runtime_context()
    own, client = ray.NodeID.from_hex(context.get_node_id()), GcsClient(address=context.gcs_address)

    def ask() -> str:
        try:
            return "" if client.check_alive([own], timeout=ANSWER)[0] else NODE
        except ray.exceptions.AuthenticationError:  # so it answers whoever knew another cluster
            return "another head has taken the place of its own"

    return ask


@contextlib.contextmanager
def watched(head: Head, leave: Callable[[], None] | None = None) -> Iterator[None]:
    """Have the head asked by a thread, for the block, until it is lost.

    leave: called by that thread then; by default the block has to end within `LEAVING` seconds, or this process is ended.
    """

    def watch(over: threading.Event) -> None:
        while not over.wait(LOOK):
            if not head.look():
                break
        else:
            return
        if leave is not None:
            leave()
        elif not over.wait(LEAVING):
            os.write(2, f"error: {head.error()}\n".encode())
            os._exit(head.error().exit_code)

    with beside(watch):
        yield
