"""From paths to answers: bundles are loaded, here or in each worker process, and served until the server is told to stop."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from socket import socket

from beholder.base.events import note
from beholder.use.serve.bounds import Bounds
from beholder.use.serve.guard import Access
from beholder.use.serve.loading import in_torch, opened
from beholder.use.serve.metrics import Board
from beholder.use.serve.nearby import indexes
from beholder.use.serve.run import prepared
from beholder.use.serve.workers import many


@dataclass(frozen=True)
class Serving:
    """What is served, where and how.

    paths: of bundles by name; sock: that listens; address: as people type it; certificate: TLS files; explain: load exported
    bundles in torch too; trust: as `beholder.load` has it; workers: processes; like: a source that bundles were trained on;
    engine: as `fastest` has it
    """

    paths: dict[str, Path]
    sock: socket
    address: str
    bounds: Bounds
    access: Access
    certificate: tuple[str, str] | None = None
    explain: bool = False
    trust: bool = False
    workers: int = 1
    like: str | None = None
    engine: str = "exact"

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C. Raises `BundleError` and `UsageError` before the first answer."""
        if self.workers == 1:
            self._work(None, 0)
            return
        board = Board(self.workers)
        many(self.workers, lambda slot: self._work(board, slot))

    def _work(self, board: Board | None, slot: int) -> None:
        threads = max(1, (os.cpu_count() or 1) // self.workers) if self.workers > 1 else 0
        found = {name: opened(path, engine=self.engine, trust=self.trust, threads=threads) for name, path in self.paths.items()}
        maps = {}
        if self.explain:
            maps = {name: in_torch(self.paths[name], trust=self.trust) for name in found if not hasattr(found[name], "net")}
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
                note(f"serving {said} at {self.address}", address=self.address, engines=engines)
            server.run([self.sock])
