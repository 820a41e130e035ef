"""The server on a Ray cluster: a replica answers as a worker process does, and Ray routes, scales and starts them again.

The way of a request: Ray's HTTP proxy on the head node, with `front` around it; a replica, which Ray picks; there the guard and
the application, as without Ray. The command stays to say what happens, and takes the application down when it is told to stop.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from beholder.base.errors import BeholderError, MachineError, UsageError
from beholder.base.events import note
from beholder.machine import replicas
from beholder.machine.cluster import check_cluster, connected
from beholder.machine.replicas import Application, Share
from beholder.server.replica import Desk, Plan, alike, begun
from beholder.server.run import listening
from beholder.server.serving import Offer, tell_serving
from beholder.server.workers import ENDING

LOOK = 2.0
"""Seconds between two looks at how many replicas answer."""


class Clustered(Offer):
    """By replicas of an application of Ray Serve. count: of them, 0 where Ray decides; certificate: files of the head node."""

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; then what was accepted is answered, and Ray Serve is shut down.

        Raises `UsageError` and `MachineError` where the cluster cannot do it, and what loading raises in a replica.
        """
        bundles = self.bundles.absolute()
        wanted = alike(bundles)
        with connected() as ray:
            each = replicas.share(replicas.resources(ray), self.count)
            host, port = self._place(*replicas.head(ray))
            desk = replicas.actor(ray, Desk)
            plan = Plan(bundles, self.bounds, self.access, each.cpus, wanted)
            many = f"{self.count}" if self.count else f"1 to {each.most}"
            note(f"starting on Ray; replicas: {many}, CPUs of each: {each.cpus}", replicas=each.most, cpus=each.cpus)
            with _raised_there(desk), self._application(port, each, partial(begun, plan, desk)).running() as answering:
                addresses = self.addresses(host, port)
                tell_serving(replicas.waited(desk.said.remote())["engines"], addresses)
                self.ready(addresses[0])
                with told() as stop:
                    watch(answering, stop)
                note("stopping: requests in progress are answered")

    def _place(self, head: str, here: bool) -> tuple[str, int]:
        """Return by which host and port others reach the head node; where that is this machine, they were free just now."""
        if here:
            with listening(self.host, self.port) as sock:
                return self.host, sock.getsockname()[1]
        if self.port == 0:
            hint = f"name one: the server listens on the head node, {head}"
            raise UsageError("a free port of another machine cannot be found", code="cannot-bind", hint=hint)
        return (head if self.host in ("0.0.0.0", "::") else self.host), self.port

    def _application(self, port: int, each: Share, build: Callable[[], Any]) -> Application:
        bounds = self.bounds
        http: Mapping[str, Any] = {
            "host": self.host,
            "port": port,
            "request_timeout_s": bounds.body_seconds + bounds.seconds + bounds.patience,
            "keep_alive_timeout_s": round(bounds.idle_seconds),
            **dict(zip(("ssl_certfile", "ssl_keyfile"), self.certificate or (), strict=False)),
        }
        limits = {
            "max_ongoing_requests": bounds.connections,
            "max_queued_requests": bounds.queue,
            "graceful_shutdown_timeout_s": bounds.drain,
            "graceful_shutdown_wait_loop_s": bounds.linger,
        }
        front = "beholder.server.front:middlewares"
        return Application("beholder", build, self.count, each, http, limits, front, asdict(bounds))


def watch(answering: Callable[[], int], stop: threading.Event) -> None:
    """Say how many replicas answer, whenever that has changed, until told to stop.

    Raises `MachineError` (lost-head) where the cluster is lost.
    """
    before = answering()
    while not stop.wait(LOOK):
        check_cluster()
        now = answering()
        if now != before:
            note(f"replicas that answer: {now}", replicas=now)
        before = now


@contextlib.contextmanager
def _raised_there(desk: Any) -> Iterator[None]:
    """Raise here what a replica raised at its start, in place of what Ray makes of it."""
    try:
        yield
    except MachineError:
        said = replicas.waited(desk.said.remote()).get("error")
        if not said:
            raise
        found = BeholderError(said["message"], code=said["code"], hint=said["hint"])
        found.exit_code = said["exit_code"]
        raise found from None


@contextlib.contextmanager
def told() -> Iterator[threading.Event]:
    """Yield what is set by SIGTERM or Ctrl-C inside the block; outside of it they interrupt."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in ENDING}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
