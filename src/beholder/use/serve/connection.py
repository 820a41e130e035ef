"""One connection: uvicorn's, with what it lacks: bounds on headers and on connections, and a polite end."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from beholder.use.serve.bounds import Bounds


def _answer(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + line, b"content-length: 0", b"connection: close", *headers, b"", b""))


class Connection(HttpToolsProtocol):
    """A connection that ends when its client is too slow, talks too long, or is one too many. bounds: set by `bound_to`."""

    bounds: Bounds = Bounds()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._due: asyncio.TimerHandle | None = None
        self._head = 0
        self._in_head = True
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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless headers grow too long or the connection is about to end."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > self.bounds.head and not self.transport.is_closing():
                self.transport.write(_answer(b"431 Request Header Fields Too Large"))
                self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a request: its headers have a time from now."""
        super().on_message_begin()
        self.scope["beholder.transport"] = self.transport  # type: ignore[typeddict-unknown-key]
        self._in_head, self._head = True, 0
        self._await_head()

    def on_headers_complete(self) -> None:
        """Hand the request on; where the server is leaving, as the connection's last."""
        self._in_head = False
        self._head_is_here()
        super().on_headers_complete()
        if self._leaving:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._in_head, self._head = True, 0
        super().on_response_complete()
        if self.transport.is_closing():  # what the client does not take is dropped in the end
            self.loop.call_later(self.bounds.seconds, self.transport.abort)

    def shutdown(self) -> None:
        """Leave: a request under way is answered, and one that is on its way too, if it comes soon."""
        self._leaving = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(self.bounds.linger, self._leave)

    def _leave(self) -> None:
        if (self.cycle is None or self.cycle.response_complete) and not (self._in_head and self._head):
            self.transport.close()

    def _await_head(self) -> None:
        self._head_is_here()
        self._due = self.loop.call_later(self.bounds.head_seconds, self._too_slow)

    def _head_is_here(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def timeout_keep_alive_handler(self) -> None:
        """Drop a connection that was idle for too long, and what its client did not take."""
        self.transport.abort()

    def _too_slow(self) -> None:
        self.transport.abort()


def bound_to(bounds: Bounds) -> type[Connection]:
    """Return connections with these bounds."""
    return type("Connection", (Connection,), {"bounds": bounds})
