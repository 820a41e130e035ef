"""The server's life: it binds, answers, and when told to stop takes no new request and answers every one that it has."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import FrameType

import uvicorn

from beholder.base import events
from beholder.base.errors import UsageError
from beholder.bundle.finder import Finder
from beholder.bundle.recogniser import Recogniser
from beholder.server.bounds import Bounds
from beholder.server.connection import Connection, bound_to
from beholder.server.face import faced
from beholder.server.guard import Access, Guard
from beholder.server.metrics import Board, Together
from beholder.server.nearby import Nearby
from beholder.server.service import Service

CHATTY = ("uvicorn", "python_multipart", "asyncio")
"""Loggers that write a line for each malformed request: clients could fill a disk, or block a pipe that nobody reads."""

UNTAKEN = 256 << 10
"""Size of the socket's send buffer in bytes: the system's default holds megabytes for a client that does not read."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""

NEVER = 3600
"""Seconds after which uvicorn itself would end an idle connection: those of `connection.py` come first."""


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
    recognisers: Mapping[str, Recogniser | Finder],
    *,
    bounds: Bounds,
    access: Access,
    certificate: tuple[str, str] | None = None,
    explaining: Mapping[str, Recogniser | Finder] | None = None,
    nearby: Mapping[str, Nearby] | None = None,
    board: Board | None = None,
    slot: int = 0,
) -> Iterator[Server]:
    """Yield a server that is ready to run; on leaving, its threads and child processes have ended.

    recognisers: by the names under which they are served; certificate: TLS files (certificate, key); explaining: what makes
    the heat maps of a model, where that is another model; nearby: training pictures, by model; board, slot: where worker
    processes leave their metrics
    """
    connection = bound_to(bounds)
    with faced(
        recognisers,
        bounds=bounds,
        access=access,
        explaining=explaining,
        nearby=nearby,
        open_connections=lambda: len(connection.live),
    ) as face:
        together = face.service.counted = Together(face.counts, board, slot)
        server = Server(_config(face.guard, connection, bounds, certificate), face.service, together, board)
        try:
            yield server
        finally:
            face.waits = not server.force_exit


def _config(app: Guard, connection: type[Connection], bounds: Bounds, certificate: tuple[str, str] | None) -> uvicorn.Config:
    """Return how uvicorn serves: HTTP alone, nothing logged, nothing believed of proxies, and with the times of `bounds`."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return uvicorn.Config(
        app,
        http=connection,
        ws="none",
        backlog=BACKLOG,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=NEVER,
        timeout_notify=0,
        timeout_graceful_shutdown=max(1, round(bounds.drain)),
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
    )


class Server(uvicorn.Server):
    """Uvicorn's server, which leaves at SIGTERM or Ctrl-C without raising them again, and says so to `service` first.

    together: what it counts with the worker processes of which it is one; board: theirs, None: it is alone
    """

    def __init__(self, config: uvicorn.Config, service: Service, together: Together, board: Board | None) -> None:
        config.callback_notify = self.tick
        super().__init__(config)
        self.service = service
        self._together = together
        self._board = board

    async def tick(self) -> None:
        """Once a second share the metrics of this worker with the others; stop where the parent process is gone."""
        if self._board is not None:
            self._together.leave()
            if os.getppid() != self._board.parent:
                self.leave()

    def leave(self) -> None:
        """Stop soon: no new request, every accepted one answered."""
        self.should_exit = self.service.leaving = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the first signal; at the second (a worker: at SIGINT) drop what is under way."""
        self.force_exit |= self.should_exit and (self._board is None or sig == signal.SIGINT)
        self.leave()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connection, answer what is under way, leave."""
        waiting = sum(model.pending for model in self.service.models.values())
        events.note(f"stopping: {waiting} pictures in progress", pending=waiting, process=os.getpid())
        await self._take_queued(sockets or [])
        await super().shutdown(sockets)

    async def _take_queued(self, sockets: list[socket.socket]) -> None:
        """Close the listening sockets, and take the connections that the system had accepted for them by then.

        The system resets what is still in the queue of a socket that closes; and a connection that asyncio has accepted but not
        yet handed on ends in an `AssertionError` once its server is closed.
        """
        loop = asyncio.get_running_loop()
        for sock in sockets:
            loop.remove_reader(sock)
        await asyncio.sleep(0)  # those that asyncio has accepted are handed on
        queued = [connection for sock in sockets for connection in _queued(sock)]
        for server in self.servers:
            server.close()
        protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        made = partial(protocol, config=self.config, server_state=self.server_state, app_state={}, _loop=loop)
        taken = (loop.connect_accepted_socket(made, connection, ssl=self.config.ssl) for connection in queued)
        await asyncio.gather(*taken, return_exceptions=True)  # a client may have gone meanwhile


def _queued(sock: socket.socket) -> Iterator[socket.socket]:
    """Accept what waits at a listening socket."""
    with contextlib.suppress(OSError):  # BlockingIOError: no more; others: no more file descriptors
        while True:
            connection, _ = sock.accept()
            connection.setblocking(False)
            yield connection
