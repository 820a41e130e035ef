"""From paths to answers: bundles are loaded, here or in each worker process, and served until the server is told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from socket import socket

from beholder.base.events import note, warn
from beholder.machine.files import open_files
from beholder.server.bounds import Bounds
from beholder.server.guard import Access
from beholder.server.loading import Bundles
from beholder.server.metrics import Board
from beholder.server.run import prepared
from beholder.server.workers import many

SPARE = 256
"""Files that a server has open beside its connections: bundles, pictures of `--like`, pipes to decoders, libraries."""


@dataclass(frozen=True)
class Serving:
    """What is served, where and how.

    sock: that listens; addresses: as people type them; certificate: TLS files; workers: processes; ready: called once it
    answers
    """

    bundles: Bundles
    sock: socket
    addresses: tuple[str, ...]
    bounds: Bounds
    access: Access
    certificate: tuple[str, str] | None = None
    workers: int = 1
    ready: Callable[[], object] = lambda: None

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C. Raises `BundleError` and `UsageError` before the first answer."""
        replace(self, bounds=_within_limits(self.bounds))._run()

    def _run(self) -> None:
        if self.workers == 1:
            self._work(None, 0, self.ready)
            return
        board = Board(self.workers)
        many(
            self.workers,
            lambda slot, serves: self._work(board, slot, serves),
            leaving=self.sock.close,
            serving=self.ready,
            ended=board.bury,
        )

    def _work(self, board: Board | None, slot: int, serves: Callable[[], object]) -> None:
        threads = max(1, (os.cpu_count() or 1) // self.workers) if self.workers > 1 else 0
        loaded = self.bundles.load(threads)
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
                tell_serving({name: recogniser.engine for name, recogniser in loaded.recognisers.items()}, self.addresses)
            serves()
            server.run([self.sock])


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
