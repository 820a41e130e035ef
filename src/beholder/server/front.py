"""What goes around Ray's HTTP proxy: it bounds bodies before Ray keeps them, and says what Ray refuses in the server's form.

The proxy takes a request from its client and hands it to a replica, where the guard and the application are. It reads a body
however long it is, and where a replica is lost its client would get 500 without a word.
"""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from beholder.machine.told import told
from beholder.server.body import Held, Room, announced, too_large
from beholder.server.bounds import Bounds
from beholder.server.guard import HEADERS
from beholder.server.refusal import Refusal, no_replica, overload, too_slow

OURS = HEADERS[0][0]
"""The header by which an answer of the guard is known from one of Ray."""

RAYS = "/-/"
"""What the paths of Ray itself begin with."""


def middlewares() -> list[Middleware]:
    """Return what goes around the proxy. Ray calls it, by its name, in the process of the proxy."""
    return [Middleware(Front, bounds=Bounds(**told()))]


class Front:
    """ASGI middleware. bounds: `body` and `held` are kept here too."""

    def __init__(self, app: ASGIApp, *, bounds: Bounds) -> None:
        self._app = app
        self._bounds = bounds
        self._held = Held(bounds.held)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on to Ray, unless its body is too long."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
        elif scope["path"].startswith(RAYS):
            await self._app(scope, receive, send)
        else:
            with self._held.room() as room:
                await self._handed_on(scope, receive, send, room)

    async def _handed_on(self, scope: Scope, receive: Receive, send: Send, room: Room) -> None:
        passing = _Passing(receive, send, self._bounds, room)
        try:
            room.look(announced(Request(scope), self._bounds))
            await self._app(scope, passing.receive, passing.send)
        except Refusal as refusal:
            passing.refusal = refusal
        except Exception:  # noqa: BLE001  (of Ray, which has logged it)
            pass
        if not passing.started:
            response = (passing.refusal or no_replica()).response(scope["path"])
            response.raw_headers += [(b"cache-control", b"no-store"), *HEADERS]
            await response(scope, receive, send)


class _Passing:
    """One request on its way through. refusal: why it is not answered, if that is known; started: its answer is being sent."""

    def __init__(self, receive: Receive, send: Send, bounds: Bounds, room: Room) -> None:
        self.refusal: Refusal | None = None
        self.started = False
        self._receive = receive
        self._send = send
        self._bounds = bounds
        self._room = room

    async def receive(self) -> Message:
        """Return the next piece of the body; for Ray the client has gone once there is too much."""
        message = await self._receive()
        try:
            self._room.take(len(message.get("body", b"")))
            if self._room.taken > self._bounds.body:
                raise too_large(self._bounds)
        except Refusal as refusal:
            self.refusal = refusal
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of an answer of a replica; keep back what Ray says itself."""
        if message["type"] == "http.response.start":
            self.started = any(name == OURS for name, _ in message["headers"])
            if not self.started:
                self.refusal = self.refusal or _said(message["status"], self._bounds)
        if self.started:
            await self._send(message)


def _said(status: int, bounds: Bounds) -> Refusal:
    """Return what a status of Ray's own means here."""
    if status == 408:
        return too_slow(bounds.seconds)
    return overload(1.0) if status == 503 else no_replica()
