"""From paths to answers: bundles are loaded, here or in each worker process, and served until the server is told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from socket import socket

from beholder.base.events import note, warn
from beholder.bundle.finder import Finder
from beholder.machine.files import open_files
from beholder.server.bounds import Bounds
from beholder.server.guard import Access
from beholder.server.loading import in_torch, opened
from beholder.server.metrics import Board
from beholder.server.nearby import indexes
from beholder.server.run import prepared
from beholder.server.workers import many

SPARE = 256
"""Files that a server has open beside its connections: bundles, pictures of `--like`, pipes to decoders, libraries."""


@dataclass(frozen=True)
class Serving:
    """What is served, where and how.

    paths: of bundles by name; sock: that listens; addresses: as people type them; certificate: TLS files; explain: load
    exported bundles in torch too; trust: as `beholder.load` has it; workers: processes; like: a source that bundles were
    trained on; engine: as `fastest` has it; ready: called once it answers
    """

    paths: dict[str, Path]
    sock: socket
    addresses: tuple[str, ...]
    bounds: Bounds
    access: Access
    certificate: tuple[str, str] | None = None
    explain: bool = False
    trust: bool = False
    workers: int = 1
    like: str | None = None
    engine: str = "exact"
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
        found = {name: opened(path, engine=self.engine, trust=self.trust, threads=threads) for name, path in self.paths.items()}
        maps = {}
        if self.explain:
            bare = [name for name, each in found.items() if not isinstance(each, Finder) and not hasattr(each, "net")]
            maps = {name: in_torch(self.paths[name], trust=self.trust) for name in bare}
        with prepared(
            found,
            bounds=self.bounds,
            access=self.access,
            certificate=self.certificate,
            explaining=maps,
            nearby=indexes(found, self.paths, self.like),
            board=board,
            slot=slot,
        ) as server:
            if slot == 0:
                engines = {name: recogniser.engine for name, recogniser in found.items()}
                said = ", ".join(f"{name} ({engine})" for name, engine in engines.items())
                where = {"address": self.addresses[0], "addresses": list(self.addresses)}
                note(f"serving {said} at {' and '.join(self.addresses)}", **where, engines=engines)
            serves()
            server.run([self.sock])


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
