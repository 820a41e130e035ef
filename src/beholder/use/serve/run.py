"""The server's life: it binds, answers, and when told to stop takes no new request and answers every one that it has."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from types import FrameType

import uvicorn
from fastapi.routing import APIRoute

from beholder.base import events
from beholder.base.errors import UsageError
from beholder.bundle.recogniser import Recogniser
from beholder.data.image.apart import decoders
from beholder.use.serve.app import PAGE, Service, build
from beholder.use.serve.bounds import Bounds
from beholder.use.serve.connection import bound_to
from beholder.use.serve.guard import OPEN, Access, Guard
from beholder.use.serve.metrics import Board, Requests, Values, resident, series, text
from beholder.use.serve.model import Model
from beholder.use.serve.nearby import Nearby

CHATTY = ("uvicorn", "python_multipart", "asyncio")
"""What logs a line for each client that talks nonsense: clients could fill a disk so, or a pipe that nobody reads."""

UNTAKEN = 256 << 10
"""Bytes of an answer that the system keeps for a client who does not take it: by itself it would keep megabytes, unseen."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to `host` and `port` (0: any free one). Raises `UsageError` where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNTAKEN)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        sock.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{host}:{port} cannot be bound: {reason.lower()}", code="cannot-bind", hint="choose another --port or --host"
        ) from None
    return sock


@contextlib.contextmanager
def prepared(
    recognisers: Mapping[str, Recogniser],
    *,
    bounds: Bounds,
    access: Access,
    certificate: tuple[str, str] | None = None,
    explaining: Mapping[str, Recogniser] | None = None,
    nearby: Mapping[str, Nearby] | None = None,
    board: Board | None = None,
    slot: int = 0,
) -> Iterator[Server]:
    """Lend a server that is ready to run; afterwards its threads and children are gone.

    recognisers: by the names under which they are served; certificate: TLS files (certificate, key); explaining: what makes
    the heat maps of a model, where that is another recogniser; nearby: training pictures, by model; board, slot: where worker
    processes leave their metrics
    """
    with decoders() as (pool, _):
        models = {name: Model(name, found, bounds=bounds, pool=pool) for name, found in recognisers.items()}
        service = Service(models, bounds)
        for name, other in (explaining or {}).items():
            models[name].explains = other
        for name, index in (nearby or {}).items():
            models[name].nearby = index
        requests = Requests()
        face = build(service)
        pages = [route.path for route in face.routes if isinstance(route, APIRoute) and route.name == PAGE]
        app = Guard(face, access=access, bounds=bounds, tell=requests.tell, open_paths=(*OPEN, *pages))
        config = uvicorn.Config(
            app,
            http=bound_to(bounds),
            ws="none",
            backlog=BACKLOG,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=max(1, round(bounds.idle_seconds)),
            timeout_graceful_shutdown=max(1, round(bounds.drain)),
            ssl_certfile=certificate[0] if certificate else None,
            ssl_keyfile=certificate[1] if certificate else None,
        )
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        server = Server(config, service, requests, board, slot)
        try:
            for model in models.values():
                model.warm()
            yield server
        finally:
            for model in models.values():
                model.close(wait=not server.force_exit)
            service.explainer.close()


class Server(uvicorn.Server):
    """Uvicorn's server, which leaves at SIGTERM or Ctrl-C without raising them again, and says so to `service` first."""

    def __init__(self, config: uvicorn.Config, service: Service, requests: Requests, board: Board | None, slot: int) -> None:
        super().__init__(config)
        self.service = service
        self._requests = requests
        self._board = board
        self._slot = slot
        self._parent = os.getppid() if board is None else board.parent
        service.counted = self.counted

    def values(self) -> Values:
        """Return what this process counted and measured."""
        found = self._requests.values()
        for name, model in self.service.models.items():
            found[series("beholder_pending", model=name)] = model.pending
            found |= {series("beholder_pictures_total", model=name, outcome=what): n for what, n in model.outcomes.items()}
            found |= {
                series("beholder_batches_total", model=name, pictures=size): n for size, n in model.batches.copy().items()
            }
        found["beholder_held_bytes"] = self.service.held.used
        found["beholder_connections"] = len(self.server_state.connections)
        found["beholder_workers"] = 1
        found["process_cpu_seconds_total"] = time.process_time()
        found["process_resident_memory_bytes"] = resident()
        return found

    def counted(self) -> str:
        """Return the text of /metrics, of all worker processes together."""
        return text([self.values(), *(self._board.others(self._slot) if self._board else [])])

    async def on_tick(self, counter: int) -> bool:
        """Twice a second leave the values of this worker for the others; leave where whoever started it is gone."""
        if self._board is not None and counter % 5 == 0:
            self._board.leave(self._slot, self.values())
            if os.getppid() != self._parent:
                self.leave()
        return await super().on_tick(counter)

    def leave(self) -> None:
        """Stop soon: no new request, every accepted one answered."""
        self.should_exit = self.service.leaving = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first signal; at the second drop what is under way. Off the main thread there are no signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _frame: FrameType | None) -> None:
            self.force_exit = self.should_exit
            self.leave()

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connection, answer what is under way, leave."""
        waiting = sum(model.pending for model in self.service.models.values())
        events.note(f"stopping: {waiting} pictures are under way", pending=waiting, process=os.getpid())
        await super().shutdown(sockets)
