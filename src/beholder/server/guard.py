"""Middleware before every request: authentication, allowed hosts and origins, timeouts, response headers."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import sha256
from time import perf_counter

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from beholder.base import events
from beholder.server.connection import KEY, Connection
from beholder.server.refusal import Refusal
from beholder.server.service import Service

OPEN = ("/healthz", "/readyz", "/openapi.json", "/v2/health/live", "/v2/health/ready")
"""Paths that need no key, beside the page and its files."""

POLICY = (
    "default-src 'none'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "media-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
)

ONCE = ("host", "origin", "authorization", "x-api-key", "content-type", "content-length")
"""Headers that may be there once: who reads the first of two and who reads the last would believe different things."""

_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\s:@/?#\[\]\\]+))(?::[0-9]*)?")

LEFTOVER_SECONDS = 2.0
"""How long the rest of a body that nobody wants is read and dropped, so that the client sees why."""

LEFTOVER_BYTES = 64 << 20
"""How much of it."""

Header = tuple[bytes, bytes]

Told = Callable[[str, int, float], None]
"""Told of every answer: path pattern, status, seconds."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask.

    keys:    API keys; nobody needs one where there are none
    hosts:   names by which the server may be called, in small letters, beside localhost and addresses; "*": any
    origins: of pages elsewhere that may ask, such as https://example.org, in small letters
    """

    keys: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def knows(self, key: bytes) -> bool:
        """Return whether `key` is one of the keys, in a time that says nothing about them."""
        asked = sha256(key).digest()
        found = [hmac.compare_digest(asked, sha256(known.encode()).digest()) for known in self.keys]
        return any(found)  # all are compared before

    def serves(self, host: str) -> bool:
        """Return whether a request with this Host header is meant for this server: a name that somebody points here is not."""
        name = _name(host)
        return "*" in self.hosts or (name is not None and (name == "localhost" or name in self.hosts or _is_address(name)))

    def trusts(self, origin: str, host: str) -> bool:
        """Return whether a page of `origin` may ask: one of this server's own, or one that was named."""
        return origin.lower() in (*self.origins, f"http://{host.lower()}", f"https://{host.lower()}")


