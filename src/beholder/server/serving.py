"""From paths to answers: bundles are loaded, here or in each worker process, and served until the server is told to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from socket import socket

from beholder.base.events import note, warn
from beholder.machine import cpu
from beholder.machine.cores import granted
from beholder.machine.files import open_files
from beholder.server.bounds import Bounds
from beholder.server.guard import Access
from beholder.server.loading import Bundles
from beholder.server.metrics import Board
from beholder.server.run import listening, prepared
from beholder.server.workers import many

SPARE = 256
"""Files that a server has open beside its connections: bundles, pictures of `--like`, pipes to decoders, libraries."""


@dataclass(frozen=True)
class Offer:
    """What is served, and where.

    addresses: makes those that people type of host and port; certificate: TLS files; count: of processes; ready: called with
    the first address once it answers
    """

    bundles: Bundles
    host: str
    port: int
    bounds: Bounds
    access: Access
    addresses: Callable[[str, int], list[str]]
    certificate: tuple[str, str] | None = None
    count: int = 1
    ready: Callable[[str], object] = lambda _: None

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C."""
        raise NotImplementedError


class Serving(Offer):
    """On this machine, by this process or by several that it starts."""

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C. Raises `BundleError` and `UsageError` before the first answer."""
        with listening(self.host, self.port) as sock:
            replace(self, bounds=_within_limits(self.bounds))._run(sock)

    def _run(self, sock: socket) -> None:
        addresses = self.addresses(self.host, sock.getsockname()[1])
        ready = partial(self.ready, addresses[0])
        if self.count == 1:
            self._work(sock, addresses, None, 0, ready)
            return
        board = Board(self.count)
        many(
            self.count,
            lambda slot, serves: self._work(sock, addresses, board, slot, serves),
            leaving=sock.close,
            serving=ready,
            ended=board.bury,
        )

    def _work(
        self, sock: socket, addresses: Sequence[str], board: Board | None, slot: int, serves: Callable[[], object]
    ) -> None:
        cores, alone = granted(), self.count == 1
        threads = 0 if alone and cores == cpu.threads() else max(1, cores // self.count)
        loaded = self.bundles.load(threads, alone=alone)
        with prepared(
            loaded.recognisers,
            bounds=self.bounds,
            access=self.access,
            certificate=self.certificate,
            explaining=loaded.explaining,
            nearby=loaded.nearby,
            board=board,
            slot=slot,
        ) as server:
            if slot == 0:
                tell_serving({name: recogniser.engine for name, recogniser in loaded.recognisers.items()}, addresses)
            serves()
            server.run([sock])


def tell_serving(engines: Mapping[str, str], addresses: Sequence[str]) -> None:
    """Say what is served where. engines: by the names of the models."""
    said = ", ".join(f"{name} ({engine})" for name, engine in engines.items())
    where = {"address": addresses[0], "addresses": list(addresses)}
    note(f"serving {said} at {' and '.join(addresses)}", **where, engines=dict(engines))


def _within_limits(bounds: Bounds) -> Bounds:
    """Return bounds with no more connections than this process may have open: it is allowed more, where that can be."""
    wanted = bounds.connections + SPARE
    allowed = open_files(wanted)
    if allowed >= wanted:
        return bounds
    fewer = max(1, allowed - SPARE)
    warn(
        f"a process may have {allowed:,} files open here: {fewer:,} connections at once instead of {bounds.connections:,}",
        hint=f"raise that limit before starting it: ulimit -Hn {wanted}, or LimitNOFILE={wanted} for systemd",
    )
    return replace(bounds, connections=fewer)
