"""One connection: uvicorn's, with what it lacks: bounds on headers, connections and slow readers, and a polite end."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from beholder.use.serve.bounds import Bounds

PIECE = 16 << 10
"""Bytes that the parser is given at a time, and so how exactly headers are bounded here; the guard bounds them to the byte."""

SLOWEST = 16 << 10
"""Bytes of an answer that a client has to take in a second, at least, once what the system keeps for it is full."""


def _answer(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + line, b"content-length: 0", b"connection: close", *headers, b"", b""))


class Connection(HttpToolsProtocol):
    """A connection that ends when its client is too slow, talks too long, or is one too many. bounds: set by `bound_to`."""

    bounds: Bounds = Bounds()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._due: asyncio.TimerHandle | None = None
        self._watched: asyncio.TimerHandle | None = None
        self._talk = 0  # bytes since the last that were of a body, or began a request
        self._moved = False
        self._begun = False
        self._leaving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; refuse the connection that is one too many."""
        super().connection_made(transport)
        if len(self.connections) > self.bounds.connections:
            transport.write(_answer(b"503 Service Unavailable", b"retry-after: 1"))
            transport.close()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._head_is_here()
        if self._watched is not None:
            self._watched.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

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
        if self._is_idle() and self._due is None and not self.transport.is_closing():
            self._await_head()  # what came has ended uvicorn's own wait for the next request, even if it was none

    def on_message_begin(self) -> None:
        """Begin a request: its headers have a time from now."""
        super().on_message_begin()
        self.scope["beholder.transport"] = self.transport  # type: ignore[typeddict-unknown-key]
        self._moved = self._begun = True
        self._await_head()

    def on_headers_complete(self) -> None:
        """Hand the request on; where the server is leaving, as the connection's last."""
        self._begun = False
        self._head_is_here()
        super().on_headers_complete()
        if self._leaving:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._moved = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Wait for the next request, and see to it that the answer is taken."""
        super().on_response_complete()
        if self._watched is None:
            self._watch(None)

    def shutdown(self) -> None:
        """Leave: a request under way is answered, and one that is on its way too, if it comes soon."""
        self._leaving = True
        if self._is_idle():
            self.loop.call_later(self.bounds.linger, self._leave)
        else:
            self.cycle.keep_alive = False

    def timeout_keep_alive_handler(self) -> None:
        """Drop a connection that was idle for too long; while its client takes an answer, that is watched elsewhere."""
        self.timeout_keep_alive_task = None
        if not self.transport.get_write_buffer_size():
            self.transport.abort()

    def _watch(self, before: int | None) -> None:
        """Drop the connection if the client has taken too little of what it is sent since there were `before` bytes left."""
        self._watched = None
        left = self.transport.get_write_buffer_size()
        if left and before is not None and before - left < SLOWEST * self.timeout_keep_alive:
            self.transport.abort()
        elif left:
            self._watched = self.loop.call_later(self.timeout_keep_alive, self._watch, left)
        elif before is not None and self._is_idle() and not self.transport.is_closing():
            self._await_head()  # all is taken, and uvicorn's wait for the next request may be over

    def _is_idle(self) -> bool:
        """Return whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _leave(self) -> None:
        if self._is_idle() and not self._begun:
            self.transport.close()

    def _too_long(self) -> None:
        if self._is_idle() or not self.cycle.response_started:
            self.transport.write(_answer(b"431 Request Header Fields Too Large"))
        self.transport.close()

    def _await_head(self) -> None:
        self._head_is_here()
        self._due = self.loop.call_later(self.bounds.head_seconds, self.transport.abort)

    def _head_is_here(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


def bound_to(bounds: Bounds) -> type[Connection]:
    """Return connections with these bounds."""
    return type("Connection", (Connection,), {"bounds": bounds})