class Guard:
    """ASGI middleware. service: what is served; tell: told of every answer; free: paths that need no key."""

    def __init__(self, app: ASGIApp, service: Service, *, access: Access, tell: Told, free: Collection[str] = OPEN) -> None:
        self._app = app
        self._service = service
        self._access = access
        self._tell = tell
        self._free = frozenset(free)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            return
        if scope["method"] == "HEAD":  # as GET, of which the connection sends no body
            scope = {**scope, "method": "GET"}
        headers = Headers(scope=scope)
        exchange = _Exchange(scope, receive, send, headers, self._service, self._cors(headers))
        try:
            try:
                self._check(scope, headers)
                if exchange.is_preflight:
                    await Response(status_code=204)(scope, exchange.receive, exchange.send)  # the headers say what
                    return
                await self._app(scope, exchange.receive, exchange.send)
            except Refusal as refusal:
                await exchange.refuse(refusal)
            except _Broken:  # the client's doing, and nothing for the log
                raise
            except Exception as error:
                events.warn(f"a request failed: {type(error).__name__}: {error}", path=scope["path"])
                if exchange.status:
                    raise _Broken from error
                await exchange.refuse(Refusal(500, "internal", "the request failed", hint="see the server's log"))
        except _Broken:
            _abort(scope)
        finally:
            route = scope.get("route")
            self._tell(getattr(route, "path", "other"), exchange.status, perf_counter() - exchange.start)

    def _check(self, scope: Scope, headers: Headers) -> None:
        most = self._service.bounds.head
        if sum(len(name) + len(value) + 4 for name, value in headers.raw) > most:
            raise Refusal(431, "headers-too-large", f"headers are {most} bytes at most")
        for name in ONCE:
            if len(headers.getlist(name)) > 1:
                raise Refusal(400, "header-twice", f"the header {name} is there twice")
        self._check_names(headers.get("host", ""), headers.get("origin"))
        if self._access.keys and scope["path"] not in self._free and scope["method"] != "OPTIONS":
            self._check_key(headers)

    def _check_names(self, host: str, origin: str | None) -> None:
        if not self._access.serves(host):
            hint = "start the server with --allow-host NAME to allow it"
            raise Refusal(421, "wrong-host", f"the Host header {host[:80]!r} is not a name of this server", hint=hint)
        if origin is not None and not self._access.trusts(origin, host):
            hint = "start the server with --allow-origin to let them"
            raise Refusal(403, "wrong-origin", f"pages of {origin[:80]!r} may not ask", hint=hint)

    def _check_key(self, headers: Headers) -> None:
        kind, _, key = headers.get("authorization", "").partition(" ")
        key = key.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
        if not self._access.knows(key.encode("latin-1")):
            hint = "send it as Authorization: Bearer KEY, or X-API-Key: KEY"
            raise Refusal(401, "no-key", "this needs a key", hint=hint, headers={"WWW-Authenticate": "Bearer"})

    def _cors(self, headers: Headers) -> tuple[Header, ...]:
        """Return what lets a page elsewhere read the answer, where its origin was named."""
        origin = headers.get("origin", "")
        if origin.lower() not in self._access.origins:
            return ()
        allowed = (
            (b"access-control-allow-headers", b"authorization, content-type, x-api-key"),
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-expose-headers", b"retry-after, beholder-map, beholder-covered, beholder-remark"),
        )
        return ((b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin"), *allowed)


class _Broken(Exception):
    """The answer cannot be brought to its end: the client does not take it, or does not stop sending, or it failed half-way."""


class _Exchange:
    """One request and its answer. headers: of the request; extra: of the answer; status: that was sent, 0 before."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, service: Service, extra: tuple[Header, ...]
    ) -> None:
        self.status = 0
        self.start = perf_counter()
        self._scope = scope
        self._receive = receive
        self._send = send
        self._service = service
        self._headers = headers
        self._extra = extra
        self._unread = True
        self._asked = False

    async def receive(self) -> Message:
        """Return the next piece of the body."""
        self._asked = True
        try:
            message = await self._receive()
        except RuntimeError:
            if not _is_gone(self._scope):
                raise
            message = {"type": "http.disconnect"}
        self._unread = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer; before its end, drop what nobody read of the body."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = list(message.get("headers", []))
            if all(name != b"cache-control" for name, _ in given):
                given.append((b"cache-control", b"no-store"))
            ends = [(b"connection", b"close")] if self._service.leaving or self._holds_back() else []
            if (connection := _connection(self._scope)) is not None:
                connection.answering = True
            message = {**message, "headers": [*given, *HEADERS, *self._extra, *ends]}
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        has_body = self._headers.get("content-length", "0") != "0" or "transfer-encoding" in self._headers
        if last and self._unread and has_body and not self._holds_back():
            await self._sent({**message, "more_body": True})
            await self._dropped()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._sent(message)

    @property
    def is_preflight(self) -> bool:
        """Return whether a browser asks on behalf of a page elsewhere, that is allowed, what it may ask."""
        return bool(self._extra) and self._scope["method"] == "OPTIONS"

    async def refuse(self, refusal: Refusal) -> None:
        """Send a refusal as the whole answer."""
        await refusal.response(self._scope["path"])(self._scope, self._receive, self.send)

    def _holds_back(self) -> bool:
        """Return whether the client waits to be asked for its body, and was not."""
        return not self._asked and self._headers.get("expect", "").lower() == "100-continue"

    async def _sent(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._service.bounds.seconds):
                await self._send(message)
        except TimeoutError:
            raise _Broken from None
        except RuntimeError:  # of a connection that was closed meanwhile
            if not _is_gone(self._scope):
                raise

    async def _dropped(self) -> None:
        """Read the rest of the body and forget it. Raises `_Broken` where it does not end soon."""
        size = 0
        try:
            async with asyncio.timeout(LEFTOVER_SECONDS):
                while self._unread:
                    message = await self.receive()
                    size += len(message.get("body", b""))
                    if size > LEFTOVER_BYTES:
                        raise _Broken
        except TimeoutError:
            raise _Broken from None


def _connection(scope: Scope) -> Connection | None:
    """Return the connection of a request; None under another server."""
    found: Connection | None = scope.get("state", {}).get(KEY)
    return found


def _is_gone(scope: Scope) -> bool:
    connection = _connection(scope)
    return connection is not None and connection.transport.is_closing()


def _abort(scope: Scope) -> None:
    connection = _connection(scope)
    if connection is not None:
        connection.transport.abort()


def _name(host: str) -> str | None:
    """Return the name of a Host header, without its port and without a dot at the end; None where it is no such header.

    >>> _name("Example.org.:80"), _name("[::1]:8000"), _name("127.0.0.1"), _name("localhost:80@example.org")
    ('example.org', '::1', '127.0.0.1', None)
    """
    found = _HOST.fullmatch(host.strip().lower())
    return None if found is None else found["address"] or found["name"].removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
