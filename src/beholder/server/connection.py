"""One connection: uvicorn's, with what it lacks: bounds on headers, connections and slow readers, and a polite end.

It builds on a class that uvicorn does not document; tests/server/test_private.py holds what of it is used.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from beholder.server.bounds import Bounds

PIECE = 16 << 10
"""Bytes that the parser is given at a time, and so how exactly headers are bounded here; the guard bounds them to the byte."""

SLOWEST = 16 << 10
"""Bytes of an answer that a client has to take in a second, at least, once what the system keeps for it is full."""

KEY = "beholder.connection"
"""Where the state of a request's scope names its connection."""


def _answer(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + line, b"content-length: 0", b"connection: close", *headers, b"", b""))


class Connection(HttpToolsProtocol):
    """A connection that ends when its client is too slow, talks too long, or is one too many.

    bounds: set by `bound_to`; live: all that are open; answering: whether the answer to the request at hand has begun, which
    the guard says
    """

    bounds: Bounds
    live: set[Connection]

    def __init__(self, *, app_state: dict[str, Any], **named: Any) -> None:
        super().__init__(app_state={**app_state, KEY: self}, **named)
        self.answering = False
        self._timer: asyncio.TimerHandle | None = None
        self._watched: asyncio.TimerHandle | None = None
        self._talk = 0  # bytes since the last that were of a body, or began a request
        self._moved = False
        self._begun = False
        self._unanswered = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; refuse the connection that is one too many."""
        super().connection_made(transport)
        self.transport = transport
        self.live.add(self)
        if len(self.live) > self.bounds.connections:
            transport.write(_answer(b"503 Service Unavailable", b"retry-after: 1"))
            transport.close()
            return
        self._wait(self.bounds.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.live.discard(self)
        self._wait(None)
        if self._watched is not None:
            self._watched.cancel()
        super().connection_lost(None)  # whatever the reason: after an error uvicorn would keep its timer, and so the connection

    def data_received(self, data: bytes) -> None:
        """Take what came, unless headers, trailers or what is between chunks grow too long, or the connection ends."""
        for start in range(0, len(data), PIECE):
            if self.transport.is_closing():
                return
            piece, self._moved = data[start : start + PIECE], False
            super().data_received(piece)
            self._talk = 0 if self._moved else self._talk + len(piece)
            if self._talk > self.bounds.head:
                self._too_long()

    def on_message_begin(self) -> None:
        """Begin a request: its headers have a time from now."""
        super().on_message_begin()
        self._moved = self._begun = True
        self._wait(self.bounds.head_seconds)

    def on_headers_complete(self) -> None:
        """Hand the request on."""
        self._begun = False
        self._wait(None)
        super().on_headers_complete()
        self._unanswered += 1

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._moved = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Wait for the next request, and see to it that the answer is taken."""
        self._unanswered -= 1
        self.answering = False
        super().on_response_complete()
        self._rest()
        if self._watched is None:
            self._watch(None)

    def shutdown(self) -> None:
        """Leave: a request under way is answered, and one that is on its way too, if it comes soon."""
        if self._unanswered:
            super().shutdown()
        else:
            asyncio.get_running_loop().call_later(self.bounds.linger, self._leave)

    def _leave(self) -> None:
        if not self._unanswered and not self._begun:
            self.transport.close()

    def _too_long(self) -> None:
        if not self.answering:
            self.transport.write(_answer(b"431 Request Header Fields Too Large"))
        self.transport.close()

    def _watch(self, before: int | None) -> None:
        """Drop the connection if the client has taken too little of what it is sent since there were `before` bytes left."""
        self._watched = None
        left, seconds = self.transport.get_write_buffer_size(), self.bounds.idle_seconds
        if left and before is not None and before - left < SLOWEST * seconds:
            self.transport.abort()
        elif left:
            self._watched = asyncio.get_running_loop().call_later(seconds, self._watch, left)
        elif before is not None:
            self._rest()  # all is taken

    def _rest(self) -> None:
        """Wait for the next request, unless one is under way."""
        if not self._unanswered and not self._begun and not self.transport.is_closing():
            self._wait(self.bounds.idle_seconds)

    def _wait(self, seconds: float | None) -> None:
        """Let so much time pass until the next request is there; None: it is."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._over)

    def _over(self) -> None:
        """Drop the connection; while its client takes an answer, that is watched elsewhere."""
        if self._begun or not self.transport.get_write_buffer_size():
            self.transport.abort()


def bound_to(bounds: Bounds) -> type[Connection]:
    """Return connections with these bounds, counted together."""
    return type("Connection", (Connection,), {"bounds": bounds, "live": set()})
