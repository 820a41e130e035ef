"""Limits of the server, so that neither load nor malice can exhaust the machine."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.base.errors import UsageError
from beholder.base.limits import Limits


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of one server process.

    body:        bytes of one request's body
    held:        bytes of the bodies of all requests together
    pixels:      of one picture, height × width
    parts:       pictures in one request
    queue:       pictures of one bundle that are accepted and not yet answered
    patience:    seconds that accepted pictures may have to wait in all likelihood; beyond that requests get 503
    batch:       pictures in one run of the net
    connections: open at once
    head:        bytes of a request's first line and headers
    head_seconds, body_seconds: that a client may take to send them; idle_seconds: between two requests
    seconds:     that answering may take once the body is there
    decode_seconds: that an unusual picture may take to decode, in its process of its own
    drain:       seconds that requests under way are given when the server is told to stop
    linger:      seconds in which a connection without a request may still send one then
    """

    body: int = 32 << 20
    held: int = 256 << 20
    pixels: int = 50_000_000
    parts: int = 64
    queue: int = 512
    patience: float = 1.0
    batch: int = 32
    connections: int = 2000
    head: int = 32 << 10
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 20.0
    seconds: float = 30.0
    decode_seconds: float = 5.0
    drain: float = 30.0
    linger: float = 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise UsageError(f"{name} is {value}", code="bad-bound", hint="every bound of the server is above 0")

    @property
    def limits(self) -> Limits:
        """Return what decoding one picture may take."""
        return Limits(pixels=self.pixels, bytes=self.body, seconds=self.decode_seconds)
